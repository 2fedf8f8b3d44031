/* SPDX-License-Identifier: Apache-2.0 */
#include "host/link/arrivals.h"

#include "spec/unit/test.h"

static void each_byte_has_the_time_of_its_read(void) {
    struct arrivals arrivals = {0};
    arrivals_note(&arrivals, 0, 100, 1);
    arrivals_note(&arrivals, 50, 300, 2);
    CHECK_INT(arrivals_find(&arrivals, 50).when, 1);
    CHECK_INT(arrivals_find(&arrivals, 99).when, 1);
    CHECK_INT(arrivals_find(&arrivals, 99).end, 100);
    CHECK_INT(arrivals_find(&arrivals, 100).when, 2);
    CHECK_INT(arrivals_find(&arrivals, 299).when, 2);
}

static void a_look_without_new_bytes_is_no_arrival(void) {
    struct arrivals arrivals = {0};
    arrivals_note(&arrivals, 0, 100, 1);
    arrivals_note(&arrivals, 20, 100, 2);
    CHECK_INT(arrivals.count, 1);
    CHECK_INT(arrivals_find(&arrivals, 99).when, 1);
    arrivals_note(&arrivals, 100, 130, 3);
    CHECK_INT(arrivals.count, 1); /* what was handled is forgotten */
    CHECK_INT(arrivals_find(&arrivals, 100).when, 3);
}

static void many_reads_are_told_more_coarsely_and_never_too_late(void) {
    struct arrivals arrivals = {0};
    enum { READS = 1000 };
    for (unsigned i = 0; i < READS; i++)
        arrivals_note(&arrivals, 0, i + 1, i);
    CHECK(arrivals.count <= ARRIVALS_MARKS);
    for (uint64_t i = 0; i < READS; i++)
        CHECK(arrivals_find(&arrivals, i).when <= i);
    CHECK(arrivals_find(&arrivals, READS - 1).when > READS / 2);
    CHECK_INT(arrivals.marks[arrivals.count - 1].end, READS);
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    RUN(each_byte_has_the_time_of_its_read);
    RUN(a_look_without_new_bytes_is_no_arrival);
    RUN(many_reads_are_told_more_coarsely_and_never_too_late);
    return test_end();
}
