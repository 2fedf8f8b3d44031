/* SPDX-License-Identifier: Apache-2.0 */
#include "bindings/lib/trace.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "bindings/lib/lib.h"

static struct trace *current(lua_State *L) {
    const struct fiber *fiber = fibers_current(script_fibers(script_of(L)));
    return fiber != NULL ? fiber_trace(fiber) : NULL;
}

bool trace_current(lua_State *L, char trace_id[2 * TRACE_ID_BYTES + 1],
                   char span_id[2 * SPAN_ID_BYTES + 1]) {
    return trace_text(current(L), trace_id, span_id);
}

static bool has(const struct link_out *out, const char *name) {
    for (size_t i = 0; i < out->header_count; i++)
        if (strcasecmp(out->headers[i].name, name) == 0)
            return true;
    return false;
}

/* The headers of *out and those of the trace, in memory that the stack keeps. */
struct extended {
    char parent[TRACEPARENT_SIZE];
    struct link_header headers[];
};

static void add(struct link_out *out, struct extended *all, const char *name,
                const char *value) {
    if (value != NULL && !has(out, name))
        all->headers[out->header_count++] = (struct link_header){name, value};
}

static void extend(lua_State *L, struct link_out *out, struct span *span, struct tracer *tracer,
                   const struct trace *trace) {
    struct extended *all = lua_newuserdatauv(
        L, sizeof(*all) + (out->header_count + 3) * sizeof(struct link_header), 0);
    if (out->header_count > 0)
        memcpy(all->headers, out->headers, out->header_count * sizeof(struct link_header));
    out->headers = all->headers;
    bool own = has(out, "traceparent"); /* the script knows better */
    if (tracer != NULL && !own)
        span_send(span, tracer, trace);
    struct trace_out values;
    span_headers(span, trace, &values, all->parent);
    if (!own) {
        add(out, all, "traceparent", values.parent);
        add(out, all, "tracestate", values.state);
    }
    add(out, all, "baggage", values.baggage);
}

/* What begins like this is for the server: the API of JetStream, buckets, $SRV. */
static bool is_of_server(const char *subject) {
    return *subject == '$';
}

void trace_outgoing(lua_State *L, struct link_out *out, struct span *span) {
    const struct script *script = script_of(L);
    const struct fiber *fiber = fibers_current(script_fibers(script));
    const struct trace *trace = fiber != NULL ? fiber_trace(fiber) : NULL;
    struct tracer *tracer = service_tracer(script_service(script));
    if ((trace != NULL || tracer != NULL) && !is_of_server(out->subject))
        extend(L, out, span, tracer, trace);
}

void trace_sent(struct span *span, enum span_kind kind, const char *subject, int status) {
    if (span->tracer != NULL)
        span_sent(span, kind, subject, 0, status < 0 ? status_text(status) : NULL);
}

/* ---- with an answer ---- */

struct trace_wait {
    struct span span;
    char subject[];
};

void trace_await(struct trace_wait **out, const struct span *span, const char *subject) {
    if (span->tracer == NULL)
        return;
    size_t size = strlen(subject) + 1;
    struct trace_wait *wait = malloc(sizeof(*wait) + size);
    if (wait == NULL)
        return;
    wait->span = *span;
    memcpy(wait->subject, subject, size);
    *out = wait;
}

void trace_answered_with(struct trace_wait **owned, enum span_kind kind, int status,
                         const struct message *reply) {
    struct trace_wait *wait = *owned;
    const char *text = NULL, *code = NULL;
    if (wait == NULL)
        return;
    *owned = NULL;
    if (reply != NULL) {
        text = header_find(reply->headers, reply->headers_len, "Nats-Service-Error");
        code = header_find(reply->headers, reply->headers_len, "Nats-Service-Error-Code");
        if (text != NULL && code == NULL)
            code = "500";
    } else if (status < 0) {
        text = status_text(status);
    }
    span_sent(&wait->span, kind, wait->subject, code != NULL ? (int)strtol(code, NULL, 10) : 0,
              text);
    free(wait);
}
