/* SPDX-License-Identifier: Apache-2.0 */
#include "host/script/trace.h"

#include <stdbool.h>
#include <string.h>

#include <lauxlib.h>

#include "host/script/memory.h"
#include "host/script/missing.h"

static int to_text(lua_State *L) {
    luaL_tolstring(L, 1, NULL);
    return 1;
}

/* Leaves the text that the table has for the key on top, or nothing. */
static bool take_text(lua_State *L, int index) {
    lua_rawget(L, index);
    if (lua_isstring(L, -1))
        return true;
    lua_pop(L, 1);
    return false;
}

/* Pushes what a table says: its message, else its first item, else its code. One that says for
 * itself what it is needs no look inside. */
static bool push_message(lua_State *L, int index) {
    if (!lua_istable(L, index))
        return false;
    if (luaL_getmetafield(L, index, "__tostring") != LUA_TNIL) {
        lua_pop(L, 1);
        return false;
    }
    lua_pushliteral(L, "message");
    if (take_text(L, index))
        return true;
    lua_pushinteger(L, 1);
    if (take_text(L, index))
        return true;
    lua_pushliteral(L, "code");
    return take_text(L, index);
}

const char *show_zeros(lua_State *L, int index) {
    size_t len;
    const char *text = lua_tolstring(L, index, &len);
    if (strlen(text) == len)
        return text;
    index = lua_absindex(L, index);
    luaL_Buffer shown;
    luaL_buffinit(L, &shown);
    for (const char *end = text + len; text < end; text++) {
        if (*text == '\0')
            luaL_addstring(&shown, "\\x00");
        else
            luaL_addchar(&shown, *text);
    }
    luaL_pushresult(&shown);
    lua_replace(L, index);
    return lua_tostring(L, index);
}

const char *error_text(lua_State *L, int index) {
    index = lua_absindex(L, index);
    if (push_message(L, index))
        return show_zeros(L, -1);
    if (memory_is_error(L, index))
        return memory_push_error(L, false);
    lua_pushcfunction(L, to_text);
    lua_pushvalue(L, index);
    if (lua_pcall(L, 1, 1, 0) == LUA_OK) {
        missing_explain(L);
        return show_zeros(L, -1);
    }
    const char *why = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "no text";
    lua_pushfstring(L, "(an error of type %s whose __tostring fails: %s)",
                    luaL_typename(L, index), why);
    lua_remove(L, -2);
    return lua_tostring(L, -1);
}

const char *error_alone(lua_State *L, int index) {
    return memory_is_error(L, index) ? memory_push_error(L, true) : error_text(L, index);
}

int error_traceback(lua_State *L) {
    luaL_traceback(L, L, error_text(L, 1), 1);
    return 1;
}
