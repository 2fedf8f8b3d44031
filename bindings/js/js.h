/* SPDX-License-Identifier: Apache-2.0 */
/* The files that make up the JetStream part of "lunats.core". */
#ifndef LUNATS_JS_H
#define LUNATS_JS_H

#include <lua.h>

#include "host/jetstream/group.h"
#include "host/jetstream/status.h"

/* ---- each adds its functions to the table on top of the stack; called by bindings_js() ----
 */

void bindings_js_consume(lua_State *L);   /* ./consume.c */
void bindings_js_lease(lua_State *L);     /* ./lease.c */
void bindings_js_msg(lua_State *L);       /* ./msg.c: of the class of messages */
void bindings_js_ordered(lua_State *L);   /* ./ordered.c */
void bindings_js_publish(lua_State *L);   /* ./publish.c */
void bindings_js_publisher(lua_State *L); /* ./publisher.c */
void bindings_js_reader(lua_State *L);    /* ./reader.c */

/* ---- pulling (./pull.c) ---- */

/*
 * Reads { group =, min_pending =, min_ack_pending =, priority = } at `arg`, which the Lua side
 * has checked; nil: no group. Raises when the name of the group is none.
 */
struct js_group check_group(lua_State *L, int arg);

/* The pin of the pull at `arg`; NULL for a closed one. */
struct js_pin *check_pin(lua_State *L, int arg);

/* ---- readers (./reader.c) ---- */

/* A consumer as the service's health sees it. */
struct reader_box {
    struct reader *reader; /* of the service; NULL: nothing is read any more */
};

/* Lives as long as its userdata at `arg`. */
struct reader_box *check_reader(lua_State *L, int arg);

/* ---- leases (./lease.c) ---- */

struct lease_box;

/* Lives as long as its userdata at `arg`. */
const struct lease_box *check_lease(lua_State *L, int arg);

/* Whether it may be relied on at this moment, by the clock. */
bool lease_box_holds(const struct lease_box *box);

/* ---- publishing (./publish.c) ---- */

/* How long a publish without options waits for its acknowledgement. */
#define JS_PUB_ACK_MS 5000

/* Pushes { stream =, seq =, duplicate =, domain = }. */
void push_pub_ack(lua_State *L, const struct js_pub_ack *ack);

#endif
