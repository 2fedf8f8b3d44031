/* SPDX-License-Identifier: Apache-2.0 */
/* Fibers inside of a fence: what becomes of them when it does not hold any more. */
#include "host/script/fence.h"

#include <stdint.h>

#include <lauxlib.h>
#include <uv.h>

#include "host/base/status.h"
#include "host/script/fiber.h"
#include "spec/unit/test.h"

static struct {
    uv_loop_t loop;
    struct clock *clock;
    struct scheduler *scheduler;
    struct fibers *fibers;
    lua_State *L;
    struct fiber *waiting[2];
    int started, resumed, cancelled, empty;
    bool holds;
} at;

static void on_error(void *owner, const char *text) {
    (void)owner, (void)text;
}

static bool holds(struct fence *fence) {
    (void)fence;
    return at.holds;
}

static void on_empty(struct fence *fence) {
    (void)fence;
    at.empty++;
}

static void on_end(struct fiber *fiber, void *arg, int status, const char *text) {
    (void)fiber, (void)arg, (void)text;
    at.cancelled += status == LN_ECANCELLED;
}

static bool open_all(void) {
    memset(&at, 0, sizeof(at));
    at.L = luaL_newstate();
    at.holds = true;
    return uv_loop_init(&at.loop) == 0 && clock_open(&at.clock, &at.loop, false) == LN_OK &&
           scheduler_open(&at.scheduler, NULL) == LN_OK &&
           fibers_open(&at.fibers, at.L, at.scheduler, at.clock, on_error, NULL) == LN_OK;
}

static void close_all(void) {
    fibers_close(at.fibers);
    lua_close(at.L);
    clock_close(at.clock);
    scheduler_close(at.scheduler);
    uv_run(&at.loop, UV_RUN_DEFAULT);
    uv_loop_close(&at.loop);
}

/* As the bindings do it: whoever is woken looks first whether it may go on. */
static int resumed(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    struct fiber *fiber = fibers_current(at.fibers);
    if (!fiber_resumed(fiber, L))
        return luaL_error(L, "out of turn");
    bool cancelled = fiber_wake_status(fiber) == LN_ECANCELLED;
    fiber_end_wait(fiber);
    if (cancelled)
        return luaL_error(L, "cancelled");
    at.resumed++;
    return 0;
}

static int waits(lua_State *L) {
    struct fiber *fiber = fibers_current(at.fibers);
    at.waiting[at.started++] = fiber;
    fiber_begin_wait(fiber, NULL);
    fiber_suspend(fiber, L);
    lua_pushlightuserdata(L, (void *)(uintptr_t)&fiber_wait_token);
    return lua_yieldk(L, 1, 0, resumed);
}

static bool two_inside(struct fence *fence) {
    for (int i = 0; i < 2; i++)
        if (fiber_spawn(at.fibers, FIBER_BACKGROUND, waits, NULL, on_end) != LN_OK)
            return false;
    fence_add(fence, at.waiting[0]);
    fence_add(fence, at.waiting[1]);
    return at.started == 2 && fence_of(at.waiting[0]) == fence;
}

static void those_inside_go_on_while_it_holds(void) {
    struct fence fence = {.holds = holds, .on_empty = on_empty};
    CHECK(open_all());
    CHECK(two_inside(&fence));
    fiber_wake(at.waiting[0], LN_OK);
    CHECK_INT(at.resumed, 1);
    CHECK_INT(at.empty, 0);
    fiber_wake(at.waiting[1], LN_OK);
    CHECK_INT(at.resumed, 2);
    CHECK_INT(at.empty, 1);
    CHECK(list_empty(&fence.fibers));
    close_all();
}

static void none_goes_on_when_it_does_not_hold(void) {
    struct fence fence = {.holds = holds, .on_empty = on_empty};
    CHECK(open_all());
    CHECK(two_inside(&fence));
    at.holds = false;
    fiber_wake(at.waiting[0], LN_OK); /* an answer has come before anybody has looked */
    CHECK_INT(at.resumed, 0);
    CHECK_INT(at.cancelled, 2);
    CHECK_INT(at.empty, 1);
    close_all();
}

static void all_are_cancelled_at_once(void) {
    struct fence fence = {.holds = holds, .on_empty = on_empty};
    CHECK(open_all());
    fence_cancel(&fence);
    CHECK(two_inside(&fence));
    fence_cancel(&fence);
    CHECK_INT(at.cancelled, 2);
    CHECK_INT(at.empty, 1);
    close_all();
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    RUN(those_inside_go_on_while_it_holds);
    RUN(none_goes_on_when_it_does_not_hold);
    RUN(all_are_cancelled_at_once);
    return test_end();
}
