/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What comes of a handler: an answer, an error as an answer, a line in the log. The rules are
 * those of listeners (../outcome.c).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bindings/http/http.h"
#include "bindings/json/json.h"
#include "bindings/lib/lib.h"
#include "bindings/msg.h"
#include "bindings/outcome.h"
#include "host/base/log.h"
#include "host/base/unique.h"
#include "host/script/title.h"
#include "host/script/trace.h"
#include "host/trace/tracer.h"

#define ERROR_ID_LEN 8

/* ---- errors ---- */

/* The error value of a handler that has been reported. */
static const char told;

static void report(struct exchange *exchange, const char *label,
                   const struct script_error *error) {
    const struct web_route_options *options = web_route_options(exchange->route);
    struct script_error full = *error;
    char *text = NULL;
    int len =
        asprintf(&text, "HTTP %s %s: %s%s", options->method != NULL ? options->method : "any",
                 options->path, label, error->text);
    if (len >= 0)
        full.text = text;
    full.kind = "http";
    full.name = options->path;
    script_report_error(web_route_script(exchange->route), &full);
    if (len >= 0)
        free(text);
}

/* An error that is not meant for the client: it gets an id of it. */
static void raised(struct exchange *exchange, const struct script_error *error,
                   const char *text) {
    char id[UNIQUE_SIZE] = "", shown[40], label[48] = "";
    struct script_error full = *error;
    const struct script *script = web_route_script(exchange->route);
    bool hide = service_options(script_service(script))->short_errors;
    if (hide && unique_name(id) == LN_OK) {
        id[ERROR_ID_LEN] = '\0';
        full.id = id;
    }
    snprintf(shown, sizeof(shown), "internal error %s", id);
    if (hide)
        snprintf(label, sizeof(label), "%s: ", shown);
    report(exchange, label, &full);
    trace_failed(exchange->trace, text, error->text);
    if (!exchange->streaming)
        exchange_fail(exchange, 500, hide ? shown : text, -1);
}

/* What the client is told of an error value. */
static int fail(lua_State *L, struct exchange *exchange, int index) {
    index = lua_absindex(L, index);
    int code = outcome_code(L, index), status = code >= 400 && code < 600 ? code : 500;
    double seconds = outcome_retry_after(L, index);
    if (!exchange->streaming)
        exchange_fail(exchange, status, error_text(L, index), seconds);
    return 0;
}

static void report_raised(lua_State *L, struct exchange *exchange, int index,
                          const char *trace) {
    struct script_error error = {.text = trace, .L = L, .value = lua_absindex(L, index)};
    if (!outcome_has_code(L, index)) {
        raised(exchange, &error, error_text(L, index));
        return;
    }
    report(exchange, "", &error);
    fail(L, exchange, index);
}

int http_on_error(lua_State *L) {
    struct script *script = script_of(L);
    struct fiber *fiber = fibers_current(script_fibers(script));
    struct exchange *exchange = fiber_arg(fiber);
    if (fiber_cancelled(fiber))
        return 1;
    if (outcome_is_senders(L, 1)) {
        log_warn(service_name(script_service(script)), "%s", error_text(L, 1));
        fail(L, exchange, 1);
    } else {
        luaL_traceback(L, L, error_text(L, 1), 1);
        report_raised(L, exchange, 1, lua_tostring(L, -1));
    }
    lua_pushlightuserdata(L, (void *)(uintptr_t)&told);
    return 1;
}

void http_on_end(struct exchange *exchange, int status, const char *text) {
    if (status == LN_ESCRIPT)
        raised(exchange, &(struct script_error){.text = text}, text);
}

/* ---- answers ---- */

/* What is known of an answer before anything is made that would have to be freed. */
struct answer {
    struct http_response response;
    struct http_file file;
    const char *body; /* borrowed from the stack, or the JSON codec */
};

static void set_type(struct http_header *headers, struct answer *answer, bool has_type,
                     const char *type) {
    if (!has_type && type != NULL)
        headers[answer->response.header_count++] = (struct http_header){"Content-Type", type};
    answer->response.headers = headers;
}

static int answer_with(struct exchange *exchange, struct answer *answer) {
    struct http_response *response = &answer->response;
    if (!exchange_has_room(exchange, response->len)) {
        static const char text[] = "the answer does not fit into the memory of the service, as "
                                   "clients have not read others yet (--memory)";
        report(exchange, "", &(struct script_error){.text = text});
        exchange_fail(exchange, 503, "not enough memory", -1);
        return 0;
    }
    if (response->len > 0 && (response->body = malloc(response->len)) == NULL) {
        exchange_fail(exchange, 503, "out of memory", -1);
        return 0;
    }
    if (response->len > 0)
        memcpy(response->body, answer->body, response->len);
    exchange_answer(exchange, response);
    return 0;
}

/* Pushes what the request says of the headers of its answer, and the headers. */
static struct http_header *push_own_headers(lua_State *L, int index, struct answer *answer,
                                            bool *has_type) {
    index = lua_absindex(L, index);
    lua_pushliteral(L, "response_headers");
    lua_rawget(L, HTTP_AT_REQUEST);
    return check_http_headers(L, index, -1, &answer->response.header_count, has_type);
}

static const char *type_of(lua_State *L, int index) {
    return lua_type(L, index) == LUA_TSTRING ? "text/plain; charset=utf-8" : "application/json";
}

/* A value that is no response: its headers are those of the request at most. */
static int send_value(lua_State *L, struct exchange *exchange, int index) {
    struct answer answer = {.response = {.status = lua_isnil(L, index) ? 204 : 200}};
    bool has_type;
    lua_pushnil(L);
    struct http_header *headers = push_own_headers(L, -1, &answer, &has_type);
    set_type(headers, &answer, has_type, lua_isnil(L, index) ? NULL : type_of(L, index));
    answer.body = check_message(L, index, &answer.response.len);
    return answer_with(exchange, &answer);
}

/* What a message says of its payload. A codec is the script's: its field is pushed. */
static const char *type_of_msg(lua_State *L, int index, const struct msg *msg) {
    if (msg->len == 0)
        return NULL;
    if (msg->type != MSG_CODEC)
        return msg->type == MSG_STRING ? "text/plain; charset=utf-8" : "application/json";
    msg_push_codec(L, index);
    return lua_getfield(L, -1, "content_type") == LUA_TSTRING ? lua_tostring(L, -1)
                                                              : "application/octet-stream";
}

/* A message that somebody else has answered with. */
static int send_msg(lua_State *L, struct exchange *exchange, const struct msg *msg) {
    struct answer answer = {.response = {.status = msg->len > 0 ? 200 : 204}};
    bool has_type;
    const char *type = type_of_msg(L, HTTP_AT_RESULT, msg);
    lua_pushnil(L);
    struct http_header *headers = push_own_headers(L, -1, &answer, &has_type);
    set_type(headers, &answer, has_type, type);
    answer.body = msg->data;
    answer.response.len = msg->len;
    return answer_with(exchange, &answer);
}

static int stream_done(lua_State *L, int status, lua_KContext context) {
    struct exchange *exchange = (struct exchange *)context;
    bool success = status == LUA_OK || status == LUA_YIELD;
    if (!success && fiber_cancelled(fibers_current(script_fibers(script_of(L)))))
        return lua_error(L);
    if (!success && lua_touserdata(L, -1) != &told)
        report_raised(L, exchange, lua_gettop(L), error_alone(L, lua_gettop(L)));
    exchange_finish(exchange, success);
    return 0;
}

static int send_stream(lua_State *L, struct exchange *exchange, struct answer *answer, int at) {
    answer->response.stream = true;
    push_http_writer(L, exchange);
    exchange_begin(exchange, &answer->response);
    lua_pushvalue(L, at);
    lua_insert(L, -2);
    int status =
        lua_pcallk(L, 1, 0, HTTP_AT_ERROR_HANDLER, (lua_KContext)exchange, stream_done);
    return stream_done(L, status, (lua_KContext)exchange);
}

static lua_Integer integer_field(lua_State *L, int index, const char *name, lua_Integer def) {
    lua_getfield(L, index, name);
    lua_Integer value = luaL_optinteger(L, -1, def);
    lua_pop(L, 1);
    return value;
}

/* A table of app.http.response(), which has checked its fields. */
static int send_response(lua_State *L, struct exchange *exchange, int index) {
    struct answer answer = {.response = {.status = (int)integer_field(L, index, "status", 0)}};
    bool has_type;
    lua_getfield(L, index, "headers");
    struct http_header *headers = push_own_headers(L, -1, &answer, &has_type);
    if (lua_getfield(L, index, "stream") == LUA_TFUNCTION) {
        set_type(headers, &answer, has_type, "text/plain; charset=utf-8");
        return send_stream(L, exchange, &answer, lua_gettop(L));
    }
    lua_getfield(L, index, "body");
    int body = lua_gettop(L);
    bool empty = lua_isnil(L, body);
    lua_getfield(L, index, "file");
    if (lua_isuserdata(L, -1)) {
        answer.file.offset = (uint64_t)integer_field(L, index, "offset", 0);
        answer.file.len = (uint64_t)integer_field(L, index, "length", 0);
        if (!take_http_file(L, -1, &answer.file))
            return raise_error(L, "app.http.response: this file was sent already");
        answer.response.file = &answer.file;
        set_type(headers, &answer, true, NULL);
        return answer_with(exchange, &answer);
    }
    if (answer.response.status == 0)
        answer.response.status = empty ? 204 : 200;
    set_type(headers, &answer, has_type, empty ? NULL : type_of(L, body));
    answer.body = check_message(L, body, &answer.response.len);
    return answer_with(exchange, &answer);
}

static bool is_response(lua_State *L, int index) {
    if (!lua_istable(L, index) || !lua_getmetatable(L, index))
        return false;
    luaL_getmetatable(L, HTTP_RESPONSE_TYPE);
    bool same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return same;
}

static int reply(lua_State *L, struct exchange *exchange) {
    const int result = HTTP_AT_RESULT;
    int type = lua_type(L, result);
    if (type == LUA_TNIL && !lua_isnil(L, result + 1))
        return fail(L, exchange, result + 1);
    const struct msg *msg = type == LUA_TUSERDATA ? test_msg(L, result) : NULL;
    if (msg != NULL && push_msg_error(L, msg))
        return fail(L, exchange, -1);
    if (msg != NULL)
        return send_msg(L, exchange, msg);
    return is_response(L, result) ? send_response(L, exchange, result)
                                  : send_value(L, exchange, result);
}

/* Answers with what has failed, and with the headers that the request has for its answer. */
static int refuse(lua_State *L, struct exchange *exchange) {
    struct answer answer = {0};
    bool has_type;
    lua_pushnil(L);
    const struct http_header *headers = push_own_headers(L, -1, &answer, &has_type);
    exchange_refuse(exchange, headers, answer.response.header_count);
    return 0;
}

int http_outcome(lua_State *L, int status, lua_KContext context) {
    struct exchange *exchange = (struct exchange *)context;
    bool success = status == LUA_OK || status == LUA_YIELD;
    if (!success && fiber_cancelled(fibers_current(script_fibers(script_of(L)))))
        return lua_error(L); /* the fiber ends as cancelled */
    if (success)
        reply(L, exchange);
    else if (lua_touserdata(L, -1) != &told)
        report_raised(L, exchange, lua_gettop(L), error_alone(L, lua_gettop(L)));
    return exchange->failure.status != 0 ? refuse(L, exchange) : 0;
}
