/* SPDX-License-Identifier: Apache-2.0 */
/* Fibers of a bare lua_State: how they end, also without memory. */
#include "host/script/fiber.h"

#include <stdlib.h>

#include <lauxlib.h>
#include <uv.h>

#include "host/base/status.h"
#include "spec/unit/test.h"

/* One set of fibers and how the last of them ended. */
static struct {
    uv_loop_t loop;
    struct clock *clock;
    struct scheduler *scheduler;
    struct fibers *fibers;
    lua_State *L;
    int allocations; /* that still succeed; -1: all */
    int ended, status;
    char text[256];
    bool resumed, caught, can_wait;
} at;

static void *alloc(void *owner, void *block, size_t old, size_t size) {
    (void)owner, (void)old;
    if (size == 0) {
        free(block);
        return NULL;
    }
    if (size > old && at.allocations == 0)
        return NULL;
    if (size > old && at.allocations > 0)
        at.allocations--;
    return realloc(block, size);
}

static void on_error(void *owner, const char *text) {
    (void)owner, (void)text;
}

static void on_end(struct fiber *fiber, void *arg, int status, const char *text) {
    (void)fiber, (void)arg;
    at.ended++;
    at.status = status;
    snprintf(at.text, sizeof(at.text), "%s", text != NULL ? text : "");
}

static bool open_all(void) {
    memset(&at, 0, sizeof(at));
    at.allocations = -1;
    at.L = lua_newstate(alloc, NULL);
    return uv_loop_init(&at.loop) == 0 && clock_open(&at.clock, &at.loop, false) == LN_OK &&
           scheduler_open(&at.scheduler, NULL) == LN_OK &&
           fibers_open(&at.fibers, at.L, at.scheduler, at.clock, on_error, NULL) == LN_OK;
}

static void close_all(void) {
    at.allocations = -1;
    fibers_close(at.fibers);
    lua_close(at.L);
    clock_close(at.clock);
    scheduler_close(at.scheduler);
    uv_run(&at.loop, UV_RUN_DEFAULT);
    uv_loop_close(&at.loop);
}

/* What a script does that calls coroutine.yield at the level of the fiber itself. */
static int yields_by_itself(lua_State *L) {
    return lua_yield(L, 0);
}

static int returns(lua_State *L) {
    (void)L;
    return 0;
}

static void a_stray_yield_is_an_error(void) {
    CHECK(open_all());
    CHECK_INT(fiber_spawn(at.fibers, FIBER_HANDLER, yields_by_itself, NULL, on_end), LN_OK);
    close_all();
    CHECK_INT(at.ended, 1);
    CHECK_INT(at.status, LN_ESCRIPT);
    CHECK(strstr(at.text, "coroutine.yield outside a coroutine") != NULL);
}

/* The text of an error needs memory: without it the fiber ends all the same. */
static void a_fiber_that_fails_without_memory_ends(void) {
    for (int allocations = 0; allocations < 20; allocations++) {
        CHECK(open_all());
        fiber_spawn(at.fibers, FIBER_HANDLER, returns, NULL, NULL);
        /* Its coroutine is in the pool. */
        at.allocations = allocations;
        CHECK_INT(fiber_spawn(at.fibers, FIBER_HANDLER, yields_by_itself, NULL, on_end), LN_OK);
        CHECK_INT(at.ended, 1);
        CHECK_INT(at.status, LN_ESCRIPT);
        CHECK(at.text[0] != '\0');
        close_all();
    }
}

static void count_idle(void *owner) {
    ++*(int *)owner;
}

static int waits_for_ever(lua_State *L) {
    struct fiber *fiber = fibers_current(at.fibers);
    fiber_begin_wait(fiber, NULL);
    fiber_suspend(fiber, L);
    lua_pushlightuserdata(L, (void *)(uintptr_t)&fiber_wait_token);
    return lua_yield(L, 1);
}

/* By then the one who has asked may be gone. */
static void who_closes_fibers_is_not_told_that_the_last_one_has_ended(void) {
    int idle = 0;
    CHECK(open_all());
    CHECK_INT(fiber_spawn(at.fibers, FIBER_HANDLER, waits_for_ever, NULL, on_end), LN_OK);
    fibers_on_idle(at.fibers, FIBER_HANDLER, count_idle, &idle);
    close_all();
    CHECK_INT(at.ended, 1);
    CHECK_INT(idle, 0);
}

static int fails(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    at.resumed = fiber_resumed(fibers_current(at.fibers), L);
    return luaL_error(L, "no memory for the result");
}

static int waits(lua_State *L) {
    struct fiber *fiber = fibers_current(at.fibers);
    fiber_begin_wait(fiber, NULL);
    fiber_deadline(fiber, 1);
    fiber_suspend(fiber, L);
    lua_pushlightuserdata(L, (void *)(uintptr_t)&fiber_wait_token);
    return lua_yieldk(L, 1, 0, fails);
}

static int has_failed(lua_State *L, int status, lua_KContext context) {
    (void)context;
    at.caught = status == LUA_ERRRUN;
    at.can_wait = fiber_can_wait(fibers_current(at.fibers), L);
    return 0;
}

static int catches(lua_State *L) {
    lua_pushcfunction(L, waits);
    return has_failed(L, lua_pcallk(L, 0, 0, 0, 0, has_failed), 0);
}

static void a_fiber_can_wait_again_after_a_wait_that_failed_at_its_end(void) {
    CHECK(open_all());
    CHECK_INT(fiber_spawn(at.fibers, FIBER_HANDLER, catches, NULL, on_end), LN_OK);
    CHECK_INT(fibers_count(at.fibers, FIBER_HANDLER), 1);
    uv_run(&at.loop, UV_RUN_ONCE);
    CHECK_INT(at.ended, 1);
    CHECK_INT(at.status, LN_OK);
    CHECK(at.resumed && at.caught && at.can_wait);
    close_all();
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    RUN(a_stray_yield_is_an_error);
    RUN(a_fiber_that_fails_without_memory_ends);
    RUN(a_fiber_can_wait_again_after_a_wait_that_failed_at_its_end);
    RUN(who_closes_fibers_is_not_told_that_the_last_one_has_ended);
    return test_end();
}
