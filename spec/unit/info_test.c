/* SPDX-License-Identifier: Apache-2.0 */
/* Reading what a server tells of itself. */
#include "host/dial/info.h"

#include <stdlib.h>
#include <string.h>

#include "spec/unit/test.h"

/* As nats-server writes it, with most of what it may tell. */
static const char whole[] =
    "{\"server_id\":\"NDJ2\",\"server_name\":\"n\\\"1\",\"version\":\"2.10.27\",\"proto\":1,"
    "\"git_commit\":\"\",\"go\":\"go1.24\",\"host\":\"0.0.0.0\",\"port\":4222,\"headers\":true,"
    "\"auth_required\":true,\"tls_required\":true,\"tls_available\":true,"
    "\"max_payload\":1048576,\"jetstream\":true,\"client_id\":18446744073709551615,"
    "\"client_ip\":\"::1\",\"nonce\":\"x\",\"cluster\":\"c\",\"cluster_dynamic\":true,"
    "\"domain\":\"d\",\"connect_urls\":[\"10.0.0.1:4222\",\"[::1]:4223\"],"
    "\"ws_connect_urls\":[\"no:1\"],\"ldm\":true,\"xkey\":\"XA\"}";

/* The bytes end where the memory does, so that a read behind them is found. */
static bool read_exactly(const char *json, size_t len, struct info *out, char **memory) {
    *memory = malloc(len > 0 ? len : 1);
    if (*memory == NULL)
        abort();
    memcpy(*memory, json, len);
    return info_read(*memory, len, out);
}

static bool read_text(const char *json, struct info *out) {
    return info_read(json, strlen(json), out);
}

static bool reads(const char *json) {
    struct info info = {0};
    char *memory;
    bool ok = read_exactly(json, strlen(json), &info, &memory);
    free(memory);
    return ok;
}

/* Walks the list as learning does. */
static int count_urls(struct info *info) {
    char url[64];
    int count = 0;
    while (info_next_url(info, url, sizeof(url)))
        count++;
    return count;
}

/* ---- fields ---- */

static void all_fields_are_read(void) {
    struct info info = {0};
    char url[32];
    CHECK(read_text(whole, &info));
    CHECK_STR(info.server_id, "NDJ2");
    CHECK_STR(info.version, "2.10.27");
    CHECK_STR(info.client_ip, "::1");
    CHECK_INT(info.max_payload, 1048576);
    CHECK(info.headers && info.tls_required && info.tls_available && info.lame_duck);
    CHECK(info_next_url(&info, url, sizeof(url)));
    CHECK_STR(url, "10.0.0.1:4222");
    CHECK(info_next_url(&info, url, sizeof(url)));
    CHECK_STR(url, "[::1]:4223");
    CHECK(!info_next_url(&info, url, sizeof(url)));
    CHECK(!info_next_url(&info, url, sizeof(url)));
}

static void numbers_are_exact(void) {
    struct info info = {0};
    CHECK(read_text("{\"client_id\":9007199254740993,\"max_payload\":-1}", &info));
    CHECK(info.client_id == 9007199254740993u);
    CHECK_INT(info.max_payload, -1);
    CHECK(read_text("{\"client_id\":9223372036854775807,\"max_payload\":8388608}", &info));
    CHECK(info.client_id == INT64_MAX);
    CHECK_INT(info.max_payload, 8388608);
}

/* An INFO on the way tells what has changed. */
static void absent_fields_keep_what_they_had(void) {
    struct info info = {0};
    CHECK(read_text(whole, &info));
    CHECK(read_text("{}", &info));
    CHECK_STR(info.server_id, "NDJ2");
    CHECK_STR(info.version, "2.10.27");
    CHECK_INT(info.max_payload, 1048576);
    CHECK(info.headers && info.tls_required && info.tls_available);
    CHECK(!info.lame_duck); /* these two are about this moment */
    CHECK(info.urls == NULL);
    CHECK(read_text("{\"headers\":false,\"ldm\":false,\"tls_required\":false}", &info));
    CHECK(!info.headers && !info.lame_duck && !info.tls_required);
    CHECK(info.tls_available);
}

static void fields_inside_of_others_are_not_ours(void) {
    struct info info = {0};
    CHECK(
        read_text("{\"a\":{\"ldm\":true,\"connect_urls\":[\"x:1\"],\"b\":[{\"max_payload\":1},"
                  "[[\"ldm\"]]]},\"list\":[\"ldm\",true,{\"ldm\":true}],\"text\":"
                  "\"\\\",\\\"ldm\\\":true,\\\"x\\\":\\\"\",\"version\":\"1\"}",
                  &info));
    CHECK(!info.lame_duck);
    CHECK(info.urls == NULL);
    CHECK_INT(info.max_payload, 0);
    CHECK_STR(info.version, "1");
}

static void blanks_may_be_anywhere(void) {
    struct info info = {0};
    char url[16];
    CHECK(read_text(" {\t\"ldm\" :\n true , \"max_payload\"\r:\t7 ,\n\"connect_urls\" : [ "
                    "\"a:1\" , \"b:2\" ] }",
                    &info));
    CHECK(info.lame_duck);
    CHECK_INT(info.max_payload, 7);
    CHECK(info_next_url(&info, url, sizeof(url)));
    CHECK_STR(url, "a:1");
    CHECK(info_next_url(&info, url, sizeof(url)));
    CHECK_STR(url, "b:2");
    CHECK(!info_next_url(&info, url, sizeof(url)));
}

static void escapes_are_decoded(void) {
    struct info info = {0};
    CHECK(read_text("{\"version\":\"a\\\"b\\\\c\\/d\\u0041\\n\\t\\b\\f\\r\"}", &info));
    CHECK_STR(info.version, "a\"b\\c/dA\n\t\b\f\r");
    CHECK(read_text("{\"version\":\"\\u00e9\\uD83D\\uDE00!\"}", &info));
    CHECK_STR(info.version, "\xc3\xa9\xf0\x9f\x98\x80!");
    CHECK(read_text("{\"version\":\"\\uD83D-\\uDE00\"}", &info));
    CHECK_STR(info.version, "?-?"); /* halves of no pair */
    CHECK(read_text("{\"l\\u0064m\":true}", &info));
    CHECK(info.lame_duck);
}

static void long_strings_are_cut(void) {
    struct info info = {0};
    char json[1024], id[300];
    memset(id, 'N', sizeof(id) - 1);
    id[sizeof(id) - 1] = '\0';
    snprintf(json, sizeof(json), "{\"server_id\":\"%s\",\"ldm\":true}", id);
    CHECK(read_text(json, &info));
    CHECK_INT(strlen(info.server_id), sizeof(info.server_id) - 1);
    CHECK(info.lame_duck);
    /* A long name is none of ours, whatever it begins with. */
    snprintf(json, sizeof(json), "{\"ldm%s\":true,\"%s\":1}", id, id);
    CHECK(read_text(json, &info));
    CHECK(!info.lame_duck);
}

static void values_of_another_type_do_no_harm(void) {
    struct info info = {0};
    CHECK(read_text("{\"server_id\":null,\"version\":1,\"max_payload\":\"big\",\"headers\":"
                    "\"true\",\"ldm\":1,\"connect_urls\":\"a:1\",\"client_id\":[1]}",
                    &info));
    CHECK_STR(info.server_id, "");
    CHECK_INT(info.max_payload, 0);
    CHECK(!info.headers && !info.lame_duck);
    CHECK(info.urls == NULL);
    CHECK(read_text("{\"connect_urls\":null}", &info));
    CHECK_INT(count_urls(&info), 0);
    CHECK(read_text("{\"connect_urls\":[1,\"a:1\"]}", &info));
    CHECK_INT(count_urls(&info), 0);
    CHECK(read_text("{\"connect_urls\":[[\"a:1\"],{\"b\":1}]}", &info));
    CHECK_INT(count_urls(&info), 0);
}

static void what_is_no_object_is_refused(void) {
    static const char *const texts[] = {
        "",
        " ",
        "null",
        "[]",
        "\"x\"",
        "{",
        "{\"",
        "{\"a",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":1,",
        "{\"a\" 1}",
        "{a:1}",
        "{1:1}",
        "{\"a\":}",
        "{\"a\":[}",
        "{\"a\":{}",
        "{\"a\":\"b}",
        "{\"a\":\"b\\",
        "{\"a\":]}",
        "{'a':1}",
        "{\"a\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        if (reads(texts[i]))
            test_fail(__FILE__, __LINE__, "%s is taken for an object", texts[i]);
    CHECK(reads("{}") && reads(" { } ") && reads("{\"a\":{}}") && reads("{\"a\":[]}"));
}

/* ---- urls ---- */

static void the_addresses_of_a_large_cluster_are_read(void) {
    enum { N = 20000 };
    char *json = malloc(64 + N * 32), url[32], want[32];
    size_t len = (size_t)sprintf(json, "{\"connect_urls\":[");
    struct info info = {0};
    for (int i = 0; i < N; i++)
        len += (size_t)sprintf(json + len, "%s\"10.1.2.%d:4222\"", i > 0 ? "," : "", i);
    len += (size_t)sprintf(json + len, "],\"ldm\":true}");
    bool ok = info_read(json, len, &info);
    int count = 0;
    do
        snprintf(want, sizeof(want), "10.1.2.%d:4222", count);
    while (info_next_url(&info, url, sizeof(url)) && strcmp(url, want) == 0 && ++count < N);
    bool more = info_next_url(&info, url, sizeof(url));
    free(json);
    CHECK(ok && info.lame_duck);
    CHECK_INT(count, N);
    CHECK(!more);
}

static void an_address_that_is_too_long_ends_the_walk(void) {
    struct info info = {0};
    char four[5];
    CHECK(read_text("{\"connect_urls\":[\"a:12\",\"a:123\",\"a:1\"]}", &info));
    CHECK(info_next_url(&info, four, sizeof(four)));
    CHECK_STR(four, "a:12");
    CHECK(!info_next_url(&info, four, sizeof(four)));
}

/* ---- garbage ---- */

static void it_may_be_cut_anywhere(void) {
    size_t len = strlen(whole);
    for (size_t cut = 0; cut < len; cut++) {
        struct info info = {0};
        char *memory;
        bool ok = read_exactly(whole, cut, &info, &memory);
        int urls = count_urls(&info); /* also of a half one nothing is read behind the end */
        free(memory);
        CHECK(!ok);
        CHECK(urls <= 2);
    }
}

/* strtoll() and its like would skip the blanks of C, and go on behind the end. */
static void numbers_are_not_sought_behind_the_end(void) {
    static const char *const texts[] = {
        "{\"max_payload\":\v \f", "{\"max_payload\":\v", "{\"client_id\":\f\f",
        "{\"max_payload\":-",     "{\"client_id\":1",    "{\"max_payload\":123456789",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        CHECK(!reads(texts[i]));
}

static void numbers_that_are_too_large_are_the_largest(void) {
    struct info info = {0};
    CHECK(read_text("{\"max_payload\":99999999999999999999}", &info));
    CHECK(info.max_payload == INT64_MAX);
    CHECK(read_text("{\"max_payload\":-99999999999999999999}", &info));
    CHECK(info.max_payload == INT64_MIN);
}

static void nothing_that_is_said_does_harm(void) {
    static const char pieces[] = "{}[]\",:\\u0tf1-\0 \n\xff\x80";
    uint64_t random = 88172645463325252u;
    size_t len = strlen(whole);
    for (int round = 0; round < 100000; round++) {
        char *memory, copy[sizeof(whole)];
        struct info info = {0};
        memcpy(copy, whole, sizeof(whole));
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        int changes = 1 + (int)(random >> 60);
        for (int i = 0; i < changes; i++) {
            random ^= random << 13, random ^= random >> 7, random ^= random << 17;
            copy[random % len] = pieces[(random >> 32) % (sizeof(pieces) - 1)];
        }
        read_exactly(copy, len - (random >> 40) % 8, &info, &memory);
        int urls = count_urls(&info);
        free(memory);
        CHECK(urls < 50);
        CHECK(strnlen(info.server_id, sizeof(info.server_id)) < sizeof(info.server_id));
        CHECK(strnlen(info.version, sizeof(info.version)) < sizeof(info.version));
        CHECK(strnlen(info.client_ip, sizeof(info.client_ip)) < sizeof(info.client_ip));
    }
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    RUN(all_fields_are_read);
    RUN(numbers_are_exact);
    RUN(absent_fields_keep_what_they_had);
    RUN(fields_inside_of_others_are_not_ours);
    RUN(blanks_may_be_anywhere);
    RUN(escapes_are_decoded);
    RUN(long_strings_are_cut);
    RUN(values_of_another_type_do_no_harm);
    RUN(what_is_no_object_is_refused);
    RUN(the_addresses_of_a_large_cluster_are_read);
    RUN(an_address_that_is_too_long_ends_the_walk);
    RUN(it_may_be_cut_anywhere);
    RUN(numbers_are_not_sought_behind_the_end);
    RUN(numbers_that_are_too_large_are_the_largest);
    RUN(nothing_that_is_said_does_harm);
    return test_end();
}
