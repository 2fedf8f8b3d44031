/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Routes: declaring them, and running the handler for each request in a fiber of its own.
 * core.http_in() makes the table of all this when a script first uses app.http.
 */
#include <string.h>

#include "bindings/bindings.h"
#include "bindings/http/http.h"
#include "bindings/lib/lib.h"

#define ROUTE_TYPE "lunats.http.route"

/* What lets a page of another origin read the answer, whatever comes of the handler. */
static void set_cors(lua_State *L, const struct exchange *exchange) {
    struct http_header headers[WEB_CORS_HEADERS];
    size_t count = exchange_cors(exchange, headers);
    if (count == 0)
        return;
    lua_pushliteral(L, "response_headers");
    lua_createtable(L, 0, (int)count);
    for (size_t i = 0; i < count; i++) {
        lua_pushstring(L, headers[i].value);
        lua_setfield(L, -2, headers[i].name);
    }
    lua_rawset(L, HTTP_AT_REQUEST);
}

static int body(lua_State *L) {
    struct exchange *exchange = lua_touserdata(L, HTTP_AT_EXCHANGE);
    exchange->fiber = fibers_current(script_fibers(script_of(L)));
    if (exchange->request == NULL)
        return 0; /* its client has gone before it began */
    exchange_begin_trace(exchange);
    lua_pushcfunction(L, http_on_error);
    push_http_request(L, exchange);
    set_cors(L, exchange);
    lua_rawgeti(L, LUA_REGISTRYINDEX, web_route_options(exchange->route)->handler);
    lua_pushvalue(L, HTTP_AT_REQUEST);
    int status =
        lua_pcallk(L, 1, 2, HTTP_AT_ERROR_HANDLER, (lua_KContext)exchange, http_outcome);
    return http_outcome(L, status, (lua_KContext)exchange);
}

/* http.route(method | "any", path, { max_body = bytes, background = boolean, where =,
 * origins =, expose =, credentials = boolean }, fn) -> route. Checked by the Lua side. */
static int http_route(lua_State *L) {
    static const char *const methods[] = {"any",   "GET",    "POST",    "PUT",
                                          "PATCH", "DELETE", "OPTIONS", NULL};
    struct script *script = script_of(L);
    struct web *web = service_options(script_service(script))->web;
    char error[512];
    check_open(L);
    luaL_checktype(L, 3, LUA_TTABLE);
    luaL_checktype(L, 4, LUA_TFUNCTION);
    lua_settop(L, 4);
    check_memory(L, "declare a route");
    lua_getfield(L, 3, "max_body");
    lua_getfield(L, 3, "background");
    lua_getfield(L, 3, "where");
    lua_getfield(L, 3, "origins");
    lua_getfield(L, 3, "expose");
    lua_getfield(L, 3, "credentials");
    int method = luaL_checkoption(L, 1, NULL, methods);
    struct web_route_options options = {
        .method = method > 0 ? methods[method] : NULL,
        .max_body = (size_t)luaL_optinteger(L, 5, (lua_Integer)WEB_BODY_MAX),
        .kind = lua_toboolean(L, 6) ? FIBER_BACKGROUND : FIBER_HANDLER,
        .body = body,
        .on_end = http_on_end,
        .where = luaL_checkstring(L, 7),
        .origins = luaL_optstring(L, 8, NULL),
        .expose = luaL_optstring(L, 9, NULL),
        .credentials = lua_toboolean(L, 10),
    };
    options.path = luaL_checklstring(L, 2, &options.path_len);
    struct web_route **box = lua_newuserdatauv(L, sizeof(*box), 0);
    *box = NULL;
    luaL_setmetatable(L, ROUTE_TYPE);
    if (web == NULL || script_state(script) == SCRIPT_RETIRING)
        return raise_error(L, "app.http: the script has ended, or cannot serve");
    lua_pushvalue(L, 4);
    options.handler = luaL_ref(L, LUA_REGISTRYINDEX);
    int rc = web_route_open(box, web, script, &options, error, sizeof(error));
    if (rc < 0)
        luaL_unref(L, LUA_REGISTRYINDEX, options.handler);
    if (rc == LN_EINVAL)
        return raise_error(L, "app.http: %s", error);
    return rc < 0 ? luaL_error(L, "app.http: %s", status_text(rc)) : 1;
}

/* route:stop(): no further requests; those that run go on. */
static int route_stop(lua_State *L) {
    check_open(L);
    web_route_stop(*(struct web_route **)luaL_checkudata(L, 1, ROUTE_TYPE));
    return 0;
}

/* http.decode(text, plus) -> text | nil */
static int http_decode(lua_State *L) {
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    luaL_Buffer buffer;
    char *out = luaL_buffinitsize(L, &buffer, len);
    memcpy(out, text, len);
    len = path_decode(out, len, lua_toboolean(L, 2));
    luaL_pushresultsize(&buffer, len != SIZE_MAX ? len : 0);
    if (len == SIZE_MAX)
        lua_pushnil(L);
    return 1;
}

static void set_integer(lua_State *L, const char *name, size_t value) {
    lua_pushinteger(L, (lua_Integer)value);
    lua_setfield(L, -2, name);
}

/* http.routes() -> list of { method =, path =, where =, requests =, errors =, running = } */
static int http_routes(lua_State *L) {
    const struct script *script = script_of(L);
    const struct web *web = service_options(script_service(script))->web;
    lua_Integer count = 0;
    lua_newtable(L);
    for (struct web_route *at = NULL; web != NULL && (at = web_route_next(web, at)) != NULL;) {
        const struct web_route_options *options = web_route_options(at);
        struct web_route_stats stats;
        if (web_route_script(at) != script)
            continue;
        web_route_get_stats(at, &stats);
        lua_createtable(L, 0, 6);
        lua_pushstring(L, options->method != NULL ? options->method : "any");
        lua_setfield(L, -2, "method");
        lua_pushstring(L, options->path);
        lua_setfield(L, -2, "path");
        lua_pushstring(L, options->where);
        lua_setfield(L, -2, "where");
        set_integer(L, "requests", stats.requests);
        set_integer(L, "errors", stats.errors);
        set_integer(L, "running", stats.running);
        lua_rawseti(L, -2, ++count);
    }
    return 1;
}

/* core.http_in() -> the table of what app.http is made with */
static int core_http_in(lua_State *L) {
    static const luaL_Reg methods[] = {{"stop", route_stop}, {NULL, NULL}};
    static const luaL_Reg functions[] = {
        {"route", http_route},
        {"routes", http_routes},
        {"decode", http_decode},
        {"open_file", http_open_file},
        {"real_folder", http_real_folder},
        {NULL, NULL},
    };
    add_class(L, ROUTE_TYPE, methods);
    http_stream_class(L);
    http_file_class(L);
    luaL_newlib(L, functions);
    luaL_newmetatable(L, HTTP_REQUEST_TYPE);
    lua_setfield(L, -2, "request_class");
    luaL_newmetatable(L, HTTP_REQUEST_TYPE ".headers");
    lua_setfield(L, -2, "headers_class");
    luaL_newmetatable(L, HTTP_RESPONSE_TYPE);
    lua_setfield(L, -2, "response_class");
    return 1;
}

void bindings_http(lua_State *L) {
    lua_pushcfunction(L, core_http_in);
    lua_setfield(L, -2, "http_in");
}
