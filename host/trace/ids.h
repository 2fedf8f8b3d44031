/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where in a trace something stands, as the header `traceparent` of W3C Trace Context says it:
 * 00-<trace>-<span>-<flags>, all in lower-case hexadecimal digits.
 */
#ifndef LUNATS_TRACE_IDS_H
#define LUNATS_TRACE_IDS_H

#include <stdbool.h>

#define TRACE_ID_BYTES 16
#define SPAN_ID_BYTES 8
#define TRACEPARENT_SIZE 56 /* of the header, with its zero */

enum {
    TRACE_SAMPLED = 1, /* spans of this trace are recorded */
    TRACE_RANDOM = 2,  /* the id of the trace is random in all of its last seven bytes */
};

struct trace_ids {
    unsigned char trace[TRACE_ID_BYTES];
    unsigned char span[SPAN_ID_BYTES];
    unsigned char flags;
};

/*
 * Reads a header; false: it is malformed, and *out is untouched. What a later version of the
 * format puts behind the flags is skipped. Of the flags those above are kept: the standard
 * wants others to be zero in what is sent on.
 */
bool traceparent_read(struct trace_ids *out, const char *text);

void traceparent_write(const struct trace_ids *ids, char out[TRACEPARENT_SIZE]);

/* Write two digits for each byte, without a zero; return the end. */
char *trace_id_write(char *out, const unsigned char id[TRACE_ID_BYTES]);
char *span_id_write(char *out, const unsigned char id[SPAN_ID_BYTES]);

/* Random, not from a secure source: they need to be different, not hard to guess. */
void trace_ids_new(struct trace_ids *out); /* of a new trace */
void span_id_new(unsigned char out[SPAN_ID_BYTES]);

#endif
