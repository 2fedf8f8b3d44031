/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the JSON codec share. */
#ifndef LUNATS_TEST_JSON_H
#define LUNATS_TEST_JSON_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "bindings/json/json.h"
#include "spec/unit/test.h"

static inline lua_State *open_state(void) {
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    luaL_requiref(L, "json", luaopen_lunats_json, 1);
    lua_settop(L, 0);
    return L;
}

/* Decodes a copy of exactly the right size, so that the sanitizer sees reads beyond it. */
static inline bool decode_copy(lua_State *L, const char *text, size_t len) {
    char *copy = malloc(len + (len == 0));
    memcpy(copy, text, len);
    bool ok = json_decode(L, copy, len);
    free(copy);
    return ok;
}

/* Runs a chunk of assertions in a new state. */
#define CHECK_LUA(source)                                                                      \
    do {                                                                                       \
        lua_State *test_L = open_state();                                                      \
        if (luaL_dostring(test_L, source) != LUA_OK)                                           \
            test_fail(__FILE__, __LINE__, "%s", lua_tostring(test_L, -1));                     \
        lua_close(test_L);                                                                     \
        if (test_current_failed)                                                               \
            return;                                                                            \
    } while (0)

#endif
