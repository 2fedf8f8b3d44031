/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/log.h"

#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "host/base/output.h"
#include "spec/unit/log_capture.h"
#include "spec/unit/test.h"

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
        {"nan", LOG_TYPE_FLOAT, {.number = -NAN}}, /* what 0/0 is on x86-64 */
        {"bool", LOG_TYPE_BOOL, {.boolean = true}},
        {"raw", LOG_TYPE_JSON, {.string = {"{\"a\":\n1}", 8}}},
    };
    capture_begin();
    log_write(LOG_LEVEL_WARN, "s", "m", fields, sizeof(fields) / sizeof(fields[0]));
    const char *out = after_time(capture_end());
    CHECK(strstr(out, "WARN  s: m plain=abc quoted=\"a \\\"b\\\"\\n\\x1b\" empty=\"\"") == out);
    CHECK(strstr(out, " nul=\"a\\x00b\" int=-9223372036854775808 float=0.1 nan=nan bool=true "
                      "raw={\"a\": 1}\n") != NULL);
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

/* Cursor, colour, title, and the direction of writing: ESC, C1 as a byte and as a character,
 * bidi controls, a line separator. */
#define HOSTILE                                                                                \
    "\x1b[2J|\x9b|\xc2\x9b|\xe2\x80\xae|\xe2\x81\xa6|\xd8\x9c|\xe2\x80\xa8|\x7f|"              \
    "\xe2\x81\xa9\xe2\x80\xac|\xc3\xa4"

static void controls_are_shown_as_escapes(void) {
    struct log_field fields[] = {
        {"v", LOG_TYPE_STRING, {.string = {HOSTILE, sizeof(HOSTILE) - 1}}},
        {"k\xe2\x80\x8f", LOG_TYPE_BOOL, {.boolean = true}},
        {"raw", LOG_TYPE_JSON, {.string = {"[\"\xe2\x80\x8f\xc2\x9b\"]", 9}}},
    };
    const char *text =
        "\\x1b[2J|\\x9b|\\u009b|\\u202e|\\u2066|\\u061c|\\u2028|\\x7f|\\u2069\\u202c|\xc3\xa4";
    char want[512];
    snprintf(want, sizeof(want),
             "INFO  s\\x9b: %s v=\"%s\" k\\u200f=true raw=[\"\\u200f\\u009b\"]\n", text, text);
    capture_begin();
    log_write(LOG_LEVEL_INFO, "s\x9b", HOSTILE, fields, 3);
    CHECK_STR(after_time(capture_end()), want);
    log_configure(LOG_LEVEL_DEBUG, LOG_FORMAT_JSON);
    capture_begin();
    log_write(LOG_LEVEL_INFO, "s", HOSTILE, fields, 3);
    const char *out = capture_end();
    log_configure(LOG_LEVEL_DEBUG, LOG_FORMAT_TEXT);
    const char *json = "\\u001b[2J|\\\\x9b|\\u009b|\\u202e|\\u2066|\\u061c|\\u2028|\\u007f|"
                       "\\u2069\\u202c|\xc3\xa4";
    snprintf(want, sizeof(want),
             "\"message\":\"%s\",\"v\":\"%s\",\"k\\u200f\":true,"
             "\"raw\":[\"\\u200f\\u009b\"]}\n",
             json, json);
    CHECK(strstr(out, want) != NULL);
}

static void long_lines_are_cut_and_say_so(void) {
    static char big[200001];
    memset(big, 'x', sizeof(big) - 1);
    struct log_field fields[] = {
        {"a", LOG_TYPE_STRING, {.string = {big, 200000}}},
        {"b", LOG_TYPE_STRING, {.string = {big, 8192}}},
        {"c", LOG_TYPE_JSON, {.string = {big, 9000}}},
        {"d", LOG_TYPE_STRING, {.string = {big, 8192}}},
        {"e", LOG_TYPE_INT, {.integer = 1}},
    };
    for (int json = 0; json < 2; json++) {
        log_configure(LOG_LEVEL_DEBUG, json ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT);
        capture_begin();
        log_write(LOG_LEVEL_INFO, "s", big, fields, 5);
        const char *out = capture_end();
        CHECK(strlen(out) < 34000 && out[strlen(out) - 1] == '\n');
        CHECK(strstr(out, "x [cut: 16384 of 200000 bytes]") != NULL);
        CHECK(strstr(out, json ? "x [cut: 8192 of 200000 bytes]\",\"b\":\"x"
                               : "x [cut: 8192 of 200000 bytes]\" b=") != NULL);
        CHECK(strstr(out, json ? ",\"fields_cut\":3}\n" : " fields_cut=3\n") != NULL);
    }
    log_configure(LOG_LEVEL_DEBUG, LOG_FORMAT_TEXT);
    memcpy(big + 16383, "\xc3\xa4", 2); /* would be cut in two */
    big[16382] = '\n';
    capture_begin();
    log_info("s", "%s", big);
    const char *out = capture_end();
    CHECK(strstr(out, "x\n     [cut: 16383 of 200000 bytes]\n") != NULL);
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

static char all[4 << 20];

/* Reads into `all` until nothing is written any more; returns how many lines have the text. */
static int read_all(const char *text) {
    int count = 0;
    size_t len = 0;
    for (;;) {
        bool written = log_drain();
        ssize_t n = read(reader, all + len, sizeof(all) - 1 - len);
        len += n > 0 ? (size_t)n : 0;
        if (written && n <= 0)
            break;
    }
    all[len] = '\0';
    const char *end = all + len;
    for (const char *at = all, *stop; at < end; at = stop + 1) {
        stop = memchr(at, '\n', (size_t)(end - at));
        count += memmem(at, (size_t)(stop - at), text, strlen(text)) != NULL;
    }
    return count;
}

#define FILLER "a line of some length, to fill the buffer of the pipe"

static void a_reader_that_stops_for_a_while_misses_nothing(void) {
    capture_begin();
    CHECK(!(fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK));
    for (int i = 0; i < 5000; i++) /* a pipe holds 64 KiB */
        log_info("s", FILLER ": %d", i);
    CHECK(!(fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK)); /* others have it, too */
    CHECK_INT(read_all(FILLER), 5000);
    capture_end();
}

static int kept;
static void a_line_aside_never_waits_and_is_whole(void) {
    static char filler[60 << 10];
    char message[8192] = "held";
    size_t len = 4;
    while (len < 6000)
        len += (size_t)snprintf(message + len, sizeof(message) - len,
                                "\n\tservice.lua:%zu: in function 'f'", len);
    memset(filler, 'x', sizeof(filler));
    log_configure(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
    capture_begin();
    CHECK_INT(write(STDERR_FILENO, filler, sizeof(filler)), sizeof(filler));
    log_aside(LOG_LEVEL_WARN, "orders", message); /* of the 64 KiB of a pipe 4 are left */
    log_aside(LOG_LEVEL_WARN, "orders", "no room");
    const char *out = capture_end();
    CHECK(strstr(out, "WARN  orders: held\n    \tservice.lua:4: in function 'f'\n") != NULL);
    CHECK(captured_len > sizeof(filler) + 3900 && out[captured_len - 1] == '\n');
    CHECK(strstr(out, "no room") == NULL);
}

static void on_kept(void *owner) {
    (void)owner;
    kept++;
}

static void what_is_more_than_the_bound_is_lost_and_told(void) {
    output_on_kept(on_kept, NULL);
    capture_begin();
    for (int i = 0; i < 20000; i++)
        log_info("s", FILLER ": %d", i);
    CHECK_INT(kept, 1);
    int count = read_all(FILLER), lost = 0;
    const char *told = strstr(all, "WARN  log lines were lost lines=");
    CHECK(told != NULL);
    sscanf(told, "WARN  log lines were lost lines=%d", &lost);
    CHECK(count > 10000);
    CHECK_INT(count + lost, 20000);
    capture_end();
    output_on_kept(NULL, NULL);
}

static void the_end_waits_for_a_reader_that_reads(void) {
    capture_begin();
    for (int i = 0; i < 5000; i++)
        log_info("s", FILLER ": %d", i);
    uint64_t before = (uint64_t)time(NULL);
    output_flush(50); /* nobody reads */
    CHECK((uint64_t)time(NULL) - before < 5);
    CHECK(!log_drain());
    CHECK_INT(read_all(FILLER), 5000);
    capture_end();
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

/* ---- what a line is logged in ---- */

static size_t in_a_handler(struct log_field out[LOG_CONTEXT_MAX]) {
    out[0] = log_text("listener", "orders.*");
    out[1] = log_text("subject", "orders.created");
    return 2;
}

static void fields_of_the_record_win_over_its_context(void) {
    struct log_field field = log_text("subject", "mine");
    log_set_context(in_a_handler);
    capture_begin();
    log_write(LOG_LEVEL_INFO, "s", "m", &field, 1);
    log_info("s", "m\nmore");
    const char *out = capture_end();
    log_set_context(NULL);
    CHECK(strstr(out, "INFO  s: m subject=mine listener=orders.*\n") != NULL);
    CHECK(strstr(out, "INFO  s: m listener=orders.* subject=orders.created\n    more\n") !=
          NULL);
}

static void names_are_told_apart_as_they_are_written(void) {
    struct log_field fields[] = {
        {"a b", LOG_TYPE_INT, {.integer = 1}},  {"a=b", LOG_TYPE_INT, {.integer = 2}},
        {"a_b", LOG_TYPE_INT, {.integer = 3}},  {"", LOG_TYPE_INT, {.integer = 4}},
        {"\xff", LOG_TYPE_INT, {.integer = 5}}, {"\\xff", LOG_TYPE_INT, {.integer = 6}},
    };
    capture_begin();
    log_write(LOG_LEVEL_INFO, "s", "m", fields, 6);
    CHECK_STR(after_time(capture_end()),
              "INFO  s: m a_b=1 a_b_=2 a_b__=3 _=4 \\xff=5 \\xff_=6\n");
}

/* ---- levels of services, copies ---- */

static void a_service_has_a_level_of_its_own(void) {
    struct log_override override = {0};
    log_configure(LOG_LEVEL_WARN, LOG_FORMAT_TEXT);
    log_override_set(&override, "s", LOG_LEVEL_DEBUG);
    CHECK(log_enabled(LOG_LEVEL_DEBUG));
    CHECK_INT(log_level_of("s"), LOG_LEVEL_DEBUG);
    CHECK_INT(log_level_of("t"), LOG_LEVEL_WARN);
    capture_begin();
    log_debug("s", "seen");
    log_debug("t", "hidden");
    log_debug(NULL, "hidden");
    log_override_set(&override, "s", LOG_LEVEL_OFF);
    log_error("s", "hidden");
    log_warn("t", "seen");
    log_override_clear(&override);
    log_override_clear(&override);
    log_warn("s", "seen");
    log_info("s", "hidden");
    const char *out = capture_end();
    CHECK_INT(lines_with(out, "seen"), 3);
    CHECK_INT(lines_with(out, "hidden"), 0);
    CHECK(!log_enabled(LOG_LEVEL_INFO));
    log_configure(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
}

static char copied[1024];

static void copy_record(struct log_copy *copy, const struct log_record *record) {
    size_t len;
    char *json = log_as_json(record, &len);
    CHECK_INT(strlen(json), len);
    snprintf(copied, sizeof(copied), "%s", json);
    free(json);
    (*(int *)copy->owner)++;
    log_info("copy", "about the copy");
}

static void copies_see_what_is_written_and_never_themselves(void) {
    int count = 0;
    struct log_copy copy = {.on_record = copy_record, .owner = &count};
    log_copy_add(&copy);
    capture_begin();
    log_info("s", "a\nb");
    log_debug("s", "not written");
    log_copy_remove(&copy);
    log_copy_remove(&copy);
    log_info("s", "not copied");
    const char *out = capture_end();
    CHECK_INT(count, 1);
    CHECK_STR(after_json_time(copied),
              ",\"level\":\"info\",\"service\":\"s\",\"message\":\"a\\nb\"}");
    CHECK_INT(lines_with(out, "about the copy"), 1);
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    output_never_wait();
    test_begin(argc, argv);
    RUN(text_has_time_level_service_and_message);
    RUN(text_quotes_values_only_where_needed);
    RUN(text_indents_further_lines);
    RUN(json_escapes);
    RUN(controls_are_shown_as_escapes);
    RUN(long_lines_are_cut_and_say_so);
    RUN(levels_are_filtered);
    RUN(names_are_parsed);
    RUN(taps_see_what_stderr_does_not);
    RUN(taps_of_a_service_see_only_that_one);
    RUN(a_reader_that_stops_for_a_while_misses_nothing);
    RUN(what_is_more_than_the_bound_is_lost_and_told);
    RUN(the_end_waits_for_a_reader_that_reads);
    RUN(a_closed_pipe_is_survived);
    RUN(a_line_aside_never_waits_and_is_whole);
    RUN(fields_of_the_record_win_over_its_context);
    RUN(names_are_told_apart_as_they_are_written);
    RUN(a_service_has_a_level_of_its_own);
    RUN(copies_see_what_is_written_and_never_themselves);
    return test_end();
}
