/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/buffer.h"

#include <stdint.h>

#include "spec/unit/test.h"

static struct buffer b;

static bool put(const char *text, size_t most) {
    char *at = buffer_reserve(&b, strlen(text), 8, most);
    if (at == NULL)
        return false;
    memcpy(at, text, strlen(text));
    b.len += strlen(text);
    return true;
}

static void take(size_t len) {
    b.at += len;
    buffer_rewind(&b);
}

/* Runs with an empty one. */
#define EMPTY(name)                                                                            \
    static void name##_empty(void);                                                            \
    static void name(void) {                                                                   \
        buffer_free(&b);                                                                       \
        name##_empty();                                                                        \
        buffer_free(&b);                                                                       \
    }                                                                                          \
    static void name##_empty(void)

EMPTY(grows_and_keeps_what_is_there) {
    CHECK_INT(buffer_left(&b), 0);
    CHECK(put("12345", SIZE_MAX));
    CHECK_INT(b.size, 8);
    CHECK(put("67890abcdefgh", SIZE_MAX));
    CHECK_INT(b.size, 32);
    CHECK_MEM(b.bytes + b.at, buffer_left(&b), "1234567890abcdefgh", 18);
}

EMPTY(begins_at_the_front_when_nothing_is_left) {
    CHECK(put("1234", SIZE_MAX));
    take(3);
    CHECK_INT(b.at, 3);
    take(1);
    CHECK_INT(b.at, 0);
    CHECK_INT(b.len, 0);
    CHECK_INT(b.size, 8);
}

EMPTY(moves_what_is_left_rather_than_grow) {
    CHECK(put("12345678", SIZE_MAX));
    take(5);
    CHECK(put("abcde", SIZE_MAX));
    CHECK_INT(b.size, 8);
    CHECK_INT(b.at, 0);
    CHECK_MEM(b.bytes, b.len, "678abcde", 8);
}

EMPTY(grows_when_most_of_it_is_still_there) {
    CHECK(put("12345678", SIZE_MAX));
    take(2);
    CHECK(put("abc", SIZE_MAX));
    CHECK_INT(b.size, 16);
    CHECK_MEM(b.bytes + b.at, buffer_left(&b), "345678abc", 9);
}

EMPTY(has_a_bound) {
    CHECK(put("12345678", 12));
    CHECK(put("9012", 12));
    CHECK_INT(b.size, 12);
    CHECK(!put("x", 12));
    CHECK_MEM(b.bytes + b.at, buffer_left(&b), "123456789012", 12);
    take(1); /* moved, though most is there, as it may not grow */
    CHECK(put("x", 12));
    CHECK_MEM(b.bytes + b.at, buffer_left(&b), "23456789012x", 12);
    CHECK(!put("y", 12));
}

EMPTY(gives_back_a_large_one_once_it_is_empty) {
    char *at = buffer_reserve(&b, BUFFER_KEPT + 1, 8, SIZE_MAX);
    CHECK(at != NULL);
    b.len = BUFFER_KEPT + 1;
    take(BUFFER_KEPT);
    CHECK(b.size > BUFFER_KEPT);
    take(1);
    CHECK_INT(b.size, 0);
    CHECK(b.bytes == NULL);
    CHECK(put("again", SIZE_MAX));
}

EMPTY(refuses_what_nobody_has) {
    CHECK(put("1234", SIZE_MAX));
    CHECK(buffer_reserve(&b, SIZE_MAX / 2, 8, SIZE_MAX / 4) == NULL);
    CHECK_MEM(b.bytes, b.len, "1234", 4);
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    RUN(grows_and_keeps_what_is_there);
    RUN(begins_at_the_front_when_nothing_is_left);
    RUN(moves_what_is_left_rather_than_grow);
    RUN(grows_when_most_of_it_is_still_there);
    RUN(has_a_bound);
    RUN(gives_back_a_large_one_once_it_is_empty);
    RUN(refuses_what_nobody_has);
    return test_end();
}
