/* SPDX-License-Identifier: Apache-2.0 */
#include "host/trace/context.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "host/base/pooled.h"
#include "host/trace/internal.h"

/* Longer ones are not passed on: the standards ask for 512 and 8192 bytes at least. */
#define STATE_MAX 4096
#define BAGGAGE_MAX 8192

/* ---- what a message brings ---- */

/* Whether it may be sent: what was received is not always. */
static bool is_sendable(const char *value, size_t max) {
    size_t len = 0;
    for (; value[len] != '\0'; len++)
        if (len >= max || ((unsigned char)value[len] < ' ' && value[len] != '\t') ||
            value[len] == 0x7f)
            return false;
    return len > 0;
}

/* Two values are as good as none. */
static void set_parent(struct trace_headers *out, const char *value) {
    if (out->parent != NULL || !is_sendable(value, BAGGAGE_MAX))
        value = "";
    out->parent = value;
}

void trace_find(struct trace_headers *out, const char *headers, size_t len) {
    *out = (struct trace_headers){0};
    const char *end = headers != NULL ? headers + len : NULL;
    for (const char *name = headers; name < end;) {
        size_t name_len = strlen(name);
        const char *value = name + name_len + 1;
        if (name_len == 11 && strcasecmp(name, "traceparent") == 0)
            set_parent(out, value);
        else if (name_len == 10 && out->state == NULL && strcasecmp(name, "tracestate") == 0)
            out->state = is_sendable(value, STATE_MAX) ? value : NULL;
        else if (name_len == 7 && out->baggage == NULL && strcasecmp(name, "baggage") == 0)
            out->baggage = is_sendable(value, BAGGAGE_MAX) ? value : NULL;
        name = value + strlen(value) + 1;
    }
    if (out->parent != NULL && *out->parent == '\0')
        out->parent = NULL;
    if (out->parent == NULL)
        out->state = NULL; /* means nothing without it */
}

static const char *if_sendable(const char *value, size_t max) {
    return value != NULL && is_sendable(value, max) ? value : NULL;
}

void trace_keep_sendable(struct trace_headers *headers) {
    headers->parent = if_sendable(headers->parent, BAGGAGE_MAX);
    headers->baggage = if_sendable(headers->baggage, BAGGAGE_MAX);
    headers->state = headers->parent != NULL ? if_sendable(headers->state, STATE_MAX) : NULL;
}

/* ---- life ---- */

static size_t size_of(const char *text) {
    return text != NULL ? strlen(text) + 1 : 0;
}

static const char *put(char **at, const char *text) {
    size_t size = size_of(text);
    char *copy = *at;
    if (size == 0)
        return NULL;
    memcpy(copy, text, size);
    *at += size;
    return copy;
}

/* Most have no headers to keep. These wait here for the next message: half of what a context
 * costs is malloc(). */
#define KEPT_MAX 256u

static _Thread_local struct {
    struct trace *first; /* by `outer` */
    unsigned count;
} kept;

struct trace *trace_bare(void) {
    struct trace *trace = kept.first;
    if (trace != NULL) {
        kept.first = trace->outer;
        kept.count--;
    } else {
        trace = malloc(sizeof(*trace));
    }
    if (trace != NULL)
        *trace = (struct trace){.refs = 1};
    return trace;
}

static void give_back(struct trace *trace) {
    bool bare = trace->parent == NULL && trace->state == NULL && trace->baggage == NULL;
    if (!LN_POOLED || !bare || kept.count == KEPT_MAX) {
        free(trace);
        return;
    }
    trace->outer = kept.first;
    kept.first = trace;
    kept.count++;
}

struct trace *trace_new(const struct trace_headers *headers) {
    size_t size =
        size_of(headers->parent) + size_of(headers->state) + size_of(headers->baggage);
    if (size == 0)
        return trace_bare();
    struct trace *trace = malloc(sizeof(*trace) + size);
    if (trace == NULL)
        return NULL;
    *trace = (struct trace){.refs = 1};
    char *at = trace->bytes;
    trace->parent = put(&at, headers->parent);
    trace->state = put(&at, headers->state);
    trace->baggage = put(&at, headers->baggage);
    return trace;
}

struct trace_notes *trace_notes(struct trace *trace) {
    if (trace->notes == NULL)
        trace->notes = calloc(1, sizeof(*trace->notes));
    return trace->notes;
}

static void free_notes(struct trace_notes *notes) {
    free(notes->error);
    free(notes->traceback);
    free(notes);
}

struct trace *trace_pass_on(const struct trace_headers *headers) {
    if (headers->parent == NULL && headers->baggage == NULL)
        return NULL;
    struct trace *trace = trace_new(headers);
    if (trace != NULL && headers->parent != NULL)
        trace->known = traceparent_read(&trace->span.ids, headers->parent);
    return trace;
}

struct trace *trace_pass(const char *headers, size_t len) {
    struct trace_headers found;
    trace_find(&found, headers, len);
    return trace_pass_on(&found);
}

struct trace *trace_hold(struct trace *trace) {
    if (trace != NULL)
        trace->refs++;
    return trace;
}

void trace_release(struct trace *trace) {
    while (trace != NULL && --trace->refs == 0) {
        struct trace *outer = trace->outer;
        if (trace->span.tracer != NULL)
            span_finish(trace);
        if (trace->name != NULL)
            free(trace->name);
        if (trace->notes != NULL)
            free_notes(trace->notes);
        give_back(trace);
        trace = outer;
    }
}

/* ---- looking ---- */

const struct trace_ids *trace_ids(const struct trace *trace) {
    return trace != NULL && trace->known ? &trace->span.ids : NULL;
}

bool trace_text(const struct trace *trace, char trace_id[2 * TRACE_ID_BYTES + 1],
                char span_id[2 * SPAN_ID_BYTES + 1]) {
    const struct trace_ids *ids = trace_ids(trace);
    *trace_id = *span_id = '\0';
    if (ids == NULL)
        return false;
    *trace_id_write(trace_id, ids->trace) = '\0';
    *span_id_write(span_id, ids->span) = '\0';
    return true;
}
