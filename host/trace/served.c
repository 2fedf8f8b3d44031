/* SPDX-License-Identifier: Apache-2.0 */
/* Spans of requests of HTTP that are answered; what they are is told by whoever has them. */
#include <stdio.h>

#include "host/trace/internal.h"

struct trace *trace_serve(struct tracer *tracer, const struct trace_headers *headers,
                          uint64_t began) {
    struct trace_headers found = *headers;
    trace_keep_sendable(&found);
    return tracer != NULL ? trace_begin(tracer, found, ORIGIN_SENDER, began)
                          : trace_pass_on(&found);
}

bool trace_is_recorded(const struct trace *trace) {
    return trace != NULL && trace->span.tracer != NULL;
}

/* The mistakes of clients are none of ours. */
static const char *fault_of(const struct span_served *what, char number[16]) {
    if (what->status == 0)
        return "cancelled";
    snprintf(number, 16, "%d", what->status);
    return what->status >= 500 ? number : NULL;
}

void trace_served(struct trace *trace, const struct span_served *what) {
    if (!trace_is_recorded(trace))
        return;
    struct tracer *tracer = trace->span.tracer;
    char number[16];
    const char *fault = fault_of(what, number);
    struct text *text =
        span_open(&trace->span, SPAN_SERVER, what->name != NULL ? what->name : "HTTP");
    if (text == NULL)
        return;
    text_put(text, what->attributes->bytes != NULL ? what->attributes->bytes : "",
             what->attributes->len);
    text->failed |= what->attributes->failed;
    if (what->status != 0)
        text_printf(text,
                    "{\"key\":\"http.response.status_code\",\"value\":{\"intValue\":\"%d\"}},",
                    what->status);
    if (fault != NULL)
        span_attribute(text, "error.type", fault);
    text->len -= !text->failed; /* the comma */
    span_put_rest(tracer, trace, what->ended);
    if (fault != NULL && (trace->notes == NULL || !trace->notes->failed))
        span_put_failure(text, what->status == 0 ? "the client was gone" : "");
    span_shut(&trace->span);
}
