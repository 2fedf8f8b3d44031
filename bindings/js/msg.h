/* SPDX-License-Identifier: Apache-2.0 */
/* The JetStream side of a message: acknowledging and metadata. */
#ifndef LUNATS_JS_MSG_H
#define LUNATS_JS_MSG_H

#include <lauxlib.h>

#include "bindings/msg.h"

/* ack, ack_sync, nak, term, in_progress; ends with NULL. */
extern const luaL_Reg js_msg_methods[];

/* msg.metadata: a table, or nil for a message that does not come from a stream. Returns 1. */
int push_metadata(lua_State *L, const struct msg *msg);

#endif
