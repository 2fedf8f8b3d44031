/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/keyed.h"

#include <stdlib.h>

#include "host/base/status.h"
#include "spec/unit/test.h"

struct job {
    int number;
    struct keyed_item item;
};

static struct job jobs[4000];

static struct keyed *open_with(size_t key_max) {
    struct keyed *keyed = NULL;
    memset(jobs, 0, sizeof(jobs));
    for (int i = 0; i < (int)(sizeof(jobs) / sizeof(*jobs)); i++)
        jobs[i].number = i;
    return keyed_open(&keyed, key_max) == LN_OK ? keyed : NULL;
}

static int put(struct keyed *keyed, int number, const char *key) {
    jobs[number].item.weight = 10;
    return keyed_put(keyed, &jobs[number].item, key, key != NULL ? strlen(key) : 0);
}

/* -1: none. */
static int take(struct keyed *keyed) {
    struct keyed_item *item = keyed_take(keyed);
    return item != NULL ? container_of(item, struct job, item)->number : -1;
}

static void done(struct keyed *keyed, int number) {
    keyed_done(keyed, &jobs[number].item);
}

static void takes_one_of_a_key_at_a_time(void) {
    struct keyed *keyed = open_with(0);
    CHECK_INT(take(keyed), -1);
    for (int i = 0; i < 3; i++)
        CHECK_INT(put(keyed, i, "a"), LN_OK);
    CHECK_INT(put(keyed, 3, "b"), LN_OK);
    CHECK_INT(take(keyed), 0);
    CHECK_INT(take(keyed), 3);
    CHECK_INT(take(keyed), -1);
    CHECK_INT(keyed_blocked(keyed), 2);
    done(keyed, 0);
    CHECK_INT(keyed_blocked(keyed), 1);
    CHECK_INT(take(keyed), 1);
    CHECK_INT(take(keyed), -1);
    done(keyed, 1);
    done(keyed, 3);
    CHECK_INT(take(keyed), 2);
    done(keyed, 2);
    CHECK_INT(take(keyed), -1);
    keyed_release(keyed);
}

static void lets_what_has_no_key_run_at_once(void) {
    struct keyed *keyed = open_with(1);
    for (int i = 0; i < 5; i++)
        CHECK_INT(put(keyed, i, NULL), LN_OK);
    CHECK_INT(keyed_blocked(keyed), 0);
    for (int i = 0; i < 5; i++)
        CHECK_INT(take(keyed), i);
    for (int i = 0; i < 5; i++)
        done(keyed, i);
    struct keyed_stats stats;
    keyed_get_stats(keyed, &stats);
    CHECK(stats.keys == 0 && stats.waiting == 0 && stats.bytes == 0);
    keyed_release(keyed);
}

static void keys_take_turns(void) {
    struct keyed *keyed = open_with(0);
    for (int i = 0; i < 10; i++)
        CHECK_INT(put(keyed, i, "hot"), LN_OK);
    CHECK_INT(put(keyed, 10, "cold"), LN_OK);
    CHECK_INT(put(keyed, 11, NULL), LN_OK);
    CHECK_INT(take(keyed), 0);
    done(keyed, 0);
    CHECK_INT(take(keyed), 10); /* came long after those of the hot key */
    CHECK_INT(take(keyed), 11);
    CHECK_INT(take(keyed), 1);
    done(keyed, 1);
    done(keyed, 10);
    done(keyed, 11);
    for (int i = 2; i < 10; i++) {
        CHECK_INT(take(keyed), i);
        done(keyed, i);
    }
    keyed_release(keyed);
}

static void tells_keys_apart_by_all_their_bytes(void) {
    struct keyed *keyed = open_with(0);
    CHECK_INT(keyed_put(keyed, &jobs[0].item, "a\0b", 3), LN_OK);
    CHECK_INT(keyed_put(keyed, &jobs[1].item, "a\0c", 3), LN_OK);
    CHECK_INT(keyed_put(keyed, &jobs[2].item, "a", 1), LN_OK);
    CHECK_INT(keyed_put(keyed, &jobs[3].item, "", 0), LN_OK);
    CHECK_INT(keyed_put(keyed, &jobs[4].item, "", 0), LN_OK);
    for (int i = 0; i < 4; i++)
        CHECK_INT(take(keyed), i);
    CHECK_INT(take(keyed), -1); /* an empty key is one */
    for (int i = 0; i < 4; i++)
        done(keyed, i);
    CHECK_INT(take(keyed), 4);
    done(keyed, 4);
    keyed_release(keyed);
}

static void what_is_tried_again_comes_first(void) {
    struct keyed *keyed = open_with(0);
    for (int i = 0; i < 3; i++)
        CHECK_INT(put(keyed, i, "a"), LN_OK);
    CHECK_INT(put(keyed, 3, NULL), LN_OK);
    CHECK_INT(take(keyed), 0);
    CHECK_INT(take(keyed), 3);
    keyed_again(keyed, &jobs[0].item);
    keyed_again(keyed, &jobs[3].item);
    CHECK_INT(keyed_waiting(keyed), 4);
    CHECK_INT(keyed_bytes(keyed), 40);
    CHECK_INT(keyed_blocked(keyed), 2);
    CHECK_INT(take(keyed), 0);
    CHECK_INT(take(keyed), 3);
    done(keyed, 3);
    done(keyed, 0);
    for (int i = 1; i < 3; i++) {
        CHECK_INT(take(keyed), i);
        done(keyed, i);
    }
    keyed_release(keyed);
}

static void puts_in_order_what_comes_late(void) {
    struct keyed *keyed = open_with(0);
    static const uint64_t orders[] = {5, 9, 7, 7, 2};
    for (int i = 0; i < 5; i++) {
        jobs[i].item.order = orders[i];
        CHECK_INT(put(keyed, i, "a"), LN_OK);
    }
    CHECK(keyed_find(keyed, "a", 1, 9) == &jobs[1].item);
    CHECK(keyed_find(keyed, "a", 1, 8) == NULL && keyed_find(keyed, "b", 1, 9) == NULL);
    CHECK_INT(take(keyed), 4);
    CHECK(keyed_find(keyed, "a", 1, 2) == &jobs[4].item); /* a taken one */
    CHECK(keyed_behind(&jobs[4].item) == &jobs[0].item);
    done(keyed, 4);
    static const int expected[] = {0, 2, 3, 1};
    for (int i = 0; i < 4; i++) {
        CHECK_INT(take(keyed), expected[i]);
        done(keyed, expected[i]);
    }
    CHECK(keyed_find(keyed, "a", 1, 9) == NULL);
    keyed_release(keyed);
}

static void refuses_more_of_a_key_than_may_wait(void) {
    struct keyed *keyed = open_with(2);
    CHECK_INT(put(keyed, 0, "a"), LN_OK);
    CHECK_INT(take(keyed), 0); /* does not wait any more */
    CHECK_INT(put(keyed, 1, "a"), LN_OK);
    CHECK_INT(put(keyed, 2, "a"), LN_OK);
    CHECK_INT(put(keyed, 3, "a"), LN_EFULL);
    CHECK_INT(put(keyed, 4, "b"), LN_OK);
    struct keyed_stats stats;
    keyed_get_stats(keyed, &stats);
    CHECK(stats.keys == 2 && stats.waiting == 3 && stats.blocked == 2 && stats.longest == 2);
    keyed_remove(keyed, &jobs[1].item);
    keyed_remove(keyed, &jobs[2].item);
    keyed_remove(keyed, &jobs[4].item);
    CHECK_INT(take(keyed), -1);
    done(keyed, 0);
    keyed_get_stats(keyed, &stats);
    CHECK(stats.keys == 0 && stats.waiting == 0 && stats.blocked == 0);
    keyed_release(keyed);
}

static void lasts_as_long_as_somebody_holds_it(void) {
    struct keyed *keyed = open_with(0), *next = keyed_hold(keyed);
    CHECK_INT(put(keyed, 0, "a"), LN_OK);
    CHECK_INT(take(keyed), 0);
    keyed_release(keyed);
    CHECK_INT(put(next, 1, "a"), LN_OK);
    CHECK_INT(take(next), -1); /* of the version before */
    done(next, 0);
    CHECK_INT(take(next), 1);
    done(next, 1);
    keyed_release(next);
    keyed_release(NULL);
}

/* Whatever happens in whatever order: one of a key at a time, in order, none is lost. */
static void holds_for_any_course_of_events(void) {
    enum { COUNT = 4000, KEYS = 300 };
    static int next_of[KEYS], running[KEYS], taken[COUNT];
    static const size_t count = COUNT;
    struct keyed *keyed = open_with(0);
    memset(next_of, 0, sizeof(next_of));
    memset(running, 0, sizeof(running));
    size_t put_count = 0, taken_count = 0, finished = 0;
    srand(7);
    while (finished < count) {
        int what = rand() % 4;
        if (what < 2 && put_count < count) {
            char key[16];
            int number = (int)put_count++;
            snprintf(key, sizeof(key), "%d", number % KEYS);
            jobs[number].item.order = (uint64_t)number;
            CHECK_INT(put(keyed, number, key), LN_OK);
        } else if (what == 2) {
            int number = take(keyed);
            if (number < 0)
                continue;
            CHECK_INT(running[number % KEYS]++, 0);
            CHECK_INT(number / KEYS, next_of[number % KEYS]);
            taken[taken_count++] = number;
        } else if (taken_count > 0) {
            size_t at = (size_t)rand() % taken_count;
            int number = taken[at];
            taken[at] = taken[--taken_count];
            running[number % KEYS]--;
            if (rand() % 5 == 0) {
                keyed_again(keyed, &jobs[number].item);
                continue;
            }
            next_of[number % KEYS]++;
            done(keyed, number);
            finished++;
        }
        CHECK(keyed_blocked(keyed) <= keyed_waiting(keyed));
    }
    struct keyed_stats stats;
    keyed_get_stats(keyed, &stats);
    CHECK(stats.keys == 0 && stats.waiting == 0 && stats.bytes == 0 && stats.blocked == 0);
    keyed_release(keyed);
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    RUN(takes_one_of_a_key_at_a_time);
    RUN(lets_what_has_no_key_run_at_once);
    RUN(keys_take_turns);
    RUN(tells_keys_apart_by_all_their_bytes);
    RUN(what_is_tried_again_comes_first);
    RUN(puts_in_order_what_comes_late);
    RUN(refuses_more_of_a_key_than_may_wait);
    RUN(lasts_as_long_as_somebody_holds_it);
    RUN(holds_for_any_course_of_events);
    return test_end();
}
