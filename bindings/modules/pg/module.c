/* SPDX-License-Identifier: Apache-2.0 */
/* What scripts/pg.lua gets: core.native "pg". */
#include <string.h>

#include "bindings/modules/pg/internal.h"
#include "host/base/module.h"

/*
 * native.parse(dsn) -> { keyword = value } | nil. Why it cannot be read libpq says with a piece
 * of it, which may be a secret.
 */
static int pg_parse(lua_State *L) {
    const char *dsn = luaL_checkstring(L, 1);
    luaL_checkstack(L, LUA_MINSTACK, NULL);
    char *why = NULL;
    PQconninfoOption *options = PQconninfoParse(dsn, &why);
    PQfreemem(why);
    if (options == NULL) {
        lua_pushnil(L);
        return 1;
    }
    /* Everything that may raise comes behind a copy that Lua owns. */
    size_t size = 0;
    for (PQconninfoOption *at = options; at->keyword != NULL; at++)
        if (at->val != NULL)
            size += strlen(at->keyword) + strlen(at->val) + 2;
    PQconninfoFree(options);
    char *copy = lua_newuserdatauv(L, size + 1, 0), *end = copy;
    options = PQconninfoParse(dsn, NULL);
    if (options == NULL)
        return luaL_error(L, "not enough memory");
    for (PQconninfoOption *at = options; at->keyword != NULL; at++) {
        if (at->val == NULL)
            continue;
        end = stpcpy(end, at->keyword) + 1;
        end = stpcpy(end, at->val) + 1;
    }
    PQconninfoFree(options);
    lua_newtable(L);
    for (char *at = copy; at < end;) {
        char *value = at + strlen(at) + 1;
        lua_pushstring(L, value);
        lua_setfield(L, -2, at);
        at = value + strlen(value) + 1;
    }
    return 1;
}

/* native.typed(text, oid, binary) -> a value for a parameter */
static int pg_typed(lua_State *L) {
    luaL_checkstring(L, 1);
    luaL_checkinteger(L, 2);
    lua_settop(L, 3);
    lua_createtable(L, 3, 0);
    luaL_setmetatable(L, TYPED_TYPE);
    for (int i = 1; i <= 3; i++) {
        lua_pushvalue(L, i);
        lua_rawseti(L, -2, i);
    }
    return 1;
}

static const luaL_Reg functions[] = {
    {"parse", pg_parse},     {"connect", pg_connect},
    {"resolve", pg_resolve}, {"on_close", pg_on_close},
    {"typed", pg_typed},     {"seats", pg_seats},
    {"query", pg_query},     {NULL, NULL},
};

/* Lists of ours are what app.json.array() makes: empty they are written as []. */
static void share_list_class(lua_State *L) {
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_getfield(L, -1, "lunats.json");
    lua_getfield(L, -1, "array");
    lua_call(L, 0, 1);
    lua_getmetatable(L, -1);
    luaL_getmetatable(L, CONN_TYPE);
    lua_pushvalue(L, -2);
    lua_rawseti(L, -2, LIST_CLASS);
    lua_pop(L, 1);
    lua_setfield(L, LUA_REGISTRYINDEX, "lunats.pg.list");
    lua_pop(L, 3);
}

static int open_module(lua_State *L) {
    add_conn_class(L);
    add_seats_class(L);
    luaL_newmetatable(L, TYPED_TYPE);
    lua_pop(L, 1);
    share_list_class(L);
    luaL_newlib(L, functions);
    return 1;
}

extern const struct module lunats_module;
MODULE_EXPORT const struct module lunats_module = {.version = MODULE_VERSION,
                                                   .open = open_module};
