/* SPDX-License-Identifier: Apache-2.0 */
#include "host/script/collector.h"

#include <lauxlib.h>
#include <lualib.h>

#include "host/base/status.h"
#include "spec/unit/test.h"

/* A lua_State with its fibers, one of which runs now and then. */
static struct {
    uv_loop_t loop;
    struct clock *clock;
    struct scheduler *scheduler;
    struct fibers *fibers;
    struct collector *collector;
    lua_State *L;
    uv_timer_t pulse;
    bool (*until)(void);
    int pulses; /* left */
} at;

static void on_error(void *owner, const char *text) {
    (void)owner;
    test_fail(__FILE__, __LINE__, "%s", text);
}

static void open_all(void) {
    memset(&at, 0, sizeof(at));
    at.L = luaL_newstate();
    luaL_openlibs(at.L);
    uv_loop_init(&at.loop);
    clock_open(&at.clock, &at.loop, false);
    scheduler_open(&at.scheduler, NULL);
    fibers_open(&at.fibers, at.L, at.scheduler, at.clock, on_error, NULL);
    collector_open(&at.collector, &at.loop, at.scheduler, at.fibers, at.L, NULL);
    uv_timer_init(&at.loop, &at.pulse);
}

static void close_all(void) {
    collector_close(at.collector);
    fibers_close(at.fibers);
    lua_close(at.L);
    clock_close(at.clock);
    uv_close((uv_handle_t *)&at.pulse, NULL);
    uv_run(&at.loop, UV_RUN_DEFAULT);
    CHECK_INT(uv_loop_close(&at.loop), 0);
    scheduler_close(at.scheduler);
}

static int run_chunk(lua_State *L) {
    const char *source = lua_touserdata(L, 1);
    if (luaL_loadstring(L, source) != LUA_OK)
        return lua_error(L);
    lua_call(L, 0, 0);
    return 0;
}

static void run(const char *source) {
    fiber_spawn(at.fibers, FIBER_HANDLER, run_chunk, (void *)(uintptr_t)source, NULL);
}

static size_t megabytes(void) {
    return (size_t)lua_gc(at.L, LUA_GCCOUNT) / 1024;
}

/* The mode is told by the call that changes it. */
static bool by_generations(void) {
    int mode = lua_gc(at.L, LUA_GCINC, 132, 40, 13);
    if (mode == LUA_GCGEN)
        lua_gc(at.L, LUA_GCGEN, 0, 0);
    return mode == LUA_GCGEN;
}

static bool in_steps(void) {
    return !by_generations();
}

static void on_pulse(uv_timer_t *timer) {
    run("local t = {}");
    if (at.until() || --at.pulses == 0)
        uv_timer_stop(timer);
}

/* Runs the loop, with a fiber every 20 ms, until it is so; false: it never was. */
static bool becomes(bool (*until)(void)) {
    at.until = until;
    at.pulses = 3000;
    uv_timer_start(&at.pulse, on_pulse, 20, 20);
    uv_run(&at.loop, UV_RUN_DEFAULT);
    return at.pulses > 0;
}

static bool is_small(void) {
    return megabytes() < 10;
}

static int pulses_wanted;
static bool has_pulsed(void) {
    return --pulses_wanted == 0;
}

#define KEEP(n) "kept = nil kept = ('x'):rep(2^10):rep(2^10 * " #n ") collectgarbage()"

static void a_small_heap_is_collected_by_generations(void) {
    open_all();
    run(KEEP(8));
    pulses_wanted = 30;
    CHECK(becomes(has_pulsed));
    CHECK(by_generations());
    close_all();
}

static void a_large_one_in_steps_until_it_is_small_again(void) {
    open_all();
    run(KEEP(40));
    CHECK(becomes(in_steps));
    CHECK(megabytes() >= 40);
    run(KEEP(20)); /* not yet */
    pulses_wanted = 30;
    CHECK(becomes(has_pulsed));
    CHECK(in_steps());
    run(KEEP(8));
    CHECK(becomes(by_generations));
    close_all();
}

static void what_is_dropped_is_collected_at_rest(void) {
    open_all();
    run(KEEP(60));
    CHECK(becomes(in_steps));
    pulses_wanted = 30; /* a collection at rest finds nothing */
    CHECK(becomes(has_pulsed));
    CHECK(megabytes() >= 60);
    run("kept = nil");
    CHECK(becomes(is_small));
    close_all();
}

static void a_script_that_has_stopped_it_is_left_alone(void) {
    open_all();
    run(KEEP(60));
    CHECK(becomes(in_steps));
    run("collectgarbage 'stop' kept = nil");
    pulses_wanted = 50;
    CHECK(becomes(has_pulsed));
    CHECK(megabytes() >= 60);
    run("collectgarbage 'restart'");
    CHECK(becomes(is_small));
    close_all();
}

/* Its own work must not be what keeps it awake. */
static void nothing_runs_where_nothing_runs(void) {
    open_all();
    run(KEEP(60));
    CHECK(becomes(in_steps));
    uv_timer_start(&at.pulse, on_pulse, 1000000, 0); /* keeps the loop alive */
    int turns = 0;
    uint64_t end = uv_hrtime() + (uint64_t)60 * 1000000000;
    while (!(scheduler_asleep(at.scheduler) && uv_backend_timeout(&at.loop) > 10000)) {
        CHECK(uv_hrtime() < end);
        uv_run(&at.loop, UV_RUN_ONCE);
        turns++;
    }
    CHECK(turns > 0);
    uint64_t runs = scheduler_turns(at.scheduler);
    uv_run(&at.loop, UV_RUN_NOWAIT);
    CHECK_INT(scheduler_turns(at.scheduler), runs);
    uv_timer_stop(&at.pulse);
    close_all();
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    RUN(a_small_heap_is_collected_by_generations);
    RUN(a_large_one_in_steps_until_it_is_small_again);
    RUN(what_is_dropped_is_collected_at_rest);
    RUN(a_script_that_has_stopped_it_is_left_alone);
    RUN(nothing_runs_where_nothing_runs);
    return test_end();
}
