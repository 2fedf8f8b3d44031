/* SPDX-License-Identifier: Apache-2.0 */
/* A request as handlers see it: a table, so that it may be kept, changed and printed. */
#include <ctype.h>
#include <string.h>

#include "bindings/http/http.h"
#include "bindings/lib/lib.h"

#define SHORT_NAME 64

static void push_params(lua_State *L, struct exchange *exchange) {
    const struct path_template *path = exchange_template(exchange);
    lua_newtable(L);
    for (size_t i = 0; i < path->count; i++) {
        if (path->parts[i].kind == PATH_LITERAL)
            continue;
        size_t len = 0;
        const char *value = "";
        if (i < exchange->path.count)
            value = path_value(path, &exchange->path, i, &len);
        lua_pushlstring(L, value, len);
        lua_setfield(L, -2, path->parts[i].text);
    }
}

/* ---- headers ---- */

struct collected {
    struct http_header *array; /* NULL: they are only counted */
    size_t count, size;
};

static void collect(void *owner, const char *name, const char *value) {
    struct collected *collected = owner;
    if (collected->array != NULL && collected->count < collected->size)
        collected->array[collected->count] = (struct http_header){name, value};
    collected->count++;
}

static void push_lower(lua_State *L, const char *name) {
    char lower[SHORT_NAME];
    size_t len = strlen(name);
    luaL_Buffer buffer;
    char *out = len <= sizeof(lower) ? lower : luaL_buffinitsize(L, &buffer, len);
    for (size_t i = 0; i < len; i++)
        out[i] = (char)tolower((unsigned char)name[i]);
    if (out == lower)
        lua_pushlstring(L, lower, len);
    else
        luaL_pushresultsize(&buffer, len);
}

/* What is there several times is one value, as RFC 9110 has it. */
static void add_header(lua_State *L, const struct http_header *header) {
    push_lower(L, header->name);
    lua_pushvalue(L, -1); /* headers, name, name */
    if (lua_rawget(L, -3) == LUA_TNIL) {
        lua_pop(L, 1);
        lua_pushstring(L, header->value);
    } else {
        lua_pushstring(L, strcmp(lua_tostring(L, -2), "cookie") == 0 ? "; " : ", ");
        lua_pushstring(L, header->value);
        lua_concat(L, 3);
    }
    lua_rawset(L, -3);
}

static void push_headers(lua_State *L, const struct exchange *exchange) {
    struct collected counted = {0}, headers = {0};
    exchange->api->each_header(exchange->request, collect, &counted);
    headers.size = counted.count;
    headers.array = lua_newuserdatauv(L, (headers.size + 1) * sizeof(*headers.array), 0);
    exchange->api->each_header(exchange->request, collect, &headers);
    lua_createtable(L, 0, (int)headers.size);
    for (size_t i = 0; i < headers.size; i++)
        add_header(L, &headers.array[i]);
    lua_remove(L, -2);
}

/* ---- the whole ---- */

void push_http_request(lua_State *L, struct exchange *exchange) {
    const struct http_request *request = exchange->request;
    char remote[HTTP_REMOTE_SIZE];
    exchange->api->remote(request, remote);
    lua_createtable(L, 0, 12);
    lua_pushstring(L, request->method);
    lua_setfield(L, -2, "method");
    lua_pushstring(L, request->path);
    lua_setfield(L, -2, "path");
    lua_pushstring(L, request->query);
    lua_setfield(L, -2, "query_string");
    lua_pushlstring(L, request->body != NULL ? request->body : "", request->body_len);
    lua_setfield(L, -2, "body");
    lua_pushstring(L, remote);
    lua_setfield(L, -2, "remote");
    push_params(L, exchange);
    lua_setfield(L, -2, "params");
    push_headers(L, exchange);
    luaL_setmetatable(L, HTTP_REQUEST_TYPE ".headers");
    lua_setfield(L, -2, "headers");
    luaL_setmetatable(L, HTTP_REQUEST_TYPE);
}
