/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The block of headers of a message that came: as scripts see it, the status in it and what
 * that means for a reader, and the trace that it brings. The input is the block.
 */
#include "host/link/message.h"

#include <strings.h>

#include "host/jetstream/verdict.h"
#include "host/trace/context.h"
#include "spec/fuzz/fuzz.h"

/* Names and values in turn, up to the last byte; returns how many. */
static size_t check_block(const struct message *msg) {
    const char *at = msg->headers, *end = at != NULL ? at + msg->headers_len : NULL;
    size_t count = 0;
    for (; at < end; count++) {
        const char *value = at + strlen(at) + 1;
        HOLDS(*at != '\0' && value < end);
        HOLDS(strpbrk(at, "\n") == NULL && strpbrk(value, "\n") == NULL);
        HOLDS(strchr(" \t\r", *value) == NULL || *value == '\0');
        const char *found = message_header(msg, at);
        HOLDS(found != NULL && found <= value); /* the first of that name */
        at = value + strlen(value) + 1;
    }
    HOLDS(at == end);
    return count;
}

/* What is in the block, written again, is the same block. */
static void check_rewritten(const struct message *msg) {
    char *wire = malloc(msg->headers_len * 3 + 16), *to = wire;
    HOLDS(wire != NULL);
    to += sprintf(to, "NATS/1.0\r\n");
    for (const char *at = msg->headers; at < msg->headers + msg->headers_len;) {
        const char *value = at + strlen(at) + 1;
        to += sprintf(to, "%s:%s\r\n", at, value);
        at = value + strlen(value) + 1;
    }
    to += sprintf(to, "\r\n");
    struct message_parts parts = {.subject = "x", .subject_len = 1, .headers = wire};
    parts.headers_len = (size_t)(to - wire);
    parts.data = "";
    struct message *again = message_new(&parts);
    HOLDS(again != NULL && again->status == 0 && again->headers_len == msg->headers_len);
    HOLDS(memcmp(again->headers, msg->headers, msg->headers_len) == 0);
    message_free(again);
    free(wire);
}

static void check_status(const struct message *msg) {
    enum js_status status = js_classify(msg);
    HOLDS((status == JS_DATA) == (msg->status == 0));
    bool lost = false;
    for (unsigned absent = 0, times = 0; times < 3 && !lost; times++) {
        const char *text = message_header(msg, "Description");
        struct verdict verdict = verdict_of(status, text, &absent);
        lost = verdict.action == VERDICT_LOST;
        HOLDS(!lost || verdict.status < 0);
        HOLDS(verdict.wait_ms <= JS_LONG_PAUSE_MS);
    }
    HOLDS(lost || (status != JS_ABSENT && status != JS_GONE && status != JS_REFUSED));
}

static void check_trace(const struct message *msg) {
    struct trace *trace = trace_pass(msg->headers, msg->headers_len);
    const struct trace_ids *ids = trace_ids(trace);
    if (ids != NULL) {
        char text[TRACEPARENT_SIZE];
        struct trace_ids again;
        traceparent_write(ids, text);
        HOLDS(strlen(text) == TRACEPARENT_SIZE - 1);
        HOLDS(traceparent_read(&again, text) && memcmp(&again, ids, sizeof(again)) == 0);
    }
    trace_release(trace);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    char *block = fuzz_copy(bytes, size);
    struct message_parts parts = {
        .subject = "orders.new",
        .subject_len = 10,
        .reply = "$JS.ACK",
        .reply_len = 7,
        .headers = block,
        .headers_len = size,
        .data = "",
    };
    struct message *msg = message_new(&parts);
    HOLDS(msg != NULL);
    free(block); /* nothing of it is needed any more */
    size_t count = check_block(msg);
    HOLDS((count > 0) == (msg->headers != NULL));
    if (count > 0)
        check_rewritten(msg);
    check_status(msg);
    check_trace(msg);
    message_free(msg);
    return 0;
}
