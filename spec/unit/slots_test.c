/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/slots.h"

#include "spec/unit/test.h"

static void what_was_put_in_is_found(void) {
    struct slots slots = {0};
    int things[1000];
    uint32_t index[1000], generation[1000];
    CHECK(slots_find(&slots, 0, 1) == NULL);
    for (int i = 0; i < 1000; i++) {
        CHECK(slots_take(&slots, &things[i], &index[i]));
        generation[i] = slots_generation(&slots, index[i]);
        CHECK(generation[i] > 0);
    }
    for (int i = 0; i < 1000; i++)
        CHECK(slots_find(&slots, index[i], generation[i]) == &things[i]);
    CHECK(slots_find(&slots, 5000, 1) == NULL);
    slots_free(&slots);
}

static void a_number_of_before_finds_nobody(void) {
    struct slots slots = {0};
    int first, second;
    uint32_t index, again;
    CHECK(slots_take(&slots, &first, &index));
    uint32_t generation = slots_generation(&slots, index);
    slots_release(&slots, index);
    CHECK(slots_find(&slots, index, generation) == NULL);
    CHECK(slots_take(&slots, &second, &again));
    CHECK_INT(again, index);
    CHECK(slots_find(&slots, index, generation) == NULL);
    CHECK(slots_find(&slots, index, slots_generation(&slots, index)) == &second);
    slots_free(&slots);
}

static void generations_begin_again_at_one(void) {
    struct slots slots = {0};
    int thing;
    uint32_t index;
    CHECK(slots_take(&slots, &thing, &index));
    slots.all[index].generation = (1u << SLOTS_GENERATION_BITS) - 1;
    slots_release(&slots, index);
    CHECK_INT(slots_generation(&slots, index), 1);
    slots_free(&slots);
}

static void places_are_used_again_while_others_stay(void) {
    struct slots slots = {0};
    int things[64];
    uint32_t index[64], unused;
    for (int i = 0; i < 64; i++)
        CHECK(slots_take(&slots, &things[i], &index[i]));
    for (int i = 0; i < 64; i += 2)
        slots_release(&slots, index[i]);
    for (int i = 0; i < 32; i++)
        CHECK(slots_take(&slots, &things[0], &unused));
    CHECK_INT(slots.count, 64);
    for (int i = 1; i < 64; i += 2)
        CHECK(slots_find(&slots, index[i], slots_generation(&slots, index[i])) == &things[i]);
    slots_free(&slots);
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    RUN(what_was_put_in_is_found);
    RUN(a_number_of_before_finds_nobody);
    RUN(generations_begin_again_at_one);
    RUN(places_are_used_again_while_others_stay);
    return test_end();
}
