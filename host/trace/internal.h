/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder know of each other. */
#ifndef LUNATS_TRACE_INTERNAL_H
#define LUNATS_TRACE_INTERNAL_H

#include "host/base/text.h"
#include "host/trace/context.h"
#include "host/trace/tracer.h"

/* What few spans have to tell. */
struct trace_notes {
    bool linked; /* `link` is the context of a stored message */
    bool failed; /* an error that nobody has caught; else `code` counts */
    int code;    /* of an error that the handler has returned; 0: none */
    struct trace_ids link;
    char *error, *traceback; /* owned; NULL: none */
};

/* Made for each message, so it is small. */
struct trace {
    unsigned refs;
    bool known;                /* span.ids say where it stands */
    struct trace *outer;       /* owned: what is the fiber's again when this one is left */
    char *name;                /* owned; of a span that a script's own work is; or NULL */
    struct trace_notes *notes; /* owned; NULL: none */
    struct span span;          /* the one that what is sent is part of */
    const char *parent;        /* as it came: nothing is recorded here */
    const char *state, *baggage;
    char bytes[]; /* what they point to */
};

/* Looks for them in a block as of struct message. */
void trace_find(struct trace_headers *out, const char *headers, size_t len);

/* One without headers; NULL without memory. */
struct trace *trace_bare(void);

/* Leaves out what must not be sent on. */
void trace_keep_sendable(struct trace_headers *headers);

/* trace_pass() of these. */
struct trace *trace_pass_on(const struct trace_headers *headers);

/* A copy of what is there; NULL without memory. */
struct trace *trace_new(const struct trace_headers *headers);

/* NULL without memory. */
struct trace_notes *trace_notes(struct trace *trace);

/*
 * Writes one that is recorded and ends now, up to its list of attributes, which stays open; its
 * end is up to the caller, and to span_shut(). NULL: it is left out, and has ended.
 */
struct text *span_open(struct span *span, enum span_kind kind, const char *name);
void span_shut(struct span *span);

/* Among the attributes: what a service, or a handler, has answered. `error` may be NULL. */
void span_put_code(struct text *text, int code, const char *error);

/* One of its list of links. */
void span_put_link(struct text *text, const struct trace_ids *ids);

/* Behind the attributes: it has failed. */
void span_put_failure(struct text *text, const char *error);

/* Begins the span of a handler, as part of what has come or linked to it; the context of it, or
 * NULL without memory. */
struct trace *trace_begin(struct tracer *tracer, struct trace_headers found,
                          enum trace_origin origin, uint64_t began);

/* The end of the list of attributes, and what few spans have behind it. `ended` is
 * clock_precise(). */
void span_put_rest(struct tracer *tracer, const struct trace *trace, uint64_t ended);

/* Ends the span that is under way. */
void span_finish(struct trace *trace);

#endif
