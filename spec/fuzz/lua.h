/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A Lua state for the fuzz targets that need one, new from time to time: what a state keeps
 * grows, and inputs shall not depend on those before them. Lines of Lua count as coverage, like
 * edges of C.
 */
#ifndef LUNATS_FUZZ_LUA_H
#define LUNATS_FUZZ_LUA_H

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "bindings/embedded.h"
#include "bindings/json/json.h"
#include "spec/fuzz/fuzz.h"

#define FUZZ_STATE_RUNS 2000
#define FUZZ_LINES 8192 /* a power of two */

static lua_State *fuzz_L;

#ifndef LLVMFuzzerTestOneInput
/* A state that lives on takes more memory than it gives back: libFuzzer would look for leaks
 * after most inputs, at fifty times the cost of the input. */
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void) {
    return 1;
}
#endif

/* lua_pcall() of what must not raise. */
static inline void fuzz_call(lua_State *L, int arguments, int results) {
    if (lua_pcall(L, arguments, results, 0) == LUA_OK)
        return;
    fprintf(stderr, "raised: %s\n", luaL_tolstring(L, -1, NULL));
    abort();
}

/* libFuzzer counts what it finds in this section as it counts edges; elsewhere it is memory. */
__attribute__((section("__libfuzzer_extra_counters"))) static uint8_t fuzz_lines[FUZZ_LINES];

static inline void fuzz_on_line(lua_State *L, lua_Debug *at) {
    lua_getinfo(L, "Sl", at);
    unsigned hash = (unsigned)at->currentline;
    for (const char *c = at->source; *c != '\0'; c++)
        hash = hash * 31 + (unsigned char)*c;
    fuzz_lines[hash % FUZZ_LINES]++;
}

/* package.searchers: a module of scripts/ */
static inline int fuzz_search(lua_State *L) {
    const char *name = luaL_checkstring(L, 1);
    if (!embedded_push(L, name))
        lua_pushliteral(L, "no such module");
    return 1;
}

static inline void fuzz_add_searcher(lua_State *L) {
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "searchers");
    lua_pushcfunction(L, fuzz_search);
    lua_rawseti(L, -2, 2);
    lua_pop(L, 2);
}

/* Its stack is empty. `open` is called with a new one; NULL: nothing is to be done. */
static inline lua_State *fuzz_state(void (*open)(lua_State *L)) {
    static int runs;
    if (fuzz_L == NULL || ++runs == FUZZ_STATE_RUNS) {
        if (fuzz_L != NULL)
            lua_close(fuzz_L);
        runs = 0;
        fuzz_L = luaL_newstate();
        HOLDS(fuzz_L != NULL);
        luaL_openlibs(fuzz_L);
        fuzz_add_searcher(fuzz_L);
        luaL_requiref(fuzz_L, "lunats.json", luaopen_lunats_json, 0);
        if (open != NULL)
            open(fuzz_L);
        lua_sethook(fuzz_L, fuzz_on_line, LUA_MASKLINE, 0);
    }
    lua_settop(fuzz_L, 0);
    return fuzz_L;
}

/* The Lua half of a target, spec/fuzz/NAME.lua, which returns a table: it becomes the global
 * `half`. */
static inline void fuzz_load(lua_State *L, const char *name) {
    lua_pushfstring(L, FUZZ_FOLDER "/%s.lua", name);
    if (luaL_loadfile(L, lua_tostring(L, -1)) != LUA_OK) {
        fprintf(stderr, "%s\n", lua_tostring(L, -1));
        abort();
    }
    fuzz_call(L, 0, 1);
    lua_setglobal(L, "half");
}

/* Pushes a function of the Lua half, and the input. */
static inline void fuzz_push(lua_State *L, const char *name, const uint8_t *bytes,
                             size_t size) {
    lua_getglobal(L, "half");
    lua_getfield(L, -1, name);
    lua_pushlstring(L, (const char *)bytes, size);
}

#endif
