/* SPDX-License-Identifier: Apache-2.0 */
#include "bindings/lib/lib.h"

#include <string.h>

void add_class(lua_State *L, const char *type, const luaL_Reg *methods) {
    luaL_newmetatable(L, type);
    lua_newtable(L); /* meta, index */
    for (; methods->name != NULL; methods++) {
        bool is_meta = strncmp(methods->name, "__", 2) == 0;
        lua_pushvalue(L, -2); /* for check_self() */
        lua_pushcclosure(L, methods->func, 1);
        lua_setfield(L, is_meta ? -3 : -2, methods->name);
    }
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, false);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}

void *check_self(lua_State *L, const char *type) {
    void *self = lua_touserdata(L, 1);
    if (self == NULL || !lua_getmetatable(L, 1))
        return luaL_checkudata(L, 1, type); /* raises */
    bool same = lua_rawequal(L, -1, lua_upvalueindex(1));
    lua_pop(L, 1);
    return same ? self : luaL_checkudata(L, 1, type);
}
