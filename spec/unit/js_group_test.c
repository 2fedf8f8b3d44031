/* SPDX-License-Identifier: Apache-2.0 */
/* Priority groups: names, pins, and what a request says of them. */
#include "host/jetstream/group.h"

#include <stdlib.h>

#include "spec/unit/test.h"

static void names_need_no_escapes(void) {
    CHECK(js_group_name_ok("jobs", 4));
    CHECK(js_group_name_ok("A/b_c=d-9", 9));
    CHECK(!js_group_name_ok("", 0));
    CHECK(!js_group_name_ok("a b", 3));
    CHECK(!js_group_name_ok("a\"b", 3));
    CHECK(!js_group_name_ok("a.b", 3));
    char longest[JS_GROUP_NAME_MAX + 2];
    memset(longest, 'x', sizeof(longest));
    CHECK(js_group_name_ok(longest, JS_GROUP_NAME_MAX));
    CHECK(!js_group_name_ok(longest, JS_GROUP_NAME_MAX + 1));
}

/* What a pin is after a message, or a status, with this header. */
static void learn(struct js_pin *pin, const char *header, enum js_status status) {
    char head[256];
    int len = snprintf(head, sizeof(head), "NATS/1.0\r\n%s\r\n\r\n", header);
    struct message *msg = message_new(&(struct message_parts){
        .subject = "a", .subject_len = 1, .headers = head, .headers_len = (size_t)len});
    js_pin_learn(pin, msg, status);
    message_free(msg);
}

static void a_pin_is_kept_and_given_up(void) {
    struct js_pin *pin = js_pin_new();
    CHECK_STR(pin->id, "");
    learn(pin, "Nats-Pin-Id: one", JS_DATA);
    CHECK_STR(pin->id, "one");
    learn(pin, "Other: x", JS_DATA);
    learn(pin, "Other: x", JS_HEARTBEAT);
    CHECK_STR(pin->id, "one");
    learn(pin, "Nats-Pin-Id: two", JS_DATA);
    CHECK_STR(pin->id, "two");
    learn(pin, "Other: x", JS_UNPINNED);
    CHECK_STR(pin->id, "");
    js_pin_release(pin);
}

/* A publisher may store anything under the name of the header. */
static void a_pin_that_is_none_is_not_taken(void) {
    struct js_pin *pin = js_pin_new();
    learn(pin, "Nats-Pin-Id: a\",\"batch\":9", JS_DATA);
    CHECK_STR(pin->id, "");
    char line[200] = "Nats-Pin-Id: ";
    memset(line + strlen(line), 'x', JS_PIN_SIZE);
    learn(pin, line, JS_DATA);
    CHECK_STR(pin->id, "");
    js_pin_release(pin);
}

static void a_pin_lives_as_long_as_somebody_holds_it(void) {
    struct js_pin *pin = js_pin_hold(js_pin_new());
    js_pin_release(pin);
    learn(pin, "Nats-Pin-Id: one", JS_DATA);
    CHECK_STR(pin->id, "one");
    js_pin_release(pin);
    js_pin_release(NULL);
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    RUN(names_need_no_escapes);
    RUN(a_pin_is_kept_and_given_up);
    RUN(a_pin_that_is_none_is_not_taken);
    RUN(a_pin_lives_as_long_as_somebody_holds_it);
    return test_end();
}
