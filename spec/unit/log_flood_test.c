/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/log_flood.h"

#include "spec/unit/log_capture.h"
#include "spec/unit/test.h"

static void a_flood_is_cut_and_counted(void) {
    log_limit(10);
    capture_begin();
    for (int i = 0; i < 1244; i++)
        log_warn("s", "no answer from %d", i);
    log_info("s", "no answer from 1");
    log_warn("t", "no answer from 1");
    CHECK(!log_drain()); /* the count waits for the end of the second */
    log_end();
    CHECK(log_drain());
    const char *out = capture_end();
    log_limit(0);
    CHECK_INT(lines_with(out, "WARN  s: no answer"), 10);
    CHECK_INT(lines_with(out, "INFO  s: no answer from 1\n"), 1);
    CHECK_INT(lines_with(out, "WARN  t: no answer from 1\n"), 1);
    CHECK_INT(lines_with(out, "WARN  s: repeated 1,234 times in "), 1);
    CHECK_INT(lines_with(out, " s: no answer from 10 repeated=1234\n"), 1);
}

static void what_says_something_of_its_own_is_no_flood(void) {
    log_limit(10);
    capture_begin();
    for (int i = 0; i < 50; i++) {
        struct log_field field = {"id", LOG_TYPE_INT, {.integer = i}};
        log_info("s", "stored %d", i);
        log_warn("s", "at a.lua:%d", i);
        log_write(LOG_LEVEL_ERROR, "s", "refused", &field, 1);
    }
    log_end();
    const char *out = capture_end();
    log_limit(0);
    CHECK_INT(lines_with(out, "stored"), 50);
    CHECK_INT(lines_with(out, "a.lua:"), 50);
    CHECK_INT(lines_with(out, "refused"), 50);
}

/* More floods at a time than are remembered: each line is written, or counted. */
static void no_line_is_neither_written_nor_counted(void) {
    enum { TEXTS = 100, TIMES = 20 };
    int64_t shown = 0, counted = 0;
    log_limit(2);
    capture_begin();
    for (int text = 0; text < TEXTS; text++)
        for (int i = 0; i < TIMES; i++)
            log_info("s", "text %d", text);
    log_end();
    const char *out = capture_end();
    log_limit(0);
    for (const char *at = out; (at = strstr(at, "repeated=")) != NULL; at++)
        counted += strtol(at + strlen("repeated="), NULL, 10);
    shown = lines_with(out, "INFO  s: text ");
    CHECK(counted > 0);
    CHECK_INT(shown + counted, TEXTS * TIMES);
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    RUN(a_flood_is_cut_and_counted);
    RUN(what_says_something_of_its_own_is_no_flood);
    RUN(no_line_is_neither_written_nor_counted);
    return test_end();
}
