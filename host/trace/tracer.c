/* SPDX-License-Identifier: Apache-2.0 */
#include "host/trace/tracer.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/clock.h"
#include "host/base/container_of.h"
#include "host/base/put.h"
#include "host/trace/exporter.h"
#include "host/trace/internal.h"

/* Bytes of an error and of its traceback that a span shows. */
#define ERROR_MAX 1024
#define TRACEBACK_MAX 8192

struct tracer {
    struct exporter_source source;
    struct exporter *exporter;
    const struct trace_settings *settings;
    void (*about)(void *owner, struct text *text);
    void *owner;
    struct text text; /* a document that has no end yet; empty: no span waits */
    size_t spans;     /* in it */
    uint64_t epoch;   /* nanoseconds from the Unix epoch to 0 of clock_precise() */
    uint64_t second;  /* the one that was written last, in nanoseconds, and how */
    char digits[10];
};

/* ---- documents ---- */

/* For each document anew, as the clock may be set. */
static uint64_t now_epoch(void) {
    struct timespec wall;
    clock_gettime(CLOCK_REALTIME, &wall);
    return (uint64_t)wall.tv_sec * 1000000000 + (uint64_t)wall.tv_nsec - clock_precise();
}

static void begin_document(struct tracer *tracer) {
    struct text *text = &tracer->text;
    exporter_spare(tracer->exporter, text);
    text_puts(text, "{\"resourceSpans\":[{\"resource\":{\"attributes\":[");
    tracer->about(tracer->owner, text);
    if (tracer->settings->resources != NULL)
        text_puts(text, tracer->settings->resources);
    span_attribute(text, "telemetry.sdk.name", "lunats");
    span_attribute(text, "telemetry.sdk.language", "lua");
    span_attribute(text, "telemetry.sdk.version", LN_VERSION);
    text->len -= !text->failed; /* the last comma */
    text_puts(text, "]},\"scopeSpans\":[{\"scope\":{\"name\":\"lunats\",\"version\":"
                    "\"" LN_VERSION "\"},\"spans\":[");
    tracer->epoch = now_epoch();
}

static void end_document(struct tracer *tracer) {
    if (tracer->spans == 0)
        return;
    tracer->text.len -= !tracer->text.failed; /* the comma behind the last span */
    text_puts(&tracer->text, "]}]}]}");
    exporter_take(tracer->exporter, &tracer->text, tracer->spans);
    tracer->spans = 0;
}

static void on_flush(struct exporter_source *source) {
    end_document(container_of(source, struct tracer, source));
}

struct tracer *tracer_open(struct exporter *exporter,
                           void (*about)(void *owner, struct text *text), void *owner) {
    struct tracer *tracer = calloc(1, sizeof(*tracer));
    if (tracer == NULL)
        return NULL;
    tracer->exporter = exporter;
    tracer->settings = exporter_settings(exporter);
    tracer->about = about;
    tracer->owner = owner;
    tracer->source.flush = on_flush;
    exporter_add(exporter, &tracer->source);
    return tracer;
}

void tracer_close(struct tracer *tracer) {
    if (tracer == NULL)
        return;
    end_document(tracer);
    exporter_remove(&tracer->source);
    text_free(&tracer->text);
    free(tracer);
}

/* ---- pieces of a span ---- */

/* A JSON string of at most `max` bytes. */
static void put_string(struct text *text, const char *string, size_t max) {
    size_t len = strlen(string);
    if (len > max) {
        len = max;
        while (len > 0 && ((unsigned char)string[len] & 0xc0) == 0x80)
            len--; /* not in the middle of a character */
        char *cut = strndup(string, len);
        text_json(text, cut != NULL ? cut : "");
        free(cut);
        return;
    }
    text_json(text, string);
}

void span_attribute(struct text *text, const char *key, const char *value) {
    text_puts(text, "{\"key\":");
    text_json(text, key);
    text_puts(text, ",\"value\":{\"stringValue\":");
    put_string(text, value, TRACEBACK_MAX);
    text_puts(text, "}},");
}

/* Most subjects need no escape. */
static bool is_plain(const char *string, size_t len) {
    for (size_t i = 0; i < len; i++)
        if (string[i] < ' ' || string[i] == '"' || string[i] == '\\' || string[i] == 0x7f)
            return false;
    return true;
}

/* Writes 19 digits, as nanoseconds since 1970 have them until 2286. The second is mostly that
 * of the time before. */
static inline void put_time(struct tracer *tracer, char *out, uint64_t time) {
    if (time - tracer->second >= 1000000000) {
        uint32_t seconds = (uint32_t)(time / 1000000000);
        tracer->second = time - time % 1000000000;
        tracer->digits[0] = (char)('0' + seconds / 1000000000);
        put_nine(tracer->digits + 1, seconds % 1000000000);
    }
    memcpy(out, tracer->digits, 10);
    put_nine(out + 10, (uint32_t)(time - tracer->second));
}

/* All that each span has, with room for its values. */
#define HEAD                                                                                   \
    "{\"traceId\":\"................................\",\"spanId\":\"................\","       \
    "\"startTimeUnixNano\":\"...................\",\"endTimeUnixNano\":\"..................."  \
    "\","
#define PARENT ",\"parentSpanId\":\"................\""
#define END_ROOM (sizeof(PARENT) + 4)
enum { AT_TRACE_ID = 12, AT_SPAN_ID = 56, AT_START = 95, AT_END = 135, AT_PARENT_ID = 17 };

static const unsigned char no_parent[SPAN_ID_BYTES];

/*
 * Writes a span that begins with HEAD: `text`, without its parent. There is room for `room`
 * more bytes behind it. False: the span is left out, for want of memory or of a place in the
 * queue.
 */
static inline bool begin_span(const struct span *span, uint64_t ended, const char *text,
                              size_t len, size_t room) {
    struct tracer *tracer = span->tracer;
    if (!exporter_admit(tracer->exporter))
        return false;
    if (tracer->spans++ == 0)
        begin_document(tracer);
    char *at = text_room(&tracer->text, len + room);
    if (at == NULL)
        return false; /* the exporter will see that the document has failed */
    memcpy(at, text, len);
    trace_id_write(at + AT_TRACE_ID, span->ids.trace);
    span_id_write(at + AT_SPAN_ID, span->ids.span);
    put_time(tracer, at + AT_START, span->began + tracer->epoch);
    put_time(tracer, at + AT_END, ended + tracer->epoch);
    tracer->text.len += len;
    return true;
}

static inline bool has_parent(const struct span *span) {
    return memcmp(span->parent, no_parent, SPAN_ID_BYTES) != 0;
}

/* A span more is in the document. */
static inline void end_if_full(struct tracer *tracer) {
    if (tracer->spans == tracer->settings->batch_max)
        end_document(tracer);
}

/* The last span of the document has come to its end but for its parent. */
static void end_span(struct tracer *tracer, const struct span *span) {
    struct text *text = &tracer->text;
    char *at = text_room(text, END_ROOM);
    if (at == NULL)
        return;
    if (has_parent(span)) {
        memcpy(at, PARENT, sizeof(PARENT) - 1);
        span_id_write(at + AT_PARENT_ID, span->parent);
        at += sizeof(PARENT) - 1;
    }
    memcpy(at, "},", 2);
    text->len = (size_t)(at + 2 - text->bytes);
    end_if_full(tracer);
}

/* Begins the span behind its head: all of it but the subject, where that may differ. */
struct span_label {
    size_t len; /* without WHOLE_END */
    bool whole; /* has the subject, too, and WHOLE_END: most spans have nothing else */
    char text[];
};
#define WHOLE_END "]},"

static struct span_label *new_label(const struct text *text, bool whole) {
    struct span_label *label = text->failed ? NULL : malloc(sizeof(*label) + text->len);
    if (label == NULL)
        return NULL;
    label->len = text->len - (whole ? sizeof(WHOLE_END) - 1 : 0);
    label->whole = whole;
    memcpy(label->text, text->bytes, text->len);
    return label;
}

struct span_label *span_label(const char *destination, const char *group, const char *stream) {
    struct text text = {0}, name = {0};
    bool whole = stream == NULL && strpbrk(destination, "*>") == NULL;
    text_printf(&name, "process %s", stream != NULL ? stream : destination);
    text_printf(&text, HEAD "\"kind\":%d,\"name\":", SPAN_CONSUMER);
    text_json(&text, name.bytes != NULL ? name.bytes : "process");
    text_free(&name);
    text_puts(&text, ",\"attributes\":[");
    span_attribute(&text, "messaging.system", "nats");
    span_attribute(&text, "messaging.operation.name", "process");
    span_attribute(&text, "messaging.operation.type", "process");
    if (stream == NULL && !whole)
        span_attribute(&text, "messaging.destination.template", destination);
    if (group != NULL)
        span_attribute(&text, "messaging.consumer.group.name", group);
    if (stream != NULL)
        span_attribute(&text, "messaging.nats.stream", stream);
    if (whole) {
        span_attribute(&text, "messaging.destination.name", destination);
        text.len -= !text.failed; /* the comma */
        text_puts(&text, WHOLE_END);
    } else {
        text_puts(&text, "{\"key\":\"messaging.destination.name\",\"value\":{\"stringValue\":");
    }
    struct span_label *label = new_label(&text, whole);
    text_free(&text);
    return label;
}

/* ---- the end of a handler ---- */

void span_put_link(struct text *text, const struct trace_ids *ids) {
    char digits[2 * TRACE_ID_BYTES];
    text_puts(text, "{\"traceId\":\"");
    trace_id_write(digits, ids->trace);
    text_put(text, digits, sizeof(digits));
    text_puts(text, "\",\"spanId\":\"");
    span_id_write(digits, ids->span);
    text_put(text, digits, (size_t)2 * SPAN_ID_BYTES);
    text_puts(text, "\"}");
}

static void put_failure(struct tracer *tracer, const struct trace_notes *notes, uint64_t at) {
    struct text *text = &tracer->text;
    char time[19];
    put_time(tracer, time, at);
    text_puts(text, ",\"events\":[{\"timeUnixNano\":\"");
    text_put(text, time, sizeof(time));
    text_puts(text, "\",\"name\":\"exception\",\"attributes\":[");
    span_attribute(text, "exception.message", notes->error != NULL ? notes->error : "");
    if (notes->traceback != NULL)
        span_attribute(text, "exception.stacktrace", notes->traceback);
    span_attribute(text, "exception.type", "lua.error");
    text->len -= !text->failed; /* the comma */
    text_puts(text, "]}]");
    span_put_failure(text, notes->error != NULL ? notes->error : "");
}

void span_put_code(struct text *text, int code, const char *error) {
    text_printf(text,
                ",{\"key\":\"messaging.nats.service.error_code\",\"value\":{\"intValue\":"
                "\"%d\"}}",
                code);
    if (error == NULL)
        return;
    text_puts(text, ",");
    span_attribute(text, "messaging.nats.service.error", error);
    text->len -= !text->failed;
}

void span_put_rest(struct tracer *tracer, const struct trace *trace, uint64_t ended) {
    struct text *text = &tracer->text;
    const struct trace_notes *notes = trace->notes;
    if (notes != NULL && !notes->failed && notes->code != 0)
        span_put_code(text, notes->code, notes->error);
    text_puts(text, "]");
    if (trace->state != NULL) {
        text_puts(text, ",\"traceState\":");
        text_json(text, trace->state);
    }
    if (notes != NULL && notes->linked) {
        text_puts(text, ",\"links\":[");
        span_put_link(text, &notes->link);
        text_puts(text, "]");
    }
    if (notes != NULL && notes->failed)
        put_failure(tracer, notes, ended + tracer->epoch);
}

/* Begins the span with its attributes, whose list stays open. */
static bool begin_handled(const struct span *span, const struct span_label *label,
                          const char *subject, uint64_t ended) {
    struct text *text = &span->tracer->text;
    size_t len = label->whole ? 0 : strlen(subject);
    if (!begin_span(span, ended, label->text, label->len, len + 4))
        return false;
    if (label->whole)
        return true;
    char *at = text->bytes + text->len;
    if (is_plain(subject, len)) {
        *at++ = '"';
        memcpy(at, subject, len);
        at[len] = '"';
        text->len += len + 2;
    } else {
        text_json(text, subject);
    }
    text_put(text, "}}", 2);
    return !text->failed;
}

static __attribute__((noinline)) void write_handled(const struct trace *trace,
                                                    const struct span_label *label,
                                                    const char *subject, uint64_t ended) {
    struct tracer *tracer = trace->span.tracer;
    if (!begin_handled(&trace->span, label, subject, ended))
        return;
    span_put_rest(tracer, trace, ended);
    end_span(tracer, &trace->span);
}

void trace_handled(struct trace *trace, const struct span_label *label, const char *subject,
                   uint64_t ended) {
    while (trace != NULL && trace->outer != NULL)
        trace = trace->outer; /* it was cut off in work of its own */
    struct tracer *tracer = trace != NULL ? trace->span.tracer : NULL;
    if (tracer == NULL)
        return;
    if (ended == 0)
        ended = clock_precise();
    if (label != NULL && label->whole && trace->notes == NULL && trace->state == NULL &&
        !has_parent(&trace->span)) {
        if (begin_span(&trace->span, ended, label->text, label->len + sizeof(WHOLE_END) - 1, 0))
            end_if_full(tracer);
    } else if (label != NULL) {
        write_handled(trace, label, subject, ended);
    }
    trace->span.tracer = NULL;
}

/* Of a script's own work, or one that was cut off. */
void span_finish(struct trace *trace) {
    struct tracer *tracer = trace->span.tracer;
    if (tracer == NULL)
        return;
    trace->span.tracer = NULL;
    struct span span = trace->span;
    span.tracer = tracer;
    uint64_t ended = clock_precise();
    if (trace->name == NULL || !begin_span(&span, ended, HEAD, sizeof(HEAD) - 1, 0))
        return;
    text_printf(&tracer->text, "\"kind\":%d,\"name\":", SPAN_INTERNAL);
    text_json(&tracer->text, trace->name);
    text_puts(&tracer->text, ",\"attributes\":[");
    span_put_rest(tracer, trace, ended);
    end_span(tracer, &span);
}

/* ---- beginnings ---- */

/* A span inside of `parent`, NULL: the first one of a trace. */
static inline void begin(struct span *span, struct tracer *tracer,
                         const struct trace_ids *parent, uint64_t began) {
    if (parent != NULL) {
        span->ids = *parent;
        memcpy(span->parent, parent->span, SPAN_ID_BYTES);
        span_id_new(span->ids.span);
    } else {
        trace_ids_new(&span->ids);
        memset(span->parent, 0, SPAN_ID_BYTES);
    }
    bool sampled = trace_sampled(tracer->settings, span->ids.trace, parent);
    span->ids.flags = (unsigned char)((span->ids.flags & TRACE_RANDOM) | sampled);
    span->tracer = sampled ? tracer : NULL;
    span->began = began != 0 ? began : clock_precise();
}

struct trace *trace_begin(struct tracer *tracer, struct trace_headers found,
                          enum trace_origin origin, uint64_t began) {
    struct trace_ids sender;
    bool known = found.parent != NULL && traceparent_read(&sender, found.parent);
    bool part = known && origin != ORIGIN_STORED;
    found.parent = NULL;
    if (!part)
        found.state = NULL; /* of another trace than ours */
    struct trace *trace = trace_new(&found);
    if (trace == NULL)
        return NULL;
    if (known && !part && trace_notes(trace) != NULL) {
        trace->notes->linked = true;
        trace->notes->link = sender;
    }
    begin(&trace->span, tracer, part ? &sender : NULL, began);
    trace->known = true;
    return trace;
}

struct trace *trace_handle(struct tracer *tracer, const char *headers, size_t len,
                           enum trace_origin origin, uint64_t began) {
    struct trace *trace;
    if (headers != NULL) {
        struct trace_headers found;
        trace_find(&found, headers, len);
        return trace_begin(tracer, found, origin, began);
    }
    if ((trace = trace_bare()) != NULL) {
        begin(&trace->span, tracer, NULL, began);
        trace->known = true;
    }
    return trace;
}

struct trace *trace_enter(struct tracer *tracer, struct trace *outer, const char *name) {
    if (tracer == NULL)
        return outer;
    struct trace_headers headers = {
        .state = outer != NULL ? outer->state : NULL,
        .baggage = outer != NULL ? outer->baggage : NULL,
    };
    struct trace *trace = trace_new(&headers);
    if (trace == NULL)
        return outer;
    trace->name = strdup(name);
    trace->known = true;
    trace->outer = outer;
    begin(&trace->span, tracer, trace_ids(outer), 0);
    return trace;
}

struct trace *trace_leave(struct trace *trace, const char *error) {
    if (trace == NULL || trace->name == NULL)
        return trace;
    if (error != NULL)
        trace_failed(trace, error, NULL);
    struct trace *outer = trace_hold(trace->outer);
    span_finish(trace);
    trace_release(trace);
    return outer;
}

/* ---- errors ---- */

static void remember(char **out, const char *text, size_t max) {
    free(*out);
    *out = text != NULL ? strndup(text, max) : NULL;
}

/* Where they may be written: nobody else has failed, and somebody will read it. */
static struct trace_notes *notes_of(struct trace *trace) {
    if (trace == NULL || trace->span.tracer == NULL)
        return NULL;
    struct trace_notes *notes = trace_notes(trace);
    return notes == NULL || notes->failed ? NULL : notes;
}

void trace_failed(struct trace *trace, const char *text, const char *traceback) {
    struct trace_notes *notes = notes_of(trace);
    if (notes == NULL)
        return;
    notes->failed = true;
    remember(&notes->error, text, ERROR_MAX);
    remember(&notes->traceback, traceback, TRACEBACK_MAX);
}

void trace_answered(struct trace *trace, int code, const char *text) {
    struct trace_notes *notes = notes_of(trace);
    if (notes == NULL || notes->code != 0)
        return;
    notes->code = code;
    remember(&notes->error, text, ERROR_MAX);
}

/* ---- sending ---- */

void span_send(struct span *span, struct tracer *tracer, const struct trace *trace) {
    begin(span, tracer, trace_ids(trace), 0);
}

struct text *span_open(struct span *span, enum span_kind kind, const char *name) {
    struct tracer *tracer = span->tracer;
    if (!begin_span(span, clock_precise(), HEAD, sizeof(HEAD) - 1, 0)) {
        span->tracer = NULL;
        return NULL;
    }
    struct text *text = &tracer->text;
    text_printf(text, "\"kind\":%d,\"name\":", (int)kind);
    text_json(text, name);
    text_puts(text, ",\"attributes\":[");
    return text;
}

void span_shut(struct span *span) {
    struct tracer *tracer = span->tracer;
    span->tracer = NULL;
    end_span(tracer, span);
}

void span_put_failure(struct text *text, const char *error) {
    text_puts(text, ",\"status\":{\"code\":2,\"message\":");
    put_string(text, error, ERROR_MAX);
    text_puts(text, "}");
}

void span_headers(const struct span *span, const struct trace *trace, struct trace_out *out,
                  char parent[TRACEPARENT_SIZE]) {
    *out = (struct trace_out){0};
    if (trace != NULL) {
        out->state = trace->state;
        out->baggage = trace->baggage;
        out->parent = trace->parent;
    }
    if (span->began == 0)
        return;
    traceparent_write(&span->ids, parent);
    out->parent = parent;
}
