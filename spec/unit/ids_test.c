/* SPDX-License-Identifier: Apache-2.0 */
/* Trace contexts on the wire. */
#include "host/trace/ids.h"

#include <stdio.h>
#include <string.h>

#include "host/base/put.h"
#include "spec/unit/test.h"

#define TRACE "4bf92f3577b34da6a3ce929d0e0e4736"
#define SPAN "00f067aa0ba902b7"

static void written_as_read(void) {
    static const char *const same[] = {"00-" TRACE "-" SPAN "-00", "00-" TRACE "-" SPAN "-01",
                                       "00-" TRACE "-" SPAN "-03"};
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        struct trace_ids ids;
        char text[TRACEPARENT_SIZE];
        CHECK(traceparent_read(&ids, same[i]));
        traceparent_write(&ids, text);
        CHECK_STR(text, same[i]);
    }
}

static void flags_nobody_knows_are_not_sent_on(void) {
    struct trace_ids ids;
    char text[TRACEPARENT_SIZE];
    CHECK(traceparent_read(&ids, "00-" TRACE "-" SPAN "-ff"));
    traceparent_write(&ids, text);
    CHECK_STR(text, "00-" TRACE "-" SPAN "-03");
}

static void later_versions_are_read(void) {
    struct trace_ids ids;
    CHECK(traceparent_read(&ids, "01-" TRACE "-" SPAN "-01"));
    CHECK(traceparent_read(&ids, "cc-" TRACE "-" SPAN "-01-what-the-future-brings"));
    CHECK_INT(ids.flags, TRACE_SAMPLED);
    CHECK(!traceparent_read(&ids, "cc-" TRACE "-" SPAN "-01what"));
}

static void malformed_ones_are_refused(void) {
    static const char *const bad[] = {
        "",
        "00",
        "00-" TRACE "-" SPAN,
        "00-" TRACE "-" SPAN "-0",
        "00-" TRACE "-" SPAN "-1 ",
        "00-" TRACE "-" SPAN "-01-",
        "00-" TRACE "-" SPAN "-01-more",
        "ff-" TRACE "-" SPAN "-01",
        "0g-" TRACE "-" SPAN "-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-" SPAN "-01",
        "00-" TRACE "-00F067AA0BA902B7-01",
        "00-" TRACE "-" SPAN "-0A",
        "00-00000000000000000000000000000000-" SPAN "-01",
        "00-" TRACE "-0000000000000000-01",
        "00_" TRACE "-" SPAN "-01",
        "00-" TRACE "_" SPAN "-01",
        "00-" TRACE "-" SPAN "_01",
        "00-4bf92f3577b34da6a3ce929d0e0e473-" SPAN "-001",
        "00-4bf92f3577b34da6a3ce929d0e0e473x-" SPAN "-01",
        " 00-" TRACE "-" SPAN "-01",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct trace_ids ids = {.flags = 42};
        if (traceparent_read(&ids, bad[i]))
            CHECK_STR(bad[i], "refused");
        CHECK_INT(ids.flags, 42);
    }
}

static void new_ids_are_different(void) {
    struct trace_ids one, other;
    unsigned char span[SPAN_ID_BYTES];
    static const unsigned char zero[TRACE_ID_BYTES];
    trace_ids_new(&one);
    trace_ids_new(&other);
    span_id_new(span);
    CHECK(memcmp(one.trace, other.trace, TRACE_ID_BYTES) != 0);
    CHECK(memcmp(one.trace, one.trace + SPAN_ID_BYTES, SPAN_ID_BYTES) != 0);
    CHECK(memcmp(one.trace, zero, TRACE_ID_BYTES) != 0);
    CHECK(memcmp(one.span, other.span, SPAN_ID_BYTES) != 0);
    CHECK(memcmp(other.span, span, SPAN_ID_BYTES) != 0);
    CHECK_INT(one.flags, TRACE_RANDOM);
}

static void times_have_all_their_digits(void) {
    static const uint32_t some[] = {0, 1, 9, 10, 99999999, 100000000, 123456789, 999999999};
    char got[10] = "", want[16];
    for (size_t i = 0; i < sizeof(some) / sizeof(some[0]); i++) {
        CHECK(put_nine(got, some[i]) == got + 9);
        snprintf(want, sizeof(want), "%09u", (unsigned)some[i]);
        CHECK_STR(got, want);
    }
    for (uint32_t number = 7; number < 1000000000; number += 99991) {
        put_nine(got, number);
        snprintf(want, sizeof(want), "%09u", (unsigned)number);
        if (strcmp(got, want) != 0)
            CHECK_STR(got, want);
    }
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    RUN(written_as_read);
    RUN(flags_nobody_knows_are_not_sent_on);
    RUN(later_versions_are_read);
    RUN(malformed_ones_are_refused);
    RUN(new_ids_are_different);
    RUN(times_have_all_their_digits);
    return test_end();
}
