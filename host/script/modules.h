/* SPDX-License-Identifier: Apache-2.0 */
/* Where `require` looks for the modules of a script. */
#ifndef LUNATS_SCRIPT_MODULES_H
#define LUNATS_SCRIPT_MODULES_H

#include <lua.h>

/*
 * Puts in front of package.path and package.cpath, in this order: the folder of the script; the
 * folders above it up to one with a .luarc.json, if there is one; the trees of LuaRocks
 * (lua_modules) in these folders and in the working directory; the working directory. Raises
 * when memory runs out, so it belongs into a protected call.
 */
void modules_set_path(lua_State *L, const char *script_path);

#endif
