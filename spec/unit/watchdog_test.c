/* SPDX-License-Identifier: Apache-2.0 */
#include "host/script/watchdog.h"

#include <time.h>

#include "spec/unit/test.h"

static struct watchdog dog;

static void pass_ms(long ms) {
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

static void busy_ms(uint64_t ms) {
    uint64_t start = uv_hrtime();
    while (uv_hrtime() - start < ms * 1000000)
        ;
}

/* CPU time, however busy the machine is. */
static void work_ms(clock_t ms) {
    clock_t start = clock();
    while (clock() - start < ms * CLOCKS_PER_SEC / 1000)
        busy_ms(1);
}

static uint64_t held_by_work(clock_t ms) {
    watchdog_begin(&dog, NULL, 0);
    work_ms(ms);
    return watchdog_end(&dog).ms;
}

static uint64_t held_by_sleep(long ms) {
    watchdog_begin(&dog, NULL, 0);
    pass_ms(ms);
    return watchdog_end(&dog).ms;
}

static void closes_what_never_ran(void) {
    watchdog_init(&dog);
    watchdog_close(&dog);
}

static void says_nothing_of_many_short_calls(void) {
    watchdog_init(&dog);
    uint64_t start = uv_hrtime(), held = 0;
    while (uv_hrtime() - start < (uint64_t)700 * 1000000)
        held += held_by_work(0);
    CHECK_INT(held, 0);
    watchdog_close(&dog);
}

static void tells_how_long_a_call_has_computed(void) {
    watchdog_init(&dog);
    uint64_t start = uv_hrtime(), held = held_by_work(600);
    CHECK(held >= 250);
    CHECK(held <= (uv_hrtime() - start) / 1000000);
    CHECK_INT(held_by_work(1), 0); /* it is not told again */
    watchdog_close(&dog);
}

static void tells_of_a_call_that_was_blocked_for_a_second(void) {
    watchdog_init(&dog);
    CHECK_INT(held_by_sleep(500), 0); /* may have waited for the processor */
    CHECK(held_by_sleep(1300) >= 1000);
    watchdog_close(&dog);
}

static void wakes_up_again(void) {
    watchdog_init(&dog);
    held_by_work(0);
    while (!atomic_load(&dog.asleep)) /* nothing runs */
        pass_ms(5);
    CHECK(held_by_work(600) >= 250);
    watchdog_close(&dog);
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    RUN(closes_what_never_ran);
    RUN(says_nothing_of_many_short_calls);
    RUN(tells_how_long_a_call_has_computed);
    RUN(tells_of_a_call_that_was_blocked_for_a_second);
    RUN(wakes_up_again);
    return test_end();
}
