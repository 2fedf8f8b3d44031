/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/clock.h"

#include <stdlib.h>

#include "host/base/container_of.h"
#include "spec/unit/test.h"

#define MANY 2000

struct alarm {
    struct clock_timer timer;
    uint64_t due;
    int number;
    bool again;             /* arms itself anew for now */
    struct alarm *given_up; /* disarmed when this one fires */
};

static uv_loop_t loop;
static struct clock *clock_;
static struct alarm alarms[MANY];
static int fired[2 * MANY], fired_count;

static void on_fire(struct clock_timer *timer) {
    struct alarm *alarm = container_of(timer, struct alarm, timer);
    fired[fired_count++] = alarm->number;
    if (alarm->again)
        clock_arm(clock_, timer, 0);
    if (alarm->given_up != NULL)
        clock_disarm(clock_, &alarm->given_up->timer);
}

static void begin(bool manual) {
    uv_loop_init(&loop);
    clock_open(&clock_, &loop, manual);
    memset(alarms, 0, sizeof(alarms));
    fired_count = 0;
    for (int i = 0; i < MANY; i++) {
        alarms[i].timer.fire = on_fire;
        alarms[i].number = i;
    }
}

static void end(void) {
    clock_close(clock_);
    uv_run(&loop, UV_RUN_DEFAULT);
    CHECK_SOFT(uv_loop_close(&loop) == 0);
}

static void arm(int number, uint64_t ms) {
    alarms[number].due = clock_now(clock_) + ms;
    clock_arm(clock_, &alarms[number].timer, ms);
}

/* Steps a manual clock to the end. */
static void run_out(void) {
    while (clock_step(clock_, UINT64_MAX - 1))
        ;
}

static void fires_in_the_order_of_the_due_times(void) {
    begin(true);
    uint64_t start = clock_now(clock_);
    arm(0, 30);
    arm(1, 10);
    arm(2, 20);
    CHECK_INT(clock_next_due(clock_) - start, 10);
    CHECK(clock_step(clock_, start + 20));
    CHECK_INT(clock_now(clock_) - start, 10);
    CHECK(clock_step(clock_, start + 20));
    CHECK(!clock_step(clock_, start + 25));
    CHECK_INT(clock_now(clock_) - start, 25);
    CHECK(!clock_armed(&alarms[1].timer) && clock_armed(&alarms[0].timer));
    run_out();
    CHECK(clock_next_due(clock_) == UINT64_MAX);
    CHECK_INT(fired_count, 3);
    CHECK(fired[0] == 1 && fired[1] == 2 && fired[2] == 0);
    end();
}

static void equal_due_times_fire_in_the_order_they_were_armed(void) {
    begin(true);
    for (int i = 0; i < MANY; i++)
        arm(i, 5);
    arm(0, 5);                              /* armed anew: behind the others */
    clock_disarm(clock_, &alarms[7].timer); /* in between */
    run_out();
    CHECK_INT(fired_count, MANY - 1);
    for (int i = 0, want = 1; i < fired_count - 1; i++, want++) {
        want += want == 7;
        CHECK_INT(fired[i], want);
    }
    CHECK_INT(fired[fired_count - 1], 0);
    end();
}

static void disarming_what_is_not_armed_does_nothing(void) {
    begin(true);
    clock_disarm(clock_, &alarms[0].timer);
    arm(0, 5);
    clock_disarm(clock_, &alarms[0].timer);
    clock_disarm(clock_, &alarms[0].timer);
    CHECK(!clock_armed(&alarms[0].timer));
    CHECK(clock_next_due(clock_) == UINT64_MAX);
    run_out();
    CHECK_INT(fired_count, 0);
    end();
}

/* Arms, moves and disarms at random, and compares with a search through all of them. */
static void holds_under_any_order_of_calls(void) {
    begin(true);
    srand(1);
    for (int round = 0; round < 40000; round++) {
        int number = rand() % 300, what = rand() % 10;
        if (what < 6)
            arm(number, (uint64_t)(rand() % 50));
        else if (what < 8)
            clock_disarm(clock_, &alarms[number].timer);
        else {
            struct alarm *first = NULL;
            for (int i = 0; i < 300; i++)
                if (clock_armed(&alarms[i].timer) &&
                    (first == NULL || alarms[i].due < first->due ||
                     (alarms[i].due == first->due &&
                      alarms[i].timer.order < first->timer.order)))
                    first = &alarms[i];
            fired_count = 0;
            CHECK(clock_next_due(clock_) == (first != NULL ? first->due : UINT64_MAX));
            CHECK(clock_step(clock_, clock_now(clock_) + 60) == (first != NULL));
            CHECK(first == NULL || (fired_count == 1 && fired[0] == first->number));
        }
    }
    end();
}

static void a_deadline_may_lie_beyond_all_time(void) {
    begin(true);
    arm(0, 10);
    clock_arm(clock_, &alarms[1].timer, UINT64_MAX);
    run_out();
    CHECK_INT(fired_count, 1);
    CHECK(clock_next_due(clock_) == UINT64_MAX && clock_armed(&alarms[1].timer));
    end();
}

static void a_closed_clock_forgets_its_timers(void) {
    begin(false);
    for (int i = 0; i < 100; i++)
        arm(i, (uint64_t)i % 7);
    end();
    CHECK_INT(fired_count, 0);
    for (int i = 0; i < 100; i++)
        CHECK(!clock_armed(&alarms[i].timer));
}

static void a_real_clock_runs_on_the_loop(void) {
    begin(false);
    uint64_t start = clock_now(clock_);
    arm(0, 30);
    arm(1, 10);
    arm(2, 0);
    arm(3, 10);
    arm(4, 20);
    clock_disarm(clock_, &alarms[4].timer);
    while (fired_count < 4)
        uv_run(&loop, UV_RUN_ONCE);
    /* Between two that are armed here much time may pass. */
    for (int i = 1; i < 4; i++) {
        const struct clock_timer *a = &alarms[fired[i - 1]].timer, *b = &alarms[fired[i]].timer;
        CHECK(a->due < b->due || (a->due == b->due && a->order < b->order));
    }
    CHECK(clock_now(clock_) - start >= 30);
    end();
}

static void without_timers_it_keeps_no_loop_alive(void) {
    begin(false);
    CHECK(!uv_loop_alive(&loop));
    arm(0, 1000000);
    arm(1, 1000000);
    CHECK(uv_loop_alive(&loop));
    clock_disarm(clock_, &alarms[0].timer);
    CHECK(uv_loop_alive(&loop));
    clock_disarm(clock_, &alarms[1].timer);
    CHECK(!uv_loop_alive(&loop));
    arm(0, 0);
    clock_disarm(clock_, &alarms[0].timer);
    CHECK(!uv_loop_alive(&loop));
    arm(0, 1);
    while (fired_count == 0)
        uv_run(&loop, UV_RUN_ONCE);
    CHECK(!uv_loop_alive(&loop));
    arm(1, 1000000);
    alarms[0].given_up = &alarms[1];
    arm(0, 0);
    while (fired_count == 1)
        uv_run(&loop, UV_RUN_ONCE);
    CHECK(!uv_loop_alive(&loop));
    end();
}

static void a_timer_that_arms_itself_leaves_the_loop_its_turn(void) {
    begin(false);
    alarms[0].again = true;
    arm(0, 0);
    for (int i = 0; i < 5; i++)
        uv_run(&loop, UV_RUN_NOWAIT);
    CHECK(fired_count > 0 && fired_count <= 5);
    end();
}

static void a_manual_clock_fires_what_is_due_at_once(void) {
    begin(true);
    arm(0, 0);
    arm(1, 1);
    for (int i = 0; i < 5; i++)
        uv_run(&loop, UV_RUN_NOWAIT);
    CHECK_INT(fired_count, 1);
    end();
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    RUN(fires_in_the_order_of_the_due_times);
    RUN(equal_due_times_fire_in_the_order_they_were_armed);
    RUN(disarming_what_is_not_armed_does_nothing);
    RUN(holds_under_any_order_of_calls);
    RUN(a_deadline_may_lie_beyond_all_time);
    RUN(a_closed_clock_forgets_its_timers);
    RUN(a_real_clock_runs_on_the_loop);
    RUN(without_timers_it_keeps_no_loop_alive);
    RUN(a_timer_that_arms_itself_leaves_the_loop_its_turn);
    RUN(a_manual_clock_fires_what_is_due_at_once);
    return test_end();
}
