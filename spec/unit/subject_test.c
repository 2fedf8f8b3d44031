/* SPDX-License-Identifier: Apache-2.0 */
#include "host/link/link.h"

#include "spec/unit/test.h"

static bool subject(const char *text) {
    return link_subject_ok(text, strlen(text));
}
static bool pattern(const char *text) {
    return link_pattern_ok(text, strlen(text));
}
static bool name(const char *text) {
    return link_header_name_ok(text, strlen(text));
}

static void accepts_good_subjects(void) {
    CHECK(subject("a"));
    CHECK(subject("a.b.c"));
    CHECK(subject("$JS.API.INFO"));
    CHECK(subject("_INBOX.x-1"));
    CHECK(subject("a*b.c>d"));
    CHECK(subject("gr\xc3\xbc\xc3\x9f.e"));
}

static void refuses_bad_subjects(void) {
    static const char *const bad[] = {
        "",      ".", "a.",  ".a", "a..b", "a b",   "a\tb", "a\rb",      "a\n",   "*",  "a.*",
        "a.*.b", ">", "a.>", " a", "a ",   "a\x7f", "\x01", "x 0\r\n\r", "a.>.b", "a. "};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (subject(bad[i]))
            test_fail(__FILE__, __LINE__, "subject \"%s\" is accepted", bad[i]);
    CHECK(!link_subject_ok("a\0b", 3));
    CHECK(!link_subject_ok(NULL, 0));
}

static void patterns_cover_subjects(void) {
    CHECK(link_pattern_covers("a.b", "a.b"));
    CHECK(link_pattern_covers("a.*", "a.b"));
    CHECK(link_pattern_covers("*.b", "a.b"));
    CHECK(link_pattern_covers("a.>", "a.b.c"));
    CHECK(link_pattern_covers(">", "a"));
    CHECK(!link_pattern_covers("a.b", "a"));
    CHECK(!link_pattern_covers("a", "a.b"));
    CHECK(!link_pattern_covers("a.*", "a.b.c"));
    CHECK(!link_pattern_covers("a.>", "a"));
    CHECK(!link_pattern_covers("a.b", "a.bc"));
    CHECK(!link_pattern_covers("a.*b", "a.xb"));
}

static void patterns_may_have_wildcards(void) {
    CHECK(pattern("*"));
    CHECK(pattern(">"));
    CHECK(pattern("a.*.b.>"));
    CHECK(pattern("a.b"));
    CHECK(pattern("a*"));
    CHECK(!pattern("a.>.b"));
    CHECK(!pattern(">.a"));
    CHECK(!pattern("a..b"));
    CHECK(!pattern("a b"));
    CHECK(!pattern(""));
}

static void header_names(void) {
    CHECK(name("Nats-Msg-Id"));
    CHECK(name("!~"));
    CHECK(!name(""));
    CHECK(!name("a:b"));
    CHECK(!name("a b"));
    CHECK(!name("a\r\nb"));
    CHECK(!name("gr\xc3\xbc"));
    CHECK(!name("a\x7f"));
}

static void header_values(void) {
    CHECK(link_header_value_ok("", 0));
    CHECK(link_header_value_ok("a: b\tc \xc3\xbc", 9));
    CHECK(!link_header_value_ok("a\r", 2));
    CHECK(!link_header_value_ok("a\nb", 3));
    CHECK(!link_header_value_ok("a\0b", 3));
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    RUN(accepts_good_subjects);
    RUN(refuses_bad_subjects);
    RUN(patterns_cover_subjects);
    RUN(patterns_may_have_wildcards);
    RUN(header_names);
    RUN(header_values);
    return test_end();
}
