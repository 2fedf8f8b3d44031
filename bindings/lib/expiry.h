/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long the sender of a request waits for its answer: told in a header, known to the fiber
 * that works on it, and passed on to what that asks in turn.
 */
#ifndef LUNATS_LIB_EXPIRY_H
#define LUNATS_LIB_EXPIRY_H

#include <stdbool.h>
#include <stdint.h>

#include <lua.h>

#include "host/link/link.h"
#include "host/link/message.h"

/* Milliseconds that the sender waits, from when it has sent the message. */
#define EXPIRY_HEADER "Request-Timeout-Ms"

/* The running fiber works on a message with headers: if its sender says how long it waits, the
 * fiber knows from now on. Time that the message has waited here counts. Raises nothing.
 * Returns fiber_expires(). */
uint64_t expiry_begin(lua_State *L, const struct message *msg);

/*
 * A request that is about to be sent, and waits for *ms milliseconds: no longer than the
 * running fiber has, whose fiber_expires() is `due`, 0 for no end. With `due` or `tell` it says
 * so in its header; the memory of that is pushed. May raise. Returns false when the time is
 * over.
 */
bool expiry_outgoing(lua_State *L, struct link_out *out, uint64_t due, bool tell, uint64_t *ms);

#endif
