/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process: one loop, the services on it, the private server if one is wanted, signals, and
 * an orderly end.
 */
#ifndef LUNATS_HOST_H
#define LUNATS_HOST_H

#include <lua.h>

#include "host/options/options.h"

/* What the host needs of the layers below it. */
struct host_hooks {
    lua_CFunction open_bindings;
    /* Gives a new state the options: called protected, with a light userdata that is a
     * const struct options *. */
    lua_CFunction take_options;
};

/*
 * Runs the services (or the Lua file, or the specs) that the options name until they have
 * stopped; returns the exit status of the process. SIGINT and SIGTERM stop in order, a second
 * one ends the process at once.
 */
int host_run(const struct options *options, const struct host_hooks *hooks);

#endif
