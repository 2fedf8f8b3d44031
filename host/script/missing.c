/* SPDX-License-Identifier: Apache-2.0 */
#include "host/script/missing.h"

#include <string.h>

#include "host/base/nearest.h"

enum { NAME = 1, PATH, FIRST_TABLE };

/* Where the registry has { name, path, table, ... }. */
static const char key;

void missing_remember(lua_State *L) {
    int count = lua_gettop(L);
    lua_createtable(L, count, 0);
    lua_insert(L, 1);
    for (int i = count; i > 0; i--)
        lua_rawseti(L, 1, i);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &key);
}

/* Where Lua's words about something nil of that kind and name end; NULL: the error is another.
 */
static const char *end_of_words(const char *text, const char *kind, const char *name) {
    static const char words[] = " a nil value (";
    size_t len = strlen(name), kind_len = strlen(kind);
    const char *at = strstr(text, words);
    if (at == NULL || strncmp(at += strlen(words), kind, kind_len) != 0 ||
        strncmp(at += kind_len, " '", 2) != 0 || strncmp(at += 2, name, len) != 0)
        return NULL;
    at += len;
    /* A text that goes on there has been explained already. */
    return strncmp(at, "')", 2) == 0 && at[2] != ':' ? at + 2 : NULL;
}

/* The nearest name in the tables of `last`; borrowed from them. */
static const char *nearest_in(lua_State *L, int last, const char *name) {
    struct nearest nearest = nearest_to(name);
    for (int i = FIRST_TABLE; lua_rawgeti(L, last, i) == LUA_TTABLE; i++) {
        for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1))
            if (lua_type(L, -2) == LUA_TSTRING)
                nearest_try(&nearest, lua_tostring(L, -2));
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return nearest.best;
}

/* Puts the value on top of the stack into the text at `text_at`, at `end`. */
static void insert(lua_State *L, int text_at, const char *end) {
    const char *text = lua_tostring(L, text_at);
    lua_pushlstring(L, text, (size_t)(end - text));
    lua_insert(L, -2);
    lua_pushstring(L, end);
    lua_concat(L, 3);
    lua_replace(L, text_at);
}

/* The name that was looked up in vain. */
static void explain_member(lua_State *L, int text_at) {
    int last = lua_gettop(L);
    lua_rawgeti(L, last, NAME);
    lua_rawgeti(L, last, PATH);
    const char *name = lua_tostring(L, -2), *path = lua_tostring(L, -1);
    const char *text = lua_tostring(L, text_at), *end = end_of_words(text, "field", name);
    if (end == NULL)
        end = end_of_words(text, "method", name);
    if (end == NULL)
        return;
    const char *meant = nearest_in(L, last, name);
    if (meant != NULL)
        lua_pushfstring(L, ": %s has no '%s' (did you mean '%s'?)", path, name, meant);
    else
        lua_pushfstring(L, ": %s has no '%s'", path, name);
    insert(L, text_at, end);
}

/* A global that is one of our functions without its table, or one of busted. */
static void explain_global(lua_State *L, int text_at) {
    static const char *const of_specs[] = {"describe", "it", "setup", "before_each", NULL};
    const char *text = lua_tostring(L, text_at), *end;
    for (size_t i = 0; of_specs[i] != NULL; i++) {
        if ((end = end_of_words(text, "global", of_specs[i])) == NULL)
            continue;
        lua_pushliteral(L, ": this is a spec, which `lunats test` runs");
        insert(L, text_at, end);
        return;
    }
    lua_pushglobaltable(L);
    lua_pushliteral(L, "app");
    if (lua_rawget(L, -2) != LUA_TTABLE)
        return;
    for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1)) {
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : NULL;
        if (name == NULL || (end = end_of_words(text, "global", name)) == NULL)
            continue;
        lua_pushfstring(L, ": did you mean 'app.%s'?", name);
        insert(L, text_at, end);
        return;
    }
}

void missing_explain(lua_State *L) {
    int text_at = lua_gettop(L);
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &key) == LUA_TTABLE)
        explain_member(L, text_at);
    lua_settop(L, text_at);
    if (strstr(lua_tostring(L, text_at), " a nil value (global '") != NULL)
        explain_global(L, text_at);
    lua_settop(L, text_at);
}
