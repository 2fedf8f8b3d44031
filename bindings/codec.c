/* SPDX-License-Identifier: Apache-2.0 */
#include "bindings/codec.h"

#include <string.h>

#include <lauxlib.h>

#include "bindings/bindings.h"

/* Its address is the key of what core.codecs() was given. */
static const char functions_key;

/* core.codecs(fn): fn(name) returns a function of scripts/codec.lua, which is loaded when first
 * used. */
static int core_codecs(lua_State *L) {
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_settop(L, 1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &functions_key);
    return 0;
}

static void push_function(lua_State *L, const char *name) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &functions_key);
    lua_pushstring(L, name);
    lua_call(L, 1, 1);
}

enum msg_data check_data_type(lua_State *L, int index) {
    if (lua_isnoneornil(L, index))
        return MSG_JSON;
    const char *name = lua_type(L, index) == LUA_TSTRING ? lua_tostring(L, index) : "";
    if (strcmp(name, "string") == 0)
        return MSG_STRING;
    if (strcmp(name, "json") == 0)
        return MSG_JSON;
    index = lua_absindex(L, index);
    push_function(L, "of");
    lua_pushvalue(L, index);
    lua_call(L, 1, 1);
    lua_replace(L, index);
    return MSG_CODEC;
}

enum msg_data option_data_type(lua_State *L, int arg) {
    if (!lua_istable(L, arg)) {
        lua_pushnil(L);
        return MSG_JSON;
    }
    if (lua_getfield(L, arg, "data_type") == LUA_TNIL)
        return MSG_JSON;
    enum msg_data type = check_data_type(L, -1);
    if (type != MSG_CODEC) {
        lua_pop(L, 1);
        lua_pushnil(L);
    }
    return type;
}

void codec_encode(lua_State *L, int codec, int value) {
    push_function(L, "encode");
    lua_pushvalue(L, codec);
    lua_pushvalue(L, value);
    lua_call(L, 2, 1);
    lua_replace(L, value);
}

void codec_decode(lua_State *L, const char *bytes, size_t len) {
    push_function(L, "decode"); /* codec, decode */
    lua_insert(L, -2);
    lua_pushlstring(L, bytes, len);
    lua_call(L, 2, 3); /* value, code, problem */
}

void bindings_codec(lua_State *L) {
    lua_pushcfunction(L, core_codecs);
    lua_setfield(L, -2, "codecs");
}
