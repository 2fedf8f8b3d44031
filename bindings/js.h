/* SPDX-License-Identifier: Apache-2.0 */
/* The files that make up the JetStream part of "lunats.core". */
#ifndef LUNATS_BINDINGS_JS_H
#define LUNATS_BINDINGS_JS_H

#include <lua.h>

/* ---- each adds its functions to the table on top of the stack; called by bindings_js() ----
 */

void bindings_gate(lua_State *L);       /* ./gate.c */
void bindings_js_consume(lua_State *L); /* ./js_consume.c */
void bindings_js_ordered(lua_State *L); /* ./js_ordered.c */

#endif
