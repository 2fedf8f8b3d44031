/* SPDX-License-Identifier: Apache-2.0 */
/* The headers of an answer: a table of strings, numbers, or lists of them. */
#include <string.h>
#include <strings.h>

#include "bindings/http/http.h"
#include "bindings/lib/lib.h"

/* They say how the answer travels, which is not the script's business. */
static const char *const ours[] = {"Content-Length", "Transfer-Encoding", "Connection",
                                   "Keep-Alive", "Date"};

static void check_name(lua_State *L, int index) {
    static const char token[] = "!#$%&'*+-.^_`|~0123456789"
                                "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    size_t len;
    if (lua_type(L, index) != LUA_TSTRING)
        raise_error(L, "app.http.response: the name of a header must be a string");
    const char *name = lua_tolstring(L, index, &len);
    if (len == 0 || strspn(name, token) != len)
        raise_error(L, "app.http.response: '%s' is not the name of a header", name);
    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
        if (strcasecmp(name, ours[i]) == 0)
            raise_error(L, "app.http.response: %s is set by the host", name);
}

static const char *check_value(lua_State *L, int index, const char *name) {
    size_t len;
    int type = lua_type(L, index);
    if (type != LUA_TSTRING && type != LUA_TNUMBER)
        raise_error(L, "app.http.response: header %s: a string, a number or a list expected",
                    name);
    const char *value = lua_tolstring(L, index, &len);
    if (strcspn(value, "\r\n") != len)
        raise_error(L, "app.http.response: header %s: no line breaks and zero bytes", name);
    return value;
}

/* Adds a name and what is on top of the stack, which it pops, to the list at `list`. */
static void add(lua_State *L, int list, lua_Integer *count, int name) {
    lua_pushvalue(L, name);
    lua_rawseti(L, list, 2 * *count + 1);
    lua_rawseti(L, list, 2 * *count + 2);
    ++*count;
}

/*
 * Adds the names and values of the table at `index` to the list, and checks the names. Nothing
 * here can run Lua, so this is the table as it is at one moment; what a list has is counted as
 * it is read: its length may be anything, as Lua takes a hole for its end.
 */
static void add_pairs(lua_State *L, int index, int list, lua_Integer *count) {
    if (!lua_istable(L, index))
        return;
    for (lua_pushnil(L); lua_next(L, index) != 0; lua_pop(L, 1)) { /* name, value */
        int name = lua_gettop(L) - 1;
        check_name(L, name);
        if (!lua_istable(L, name + 1)) {
            lua_pushvalue(L, name + 1);
            add(L, list, count, name);
            continue;
        }
        size_t values = lua_rawlen(L, name + 1);
        for (size_t i = 1; i <= values; i++) {
            if (lua_rawgeti(L, name + 1, (lua_Integer)i) == LUA_TNIL)
                check_value(L, -1, lua_tostring(L, name)); /* raises */
            add(L, list, count, name);
        }
    }
}

struct http_header *check_http_headers(lua_State *L, int index, int more, size_t *count,
                                       bool *type) {
    lua_Integer pairs = 0;
    index = lua_absindex(L, index);
    more = lua_absindex(L, more);
    lua_createtable(L, 8, 0); /* keeps names and values alive */
    int list = lua_gettop(L);
    add_pairs(L, index, list, &pairs);
    add_pairs(L, more, list, &pairs);
    struct http_header *headers =
        lua_newuserdatauv(L, ((size_t)pairs + 1) * sizeof(*headers), 0);
    *type = false;
    for (lua_Integer i = 0; i < pairs; i++) {
        lua_rawgeti(L, list, 2 * i + 1);
        lua_rawgeti(L, list, 2 * i + 2);
        headers[i].name = lua_tostring(L, -2);
        headers[i].value = check_value(L, -1, headers[i].name);
        lua_rawseti(L, list, 2 * i + 2); /* a number became a string */
        lua_pop(L, 1);
        *type |= strcasecmp(headers[i].name, "Content-Type") == 0;
    }
    *count = (size_t)pairs;
    return headers;
}
