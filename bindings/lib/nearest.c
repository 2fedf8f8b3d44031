/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/nearest.h"

#include "bindings/bindings.h"
#include "bindings/lib/lib.h"

/* core.nearest(word, words) -> the one of them that was probably meant, or nil */
static int core_nearest(lua_State *L) {
    struct nearest nearest = nearest_to(luaL_checkstring(L, 1));
    luaL_checktype(L, 2, LUA_TTABLE);
    for (lua_Integer i = 1; i <= (lua_Integer)lua_rawlen(L, 2); i++) {
        if (lua_rawgeti(L, 2, i) == LUA_TSTRING)
            nearest_try(&nearest, lua_tostring(L, -1)); /* kept alive by the list */
        lua_pop(L, 1);
    }
    lua_pushstring(L, nearest.best); /* nil for NULL */
    return 1;
}

void bindings_nearest(lua_State *L) {
    lua_pushcfunction(L, core_nearest);
    lua_setfield(L, -2, "nearest");
}
