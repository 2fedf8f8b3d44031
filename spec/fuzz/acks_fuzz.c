/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reply subjects: what they say of a message that a consumer has delivered, and which of them
 * an answer may go to. The input is a line with a reply subject, one with a consumer
 * ("stream.consumer"), and one with a pattern.
 */
#include "host/jetstream/status.h"

#include "host/link/answer.h"
#include "host/link/link.h"
#include "spec/fuzz/fuzz.h"

static bool same(struct js_slice slice, struct js_slice other) {
    return slice.len == other.len && memcmp(slice.at, other.at, slice.len) == 0;
}

static void check_same(const char *reply, const struct js_meta *meta) {
    struct js_meta again;
    HOLDS(js_parse_reply(reply, &again));
    HOLDS(same(again.domain, meta->domain) && same(again.stream, meta->stream) &&
          same(again.consumer, meta->consumer));
    HOLDS(again.num_delivered == meta->num_delivered && again.stream_seq == meta->stream_seq &&
          again.consumer_seq == meta->consumer_seq && again.timestamp == meta->timestamp &&
          again.num_pending == meta->num_pending);
}

/* Both versions, as servers write them. */
static void check_rewritten(const struct js_meta *meta, size_t len) {
    size_t size = len + 256;
    char *text = malloc(size);
    char *numbers = malloc(size);
    HOLDS(text != NULL && numbers != NULL);
    snprintf(numbers, size, "%.*s.%.*s.%llu.%llu.%llu.%lld.%llu", (int)meta->stream.len,
             meta->stream.at, (int)meta->consumer.len, meta->consumer.at,
             (unsigned long long)meta->num_delivered, (unsigned long long)meta->stream_seq,
             (unsigned long long)meta->consumer_seq, (long long)meta->timestamp,
             (unsigned long long)meta->num_pending);
    for (int token = 0; token <= 1; token++) { /* which servers write, and older ones do not */
        snprintf(text, size, "$JS.ACK.%.*s.hash.%s%s",
                 meta->domain.len > 0 ? (int)meta->domain.len : 1,
                 meta->domain.len > 0 ? meta->domain.at : "_", numbers,
                 token == 1 ? ".token" : "");
        check_same(text, meta);
    }
    if (meta->domain.len == 0) {
        snprintf(text, size, "$JS.ACK.%s", numbers);
        check_same(text, meta);
    }
    free(text);
    free(numbers);
}

static void check_meta(const char *reply) {
    struct js_meta meta;
    size_t len = strlen(reply);
    if (!js_parse_reply(reply, &meta))
        return;
    HOLDS(meta.stream.len > 0 && fuzz_inside(meta.stream.at, meta.stream.len, reply, len));
    HOLDS(meta.consumer.len > 0 &&
          fuzz_inside(meta.consumer.at, meta.consumer.len, reply, len));
    HOLDS(meta.domain.len == 0 || fuzz_inside(meta.domain.at, meta.domain.len, reply, len));
    HOLDS(meta.timestamp >= 0);
    check_rewritten(&meta, len);
}

/* Nobody makes us publish to a subject of the server but the consumer that we read from. */
static void check_answer(const char *reply, const char *consumer) {
    bool ours = strncmp(reply, ANSWER_OURS, strlen(ANSWER_OURS)) == 0;
    HOLDS(js_answer_ok(reply, NULL) == (*reply != '$' && !ours));
    if (!js_answer_ok(reply, consumer) || js_answer_ok(reply, NULL))
        return;
    bool ack = strncmp(reply, "$JS.ACK.", 8) == 0, flow = strncmp(reply, "$JS.FC.", 7) == 0;
    HOLDS(ack || flow);
    const char *named = strstr(reply, consumer);
    HOLDS(named != NULL && strchr(named + strlen(consumer), '.') != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    struct fuzz_input input = {(const char *)bytes, size};
    char *reply = fuzz_line(&input), *consumer = fuzz_line(&input);
    char *pattern = fuzz_line(&input);
    check_meta(reply);
    check_answer(reply, consumer);
    const char *last = js_consumer_of(reply);
    HOLDS(fuzz_inside(last, strlen(last), reply, strlen(reply)));
    HOLDS(last == reply || last[-1] == '.');
    bool delivered = js_delivered(pattern, reply, reply);
    HOLDS(!delivered || !link_pattern_covers(pattern, reply));
    free(reply);
    free(consumer);
    free(pattern);
    return 0;
}
