/* SPDX-License-Identifier: Apache-2.0 */
#include "bindings/lib/lib.h"

void add_class(lua_State *L, const char *type, const luaL_Reg *methods) {
    luaL_newmetatable(L, type);
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
}
