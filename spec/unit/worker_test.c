/* SPDX-License-Identifier: Apache-2.0 */
/* Who a worker is, and how many there are. */
#include "host/base/worker.h"

#include <string.h>

#include "host/base/processors.h"
#include "spec/unit/test.h"

static void what_a_parent_writes_can_be_read(void) {
    const struct worker worker = {.number = 2,
                                  .count = 16,
                                  .parent = 12345,
                                  .channel = 7,
                                  .http = -1,
                                  .restarts = 3,
                                  .ended = "killed by signal 9 (Killed)"};
    struct worker read;
    char text[256];
    worker_write(&worker, text, sizeof(text));
    CHECK(strncmp(text, WORKER_VARIABLE "=", sizeof(WORKER_VARIABLE)) == 0);
    CHECK(worker_parse(&read, text + sizeof(WORKER_VARIABLE)));
    CHECK_INT(read.number, 2);
    CHECK_INT(read.count, 16);
    CHECK_INT(read.parent, 12345);
    CHECK_INT(read.channel, 7);
    CHECK_INT(read.http, -1);
    CHECK_INT(read.restarts, 3);
    CHECK_STR(read.ended, worker.ended);
}

static void what_nobody_writes_is_refused(void) {
    static const char *const texts[] = {"",
                                        "1",
                                        "1 1 1 5 -1",
                                        "1 1 1 5 -1 0",
                                        "0 1 1 5 -1 0 ",
                                        "2 1 1 5 -1 0 ",
                                        "1 1 0 5 -1 0 ",
                                        "1 1 -1 5 -1 0 ",
                                        "1 1 1 2 -1 0 ",
                                        "1 1 1 5 2 0 ",
                                        "a b c d e f "};
    struct worker read;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        CHECK(!worker_parse(&read, texts[i]));
}

static void this_process_is_none(void) {
    CHECK(worker_self() == NULL);
    CHECK_INT(worker_count(), 1);
    CHECK(!worker_is_orphan());
}

static void a_control_group_grants_less(void) {
    CHECK_INT(processors_granted(8, NULL, NULL, NULL), 8);
    CHECK_INT(processors_granted(8, "max 100000\n", NULL, NULL), 8);
    CHECK_INT(processors_granted(8, "200000 100000\n", NULL, NULL), 2);
    CHECK_INT(processors_granted(8, "250000 100000\n", NULL, NULL), 2);
    CHECK_INT(processors_granted(8, "50000 100000\n", NULL, NULL), 1);
    CHECK_INT(processors_granted(2, "800000 100000\n", NULL, NULL), 2);
    CHECK_INT(processors_granted(8, "nonsense", NULL, NULL), 8);
    CHECK_INT(processors_granted(8, "0 0", NULL, NULL), 8);
    CHECK_INT(processors_granted(8, NULL, "-1\n", "100000\n"), 8);
    CHECK_INT(processors_granted(8, NULL, "300000\n", "100000\n"), 3);
    CHECK(processors() >= 1 && processors() <= 256);
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    RUN(what_a_parent_writes_can_be_read);
    RUN(what_nobody_writes_is_refused);
    RUN(this_process_is_none);
    RUN(a_control_group_grants_less);
    return test_end();
}
