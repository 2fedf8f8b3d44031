/* SPDX-License-Identifier: Apache-2.0 */
/* Error tables: what `nil, err` returns and what errors of the host raise. */
#include "bindings/lib/error.h"

#include <lauxlib.h>

#include "host/base/status.h"
#include "host/script/script.h"
#include "host/script/trace.h"

#include <stdarg.h>
#include <string.h>

#define ERROR_TYPE "lunats.error"
#define RAISED_TYPE "lunats.raised"

/* Bytes of a text to which no further one is added. */
#define RAISED_MAX (16 << 10)
#define MORE "more errors"

static int error_tostring(lua_State *L) {
    if (lua_getfield(L, 1, "message") != LUA_TSTRING) {
        lua_getfield(L, 1, "code");
        luaL_tolstring(L, -1, NULL);
    }
    return 1;
}

/* err1 .. text, text .. err1: so that messages can be built as with plain strings. */
static int error_concat(lua_State *L) {
    luaL_tolstring(L, 1, NULL);
    luaL_tolstring(L, 2, NULL);
    lua_concat(L, 2);
    return 1;
}

int push_error(lua_State *L, const char *code, const char *message) {
    lua_createtable(L, 0, 4);
    lua_pushstring(L, code);
    lua_setfield(L, -2, "code");
    lua_pushstring(L, message);
    lua_setfield(L, -2, "message");
    if (luaL_newmetatable(L, ERROR_TYPE)) {
        lua_pushcfunction(L, error_tostring);
        lua_setfield(L, -2, "__tostring");
        lua_pushcfunction(L, error_concat);
        lua_setfield(L, -2, "__concat");
    }
    lua_setmetatable(L, -2);
    return 1;
}

int push_failure(lua_State *L, int status, const char *detail) {
    lua_pushnil(L);
    if (detail == NULL || *detail == '\0') {
        push_error(L, status_word(status), status_text(status));
        return 2;
    }
    lua_pushfstring(L, "%s (%s)", status_text(status), detail);
    push_error(L, status_word(status), lua_tostring(L, -1));
    lua_remove(L, -2);
    return 2;
}

int push_status(lua_State *L, int status, const char *detail) {
    if (status < 0)
        return push_failure(L, status, detail);
    lua_pushboolean(L, 1);
    return 1;
}

void push_position(lua_State *L) {
    lua_Debug at;
    for (int level = 1; lua_getstack(L, level, &at); level++) {
        lua_getinfo(L, "Sl", &at);
        if (at.currentline > 0 && strncmp(at.source, "=lunats/", 8) != 0) {
            lua_pushfstring(L, "%s:%d: ", at.short_src, at.currentline);
            return;
        }
    }
    lua_pushliteral(L, "");
}

int raise_error(lua_State *L, const char *format, ...) {
    va_list arguments;
    push_position(L);
    va_start(arguments, format);
    lua_pushvfstring(L, format, arguments);
    va_end(arguments);
    lua_concat(L, 2);
    return lua_error(L);
}

bool is_raised(lua_State *L, int index) {
    if (!lua_istable(L, index) || !lua_getmetatable(L, index))
        return false;
    luaL_getmetatable(L, RAISED_TYPE);
    bool same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return same;
}

/* Of one that is passed on by a fiber that was cancelled meanwhile. */
static int raised_tostring(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_rawgeti(L, 1, RAISED_TRACE);
    return 1;
}

/* An error on the way out of a call that has failed, below the one with which it did. */
static void add_text(lua_State *L, int raised, int text) {
    size_t len;
    lua_rawgeti(L, raised, RAISED_TRACE);
    const char *so_far = lua_tolstring(L, -1, &len);
    bool full = len >= RAISED_MAX;
    if (full && strcmp(so_far + len - sizeof(MORE) + 1, MORE) == 0)
        return;
    lua_pushfstring(L, "\nthen, on the way out: %s", full ? MORE : lua_tostring(L, text));
    lua_concat(L, 2);
    lua_rawseti(L, raised, RAISED_TRACE);
}

void catch_raised(lua_State *L, int level) {
    const struct fibers *fibers = script_fibers(script_of(L));
    const struct fiber *fiber = fibers_current(fibers);
    int value = lua_gettop(L) - 1, before = value + 1;
    if (fiber != NULL && fiber_cancelled(fiber))
        return;
    if (is_raised(L, value) && lua_isnil(L, before)) { /* it has been passed on */
        lua_pushvalue(L, value);
        lua_replace(L, before);
        return;
    }
    if (is_raised(L, value))
        lua_rawgeti(L, value, RAISED_TRACE);
    else
        push_traceback(L, L, error_text(L, value), level);
    int text = lua_gettop(L);
    if (lua_istable(L, before)) {
        add_text(L, before, text);
    } else {
        lua_createtable(L, 2, 0);
        lua_pushvalue(L, text);
        lua_rawseti(L, -2, RAISED_TRACE);
        lua_pushvalue(L, value);
        lua_rawseti(L, -2, RAISED_VALUE);
        if (luaL_newmetatable(L, RAISED_TYPE)) {
            lua_pushcfunction(L, raised_tostring);
            lua_setfield(L, -2, "__tostring");
        }
        lua_setmetatable(L, -2);
        lua_replace(L, before);
    }
    lua_settop(L, before);
}

/* The message handler of one call. */
static int on_error(lua_State *L) {
    lua_settop(L, 1);
    lua_pushvalue(L, lua_upvalueindex(1));
    catch_raised(L, 1);
    lua_replace(L, lua_upvalueindex(1));
    return 1;
}

static int protected_done(lua_State *L, int status, lua_KContext context) {
    (void)context;
    if (status == LUA_OK || status == LUA_YIELD)
        return lua_gettop(L) - 1;
    lua_pushboolean(L, false);
    lua_getupvalue(L, 1, 1);
    if (lua_isnil(L, -1)) { /* of a cancelled fiber, or memory ran out */
        lua_pop(L, 1);
        lua_pushvalue(L, -2);
    }
    return 2;
}

int protected_call(lua_State *L) {
    luaL_checkany(L, 1);
    lua_pushboolean(L, true);
    lua_insert(L, 1);
    lua_pushnil(L);
    lua_pushcclosure(L, on_error, 1);
    lua_insert(L, 1);
    int status = lua_pcallk(L, lua_gettop(L) - 3, LUA_MULTRET, 1, 0, protected_done);
    return protected_done(L, status, 0);
}
