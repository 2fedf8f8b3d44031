/* SPDX-License-Identifier: Apache-2.0 */
#include "bindings/lib/lib.h"

int call_undisturbed(lua_State *L, lua_CFunction fn) {
    bool running = lua_gc(L, LUA_GCISRUNNING) != 0;
    lua_pushcfunction(L, fn);
    lua_insert(L, 1);
    lua_gc(L, LUA_GCSTOP);
    int rc = lua_pcall(L, lua_gettop(L) - 1, LUA_MULTRET, 0);
    if (running)
        lua_gc(L, LUA_GCRESTART);
    return rc == LUA_OK ? lua_gettop(L) : lua_error(L);
}
