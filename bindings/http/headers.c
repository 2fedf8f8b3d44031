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

static size_t count_values(lua_State *L, int index) {
    size_t count = 0;
    if (!lua_istable(L, index))
        return 0;
    for (lua_pushnil(L); lua_next(L, index) != 0; lua_pop(L, 1))
        count += lua_istable(L, -1) ? lua_rawlen(L, -1) : 1;
    return count;
}

struct filling {
    struct http_header *array;
    size_t count, size;
    int keep; /* index of a table that keeps the values alive */
    bool type;
};

/* The value is on top of the stack and is popped. */
static void add(lua_State *L, struct filling *filling, const char *name) {
    if (filling->count == filling->size)
        raise_error(L, "app.http.response: the headers change");
    filling->array[filling->count].name = name;
    filling->array[filling->count].value = check_value(L, -1, name);
    filling->type |= strcasecmp(name, "Content-Type") == 0;
    filling->count++;
    lua_rawseti(L, filling->keep, (lua_Integer)filling->count); /* a number became a string */
}

static void fill(lua_State *L, int index, struct filling *filling) {
    if (!lua_istable(L, index))
        return;
    for (lua_pushnil(L); lua_next(L, index) != 0;) {
        check_name(L, -2);
        const char *name = lua_tostring(L, -2);
        if (!lua_istable(L, -1)) {
            add(L, filling, name);
            continue;
        }
        size_t values = lua_rawlen(L, -1);
        for (size_t i = 1; i <= values; i++) {
            lua_rawgeti(L, -1, (lua_Integer)i);
            add(L, filling, name);
        }
        lua_pop(L, 1);
    }
}

struct http_header *check_http_headers(lua_State *L, int index, int more, size_t *count,
                                       bool *type) {
    index = lua_absindex(L, index);
    more = lua_absindex(L, more);
    struct filling filling = {.size = count_values(L, index) + count_values(L, more)};
    filling.array = lua_newuserdatauv(L, (filling.size + 1) * sizeof(*filling.array), 0);
    lua_createtable(L, (int)filling.size, 0);
    filling.keep = lua_gettop(L);
    fill(L, index, &filling);
    fill(L, more, &filling);
    *count = filling.count;
    *type = filling.type;
    return filling.array;
}
