/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/log.h"

#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "spec/unit/test.h"

/* stderr goes into a pipe between capture_begin() and capture_end(). */
static int real_stderr, reader;
static char captured[65536];

static void capture_begin(void) {
    int ends[2];
    if (pipe(ends) < 0)
        abort();
    real_stderr = dup(STDERR_FILENO);
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    reader = ends[0];
    fcntl(reader, F_SETFL, O_NONBLOCK);
}

static const char *capture_end(void) {
    ssize_t n = read(reader, captured, sizeof(captured) - 1);
    captured[n > 0 ? n : 0] = '\0';
    dup2(real_stderr, STDERR_FILENO);
    close(real_stderr);
    close(reader);
    return captured;
}

/* What follows the 25 bytes of the time and its blank in text. */
static const char *after_time(const char *line) {
    return strlen(line) > 25 ? line + 25 : line;
}

/* What follows the time in JSON. */
static const char *after_json_time(const char *line) {
    return strlen(line) > 34 ? line + 34 : line;
}

static void text_has_time_level_service_and_message(void) {
    log_configure(LOG_LEVEL_DEBUG, LOG_FORMAT_TEXT);
    capture_begin();
    log_info("orders", "message %d", 7);
    const char *out = capture_end();
    CHECK_STR(after_time(out), "INFO  orders: message 7\n");
    CHECK(out[4] == '-' && out[10] == 'T' && out[19] == '.' && out[23] == 'Z');
    capture_begin();
    log_error(NULL, "no service");
    CHECK_STR(after_time(capture_end()), "ERROR no service\n");
}

static void text_quotes_values_only_where_needed(void) {
    struct log_field fields[] = {
        {"plain", LOG_TYPE_STRING, {.string = {"abc", 3}}},
        {"quoted", LOG_TYPE_STRING, {.string = {"a \"b\"\n\x1b", 7}}},
        {"empty", LOG_TYPE_STRING, {.string = {"", 0}}},
        {"nul", LOG_TYPE_STRING, {.string = {"a\0b", 3}}},
        {"int", LOG_TYPE_INT, {.integer = INT64_MIN}},
        {"float", LOG_TYPE_FLOAT, {.number = 0.1}},
        {"nan", LOG_TYPE_FLOAT, {.number = NAN}},
        {"bool", LOG_TYPE_BOOL, {.boolean = true}},
        {"raw", LOG_TYPE_JSON, {.string = {"{\"a\":\n1}", 8}}},
    };
    capture_begin();
    log_write(LOG_LEVEL_WARN, "s", "m", fields, sizeof(fields) / sizeof(fields[0]));
    const char *out = after_time(capture_end());
    CHECK(strstr(out, "WARN  s: m plain=abc quoted=\"a \\\"b\\\"\\n\\x1b\" empty=\"\"") == out);
    CHECK(strstr(out, " nul=\"a\\x00b\" int=-9223372036854775808 float=0.1 nan=") != NULL);
    CHECK(strstr(out, " bool=true raw={\"a\": 1}\n") != NULL);
}

static void text_indents_further_lines(void) {
    struct log_field field = {"k", LOG_TYPE_INT, {.integer = 1}};
    capture_begin();
    log_write(LOG_LEVEL_ERROR, "s", "failed\nstack:\n\ta.lua:1\x1b[2J\n", &field, 1);
    CHECK_STR(after_time(capture_end()),
              "ERROR s: failed k=1\n    stack:\n    \ta.lua:1\\x1b[2J\n");
}

static void json_escapes(void) {
    struct log_field fields[] = {
        {"bad", LOG_TYPE_STRING, {.string = {"\xff\xc3(\xed\xa0\x80\xf4\x90\x80\x80", 10}}},
        {"good", LOG_TYPE_STRING, {.string = {"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", 9}}},
        {"cut", LOG_TYPE_STRING, {.string = {"\xe2\x82", 2}}},
        {"nan", LOG_TYPE_FLOAT, {.number = NAN}},
        {"float", LOG_TYPE_FLOAT, {.number = 1e300}},
        {"raw", LOG_TYPE_JSON, {.string = {"", 0}}},
        {"message", LOG_TYPE_BOOL, {.boolean = false}},
    };
    log_configure(LOG_LEVEL_DEBUG, LOG_FORMAT_JSON);
    capture_begin();
    log_write(LOG_LEVEL_DEBUG, "s\"", "two\nlines\t\\\x01", fields,
              sizeof(fields) / sizeof(fields[0]));
    log_info(NULL, "x");
    const char *out = capture_end();
    log_configure(LOG_LEVEL_DEBUG, LOG_FORMAT_TEXT);
    CHECK(strncmp(out, "{\"time\":\"20", 11) == 0);
    const char *want =
        ",\"level\":\"debug\",\"service\":\"s\\\"\",\"message\":\"two\\nlines\\t\\\\\\u0001\","
        "\"bad\":\"\\\\xff\\\\xc3(\\\\xed\\\\xa0\\\\x80\\\\xf4\\\\x90\\\\x80\\\\x80\","
        "\"good\":\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\",\"cut\":\"\\\\xe2\\\\x82\","
        "\"nan\":null,\"float\":1e+300,\"raw\":null,\"message_\":false}\n";
    CHECK_MEM(after_json_time(out), strlen(want), want, strlen(want));
    CHECK(strstr(out, ",\"level\":\"info\",\"message\":\"x\"}\n") != NULL);
}

static void long_lines_stay_whole(void) {
    static char big[20001];
    memset(big, 'x', sizeof(big) - 1);
    capture_begin();
    log_info("s", "%s.", big);
    const char *out = capture_end();
    CHECK_INT(strlen(out), 25 + 9 + 20000 + 2);
}

static void levels_are_filtered(void) {
    log_configure(LOG_LEVEL_WARN, LOG_FORMAT_TEXT);
    int evaluated = 0;
    capture_begin();
    log_info("s", "%d", ++evaluated);
    log_warn("s", "shown");
    const char *out = capture_end();
    CHECK_STR(after_time(out), "WARN  s: shown\n");
    CHECK_INT(evaluated, 0);
    log_configure(LOG_LEVEL_OFF, LOG_FORMAT_TEXT);
    capture_begin();
    log_error("s", "hidden");
    CHECK_STR(capture_end(), "");
    log_configure(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
}

static void names_are_parsed(void) {
    enum log_level level;
    enum log_format format;
    CHECK(log_level_parse("error", &level) && level == LOG_LEVEL_ERROR);
    CHECK(log_format_parse("json", &format) && format == LOG_FORMAT_JSON);
    CHECK(!log_level_parse("loud", &level) && !log_format_parse("", &format));
    CHECK_STR(log_level_name(LOG_LEVEL_DEBUG), "debug");
}

static int tapped;
static struct log_tap first, second;

static bool count_and_take(struct log_tap *tap, const struct log_record *record) {
    (void)record;
    tapped++;
    log_info("tap", "from inside a tap");
    log_tap_remove(&second);
    log_tap_remove(tap);
    return true;
}

static void taps_see_what_stderr_does_not(void) {
    log_configure(LOG_LEVEL_WARN, LOG_FORMAT_TEXT);
    first = (struct log_tap){
        .level = LOG_LEVEL_DEBUG, .service = "orders", .on_record = count_and_take};
    second = (struct log_tap){
        .level = LOG_LEVEL_DEBUG, .service = NULL, .on_record = count_and_take};
    log_tap_add(&first);
    log_tap_add(&second);
    CHECK(log_enabled(LOG_LEVEL_DEBUG));
    capture_begin();
    log_warn("orders", "taken");
    log_debug("orders", "nobody listens any more");
    log_warn("other", "shown");
    CHECK_STR(after_time(capture_end()), "WARN  other: shown\n");
    CHECK_INT(tapped, 1);
    CHECK(!log_enabled(LOG_LEVEL_DEBUG));
    log_configure(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
}

static void taps_of_a_service_see_only_that_one(void) {
    tapped = 0;
    first = (struct log_tap){
        .level = LOG_LEVEL_WARN, .service = "orders", .on_record = count_and_take};
    log_tap_add(&first);
    capture_begin();
    log_warn("other", "x");
    log_warn(NULL, "x");
    log_info("orders", "x");
    capture_end();
    log_tap_remove(&first);
    CHECK_INT(tapped, 0);
}

static void a_full_pipe_loses_lines_and_says_so(void) {
    capture_begin();
    fcntl(STDERR_FILENO, F_SETFL, O_NONBLOCK);
    for (int i = 0; i < 3000; i++)
        log_info("s", "a line of some length, to fill the buffer of the pipe: %d", i);
    while (read(reader, captured, sizeof(captured)) > 0) {
    }
    log_info("s", "after");
    const char *out = capture_end();
    CHECK(strstr(after_time(out), "WARN  log lines were lost lines=") == after_time(out));
    CHECK(strstr(out, "INFO  s: after\n") != NULL);
}

static void a_closed_pipe_is_survived(void) {
    capture_begin();
    close(reader);
    log_info("s", "nobody reads");
    reader = open("/dev/null", O_RDONLY);
    capture_end();
    capture_begin();
    log_info("s", "x");
    CHECK(strstr(capture_end(), "lost lines=1") != NULL);
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    test_begin(argc, argv);
    RUN(text_has_time_level_service_and_message);
    RUN(text_quotes_values_only_where_needed);
    RUN(text_indents_further_lines);
    RUN(json_escapes);
    RUN(long_lines_stay_whole);
    RUN(levels_are_filtered);
    RUN(names_are_parsed);
    RUN(taps_see_what_stderr_does_not);
    RUN(taps_of_a_service_see_only_that_one);
    RUN(a_full_pipe_loses_lines_and_says_so);
    RUN(a_closed_pipe_is_survived);
    return test_end();
}
