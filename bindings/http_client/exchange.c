/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of a request: its answer as it comes, and a fiber that reads it. */
#include <stdio.h>
#include <string.h>

#include "bindings/http_client/internal.h"
#include "bindings/lib/lib.h"
#include "host/base/status.h"
#include "host/base/tally.h"

#define EXCHANGE_TYPE "lunats.http_exchange"

#define WINDOW ((size_t)256 << 10) /* bytes that wait to be read from one that is streamed */
#define HEADERS_MAX ((size_t)128 << 10) /* bytes, with 2 for each name and value */

/* ---- what comes ---- */

static void count(struct exchange *exchange) {
    size_t size = exchange->body.size + exchange->headers.size;
    tally_add(exchange->tally, size);
    tally_remove(exchange->tally, exchange->counted);
    exchange->counted = size;
}

static const char no_room[] =
    "the answer does not fit into the memory of the service (--memory)";

static bool fail(struct exchange *exchange, const char *code, const char *detail) {
    exchange->code = code;
    snprintf(exchange->detail, sizeof(exchange->detail), "%s", detail);
    return false;
}

static bool on_header(void *owner, const char *name, size_t name_len, const char *value,
                      size_t value_len) {
    struct exchange *exchange = owner;
    struct text *headers = &exchange->headers;
    if (name == NULL) {
        headers->len = 0;
        return true;
    }
    if (memchr(name, '\0', name_len) != NULL || memchr(value, '\0', value_len) != NULL)
        return fail(exchange, "protocol", "a header of the answer has a zero byte");
    if (headers->len + name_len + value_len + 2 > HEADERS_MAX)
        return fail(exchange, "too_large", "the headers of the answer have more than 128 KiB");
    if (tally_full(exchange->tally, name_len + value_len))
        return fail(exchange, "too_large", no_room);
    text_put(headers, name, name_len);
    text_put(headers, "", 1);
    text_put(headers, value, value_len);
    text_put(headers, "", 1);
    count(exchange);
    return !headers->failed || fail(exchange, "no_memory", status_text(LN_ENOMEM));
}

static void on_head(void *owner, int status) {
    struct exchange *exchange = owner;
    exchange->status = status;
}

static enum http_taken refuse(struct exchange *exchange, const char *code, const char *detail) {
    fail(exchange, code, detail);
    return HTTP_STOP;
}

static enum http_taken on_body(void *owner, const char *bytes, size_t len) {
    struct exchange *exchange = owner;
    struct text *body = &exchange->body;
    if (exchange->streamed && body->len > 0 && body->len + len > WINDOW) {
        exchange->waits = true;
        return HTTP_WAIT;
    }
    if (!exchange->streamed && len > exchange->max - body->len) {
        char text[128];
        snprintf(text, sizeof(text),
                 "the answer has more than %zu bytes; `max_bytes` allows more, `stream` any",
                 exchange->max);
        return refuse(exchange, "too_large", text);
    }
    if (body->len + len >= body->size && tally_full(exchange->tally, body->size + len))
        return refuse(exchange, "too_large", no_room);
    text_put(body, bytes, len);
    count(exchange);
    return body->failed ? refuse(exchange, "no_memory", status_text(LN_ENOMEM)) : HTTP_TAKEN;
}

static enum http_taken on_read(void *owner, char *out, size_t size, size_t *len) {
    struct exchange *exchange = owner;
    *len = exchange->out_len < size ? exchange->out_len : size;
    if (*len == 0 && !exchange->out_ended) {
        exchange->out_waits = true;
        return HTTP_WAIT;
    }
    if (*len > 0)
        memcpy(out, exchange->out, *len);
    exchange->out += *len;
    exchange->out_len -= *len;
    return HTTP_TAKEN;
}

/* Something for read(), or room for write(). */
static bool is_ready(const struct exchange *exchange) {
    return exchange->over || (exchange->writes ? exchange->out_len == 0
                                               : exchange->streamed && exchange->body.len > 0);
}

static void wake(const struct exchange *exchange) {
    if (exchange->fiber != NULL && is_ready(exchange))
        fiber_wake(exchange->fiber, LN_OK);
}

static void on_news(void *owner) {
    wake(owner);
}

const struct http_sink exchange_sink = {
    .on_header = on_header,
    .on_head = on_head,
    .on_body = on_body,
    .on_read = on_read,
    .on_news = on_news,
};

static void end_span(struct exchange *exchange) {
    struct span_http what = {.method = exchange->method,
                             .url = exchange->url,
                             .status = exchange->status,
                             .code = exchange->code,
                             .error = exchange->code != NULL ? exchange->detail : NULL};
    span_http(&exchange->span, &what);
}

void exchange_failed(struct exchange *exchange, int status) {
    fail(exchange, status_word(status), status_text(status));
    end_span(exchange);
}

void exchange_done(void *owner, const struct http_reply *reply) {
    struct exchange *exchange = owner;
    list_remove(&exchange->node);
    exchange->call = NULL;
    exchange->over = true;
    if (reply->status == 0 && exchange->code == NULL)
        fail(exchange, reply->code, reply->error);
    end_span(exchange);
    wake(exchange);
}

/* ---- the end of an exchange ---- */

void exchange_end(struct exchange *exchange) {
    if (exchange->call != NULL) {
        exchange->api->cancel(exchange->call);
        if (exchange->status == 0 && exchange->code == NULL)
            fail(exchange, status_word(LN_ECANCELLED), status_text(LN_ECANCELLED));
    }
    exchange->call = NULL;
    exchange->over = true;
    list_remove(&exchange->node);
    end_span(exchange);
}

static struct exchange *check_exchange(lua_State *L) {
    return luaL_checkudata(L, 1, EXCHANGE_TYPE);
}

/* exchange:close(): what it still would bring is not wanted */
static int exchange_close(lua_State *L) {
    struct exchange *exchange = check_exchange(L);
    exchange_end(exchange);
    text_free(&exchange->headers);
    text_free(&exchange->body);
    if (exchange->counted > 0)
        count(exchange);
    return 0;
}

/* ---- reading ---- */

static int push_failed(lua_State *L, const char *code, const char *detail) {
    lua_pushnil(L);
    lua_pushstring(L, code);
    lua_pushstring(L, detail);
    return 3;
}

static void resume(struct exchange *exchange) {
    if (exchange->call == NULL || exchange->api->resume(exchange->call))
        return;
    if (exchange->code == NULL)
        fail(exchange, "no_memory", status_text(LN_ENOMEM));
    exchange_end(exchange);
}

/* What is ready. The memory of a piece is used for the next one. */
static int push_ready(lua_State *L, struct exchange *exchange) {
    if (exchange->code != NULL)
        return push_failed(L, exchange->code, exchange->detail);
    if (exchange->body.len == 0)
        return 0;
    lua_pushlstring(L, exchange->body.bytes, exchange->body.len);
    exchange->body.len = 0;
    if (exchange->waits) {
        exchange->waits = false;
        resume(exchange);
    }
    return 1;
}

static void abandon_read(struct fiber *fiber, void *area) {
    (void)fiber;
    (*(struct exchange **)area)->fiber = NULL;
}

static int read_done(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    struct fiber *fiber = wait_resumed(L);
    struct exchange *exchange = *(struct exchange **)fiber_wait_area(fiber);
    bool late = fiber_wake_status(fiber) == LN_ETIMEOUT;
    fiber_end_wait(fiber);
    if (late && exchange->code == NULL)
        fail(exchange, "timeout",
             exchange->status != 0 ? "not all of the answer has come in time"
                                   : "no answer in time");
    return push_ready(L, exchange);
}

/*
 * exchange:read(seconds) -> string, or nothing at the end | nil, code, detail
 * All of the body, or the next piece of one that is streamed.
 */
static int exchange_read(lua_State *L) {
    struct exchange *exchange = check_exchange(L);
    uint64_t ms = check_ms(L, 2);
    if (is_ready(exchange) || exchange->code != NULL)
        return push_ready(L, exchange);
    struct fiber *fiber = check_fiber(L, "app.http.request");
    if (exchange->fiber != NULL)
        return luaL_error(L, "somebody else reads from this exchange");
    struct exchange **area = fiber_begin_wait(fiber, abandon_read);
    *area = exchange; /* argument 1 keeps it alive */
    exchange->fiber = fiber;
    fiber_deadline(fiber, ms);
    return wait_yield(L, read_done);
}

/* ---- writing ---- */

static void abandon_write(struct fiber *fiber, void *area) {
    struct exchange *exchange = *(struct exchange **)area;
    abandon_read(fiber, area);
    exchange->out_len = 0;
    exchange->writes = false;
}

static int write_done(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    struct fiber *fiber = wait_resumed(L);
    struct exchange *exchange = *(struct exchange **)fiber_wait_area(fiber);
    if (fiber_wake_status(fiber) == LN_ETIMEOUT && exchange->code == NULL)
        fail(exchange, "timeout", "the server has not taken all of the request in time");
    fiber_end_wait(fiber);
    lua_pushboolean(L, !exchange->over && exchange->code == NULL);
    return 1;
}

static void send_more(struct exchange *exchange) {
    if (exchange->out_waits) {
        exchange->out_waits = false;
        resume(exchange);
    }
}

/*
 * exchange:write(bytes, seconds) -> boolean
 * A piece of the body, when it is on its way. False: no more is wanted, read() says why.
 */
static int exchange_write(lua_State *L) {
    struct exchange *exchange = check_exchange(L);
    size_t len;
    const char *bytes = luaL_checklstring(L, 2, &len);
    uint64_t ms = check_ms(L, 3);
    struct fiber *fiber = check_fiber(L, "app.http.request");
    if (exchange->over || exchange->fiber != NULL || len == 0) {
        lua_pushboolean(L, !exchange->over);
        return 1;
    }
    struct exchange **area = fiber_begin_wait(fiber, abandon_write);
    *area = exchange; /* arguments 1 and 2 stay where they are */
    exchange->fiber = fiber;
    exchange->writes = true;
    exchange->out = bytes;
    exchange->out_len = len;
    fiber_deadline(fiber, ms);
    send_more(exchange);
    if (is_ready(exchange))
        fiber_wake(fiber, LN_OK);
    return wait_yield(L, write_done);
}

/* exchange:finish(): the body has come to its end */
static int exchange_finish(lua_State *L) {
    struct exchange *exchange = check_exchange(L);
    exchange->out_ended = true;
    send_more(exchange);
    return 0;
}

/* exchange:head() -> status, { name, value, name, value, ... }; nothing before it has come */
static int exchange_head(lua_State *L) {
    const struct exchange *exchange = check_exchange(L);
    if (exchange->status == 0)
        return 0;
    lua_pushinteger(L, exchange->status);
    lua_newtable(L);
    const char *at = exchange->headers.bytes, *end = at + exchange->headers.len;
    for (lua_Integer i = 1; at != end; i++) {
        lua_pushstring(L, at);
        lua_rawseti(L, -2, i);
        at += strlen(at) + 1;
    }
    return 2;
}

static const luaL_Reg exchange_methods[] = {
    {"write", exchange_write}, {"finish", exchange_finish},
    {"read", exchange_read},   {"head", exchange_head},
    {"close", exchange_close}, {"__close", exchange_close},
    {"__gc", exchange_close},  {NULL, NULL},
};

void exchange_class(lua_State *L) {
    add_class(L, EXCHANGE_TYPE, exchange_methods);
}

struct exchange *push_exchange(lua_State *L, const struct http_client_api *api,
                               struct tally *tally) {
    struct exchange *exchange = lua_newuserdatauv(L, sizeof(*exchange), 1);
    *exchange = (struct exchange){.api = api, .tally = tally, .over = true};
    luaL_setmetatable(L, EXCHANGE_TYPE);
    return exchange;
}
