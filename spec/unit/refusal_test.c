/* SPDX-License-Identifier: Apache-2.0 */
/* What an -ERR is about, in the words of nats-server 2.9, 2.10 and 2.15. */
#include "host/link/refusal.h"

#include <stdlib.h>
#include <string.h>

#include "spec/unit/test.h"

static struct refusal refusal;

/* The bytes end where the memory does, as those of a frame may. */
static void read_text(const char *text) {
    size_t len = strlen(text);
    char *exact = malloc(len > 0 ? len : 1);
    if (exact == NULL)
        abort();
    memcpy(exact, text, len);
    free(refusal.memory);
    refusal_read(exact, len, &refusal);
    free(exact);
}

static void every_form_is_read(void) {
    static const struct {
        const char *text;
        enum refusal_kind kind;
        const char *subject, *queue;
    } cases[] = {
        {"Permissions Violation for Publish to \"a.b\"", REFUSAL_PUBLISH, "a.b", ""},
        {"Permissions Violation for Publish with Reply of \"_R_.x\"", REFUSAL_PUBLISH, NULL,
         NULL},
        {"Permissions Violation for Subscription to \"a.*.>\"", REFUSAL_SUBSCRIPTION, "a.*.>",
         ""},
        {"Permissions Violation for Subscription to \"a\" using queue \"q\"",
         REFUSAL_SUBSCRIPTION, "a", "q"},
        /* When permissions were taken away by a reload of the server. */
        {"Permissions Violation for Subscription to \"a\" (sid \"12\")", REFUSAL_SUBSCRIPTION,
         "a", NULL},
        {"Permissions Violation for Subscription to \"a\" using queue \"q\" (sid \"12\")",
         REFUSAL_SUBSCRIPTION, "a", "q"},
        {"Permissions Violation for Subscription to \"a.b.c\", too many tokens",
         REFUSAL_SUBSCRIPTION, "a.b.c", NULL},
        {"maximum subscriptions exceeded", REFUSAL_SUBSCRIPTION, NULL, NULL},
        {"Maximum Subscriptions Exceeded", REFUSAL_SUBSCRIPTION, NULL, NULL},
        {"subject has exceeded number of tokens limit", REFUSAL_SUBSCRIPTION, NULL, NULL},
        {"permissions violation for publish to \"a\"", REFUSAL_PUBLISH, "a", ""},
        {"Permissions Violation for Subscription to", REFUSAL_SUBSCRIPTION, NULL, NULL},
        {"Permissions Violation for Publish to \"a", REFUSAL_PUBLISH, "a", ""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        read_text(cases[i].text);
        if (refusal.kind != cases[i].kind)
            test_fail(__FILE__, __LINE__, "%s: kind %d", cases[i].text, (int)refusal.kind);
        CHECK_STR(refusal.subject, cases[i].subject);
        CHECK_STR(refusal.queue, cases[i].queue);
    }
}

static void other_errors_are_none(void) {
    static const char *const texts[] = {
        "",
        "Authorization Violation",
        "Permissions Violation",
        "Stale Connection",
        "Slow Consumer",
        "Maximum Payload Violation",
        "maximum control line exceeded",
        "maximum connections exceeded",
        "maximum account active connections exceeded",
        "User Authentication Expired",
        "Invalid Subject",
        "Invalid Publish Subject",
        "Unknown Protocol Operation",
        "Parser Error",
        "Secure Connection - TLS Required",
        "Invalid Subscription to \"a\"",
        "Permissions",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        read_text(texts[i]);
        if (refusal.kind != REFUSAL_NONE || refusal.subject != NULL || refusal.queue != NULL)
            test_fail(__FILE__, __LINE__, "%s is a refusal", texts[i]);
    }
}

/* Go writes these with %q. */
static void quoted_subjects_are_read_back(void) {
    static const char *const cases[][2] = {
        {"a\\\"b", "a\"b"},
        {"a\\\\b", "a\\b"},
        {"\\\\\\\"", "\\\""},
        {"using queue", "using queue"},
        {"publish to", "publish to"},
        {"it's", "it's"},
        {"\xc3\xbc", "\xc3\xbc"},
        {"", ""},
        /* What cannot be printed. */
        {"a\\u00a0b", "a\xc2\xa0"
                      "b"},
        {"\\u200d", "\xe2\x80\x8d"},
        {"\\U000e0001", "\xf3\xa0\x80\x81"},
        {"\\xff\\xfe", "\xff\xfe"},
        {"\\x7f", "\x7f"},
        {"\\a\\b\\v", "\a\b\v"},
    };
    char text[128];
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        snprintf(text, sizeof(text), "Permissions Violation for Subscription to \"%s\"",
                 cases[i][0]);
        read_text(text);
        CHECK_INT(refusal.kind, REFUSAL_SUBSCRIPTION);
        CHECK_STR(refusal.subject, cases[i][1]);
        CHECK_STR(refusal.queue, "");
        snprintf(text, sizeof(text),
                 "Permissions Violation for Subscription to \"%s\" using queue \"%s\"",
                 cases[i][0], cases[i][0]);
        read_text(text);
        CHECK_STR(refusal.subject, cases[i][1]);
        CHECK_STR(refusal.queue, cases[i][1]);
    }
}

/* A subject may hold the words that are looked for. */
static void a_subject_does_not_change_the_kind(void) {
    read_text("Permissions Violation for Publish to \"subscription.to\"");
    CHECK_INT(refusal.kind, REFUSAL_PUBLISH);
    CHECK_STR(refusal.subject, "subscription.to");
    read_text("Permissions Violation for Publish to \"subscription to \\\"x\\\"\"");
    CHECK_INT(refusal.kind, REFUSAL_PUBLISH);
    CHECK_STR(refusal.subject, "subscription to \"x\"");
    read_text("Permissions Violation for Subscription to \"publish to\"");
    CHECK_INT(refusal.kind, REFUSAL_SUBSCRIPTION);
    CHECK_STR(refusal.subject, "publish to");
}

static void subjects_of_4_KB_are_whole(void) {
    static char subject[4001], text[8200];
    memset(subject, 's', sizeof(subject) - 1);
    snprintf(text, sizeof(text), "Permissions Violation for Publish to \"%s\"", subject);
    read_text(text);
    CHECK_STR(refusal.subject, subject);
    snprintf(text, sizeof(text),
             "Permissions Violation for Subscription to \"%s\" using queue \"%s\"", subject,
             subject);
    read_text(text);
    CHECK_STR(refusal.subject, subject);
    CHECK_STR(refusal.queue, subject);
}

static void it_may_be_cut_anywhere(void) {
    const char whole[] = "Permissions Violation for Subscription to \"a\\\"\\u00e9\\\\\" using "
                         "queue \"q\\xffr\"";
    char text[sizeof(whole)];
    for (size_t len = 0; len < sizeof(whole); len++) {
        snprintf(text, sizeof(text), "%.*s", (int)len, whole);
        read_text(text);
        CHECK(refusal.kind == REFUSAL_NONE || refusal.kind == REFUSAL_SUBSCRIPTION);
    }
    CHECK_STR(refusal.queue, "q\xffr");
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    RUN(every_form_is_read);
    RUN(other_errors_are_none);
    RUN(quoted_subjects_are_read_back);
    RUN(a_subject_does_not_change_the_kind);
    RUN(subjects_of_4_KB_are_whole);
    RUN(it_may_be_cut_anywhere);
    free(refusal.memory);
    return test_end();
}
