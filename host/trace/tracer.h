/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Spans: what a service did for how long, as part of which trace. The tracer of a service
 * begins them and writes those that have ended, as text for the exporter (./exporter.h).
 *
 * Without a tracer (NULL) nothing is recorded, and traces that come in are passed on.
 */
#ifndef LUNATS_TRACE_TRACER_H
#define LUNATS_TRACE_TRACER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/trace/context.h"

struct exporter;
struct span_label;
struct text;
struct tracer;

/* Numbers of OTLP. */
enum span_kind {
    SPAN_INTERNAL = 1,
    SPAN_SERVER,
    SPAN_CLIENT,
    SPAN_PRODUCER,
    SPAN_CONSUMER,
};

/* One that is under way. All zero is none. */
struct span {
    struct tracer *tracer; /* NULL: it is not recorded */
    struct trace_ids ids;
    unsigned char parent[SPAN_ID_BYTES]; /* zero: none */
    uint64_t began;                      /* clock_precise() */
};

/*
 * `about` writes the attributes of the resource in JSON, each with a comma behind it: what the
 * service is. The tracer is the caller's, who hands it to tracer_close() when no span of it is
 * under way any more. `exporter` is borrowed. NULL without memory.
 */
struct tracer *tracer_open(struct exporter *exporter,
                           void (*about)(void *owner, struct text *text), void *owner);

/* What it has recorded goes to the exporter. NULL is fine. */
void tracer_close(struct tracer *tracer);

/* One attribute with a text, and a comma behind it. */
void span_attribute(struct text *text, const char *key, const char *value);

/* ---- a handler ---- */

/* What the message that is handled says of its trace. */
enum trace_origin {
    ORIGIN_SENDER, /* the handler is part of it */
    ORIGIN_STORED, /* the handler has a trace of its own, with a link to it */
};

/*
 * Begins the span of a handler, whose context is returned, or NULL (no memory). `headers` are
 * those of struct message; `began` is clock_precise(), 0 = now. Without a tracer see
 * trace_pass().
 */
struct trace *trace_handle(struct tracer *tracer, const char *headers, size_t len,
                           enum trace_origin origin, uint64_t began);

/* What a handler is, made once: name and attributes. Owned by the caller, free() it. NULL
 * without memory. `group` is a queue group or a consumer, `stream` that of the consumer; both
 * may be NULL. */
struct span_label *span_label(const char *destination, const char *group, const char *stream);

/*
 * Ends it. `label` as above, NULL: nothing is written. `ended` is clock_precise(), 0 = now.
 */
void trace_handled(struct trace *trace, const struct span_label *label, const char *subject,
                   uint64_t ended);

/* An error that nobody has caught, or (`code`) that the handler has returned: told when the
 * span ends. Copied. Does nothing for NULL and where nothing is recorded. */
void trace_failed(struct trace *trace, const char *text, const char *traceback);
void trace_answered(struct trace *trace, int code, const char *text);

/* ---- a request of HTTP that is answered (./served.c) ---- */

/* Begins its span, as part of the trace that its headers tell of; without a tracer that is
 * passed on. NULL: there is none, or no memory. */
struct trace *trace_serve(struct tracer *tracer, const struct trace_headers *headers,
                          uint64_t began);

/* Somebody will read what is told of it. */
bool trace_is_recorded(const struct trace *trace);

/* What it was, and what came of it. */
struct span_served {
    const char *name;              /* NULL without memory */
    const struct text *attributes; /* each with a comma behind it */
    int status;                    /* 0: its client was gone before */
    uint64_t ended;                /* clock_precise() */
};

/* Ends it, if it is recorded. */
void trace_served(struct trace *trace, const struct span_served *what);

/* ---- a script's own work ---- */

/* Begins a span inside of `outer` (taken; NULL: a trace of its own), whose context is returned:
 * outer itself when nothing is recorded. */
struct trace *trace_enter(struct tracer *tracer, struct trace *outer, const char *name);

/* Ends it, and returns what was outside. `error` may be NULL. Only after trace_enter(). */
struct trace *trace_leave(struct trace *trace, const char *error);

/* ---- something that is sent ---- */

/* Begins the span of a message that is sent in a context, NULL: in none. */
void span_send(struct span *span, struct tracer *tracer, const struct trace *trace);

/* Ends it, if it is one that is recorded. `error`: why it has failed, or NULL; `code` that of a
 * service, or 0. */
void span_sent(struct span *span, enum span_kind kind, const char *subject, int code,
               const char *error);

/* What was asked of a server of HTTP, and what came of it. */
struct span_http {
    const char *method;
    const char *url;          /* absolute, without secrets */
    int status;               /* 0: there was no answer */
    const char *code, *error; /* why it has failed, or NULL */
};

/* Ends one, begun in the same way, of a request of HTTP (./http.c). */
void span_http(struct span *span, const struct span_http *what);

/* Ends one, begun in the same way, of messages that were fetched from a stream: it has a link
 * to the trace of each. headers() gives the block of one, or NULL. */
void span_received(struct span *span, const char *stream, const char *consumer, size_t count,
                   const char *(*headers)(void *owner, size_t index, size_t *len), void *owner);

/* The headers of the message: those not there are NULL. Borrowed from the context and from
 * `parent`, which is filled. */
struct trace_out {
    const char *parent, *state, *baggage;
};
void span_headers(const struct span *span, const struct trace *trace, struct trace_out *out,
                  char parent[TRACEPARENT_SIZE]);

#endif
