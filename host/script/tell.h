/* SPDX-License-Identifier: Apache-2.0 */
/* How errors get to the watchers that a script has for them. Raises nothing. */
#ifndef LUNATS_SCRIPT_TELL_H
#define LUNATS_SCRIPT_TELL_H

#include <lua.h>

#include "host/script/script.h"

/*
 * Calls the Lua function that the registry has at `watcher` in the thread L, which may be the
 * one of the error: watcher(text, value | nil, facts). It must not wait. An error of it, which
 * can only be that there is no memory, is lost.
 */
void tell_error(lua_State *L, int watcher, const struct script_error *error);

#endif
