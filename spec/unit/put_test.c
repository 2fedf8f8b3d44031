/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/put.h"

#include <inttypes.h>
#include <stdio.h>

#include "spec/unit/test.h"

static void same_as_printf(uint64_t value) {
    char expected[NUMBER_SIZE + 1], text[NUMBER_SIZE + 1];
    memset(text, 'x', sizeof(text));
    snprintf(expected, sizeof(expected), "%" PRIu64, value);
    char *end = put_number(text, value);
    CHECK_INT(end - text, (int)strlen(expected));
    CHECK(memcmp(text, expected, strlen(expected)) == 0);
    for (; end < text + sizeof(text); end++)
        CHECK(*end == 'x'); /* nothing behind its end */
}

static void numbers_have_all_their_digits(void) {
    for (uint64_t value = 0; value < 2000; value++)
        same_as_printf(value);
    for (uint64_t ten = 1; ten <= UINT64_MAX / 10; ten *= 10)
        for (uint64_t i = 0; i < 200; i++) {
            same_as_printf(ten * 10 - 100 + i);
            same_as_printf(ten * i / 20);
        }
    for (int bit = 0; bit < 64; bit++) {
        same_as_printf((uint64_t)1 << bit);
        same_as_printf(((uint64_t)1 << bit) - 1);
    }
    same_as_printf(UINT64_MAX);
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    RUN(numbers_have_all_their_digits);
    return test_end();
}
