/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metrics of workers, which run the scripts of users: whatever they write, the sum can be read
 * again, and is the same then. The first byte says where the text is cut into those of two.
 */
#include "host/supervisor/frames.h"
#include "host/supervisor/sums.h"
#include "spec/fuzz/fuzz.h"

static void add(struct sums *sums, const uint8_t *bytes, size_t len, unsigned worker) {
    char *copy = fuzz_copy(bytes, len);
    sums_add(sums, copy, len, worker);
    free(copy);
}

static void ignore(void *owner, struct frame *frame) {
    size_t *total = owner;
    HOLDS(frame->len <= 64 && frame->body[frame->len] == '\0');
    *total += frame->len;
}

/* The same bytes as frames, in pieces of any size. */
static void cut(const uint8_t *bytes, size_t size, size_t step) {
    struct frames frames = {.limit = 64};
    size_t total = 0;
    for (size_t at = 0; at < size; at += step) {
        size_t len = step < size - at ? step : size - at;
        char *copy = fuzz_copy(bytes + at, len);
        frames_take(&frames, copy, len, ignore, &total);
        free(copy);
    }
    HOLDS(total <= size);
    frames_free(&frames);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    struct sums *sums;
    struct text once = {0}, again = {0};
    if (size == 0)
        return 0;
    size_t half = bytes[0] < size ? bytes[0] : size - 1;
    cut(bytes, size, bytes[0] % 16 + 1);
    HOLDS(sums_open(&sums, 1 << 16) == 0);
    add(sums, bytes + 1, half, 0);
    add(sums, bytes + 1 + half, size - 1 - half, 0);
    sums_write(sums, &once);
    sums_free(sums);
    HOLDS(sums_open(&sums, 1 << 20) == 0);
    add(sums, (const uint8_t *)(once.bytes != NULL ? once.bytes : ""), once.len, 0);
    sums_write(sums, &again);
    HOLDS(sums_dropped(sums) == 0);
    sums_free(sums);
    HOLDS(once.len == again.len);
    if (once.bytes != NULL && again.bytes != NULL)
        HOLDS(memcmp(once.bytes, again.bytes, once.len) == 0);
    text_free(&once);
    text_free(&again);
    return 0;
}
