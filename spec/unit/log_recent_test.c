/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/log_recent.h"
#include "spec/unit/log_capture.h"
#include "spec/unit/test.h"

static struct log_recent *recent;

static const struct log_recent_line *oldest(void) {
    return list_item(list_first(log_recent_lines(recent)), struct log_recent_line, node);
}

static const struct log_recent_line *latest(void) {
    return list_item(log_recent_lines(recent)->ends.prev, struct log_recent_line, node);
}

static void begin(void) {
    log_configure(LOG_LEVEL_INFO, LOG_FORMAT_JSON); /* what is kept is text all the same */
    log_limit(0);
    capture_begin();
    CHECK_INT(log_recent_open(&recent), 0);
}

static void end(void) {
    log_recent_close(recent);
    log_info("orders", "nobody keeps this");
    capture_end();
}

static void keeps_what_is_written(void) {
    begin();
    CHECK_INT(log_recent_last(recent), 0);
    struct log_field field = {"n", LOG_TYPE_INT, {.integer = 7}};
    log_write(LOG_LEVEL_WARN, "orders", "few\nare left", &field, 1);
    CHECK_STR(latest()->text, "few n=7\n    are left");
    CHECK_STR(latest()->service, "orders");
    CHECK_INT(latest()->level, LOG_LEVEL_WARN);
    log_debug("orders", "not written");
    CHECK_INT(log_recent_last(recent), 1);
    log_info(NULL, "of the process");
    CHECK(latest()->service == NULL);
    CHECK_INT(latest()->number, 2);
    end();
}

static void keeps_the_last_lines_and_their_beginning(void) {
    static char text[4 * LOG_RECENT_TEXT_MAX];
    memset(text, 'x', sizeof(text) - 1);
    begin();
    for (int i = 0; i < LOG_RECENT_MAX + 10; i++)
        log_info("orders", "line %d", i);
    CHECK_STR(oldest()->text, "line 10");
    CHECK_INT(oldest()->number, 11);
    CHECK_INT(log_recent_last(recent), LOG_RECENT_MAX + 10);
    log_info("orders", "%s", text);
    CHECK_INT(strlen(latest()->text), LOG_RECENT_TEXT_MAX);
    CHECK_STR(oldest()->text, "line 11");
    end();
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    RUN(keeps_what_is_written);
    RUN(keeps_the_last_lines_and_their_beginning);
    return test_end();
}
