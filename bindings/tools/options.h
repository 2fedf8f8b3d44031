/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LUNATS_TOOLS_OPTIONS_H
#define LUNATS_TOOLS_OPTIONS_H

#include <lua.h>

#include "host/options/options.h"

/* The lua_CFunction behind host_hooks.take_options: its argument is a light userdata with a
 * const struct options *; the settings become the table core.options. */
int bindings_take_options(lua_State *L);

#endif
