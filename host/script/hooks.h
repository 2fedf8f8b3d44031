/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Debug hooks where Lua does not run any: in finalizers, inside of another hook, and in the
 * to-be-closed variables of a coroutine that a hook has ended. An endless loop there could not
 * be ended otherwise.
 */
#ifndef LUNATS_SCRIPT_HOOKS_H
#define LUNATS_SCRIPT_HOOKS_H

#include <stdbool.h>

#include <lua.h>

/* Tries whether it works with this Lua, in a state of its own. Once, before the others. */
void hooks_prove(void);

/* Whether hooks run in this thread now. True if nobody can tell. */
bool hooks_allowed(lua_State *L);

/* From now on they do, until the finalizer, the hook or the coroutine ends. From a handler of a
 * signal, too. */
void hooks_allow(lua_State *L);

#endif
