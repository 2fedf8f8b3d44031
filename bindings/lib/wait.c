/* SPDX-License-Identifier: Apache-2.0 */
/* How a binding waits: begin a wait of the fiber, yield, go on in a continuation. */
#include "bindings/bindings.h"
#include "bindings/lib/lib.h"
#include "host/base/container_of.h"
#include "host/script/memory.h"

static int raise_cancelled(lua_State *L) {
    push_error(
        L, status_word(LN_ECANCELLED),
        "cancelled: by f:cancel() or app.timeout, or the script is stopping or reloading");
    return lua_error(L);
}

bool can_wait(lua_State *L) {
    const struct fiber *fiber = fibers_current(script_fibers(script_of(L)));
    return fiber != NULL && fiber_can_wait(fiber, L);
}

struct fiber *check_fiber(lua_State *L, const char *what) {
    struct fiber *fiber = fibers_current(script_fibers(script_of(L)));
    if (fiber == NULL)
        raise_error(L,
                    "%s cannot wait at the top level of a script or inside require; "
                    "call it in app.on_start, a task, a timer or a handler",
                    what);
    if (!fiber_can_wait(fiber, L))
        raise_error(L,
                    "%s cannot wait here: require, table.sort, string.gsub and metamethods "
                    "(finalizers, too) call back through C; wait outside of them",
                    what);
    if (fiber_cancelled(fiber)) {
        if (fiber_meet_cancel(fiber))
            raise_cancelled(L);
        wait_for_end(L);
    }
    return fiber;
}

void check_open(lua_State *L) {
    if (script_fibers(script_of(L)) == NULL)
        raise_error(L, "the script has ended");
}

void check_memory(lua_State *L, const char *what) {
    const struct memory *memory = script_memory(script_of(L));
    char limit[MEMORY_SIZE_TEXT];
    if (memory_scarce(memory))
        raise_error(L, "cannot %s: more than three quarters of the %s of %s are used", what,
                    memory_size(limit, memory->limit), memory->limit_of);
}

int wait_pass(lua_State *L, lua_KContext context, lua_KFunction k) {
    lua_pushlightuserdata(L, (void *)(uintptr_t)&fiber_wait_token);
    return lua_yieldk(L, 1, context, k);
}

static int yield_with(lua_State *L, lua_KFunction k, lua_KContext context) {
    fiber_suspend(fibers_current(script_fibers(script_of(L))), L);
    return wait_pass(L, context, k);
}

int wait_yield(lua_State *L, lua_KFunction k) {
    return yield_with(L, k, 0);
}

struct fiber *wait_resumed(lua_State *L) {
    struct fiber *fiber = fibers_current(script_fibers(script_of(L)));
    if (fiber != NULL && fiber_doomed(fiber))
        wait_rest(L);
    if (!fiber_resumed(fiber, L))
        raise_error(L, "a waiting coroutine was resumed out of turn");
    if (fiber_wake_status(fiber) == LN_ECANCELLED && fiber_cancelled(fiber)) {
        fiber_end_wait(fiber);
        fiber_meet_cancel(fiber);
        raise_cancelled(L);
    }
    return fiber;
}

/* ---- the end of a fiber that is not to go on ---- */

static int yield_rest(lua_State *L) {
    lua_pushlightuserdata(L, (void *)(uintptr_t)&fiber_rest_token);
    return lua_yield(L, 1);
}

/* What is at rest is closed, never resumed. */
static int no_rest(lua_State *L, int status, lua_KContext context) {
    (void)L, (void)status, (void)context;
    return 0;
}

int wait_rest(lua_State *L) {
    lua_settop(L, 0);
    lua_pushcfunction(L, yield_rest);
    lua_pcallk(L, 0, 0, 0, 0, no_rest);
    return lua_error(L); /* no memory for the call: it goes on to its next wait */
}

static int ended(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    return wait_rest(L);
}

int wait_for_end(lua_State *L) {
    return wait_pass(L, 0, ended);
}

void wait_meet_doom(lua_State *L) {
    const struct fiber *fiber = fibers_current(script_fibers(script_of(L)));
    if (fiber != NULL && fiber_doomed(fiber))
        wait_rest(L);
}

/* ---- failing at once ---- */

struct pause {
    struct fiber *fiber;
    struct clock *clock; /* real: a manual one may stand still */
    struct clock_timer timer;
};
_Static_assert(sizeof(struct pause) <= FIBER_WAIT_SIZE, "wait area");

static void on_pause_over(struct clock_timer *timer) {
    fiber_wake(container_of(timer, struct pause, timer)->fiber, LN_OK);
}

static void abandon_pause(struct fiber *fiber, void *area) {
    (void)fiber;
    struct pause *pause = area;
    clock_disarm(pause->clock, &pause->timer);
}

static int pause_done(lua_State *L, int status, lua_KContext results) {
    (void)status;
    fiber_end_wait(wait_resumed(L));
    return (int)results;
}

int wait_to_fail(lua_State *L, struct fiber *fiber, int n) {
    struct pause *pause = fiber_begin_wait(fiber, abandon_pause);
    pause->fiber = fiber;
    pause->clock = service_clock(script_service(script_of(L)));
    pause->timer.fire = on_pause_over;
    clock_arm(pause->clock, &pause->timer, WAIT_PAUSE_MS);
    return yield_with(L, pause_done, n);
}

/* core.fail(err) -> nil, err: what a waiting function in Lua returns that has not waited. */
static int core_fail(lua_State *L) {
    lua_settop(L, 1);
    lua_pushnil(L);
    lua_insert(L, 1);
    if (!can_wait(L)) /* nor can anybody try again for long */
        return 2;
    return wait_to_fail(L, check_fiber(L, "this call"), 2);
}

static const luaL_Reg functions[] = {
    {"fail", core_fail},
    {NULL, NULL},
};

void bindings_wait(lua_State *L) {
    luaL_setfuncs(L, functions, 0);
}
