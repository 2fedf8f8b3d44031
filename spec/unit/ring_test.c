/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/ring.h"
#include "spec/unit/test.h"

static int numbers[1000];

static void is_empty_when_zero(void) {
    struct ring ring = {0};
    CHECK_INT(ring.count, 0);
    CHECK(ring_pop(&ring) == NULL && ring_peek(&ring) == NULL);
    ring_free(&ring);
}

static void first_in_first_out(void) {
    struct ring ring = {0};
    for (int i = 0; i < 1000; i++)
        CHECK(ring_push(&ring, &numbers[i]));
    CHECK_INT(ring.count, 1000);
    for (int i = 0; i < 1000; i++) {
        CHECK(ring_peek(&ring) == &numbers[i]);
        CHECK(ring_pop(&ring) == &numbers[i]);
    }
    CHECK(ring_pop(&ring) == NULL);
    ring_free(&ring);
}

/* It grows while its oldest element lies anywhere in the array. */
static void keeps_the_order_while_it_grows(void) {
    for (int offset = 0; offset < 16; offset++) {
        struct ring ring = {0};
        int in = 0, out = 0;
        for (; in < offset; in++)
            CHECK(ring_push(&ring, &numbers[in]));
        for (; out < offset; out++)
            CHECK(ring_pop(&ring) == &numbers[out]);
        for (; in < offset + 40; in++)
            CHECK(ring_push(&ring, &numbers[in]));
        CHECK_INT(ring.size, 64);
        for (; out < in; out++)
            CHECK(ring_pop(&ring) == &numbers[out]);
        CHECK_INT(ring.count, 0);
        ring_free(&ring);
    }
}

static void stays_small_when_it_is_emptied(void) {
    struct ring ring = {0};
    for (int i = 0; i < 1000; i++) {
        CHECK(ring_push(&ring, &numbers[i]));
        CHECK(ring_pop(&ring) == &numbers[i]);
    }
    CHECK_INT(ring.size, 16);
    ring_free(&ring);
    CHECK(ring.size == 0 && ring_push(&ring, &numbers[0]) && ring_pop(&ring) == &numbers[0]);
    ring_free(&ring);
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    RUN(is_empty_when_zero);
    RUN(first_in_first_out);
    RUN(keeps_the_order_while_it_grows);
    RUN(stays_small_when_it_is_emptied);
    return test_end();
}
