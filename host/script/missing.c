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

/* Where Lua's words about a field of this name end; NULL: the error is another one. */
static const char *end_of_words(const char *text, const char *name) {
    static const char *const words[] = {"attempt to call a nil value (field '",
                                        "attempt to index a nil value (field '"};
    size_t len = strlen(name);
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        const char *at = strstr(text, words[i]);
        if (at == NULL)
            continue;
        at += strlen(words[i]);
        /* A text that goes on there has been explained already. */
        if (strncmp(at, name, len) == 0 && strncmp(at + len, "')", 2) == 0 &&
            at[len + 2] != ':')
            return at + len + 2;
    }
    return NULL;
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

void missing_explain(lua_State *L) {
    int text_at = lua_gettop(L), last = text_at + 1;
    const char *text = lua_tostring(L, text_at);
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &key) == LUA_TTABLE) {
        lua_rawgeti(L, last, NAME);
        lua_rawgeti(L, last, PATH);
        const char *name = lua_tostring(L, -2), *path = lua_tostring(L, -1);
        const char *end = end_of_words(text, name);
        if (end != NULL) {
            const char *meant = nearest_in(L, last, name);
            lua_pushlstring(L, text, (size_t)(end - text));
            lua_pushfstring(L, ": %s has no '%s'", path, name);
            if (meant != NULL)
                lua_pushfstring(L, " (did you mean '%s'?)", meant);
            else
                lua_pushliteral(L, "");
            lua_pushstring(L, end);
            lua_concat(L, 4);
            lua_replace(L, text_at);
        }
    }
    lua_settop(L, text_at);
}
