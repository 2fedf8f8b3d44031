/* SPDX-License-Identifier: Apache-2.0 */
/* A request of HTTP to a service in the same process, without a port: for specs. */
#ifndef LUNATS_TOOLS_ASK_H
#define LUNATS_TOOLS_ASK_H

#include <lua.h>

#include "host/web/web.h"

/*
 * service:ask(method, path, query, headers, body, timeout, writes)
 *   -> status, list of names and values, body | nil, err
 * Headers are a list of names and values as well. `writes`: of a stream, after so many the
 * client goes away; 0: it stays to the end. Argument 1 is the service.
 */
int ask_web(lua_State *L, struct web *web);

#endif
