/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The trace context of a fiber: what the messages that it sends say of where they come from.
 *
 * A message brings one with the headers `traceparent`, `tracestate` and `baggage`; its handler
 * has it, and so has what the handler spawns. Where nothing is recorded (./tracer.h) they are
 * passed on as they came.
 *
 * Contexts are counted: whoever keeps one has a reference, and the last one frees it.
 */
#ifndef LUNATS_TRACE_CONTEXT_H
#define LUNATS_TRACE_CONTEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "host/trace/ids.h"

struct trace;

/*
 * What the headers of a message (host/link/message.h) bring, to be passed on as it came. NULL:
 * nothing, or no memory. The reference is the caller's.
 */
struct trace *trace_pass(const char *headers, size_t len);

/* Those of the headers that belong to traces; NULL: not there. */
struct trace_headers {
    const char *parent, *state, *baggage;
};

/* One more reference, which is the caller's; NULL is fine, here and below. */
struct trace *trace_hold(struct trace *trace);
void trace_release(struct trace *trace);

/* Where it stands, borrowed; NULL: nobody knows, as `traceparent` is malformed or not there. */
const struct trace_ids *trace_ids(const struct trace *trace);

/* The same as hexadecimal digits, for the log. False, and empty, when nobody knows. */
bool trace_text(const struct trace *trace, char trace_id[2 * TRACE_ID_BYTES + 1],
                char span_id[2 * SPAN_ID_BYTES + 1]);

#endif
