/* SPDX-License-Identifier: Apache-2.0 */
#include "bindings/tools/ask.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "bindings/lib/lib.h"
#include "host/base/text.h"

/* What the fiber waits for; freed when it does no more. Strings of the request are on its
 * stack. */
struct ask {
    struct http_request request;
    struct fiber *fiber;
    const struct http_header *headers;
    size_t header_count;
    int status;
    struct text names; /* of the answer: names and values, each with a zero */
    struct text body;
    lua_Integer writes; /* to come before the client goes; 0: it stays */
    bool pending;       /* the service has not ended it */
    bool done;
};

static struct ask *ask_of(const struct http_request *request) {
    return (struct ask *)(uintptr_t)request; /* its first member */
}

static void wake(struct ask *ask) {
    ask->done = true;
    fiber_wake(ask->fiber, LN_OK);
}

/* ---- what the service calls ---- */

static const char *find_header(const struct http_request *request, const char *name,
                               size_t *count) {
    const struct ask *ask = ask_of(request);
    const char *first = NULL;
    size_t found = 0;
    for (size_t i = 0; i < ask->header_count; i++)
        if (strcasecmp(ask->headers[i].name, name) == 0 && found++ == 0)
            first = ask->headers[i].value;
    if (count != NULL)
        *count = found;
    return first;
}

static void each_header(const struct http_request *request,
                        void (*fn)(void *owner, const char *name, const char *value),
                        void *owner) {
    const struct ask *ask = ask_of(request);
    for (size_t i = 0; i < ask->header_count; i++)
        fn(owner, ask->headers[i].name, ask->headers[i].value);
}

static void remote(const struct http_request *request, char out[HTTP_REMOTE_SIZE]) {
    (void)request;
    strcpy(out, "127.0.0.1");
}

static void read_file(struct text *out, const struct http_file *file) {
    char *room = text_room(out, (size_t)file->len);
    ssize_t got =
        room != NULL ? pread(file->fd, room, (size_t)file->len, (off_t)file->offset) : 0;
    if (got > 0)
        out->len += (size_t)got;
    close(file->fd);
}

static void answer(struct http_request *request, const struct http_response *response) {
    struct ask *ask = ask_of(request);
    bool head = strcmp(request->method, "HEAD") == 0;
    ask->status = response->status;
    for (size_t i = 0; i < response->header_count; i++) {
        const struct http_header *header = &response->headers[i];
        text_put(&ask->names, header->name, strlen(header->name) + 1);
        text_put(&ask->names, header->value, strlen(header->value) + 1);
    }
    if (response->file != NULL)
        read_file(&ask->body, response->file);
    text_put(&ask->body, response->body != NULL ? response->body : "", response->len);
    free(response->body);
    if (head)
        ask->body.len = 0;
    ask->pending = response->stream;
    if (!response->stream || head)
        wake(ask);
}

static size_t write_stream(struct http_request *request, const char *bytes, size_t len) {
    struct ask *ask = ask_of(request);
    text_put(&ask->body, bytes, len);
    if (ask->writes > 0 && --ask->writes == 0)
        wake(ask);
    return 0;
}

static void finish(struct http_request *request, bool complete) {
    struct ask *ask = ask_of(request);
    ask->pending = false;
    if (!complete)
        ask->status = 0;
    wake(ask);
}

static const struct http_api api = {
    .header = find_header,
    .each_header = each_header,
    .remote = remote,
    .answer = answer,
    .write = write_stream,
    .finish = finish,
};

/* ---- asking ---- */

static void abandon(struct fiber *fiber, void *area) {
    (void)fiber;
    struct ask *ask = *(struct ask **)area;
    if (ask->pending)
        web_gone(&ask->request);
    text_free(&ask->names);
    text_free(&ask->body);
    free(ask);
}

static int push_answer(lua_State *L, struct fiber *fiber) {
    const struct ask *ask = *(struct ask **)fiber_wait_area(fiber);
    const char *at = ask->names.bytes, *end = at + ask->names.len;
    if (!ask->done) {
        fiber_end_wait(fiber);
        return push_failure(L, LN_ETIMEOUT, "the service has not answered in time");
    }
    lua_pushinteger(L, ask->status);
    lua_newtable(L);
    for (lua_Integer i = 1; at != NULL && at < end; i++, at += strlen(at) + 1) {
        lua_pushstring(L, at);
        lua_rawseti(L, -2, i);
    }
    lua_pushlstring(L, ask->body.len > 0 ? ask->body.bytes : "", ask->body.len);
    fiber_end_wait(fiber);
    return 3;
}

static int answered(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    return push_answer(L, wait_resumed(L));
}

/* The list at `index`, whose strings it keeps. Pushes the array. */
static const struct http_header *check_list(lua_State *L, int index, size_t *count) {
    luaL_checktype(L, index, LUA_TTABLE);
    *count = lua_rawlen(L, index) / 2;
    struct http_header *array = lua_newuserdatauv(L, (*count + 1) * sizeof(*array), 0);
    for (size_t i = 0; i < *count; i++) {
        lua_rawgeti(L, index, (lua_Integer)(2 * i + 1));
        lua_rawgeti(L, index, (lua_Integer)(2 * i + 2));
        array[i] = (struct http_header){luaL_checkstring(L, -2), luaL_checkstring(L, -1)};
        lua_pop(L, 2);
    }
    return array;
}

int ask_web(lua_State *L, struct web *web) {
    size_t header_count, body_len = 0;
    lua_settop(L, 8);
    struct http_request request = {
        .method = luaL_checkstring(L, 2),
        .path = luaL_checkstring(L, 3),
        .query = luaL_checkstring(L, 4),
        .body = luaL_optlstring(L, 6, NULL, &body_len),
    };
    request.body_len = body_len;
    uint64_t ms = check_ms(L, 7);
    lua_Integer writes = luaL_checkinteger(L, 8);
    const struct http_header *headers = check_list(L, 5, &header_count);
    struct fiber *fiber = check_fiber(L, "svc:http");
    struct ask *ask = calloc(1, sizeof(*ask));
    if (ask == NULL)
        return push_failure(L, LN_ENOMEM, NULL);
    *ask = (struct ask){.request = request,
                        .fiber = fiber,
                        .headers = headers,
                        .header_count = header_count,
                        .writes = writes,
                        .pending = true};
    *(struct ask **)fiber_begin_wait(fiber, abandon) = ask;
    fiber_deadline(fiber, ms);
    web_run(web, &api, &ask->request);
    return ask->done ? push_answer(L, fiber) : wait_yield(L, answered);
}
