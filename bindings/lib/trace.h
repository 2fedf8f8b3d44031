/* SPDX-License-Identifier: Apache-2.0 */
/* The trace that a script works in, and what it sends of it. */
#ifndef LUNATS_LIB_TRACE_H
#define LUNATS_LIB_TRACE_H

#include <stdbool.h>

#include <lua.h>

#include "host/link/link.h"
#include "host/trace/tracer.h"

/* The ids of the trace and the span in which the script works, as hexadecimal digits: for the
 * log. False, and empty, when there is none. */
bool trace_current(lua_State *L, char trace_id[2 * TRACE_ID_BYTES + 1],
                   char span_id[2 * SPAN_ID_BYTES + 1]);

/*
 * Adds the headers of the trace to a message that is about to be sent, those that the script
 * has not given itself, and begins its span: `span` is all zero. The last of the checks but
 * check_message(); then the caller sends, and ends the span with span_sent(), if span->tracer
 * is set. Owns nothing: where that raises the span is none.
 */
void trace_outgoing(lua_State *L, struct link_out *out, struct span *span);

/* Ends the span of a message whose sending gave `status` (span_sent()). Raises nothing. */
void trace_sent(struct span *span, enum span_kind kind, const char *subject, int status);

/* The span of a message whose answer is waited for: owned by the area of a wait, NULL is none.
 */
struct trace_wait;

/* Goes on with the span of a message that is sent now; copies. Raises nothing, as below. */
void trace_await(struct trace_wait **out, const struct span *span, const char *subject);

/* Ends it, unless it has ended: the answer, or NULL and why there is none. */
void trace_answered_with(struct trace_wait **wait, enum span_kind kind, int status,
                         const struct message *reply);

#endif
