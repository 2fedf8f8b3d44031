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
                          const struct nearest *nearest) {
    if (nearest->best != NULL)
        raise_error(L, "%s: unknown option '%s' (did you mean '%s'?)", what, name,
                    nearest->best);
    raise_error(L, "%s: unknown option '%s'", what, name);
}

/* Finds one of `known`, or raises. */
static const char *types_of(lua_State *L, const char *what, const char *name,
                            const struct option *known) {
    const struct option *at = known;
    while (at->name != NULL && strcmp(at->name, name) != 0)
        at++;
    if (at->name != NULL)
        return at->types;
    struct nearest nearest = nearest_to(name);
    for (at = known; at->name != NULL; at++)
        nearest_try(&nearest, at->name);
    raise_unknown(L, what, name, &nearest);
    return NULL;
}

/* The same for the table at `known`, whose values are types, or true for any. The name is the
 * second value from the top. */
static const char *types_in(lua_State *L, const char *what, int known) {
    const char *name = lua_tostring(L, -2);
    lua_pushvalue(L, -2);
    int type = lua_rawget(L, known);
    const char *types = type == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
    lua_pop(L, 1); /* it stays in the table: nothing runs Lua before it is used */
    if (type != LUA_TNIL)
        return types;
    struct nearest nearest = nearest_to(name);
    for (lua_pushnil(L); lua_next(L, known) != 0; lua_pop(L, 1))
        if (lua_type(L, -2) == LUA_TSTRING)
            nearest_try(&nearest, lua_tostring(L, -2));
    raise_unknown(L, what, name, &nearest);
    return NULL;
}

static bool check_each(lua_State *L, int arg, const char *what, const struct option *known,
                       int known_at, const char *mark, bool *marked) {
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
        const char *types =
            known != NULL ? types_of(L, what, name, known) : types_in(L, what, known_at);
        if (types == mark && mark != NULL)
            *marked = true;
        if (!type_allowed(types, luaL_typename(L, -1)))
            raise_error(L, "%s: option '%s' must be a %s, not a %s", what, name, types,
                        luaL_typename(L, -1));
    }
    return true;
}

bool check_options(lua_State *L, int arg, const char *what, const struct option *known) {
    return check_each(L, arg, what, known, 0, NULL, NULL);
}

bool check_options_marked(lua_State *L, int arg, const char *what, const struct option *known,
                          const char *mark) {
    bool marked = false;
    check_each(L, arg, what, known, 0, mark, &marked);
    return marked;
}

bool check_options_table(lua_State *L, int arg, const char *what, int known) {
    return check_each(L, arg, what, NULL, known, NULL, NULL);
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
    if (!lua_isnumber(L, arg))
        raise_error(L, "bad argument #%d: time must be a number of seconds, not a %s", arg,
                    luaL_typename(L, arg));
    return to_ms(L, arg, lua_tonumber(L, arg), "time");
}

/* ---- subjects ---- */

static const char *check_text(lua_State *L, int arg, size_t *len) {
    if (!lua_isstring(L, arg))
        raise_error(L, "bad argument #%d: a subject must be a string, not a %s", arg,
                    luaL_typename(L, arg));
    return lua_tolstring(L, arg, len);
}

const char *check_subject(lua_State *L, int arg) {
    size_t len;
    const char *subject = check_text(L, arg, &len);
    if (!link_subject_ok(subject, len))
        raise_error(L,
                    "invalid subject '%s': tokens are separated by single dots, without blanks "
                    "and wildcards",
                    subject);
    return subject;
}

const char *check_pattern(lua_State *L, int arg) {
    size_t len;
    const char *subject = check_text(L, arg, &len);
    if (!link_pattern_ok(subject, len))
        raise_error(
            L,
            "invalid subject '%s': tokens are separated by single dots, without blanks; "
            "'*' stands for one whole token, '>' ends it",
            subject);
    return subject;
}

/* ---- headers ---- */

/*
 * Pushes the names and values of the headers table, name, value, name, value, ..., and checks
 * the names. Nothing here can run Lua, so this is the table as it is at one moment: even
 * lua_pushstring() may run a finalizer, which may change it. Returns the stack index behind.
 */
static int push_pairs(lua_State *L, int index) {
    int first = lua_gettop(L) + 1;
    for (lua_pushnil(L); lua_next(L, index) != 0;) { /* ..., name, value */
        size_t len = 0;
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tolstring(L, -2, &len) : "";
        if (!link_header_name_ok(name, len))
            raise_error(L, "invalid header name '%s'", name);
        luaL_checkstack(L, 8, "too many headers");
        lua_pushvalue(L, -2);
    }
    int end = lua_gettop(L) + 1;
    for (int at = first; at < end; at += 2) { /* the items of lists go behind them */
        size_t items = lua_istable(L, at + 1) ? (size_t)lua_rawlen(L, at + 1) : 0;
        for (size_t i = 1; i <= items; i++) {
            luaL_checkstack(L, 8, "too many headers");
            lua_pushvalue(L, at);
            if (lua_rawgeti(L, at + 1, (lua_Integer)i) == LUA_TTABLE)
                raise_error(L, "header '%s' must be a string or a number, not a table",
                            lua_tostring(L, at));
        }
    }
    return lua_gettop(L) + 1;
}

/* The value at `index` as text, which stays there. */
static const char *header_value(lua_State *L, int index) {
    const char *name = lua_tostring(L, index - 1);
    int type = lua_type(L, index);
    if (type != LUA_TSTRING && type != LUA_TNUMBER)
        raise_error(L, "header '%s' must be a string or a number, not a %s", name,
                    lua_typename(L, type));
    size_t len;
    const char *value = lua_tolstring(L, index, &len);
    if (!link_header_value_ok(value, len))
        raise_error(L, "the value of header '%s' must not hold line breaks or zero bytes",
                    name);
    return value;
}

static int is_of_server(const char *name) {
    return strncmp(name, "Nats-", 5) == 0;
}

const struct link_header *check_headers(lua_State *L, int index, size_t *count) {
    *count = 0;
    if (lua_isnoneornil(L, index))
        return NULL;
    index = lua_absindex(L, index);
    if (!lua_istable(L, index))
        raise_error(L, "headers must be a table, not a %s", luaL_typename(L, index));
    int first = lua_gettop(L) + 1, end = push_pairs(L, index);
    size_t most = (size_t)(end - first) / 2;
    struct link_header *headers = lua_newuserdatauv(L, (most + 1) * sizeof(*headers), 0);
    /* Servers (seen with 2.9.10) look at the first place only where the name of one of their
     * headers is found, and see no header if that is the end of a longer name. */
    for (int of_server = 1; of_server >= 0; of_server--)
        for (int at = first; at < end; at += 2) {
            const char *name = lua_tostring(L, at);
            if (!lua_istable(L, at + 1) && is_of_server(name) == of_server)
                headers[(*count)++] = (struct link_header){name, header_value(L, at + 1)};
        }
    return headers;
}
