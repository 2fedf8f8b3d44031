/* SPDX-License-Identifier: Apache-2.0 */
/* Whose turn it is: two scripts on one loop, of which one has much to do. */
#include <stdlib.h>

#include <lauxlib.h>
#include <uv.h>

#include "host/base/clock.h"
#include "host/base/status.h"
#include "host/script/fiber.h"
#include "spec/unit/test.h"

struct set {
    lua_State *L;
    struct fibers *fibers;
};

static struct {
    uv_loop_t loop;
    struct clock *clock;
    struct scheduler *scheduler;
    struct set busy, other;
    uv_check_t check;
    int turns;      /* of the loop */
    int ran;        /* fibers of the busy one */
    int ran_before; /* ... when the other one had its turn; -1: it had none */
} at;

static void on_error(void *owner, const char *text) {
    (void)owner;
    CHECK_STR(text, NULL);
}

static void open_set(struct set *set) {
    set->L = luaL_newstate();
    CHECK(fibers_open(&set->fibers, set->L, at.scheduler, at.clock, on_error, NULL) == LN_OK);
}

static void close_set(struct set *set) {
    fibers_close(set->fibers);
    lua_close(set->L);
}

static void on_check(uv_check_t *check) {
    (void)check;
    at.turns++;
}

static void open_all(bool fair) {
    memset(&at, 0, sizeof(at));
    at.ran_before = -1;
    uv_loop_init(&at.loop);
    CHECK(clock_open(&at.clock, &at.loop, false) == LN_OK);
    CHECK(scheduler_open(&at.scheduler, fair ? &at.loop : NULL) == LN_OK);
    open_set(&at.busy);
    open_set(&at.other);
    uv_check_init(&at.loop, &at.check);
    uv_check_start(&at.check, on_check);
    uv_unref((uv_handle_t *)&at.check);
}

static void close_all(void) {
    close_set(&at.busy);
    close_set(&at.other);
    uv_close((uv_handle_t *)&at.check, NULL);
    clock_close(at.clock);
    scheduler_close(at.scheduler);
    uv_run(&at.loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&at.loop) == 0);
}

/* Computes for 5 ms. */
static int work(lua_State *L) {
    (void)L;
    uint64_t end = clock_precise() + 5000000;
    while (clock_precise() < end)
        ;
    at.ran++;
    return 0;
}

static int look_around(lua_State *L) {
    (void)L;
    at.ran_before = at.ran;
    return 0;
}

static void make_ready(int count) {
    scheduler_hold(at.scheduler);
    for (int i = 0; i < count; i++)
        CHECK(fiber_spawn(at.busy.fibers, FIBER_HANDLER, work, NULL, NULL) == LN_OK);
    CHECK(fiber_spawn(at.other.fibers, FIBER_HANDLER, look_around, NULL, NULL) == LN_OK);
    scheduler_release(at.scheduler);
}

static void scripts_take_turns(void) {
    open_all(true);
    make_ready(120);
    CHECK(at.ran < 120); /* the loop has waited for less */
    uv_run(&at.loop, UV_RUN_DEFAULT);
    CHECK_INT(at.ran, 120);
    CHECK(at.ran_before >= 0 && at.ran_before < 3);
    CHECK(at.turns >= 5);
    close_all();
}

/* What comes while one script has much to do starts at once, and that of the busy one last. */
static void who_has_nothing_to_do_starts_at_once(void) {
    open_all(true);
    make_ready(120);
    at.ran_before = -1;
    uv_run(&at.loop, UV_RUN_NOWAIT);
    CHECK(at.ran < 120);
    CHECK(fiber_spawn(at.busy.fibers, FIBER_HANDLER, work, NULL, NULL) == LN_OK);
    CHECK(fiber_spawn(at.other.fibers, FIBER_HANDLER, look_around, NULL, NULL) == LN_OK);
    uv_run(&at.loop, UV_RUN_NOWAIT);
    CHECK(at.ran_before >= 0 && at.ran_before < 120);
    uv_run(&at.loop, UV_RUN_DEFAULT);
    CHECK_INT(at.ran, 121);
    close_all();
}

/* Computes for a millisecond. */
static int work_shortly(lua_State *L) {
    uint64_t end = clock_precise() + 1000000;
    while (clock_precise() < end)
        ;
    return look_around(L);
}

static void spawn_many(struct set *set, lua_CFunction body, int count) {
    for (int i = 0; i < count; i++)
        CHECK(fiber_spawn(set->fibers, FIBER_HANDLER, body, NULL, NULL) == LN_OK);
}

/* A hundred short ones do not wait for a hundred long ones. */
static void turns_are_shares_of_time(void) {
    open_all(true);
    scheduler_hold(at.scheduler);
    spawn_many(&at.busy, work, 300);
    spawn_many(&at.other, work_shortly, 100);
    scheduler_release(at.scheduler);
    uv_run(&at.loop, UV_RUN_DEFAULT);
    CHECK_INT(at.ran, 300);
    CHECK(at.ran_before < 60);
    close_all();
}

/* One that had nothing to do for long does not come first for as long. */
static void time_is_not_saved_up(void) {
    open_all(true);
    spawn_many(&at.busy, work, 100);
    uv_run(&at.loop, UV_RUN_DEFAULT);
    at.ran = 0;
    scheduler_hold(at.scheduler);
    spawn_many(&at.busy, work, 300);
    spawn_many(&at.other, work_shortly, 300);
    scheduler_release(at.scheduler);
    uv_run(&at.loop, UV_RUN_DEFAULT);
    CHECK(at.ran_before > 20);
    close_all();
}

/* Producers that make one fiber ready after the other, as timers that are due do. */
static void one_after_the_other_they_are_late_as_well(void) {
    open_all(true);
    for (int i = 0; i < 100; i++)
        CHECK(fiber_spawn(at.busy.fibers, FIBER_HANDLER, work, NULL, NULL) == LN_OK);
    CHECK(at.ran < 100);
    uv_run(&at.loop, UV_RUN_DEFAULT);
    CHECK_INT(at.ran, 100);
    close_all();
}

static void a_set_may_be_closed_while_some_are_ready(void) {
    open_all(true);
    make_ready(120);
    close_all();
    CHECK(at.ran < 120);
}

static void without_a_loop_all_run_at_once(void) {
    open_all(false);
    make_ready(10);
    CHECK_INT(at.ran, 10);
    close_all();
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    RUN(scripts_take_turns);
    RUN(who_has_nothing_to_do_starts_at_once);
    RUN(turns_are_shares_of_time);
    RUN(time_is_not_saved_up);
    RUN(one_after_the_other_they_are_late_as_well);
    RUN(a_set_may_be_closed_while_some_are_ready);
    RUN(without_a_loop_all_run_at_once);
    return test_end();
}
