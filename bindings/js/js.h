/* SPDX-License-Identifier: Apache-2.0 */
/* The files that make up the JetStream part of "lunats.core". */
#ifndef LUNATS_JS_H
#define LUNATS_JS_H

#include <lua.h>

#include "host/jetstream/status.h"

/* ---- each adds its functions to the table on top of the stack; called by bindings_js() ----
 */

void bindings_gate(lua_State *L);         /* ./gate.c */
void bindings_js_consume(lua_State *L);   /* ./js_consume.c */
void bindings_js_ordered(lua_State *L);   /* ./js_ordered.c */
void bindings_js_publisher(lua_State *L); /* ./js_publisher.c */

/* ---- publishing (./send.c) ---- */

/* How long a publish without options waits for its acknowledgement. */
#define JS_PUB_ACK_MS 5000

/* Pushes { stream =, seq =, duplicate =, domain = }. */
void push_pub_ack(lua_State *L, const struct js_pub_ack *ack);

#endif
