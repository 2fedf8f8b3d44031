/* SPDX-License-Identifier: Apache-2.0 */
/* Requests with the options of scripts/resilience.lua, on their way there. */
#ifndef LUNATS_GUARD_H
#define LUNATS_GUARD_H

#include <stdbool.h>

#include <lua.h>

/* What all of these options may be, see check_options_marked(). */
extern const char guard_types[];

/* Whether the options at 3 have retry, breaker, rate or bulkhead. *tell: the time-out is told
 * to whoever is asked (`deadline`). May raise. */
bool guard_wanted(lua_State *L, bool *tell);

/* Raises where they have a retry: those who have answered would be asked again. */
void guard_no_retry(lua_State *L, const char *what);

/* Calls the function that core.on_guarded() was given with the running function and the
 * arguments 1 to 3; returns its results. May yield. */
int guard_call(lua_State *L);

#endif
