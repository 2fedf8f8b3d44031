/* SPDX-License-Identifier: Apache-2.0 */
/* Arguments from Lua: options with suggestions, seconds, subjects, headers. */
#include <math.h>
#include <string.h>

#include "bindings/lib/lib.h"
#include "host/base/nearest.h"

/* ---- options ---- */

static bool type_allowed(const char *types, const char *type) {
    size_t len = strlen(type);
    for (const char *at = types; at != NULL; at = strchr(at, '|')) {
        at += *at == '|';
        if (strncmp(at, type, len) == 0 && (at[len] == '\0' || at[len] == '|'))
            return true;
    }
    return types == NULL;
}

static void raise_unknown(lua_State *L, const char *what, const char *name,
                          const struct option *known) {
    struct nearest nearest = nearest_to(name);
    for (; known->name != NULL; known++)
        nearest_try(&nearest, known->name);
    if (nearest.best != NULL)
        raise_error(L, "%s: unknown option '%s' (did you mean '%s'?)", what, name,
                    nearest.best);
    raise_error(L, "%s: unknown option '%s'", what, name);
}

bool check_options(lua_State *L, int arg, const char *what, const struct option *known) {
    if (lua_isnoneornil(L, arg))
        return false;
    if (!lua_istable(L, arg))
        raise_error(L, "%s: the options (argument %d) must be a table, not a %s", what, arg,
                    luaL_typename(L, arg));
    for (lua_pushnil(L); lua_next(L, arg) != 0; lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING)
            raise_error(L, "%s: the names of options are strings, not a %s", what,
                        luaL_typename(L, -2));
        const char *name = lua_tostring(L, -2);
        const struct option *at = known;
        while (at->name != NULL && strcmp(at->name, name) != 0)
            at++;
        if (at->name == NULL)
            raise_unknown(L, what, name, known);
        if (!type_allowed(at->types, luaL_typename(L, -1)))
            raise_error(L, "%s: option '%s' must be a %s, not a %s", what, name, at->types,
                        luaL_typename(L, -1));
    }
    return true;
}

static uint64_t to_ms(lua_State *L, int arg, lua_Number seconds, const char *name) {
    if (!(seconds >= 0)) /* NaN included */
        raise_error(L, "bad argument #%d: %s must be 0 or more seconds", arg, name);
    if (seconds > 1e9)
        seconds = 1e9; /* "never", and no overflow */
    /* A microsecond off for what computing with seconds has added: 3600.0000000001 is an hour.
     */
    double ms = ceil(seconds * 1000 - 1e-3);
    return ms > 0 ? (uint64_t)ms : 0;
}

uint64_t option_ms(lua_State *L, int arg, const char *name, uint64_t def) {
    if (!lua_istable(L, arg))
        return def;
    uint64_t ms = def;
    if (lua_getfield(L, arg, name) == LUA_TNUMBER)
        ms = to_ms(L, arg, lua_tonumber(L, -1), name);
    lua_pop(L, 1);
    return ms;
}

uint64_t check_ms(lua_State *L, int arg) {
    return to_ms(L, arg, luaL_checknumber(L, arg), "time");
}

/* ---- subjects ---- */

const char *check_subject(lua_State *L, int arg) {
    size_t len;
    const char *subject = luaL_checklstring(L, arg, &len);
    if (!link_subject_ok(subject, len))
        raise_error(L,
                    "invalid subject '%s': tokens are separated by single dots, without blanks "
                    "and wildcards",
                    subject);
    return subject;
}

const char *check_pattern(lua_State *L, int arg) {
    size_t len;
    const char *subject = luaL_checklstring(L, arg, &len);
    if (!link_pattern_ok(subject, len))
        raise_error(L,
                    "invalid subject '%s': tokens are separated by single dots; '*' stands for "
                    "one whole token, '>' ends it",
                    subject);
    return subject;
}

/* ---- headers ---- */

/* Counts the values of the headers table and checks names and types. */
static size_t count_headers(lua_State *L, int index) {
    size_t count = 0;
    for (lua_pushnil(L); lua_next(L, index) != 0; lua_pop(L, 1)) {
        size_t len = 0;
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tolstring(L, -2, &len) : "";
        if (!link_header_name_ok(name, len))
            raise_error(L, "invalid header name '%s'", name);
        count += lua_istable(L, -1) ? (size_t)lua_rawlen(L, -1) : 1;
    }
    return count;
}

/* Checks the value on top of the stack and returns its text, kept alive by the table `keep`. */
static const char *header_value(lua_State *L, int keep, const char *name) {
    int type = lua_type(L, -1);
    if (type != LUA_TSTRING && type != LUA_TNUMBER)
        raise_error(L, "header '%s' must be a string or a number, not a %s", name,
                    luaL_typename(L, -1));
    size_t len;
    lua_pushvalue(L, -1);
    const char *value = lua_tolstring(L, -1, &len);
    if (!link_header_value_ok(value, len))
        raise_error(L, "the value of header '%s' must not hold line breaks or zero bytes",
                    name);
    lua_rawsetp(L, keep, value);
    return value;
}

const struct link_header *check_headers(lua_State *L, int index, size_t *count) {
    *count = 0;
    if (lua_isnoneornil(L, index)) {
        lua_pushnil(L);
        return NULL;
    }
    index = lua_absindex(L, index);
    if (!lua_istable(L, index))
        raise_error(L, "headers must be a table, not a %s", luaL_typename(L, index));
    size_t total = count_headers(L, index);
    struct link_header *headers =
        lua_newuserdatauv(L, (total + 1) * sizeof(struct link_header), 1); /* box */
    int box = lua_gettop(L);
    lua_newtable(L); /* box, keep */
    for (lua_pushnil(L); lua_next(L, index) != 0; lua_pop(L, 1)) {
        const char *name = lua_tostring(L, -2);
        size_t values = lua_istable(L, -1) ? (size_t)lua_rawlen(L, -1) : 0;
        if (!lua_istable(L, -1))
            headers[(*count)++] = (struct link_header){name, header_value(L, box + 1, name)};
        for (size_t i = 1; i <= values && *count < total; i++) {
            lua_rawgeti(L, -1, (lua_Integer)i);
            headers[(*count)++] = (struct link_header){name, header_value(L, box + 1, name)};
            lua_pop(L, 1);
        }
    }
    lua_setiuservalue(L, box, 1); /* box */
    return headers;
}
