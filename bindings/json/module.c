/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON module of scripts. The work is done in ./decode.c and ./encode.c. */
#include "bindings/json/json.h"

#include <string.h>

#include <lauxlib.h>

#include "bindings/json/internal.h"
#include "bindings/lib/error.h"

/* ---- messages ---- */

const char *check_message(lua_State *L, int arg, size_t *len) {
    switch (lua_type(L, arg)) {
    case LUA_TSTRING:
        return lua_tolstring(L, arg, len);
    case LUA_TNIL:
    case LUA_TNONE:
        *len = 0;
        return "";
    default:
        return json_encode(L, arg, len);
    }
}

/* ---- errors ---- */

/* Replaces the message on top by an error table with the byte offset. */
static void push_decode_error(lua_State *L, size_t offset) {
    push_error(L, "bad_json", lua_tostring(L, -1)); /* message, err */
    lua_remove(L, -2);
    lua_pushinteger(L, (lua_Integer)offset);
    lua_setfield(L, -2, "offset");
}

/* ---- functions of scripts ---- */

/* json.encode(value) -> string */
static int encode(lua_State *L) {
    luaL_checkany(L, 1);
    size_t len;
    const char *bytes = json_encode(L, 1, &len);
    lua_pushlstring(L, bytes, len);
    return 1;
}

static void check_decode_options(lua_State *L, int arg, struct json_options *options) {
    if (lua_isnoneornil(L, arg))
        return;
    luaL_checktype(L, arg, LUA_TTABLE);
    lua_getfield(L, arg, "big");
    if (!lua_isnil(L, -1)) {
        const char *name = lua_tostring(L, -1);
        options->big_as_string = name != NULL && strcmp(name, "string") == 0;
        bool as_float = name != NULL && strcmp(name, "float") == 0;
        luaL_argcheck(L, options->big_as_string || as_float, arg,
                      "field 'big' must be \"float\" or \"string\"");
    }
    lua_pop(L, 1);
}

/* json.decode(text [, options]) -> value | nil, err */
static int decode(lua_State *L) {
    struct json_options options = {.big_as_string = false};
    luaL_checktype(L, 1, LUA_TSTRING);
    check_decode_options(L, 2, &options);
    size_t len;
    const char *text = lua_tolstring(L, 1, &len);
    size_t offset;
    if (json_decode_with(L, text, len, &options, &offset))
        return 1;
    push_decode_error(L, offset); /* err */
    lua_pushnil(L);
    lua_insert(L, -2);
    return 2;
}

/* Marks the table at index 1, or a new one, and returns it. */
static int mark_table(lua_State *L, enum json_mark mark) {
    if (lua_isnoneornil(L, 1)) {
        lua_settop(L, 0);
        lua_newtable(L);
    }
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_argcheck(L, json_get_mark(L, 1) != JSON_MARK_OTHER, 1,
                  "the table has a metatable of its own");
    lua_settop(L, 1);
    json_set_mark(L, mark);
    return 1;
}

/* json.array([table]) -> table */
static int array(lua_State *L) {
    return mark_table(L, JSON_MARK_ARRAY);
}

/* json.object([table]) -> table */
static int object(lua_State *L) {
    return mark_table(L, JSON_MARK_OBJECT);
}

/* json.is_array(value) -> boolean */
static int is_array(lua_State *L) {
    luaL_checkany(L, 1);
    bool result = false;
    if (lua_istable(L, 1)) {
        enum json_mark mark = json_get_mark(L, 1);
        result = mark == JSON_MARK_ARRAY || (mark != JSON_MARK_OBJECT && lua_rawlen(L, 1) > 0);
    }
    lua_pushboolean(L, result);
    return 1;
}

static const luaL_Reg functions[] = {
    {"encode", encode}, {"decode", decode},     {"array", array},
    {"object", object}, {"is_array", is_array}, {NULL, NULL},
};

int luaopen_lunats_json(lua_State *L) {
    luaL_newlib(L, functions);
    lua_pushlightuserdata(L, NULL); /* the value that lua-cjson uses */
    lua_setfield(L, -2, "null");
    return 1;
}
