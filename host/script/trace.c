/* SPDX-License-Identifier: Apache-2.0 */
#include "host/script/trace.h"

#include <stdbool.h>
#include <stdio.h>
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

/* ---- a table that says nothing ---- */

/* Fields that are shown, and bytes of each. */
#define FIELDS_MAX 8
#define FIELD_MAX 64

static void add_json_text(luaL_Buffer *out, const char *text, size_t len) {
    char escape[8];
    luaL_addchar(out, '"');
    for (size_t i = 0; i < len && i < FIELD_MAX; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\')
            luaL_addchar(out, '\\');
        if (c >= 0x20) {
            luaL_addchar(out, (char)c);
            continue;
        }
        snprintf(escape, sizeof(escape), "\\u%04x", c);
        luaL_addstring(out, escape);
    }
    luaL_addstring(out, len > FIELD_MAX ? "...\"" : "\"");
}

/* A key or value; nothing of it is called or changed. `out` may have something on the stack, so
 * the index is absolute. */
static void add_json(lua_State *L, luaL_Buffer *out, int index) {
    char number[48];
    size_t len;
    const char *text;
    switch (lua_type(L, index)) {
    case LUA_TSTRING:
        text = lua_tolstring(L, index, &len);
        add_json_text(out, text, len);
        return;
    case LUA_TNUMBER:
        if (lua_isinteger(L, index))
            snprintf(number, sizeof(number), LUA_INTEGER_FMT, lua_tointeger(L, index));
        else
            snprintf(number, sizeof(number), LUA_NUMBER_FMT, lua_tonumber(L, index));
        luaL_addstring(out, number);
        return;
    case LUA_TBOOLEAN:
        luaL_addstring(out, lua_toboolean(L, index) ? "true" : "false");
        return;
    case LUA_TTABLE:
        luaL_addstring(out, "{...}");
        return;
    default:
        luaL_addstring(out, luaL_typename(L, index));
    }
}

/* Pushes what fields the table has, in short. */
static void push_fields(lua_State *L, int index) {
    luaL_Buffer out;
    int count = 0;
    if (!lua_checkstack(L, 8)) {
        lua_pushliteral(L, "an error without a message");
        return;
    }
    lua_pushnil(L);
    lua_pushnil(L); /* key, value: below what the buffer keeps on the stack */
    int key = lua_gettop(L) - 1;
    luaL_buffinit(L, &out);
    luaL_addstring(&out, "an error without a message: {");
    for (;; count++) {
        lua_pushvalue(L, key);
        if (lua_next(L, index) == 0)
            break;
        lua_replace(L, key + 1);
        lua_replace(L, key);
        if (count > 0)
            luaL_addstring(&out, ", ");
        if (count == FIELDS_MAX) {
            luaL_addstring(&out, "...");
            break;
        }
        add_json(L, &out, key);
        luaL_addstring(&out, ": ");
        add_json(L, &out, key + 1);
    }
    luaL_addchar(&out, '}');
    luaL_pushresult(&out);
    lua_replace(L, key);
    lua_settop(L, key);
}

/* One that says by a metatable what it is tells more than its fields. */
static bool is_mute(lua_State *L, int index) {
    bool named = luaL_getmetafield(L, index, "__tostring") != LUA_TNIL ||
                 luaL_getmetafield(L, index, "__name") != LUA_TNIL;
    if (named)
        lua_pop(L, 1);
    return lua_istable(L, index) && !named;
}

/* ---- any error ---- */

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
    if (is_mute(L, index)) {
        push_fields(L, index);
        return show_zeros(L, -1);
    }
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

/* Where the script has called us: what we did then is of no use to its author. 0: the error is
 * the script's own, or has its place in our Lua. */
static int level_of_call(lua_State *of, int level) {
    lua_Debug at;
    bool ours = false;
    for (; lua_getstack(of, level, &at); level++) {
        lua_getinfo(of, "S", &at);
        if (strncmp(at.source, "=lunats/", 8) == 0)
            ours = true;
        else if (at.what[0] != 'C')
            return ours ? level : 0;
    }
    return 0;
}

static bool begins(const char *text, const char *with) {
    return strncmp(text, with, strlen(with)) == 0;
}

/* At the bottom, these say nothing of who they are. */
static bool may_be_ours(const char *line) {
    return begins(line, "\n\t[C]: in ") || begins(line, "\n\t(...tail calls...)");
}

/* Leaves out of the traceback on top of the stack how we came to call the script. */
static void cut_callers(lua_State *L) {
    size_t len;
    const char *text = lua_tolstring(L, -1, &len);
    const char *line = text + len, *end;
    bool ours = false;
    do {
        end = line;
        do
            line = line > text ? line - 1 : NULL;
        while (line != NULL && *line != '\n');
        ours = ours || (line != NULL && begins(line, "\n\tlunats/"));
    } while (line != NULL && (begins(line, "\n\tlunats/") || may_be_ours(line)));
    if (!ours || line == NULL || begins(line, "\nstack traceback:"))
        return;
    lua_pushlstring(L, text, (size_t)(end - text));
    lua_replace(L, -2);
}

void push_traceback(lua_State *L, lua_State *of, const char *text, int level) {
    int call = strncmp(text, "lunats/", 7) != 0 ? level_of_call(of, level) : 0;
    luaL_traceback(L, of, text, call != 0 ? call : level);
    cut_callers(L);
}

int error_traceback(lua_State *L) {
    push_traceback(L, L, error_text(L, 1), 1);
    return 1;
}
