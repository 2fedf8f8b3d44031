/* SPDX-License-Identifier: Apache-2.0 */
#include "host/supervisor/frames.h"

#include <stdlib.h>

#include "spec/unit/test.h"

static char told[256];

static void on_frame(void *owner, struct frame *frame) {
    (void)owner;
    size_t len = strlen(told);
    snprintf(told + len, sizeof(told) - len, "[%lu %d %zu %s]", frame->number, frame->status,
             frame->len, frame->body);
}

/* All at once, or byte by byte; each time in memory of exactly that size. */
static bool take(const char *bytes, size_t step) {
    struct frames frames = {.limit = 10};
    bool ok = true;
    size_t len = strlen(bytes);
    told[0] = '\0';
    for (size_t at = 0; at < len; at += step) {
        size_t piece = step < len - at ? step : len - at;
        char *copy = malloc(piece);
        memcpy(copy, bytes + at, piece);
        ok = frames_take(&frames, copy, piece, on_frame, NULL);
        free(copy);
    }
    frames_free(&frames);
    return ok;
}

static void frames_are_cut_whatever_comes_at_once(void) {
    for (size_t step = 1; step < 40; step++) {
        CHECK(take("1 200 2\nok22 503 0\n3 200 3\na\nb", step));
        CHECK_STR(told, "[1 200 2 ok][22 503 0 ][3 200 3 a\nb]");
    }
}

static void what_is_not_complete_is_not_told(void) {
    CHECK(take("1 200 5\nabcd", 100));
    CHECK_STR(told, "");
    CHECK(take("1 200", 100));
    CHECK_STR(told, "");
}

static void a_body_that_is_too_long_is_thrown_away(void) {
    for (size_t step = 1; step < 40; step++) {
        CHECK(take("1 200 11\nabcdefghijk2 200 1\nx", step));
        CHECK_STR(told, "[1 0 0 ][2 200 1 x]");
    }
}

static void nonsense_ends_it(void) {
    static const char *const bytes[] = {
        "\n",
        "x 200 1\na",
        "1 x 1\na",
        "1 200 x\na",
        "1 200 1 \na",
        "1  200 1\na",
        "1 200\na",
        "-1 200 1\na",
        "1 -2 1\na",
        "1 2000 1\na",
        "1 200 -1\na",
        " 1 200 1\na",
        "1 200 9999999999999999\n",
        "111111111111111111111111111111111111111111111111111111111111111111111111111111111\n",
    };
    for (size_t i = 0; i < sizeof(bytes) / sizeof(bytes[0]); i++) {
        CHECK(!take(bytes[i], 1));
        CHECK_STR(told, "");
        CHECK(!take(bytes[i], 1000));
        CHECK_STR(told, "");
    }
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    RUN(frames_are_cut_whatever_comes_at_once);
    RUN(what_is_not_complete_is_not_told);
    RUN(a_body_that_is_too_long_is_thrown_away);
    RUN(nonsense_ends_it);
    return test_end();
}
