/* SPDX-License-Identifier: Apache-2.0 */
/* Connection options as a Lua table. */
#ifndef LUNATS_LIB_CONNECT_H
#define LUNATS_LIB_CONNECT_H

#include <lua.h>

#include "host/link/link.h"

#define CONNECT_SERVERS 16

/* Options with room for the list that they point to. */
struct connect_options {
    struct link_options link;
    const char *label;     /* what log lines call it, or NULL */
    const char *js_prefix; /* subject of the JetStream API, or NULL */
    const char *servers[CONNECT_SERVERS];
};

/*
 * For `what`, "app.connect": checks the table at `arg` and fills in *out, which must stay at
 * its place afterwards. The strings belong to the table: whoever keeps *out keeps the table.
 * Raises.
 */
void check_connect_options(lua_State *L, const char *what, int arg,
                           struct connect_options *out);

#endif
