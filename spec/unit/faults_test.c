/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "host/service/faults.h"
#include "spec/unit/test.h"

static struct faults faults;

static const struct fault *latest(void) {
    return list_item(faults.list.ends.prev, struct fault, node);
}

static void end(void) {
    faults_free(&faults);
    CHECK_INT(faults.count, 0);
    faults = (struct faults){0};
}

static void counts_the_same_error(void) {
    faults_add(&faults, "a.lua:1: no stock\nstack traceback:\n\ta.lua:1: in ?", NULL);
    uint64_t first = latest()->number;
    faults_add(&faults, "a.lua:1: no stock\nstack traceback:\n\ta.lua:1: in ?", NULL);
    CHECK_INT(faults.count, 1);
    CHECK_INT(latest()->count, 2);
    CHECK(latest()->first == first && latest()->number > first);
    CHECK(latest()->last_at >= latest()->first_at);
    end();
}

static void takes_other_numbers_and_ids_for_the_same(void) {
    faults_add(&faults, "error Ab3: a.lua:7: message 9 failed (delivery 1)", "Ab3");
    faults_add(&faults, "error 9xYz: a.lua:7: message 120 failed (delivery 22)", "9xYz");
    CHECK_INT(faults.count, 1);
    CHECK_STR(latest()->text, "error 9xYz: a.lua:7: message 120 failed (delivery 22)");
    CHECK_STR(latest()->id, "9xYz");
    end();
}

static void tells_lines_and_words_apart(void) {
    static const char *const texts[] = {
        "a.lua:7: message 9 failed",  "a.lua:8: message 9 failed",
        "a.lua:78: message 9 failed", "a.lua:7: message failed",
        "a.lua:7: message 9",         "a.lua:7: message 9 failed.",
        "a.lua:7: message x failed",  "",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        faults_add(&faults, texts[i], NULL);
    CHECK_INT(faults.count, sizeof(texts) / sizeof(texts[0]));
    end();
}

static void keeps_the_latest_kinds(void) {
    char text[] = "kind a";
    for (int i = 0; i < 26; i++) {
        text[5] = (char)('a' + i);
        faults_add(&faults, text, NULL);
        faults_add(&faults, "all the time", NULL);
    }
    CHECK_INT(faults.count, FAULTS_MAX);
    CHECK_INT(latest()->count, 26);
    const struct fault *oldest = list_item(list_first(&faults.list), struct fault, node);
    CHECK_STR(oldest->text, "kind h");
    end();
}

static void cuts_long_texts(void) {
    char *text = malloc((size_t)FAULT_TEXT_MAX * 2);
    memset(text, 'x', (size_t)FAULT_TEXT_MAX * 2);
    text[FAULT_TEXT_MAX * 2 - 1] = '\0';
    faults_add(&faults, text, NULL);
    text[FAULT_TEXT_MAX] = 'y'; /* behind what is kept */
    faults_add(&faults, text, NULL);
    free(text);
    CHECK_INT(faults.count, 1);
    const struct fault *fault = latest();
    CHECK(fault != NULL && strlen(fault->text) == FAULT_TEXT_MAX);
    end();
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    RUN(counts_the_same_error);
    RUN(takes_other_numbers_and_ids_for_the_same);
    RUN(tells_lines_and_words_apart);
    RUN(keeps_the_latest_kinds);
    RUN(cuts_long_texts);
    return test_end();
}
