/* SPDX-License-Identifier: Apache-2.0 */
/* The files that make up the JetStream part of "lunats.core". */
#ifndef LUNATS_JS_H
#define LUNATS_JS_H

#include <lua.h>

#include "host/jetstream/status.h"

/* ---- each adds its functions to the table on top of the stack; called by bindings_js() ----
 */

void bindings_js_consume(lua_State *L);   /* ./consume.c */
void bindings_js_msg(lua_State *L);       /* ./msg.c: of the class of messages */
void bindings_js_ordered(lua_State *L);   /* ./ordered.c */
void bindings_js_publish(lua_State *L);   /* ./publish.c */
void bindings_js_publisher(lua_State *L); /* ./publisher.c */

/* ---- publishing (./publish.c) ---- */

/* How long a publish without options waits for its acknowledgement. */
#define JS_PUB_ACK_MS 5000

/* Pushes { stream =, seq =, duplicate =, domain = }. */
void push_pub_ack(lua_State *L, const struct js_pub_ack *ack);

#endif
