/* SPDX-License-Identifier: Apache-2.0 */
#include "host/supervisor/sums.h"

#include <stdlib.h>

#include "spec/unit/test.h"

#define LIMIT ((size_t)1 << 20)

static struct sums *sums;
static struct text out;

static void begin(void) {
    sums_open(&sums, LIMIT);
}

static void add(const char *text, unsigned worker) {
    sums_add(sums, text, strlen(text), worker);
}

/* What they add up to; borrowed until end(). */
static const char *written(void) {
    text_free(&out);
    sums_write(sums, &out);
    return out.bytes != NULL ? out.bytes : "";
}

static void end(void) {
    text_free(&out);
    sums_free(sums);
}

static void counters_are_added_up(void) {
    begin();
    add("# HELP a_total How many.\n# TYPE a_total counter\na_total 1\na_total{x=\"y\"} 2\n", 1);
    add("# HELP a_total How many.\n# TYPE a_total counter\na_total{x=\"y\"} 0.5\na_total 3\n",
        2);
    CHECK_STR(written(), "# HELP a_total How many.\n# TYPE a_total counter\n"
                         "a_total 4\na_total{x=\"y\"} 2.5\n");
    CHECK_INT((int)sums_dropped(sums), 0);
    end();
}

static void histograms_are_added_up(void) {
    static const char text[] = "# TYPE h histogram\nh_bucket{s=\"a\",le=\"0.5\"} 1\n"
                               "h_bucket{s=\"a\",le=\"+Inf\"} 2\nh_sum{s=\"a\"} 1.5\n"
                               "h_count{s=\"a\"} 2\n";
    begin();
    add(text, 1);
    add(text, 2);
    CHECK_STR(written(), "# TYPE h histogram\nh_bucket{s=\"a\",le=\"0.5\"} 2\n"
                         "h_bucket{s=\"a\",le=\"+Inf\"} 4\nh_sum{s=\"a\"} 3\n"
                         "h_count{s=\"a\"} 4\n");
    end();
}

static void gauges_say_whose_they_are(void) {
    static const char text[] = "# TYPE g gauge\ng 1\ng{} 5\ng{a=\"b\"} 2\n";
    begin();
    add(text, 1);
    add(text, 12);
    CHECK_STR(written(), "# TYPE g gauge\ng{worker=\"1\"} 1\ng{worker=\"1\",a=\"b\"} 2\n"
                         "g{worker=\"12\"} 1\ng{worker=\"12\",a=\"b\"} 2\n");
    end();
}

static void a_label_of_the_same_name_is_kept(void) {
    begin();
    add("# TYPE g gauge\ng{a=\"b\",worker=\"x\"} 2\ng{a=\"worker=\"} 3\n", 1);
    CHECK_STR(written(), "# TYPE g gauge\ng{lunats_worker=\"1\",a=\"b\",worker=\"x\"} 2\n"
                         "g{worker=\"1\",a=\"worker=\"} 3\n");
    end();
}

static void what_has_no_type_is_told_apart(void) {
    begin();
    add("x 1\n# TYPE s summary\ns{quantile=\"0.5\"} 2\ns_count 3\n", 1);
    add("x 1\n", 2);
    CHECK_STR(written(), "# TYPE x untyped\nx{worker=\"1\"} 1\nx{worker=\"2\"} 1\n"
                         "# TYPE s summary\ns{worker=\"1\",quantile=\"0.5\"} 2\n"
                         "s_count{worker=\"1\"} 3\n");
    end();
}

static void of_those_that_are_gone_only_totals_count(void) {
    begin();
    add("# TYPE c counter\nc 1\n# TYPE g gauge\ng 1\nx 4\n", 0);
    CHECK_STR(written(), "# TYPE c counter\nc 1\n");
    end();
}

static void another_type_under_the_same_name_is_left_out(void) {
    begin();
    add("# TYPE c counter\nc 1\n", 1);
    add("# TYPE c gauge\nc 100\n# TYPE d counter\nd 1\n", 2);
    CHECK_STR(written(), "# TYPE c counter\nc 1\n# TYPE d counter\nd 1\n");
    end();
}

static void values_that_are_no_ordinary_numbers(void) {
    begin();
    add("# TYPE g gauge\ng{a=\"1\"} NaN\ng{a=\"2\"} +Inf\ng{a=\"3\"} -Inf\ng{a=\"4\"} 1e3 "
        "1700000000\n",
        1);
    CHECK_STR(written(), "# TYPE g gauge\ng{worker=\"1\",a=\"1\"} NaN\n"
                         "g{worker=\"1\",a=\"2\"} +Inf\ng{worker=\"1\",a=\"3\"} -Inf\n"
                         "g{worker=\"1\",a=\"4\"} 1000\n");
    end();
}

static void values_of_labels_may_hold_anything(void) {
    static const char text[] = "# TYPE c counter\nc{a=\"}\\\"{,=\\\\\",b=\"\"} 1\n";
    begin();
    add(text, 1);
    CHECK_STR(written(), text);
    end();
}

static void lines_that_are_none_are_left_out(void) {
    static const char *const lines[] = {
        "c",         "c{",           "c{a",           "c{a=",        "c{a=\"",
        "c{a=\"b",   "c{a=\"b\"",    "c{a=\"b\"}",    "c{=\"b\"} 1", "c{a=b} 1",
        "c{a=\"\\",  "c{1=\"b\"} 1", "c{a=\"b\"x} 1", "1c 1",        "c x",
        "c 1x",      "{a=\"b\"} 1",  "c{a=\"b\"}1",   "# TYPE",      "# HELP c",
        "# TYPE  x", "\x01\xff 1",   "c 0x",          "=",
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        begin();
        add("# TYPE c counter\n", 1);
        add(lines[i], 1);
        CHECK_STR(written(), "");
        add("# TYPE d counter\nd 1", 1);
        CHECK_STR(written(), "# TYPE d counter\nd 1\n");
        end();
    }
}

static void what_takes_too_much_memory_is_left_out(void) {
    char line[64];
    sums_open(&sums, 10000);
    add("# TYPE c counter\n", 1);
    for (int i = 0; i < 1000; i++) {
        snprintf(line, sizeof(line), "# TYPE c counter\nc{i=\"%d\"} 1\n", i);
        add(line, 1);
    }
    CHECK(sums_dropped(sums) > 500);
    size_t len = strlen(written());
    CHECK(len > 100 && len < 10000);
    add("# TYPE c counter\nc{i=\"0\"} 1\n", 2);
    CHECK(strstr(written(), "c{i=\"0\"} 2\n") != NULL);
    end();
}

static void a_sum_of_sums_is_the_sum(void) {
    static const char text[] = "# HELP c x\n# TYPE c counter\nc{a=\"b\"} 1.25\n"
                               "# TYPE h histogram\nh_bucket{le=\"1.0\"} 7\nh_count 7\n";
    begin();
    add(text, 1);
    add(text, 2);
    char *once = strdup(written());
    end();
    begin();
    add(once, 0);
    CHECK_STR(written(), once);
    end();
    free(once);
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    RUN(counters_are_added_up);
    RUN(histograms_are_added_up);
    RUN(gauges_say_whose_they_are);
    RUN(a_label_of_the_same_name_is_kept);
    RUN(what_has_no_type_is_told_apart);
    RUN(of_those_that_are_gone_only_totals_count);
    RUN(another_type_under_the_same_name_is_left_out);
    RUN(values_that_are_no_ordinary_numbers);
    RUN(values_of_labels_may_hold_anything);
    RUN(lines_that_are_none_are_left_out);
    RUN(what_takes_too_much_memory_is_left_out);
    RUN(a_sum_of_sums_is_the_sum);
    return test_end();
}
