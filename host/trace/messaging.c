/* SPDX-License-Identifier: Apache-2.0 */
/* Spans of messages that are sent and fetched, with the attributes that messaging has. */
#include <string.h>

#include "host/trace/internal.h"

/* Messages of one fetch that a span links to. */
#define LINKS_MAX 128

/* Names of inboxes are of no use to anybody. */
static bool is_temporary(const char *subject) {
    return strncmp(subject, "_INBOX.", 7) == 0;
}

void span_sent(struct span *span, enum span_kind kind, const char *subject, int code,
               const char *error) {
    if (span->tracer == NULL)
        return;
    const char *verb = kind == SPAN_CLIENT ? "request" : "publish";
    struct text name = {0};
    text_printf(&name, "%s %s", verb, is_temporary(subject) ? "(temporary)" : subject);
    struct text *text = span_open(span, kind, name.bytes != NULL ? name.bytes : verb);
    text_free(&name);
    if (text == NULL)
        return;
    span_attribute(text, "messaging.system", "nats");
    span_attribute(text, "messaging.operation.name", verb);
    span_attribute(text, "messaging.operation.type", "send");
    span_attribute(text, "messaging.destination.name", subject);
    if (error != NULL && code == 0)
        span_attribute(text, "error.type", error);
    text->len -= !text->failed; /* the comma */
    if (code != 0)
        span_put_code(text, code, error);
    text_puts(text, "]");
    if (error != NULL && code == 0)
        span_put_failure(text, error);
    span_shut(span);
}

void span_received(struct span *span, const char *stream, const char *consumer, size_t count,
                   const char *(*headers)(void *owner, size_t index, size_t *len),
                   void *owner) {
    if (span->tracer == NULL)
        return;
    struct text name = {0};
    text_printf(&name, "receive %s", stream);
    struct text *text =
        span_open(span, SPAN_CLIENT, name.bytes != NULL ? name.bytes : "receive");
    text_free(&name);
    if (text == NULL)
        return;
    span_attribute(text, "messaging.system", "nats");
    span_attribute(text, "messaging.operation.name", "receive");
    span_attribute(text, "messaging.operation.type", "receive");
    span_attribute(text, "messaging.consumer.group.name", consumer);
    span_attribute(text, "messaging.nats.stream", stream);
    text_printf(text,
                "{\"key\":\"messaging.batch.message_count\",\"value\":{\"intValue\":"
                "\"%zu\"}}],\"links\":[",
                count);
    size_t links = 0;
    for (size_t i = 0; i < count && links < LINKS_MAX; i++) {
        struct trace_headers found;
        struct trace_ids ids;
        size_t len;
        const char *block = headers(owner, i, &len);
        if (block == NULL)
            continue;
        trace_find(&found, block, len);
        if (found.parent == NULL || !traceparent_read(&ids, found.parent))
            continue;
        if (links++ > 0)
            text_puts(text, ",");
        span_put_link(text, &ids);
    }
    text_puts(text, "]");
    span_shut(span);
}
