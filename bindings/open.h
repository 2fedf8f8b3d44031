/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LUNATS_BINDINGS_OPEN_H
#define LUNATS_BINDINGS_OPEN_H

#include <lua.h>

/*
 * Opens everything in a new lua_State. The C functions of all bindings go into one table of
 * primitives, the module "lunats.core", with Lua on top of it in scripts/: "lunats.app" returns
 * the table that becomes the global `app`. May raise.
 */
int bindings_open(lua_State *L);

#endif
