/* SPDX-License-Identifier: Apache-2.0 */
/* How a binding waits: begin a wait of the fiber, yield, go on in a continuation. */
#include "bindings/lib/lib.h"

static int raise_cancelled(lua_State *L) {
    push_error(L, status_word(LN_ECANCELLED), "cancelled: the script is stopping or reloading");
    return lua_error(L);
}

bool can_wait(lua_State *L) {
    struct fiber *fiber = fibers_current(script_fibers(script_of(L)));
    return fiber != NULL && lua_isyieldable(L);
}

static int raise_no_wait(lua_State *L, const char *what) {
    return raise_error(L,
                       "%s cannot wait here: require, table.sort, string.gsub and metamethods "
                       "call back through C; wait outside of them",
                       what);
}

struct fiber *check_fiber(lua_State *L, const char *what) {
    struct fiber *fiber = fibers_current(script_fibers(script_of(L)));
    if (fiber == NULL)
        raise_error(L,
                    "%s cannot wait at the top level of a script or inside require; "
                    "call it in app.on_start, a task, a timer or a handler",
                    what);
    if (!lua_isyieldable(L))
        raise_no_wait(L, what);
    if (fiber_cancelled(fiber)) {
        if (fiber_meet_cancel(fiber))
            raise_cancelled(L);
        wait_yield(L, NULL); /* never comes back: the fiber gets closed */
    }
    return fiber;
}

void check_open(lua_State *L) {
    if (script_fibers(script_of(L)) == NULL)
        raise_error(L, "the script has ended");
}

int wait_yield(lua_State *L, lua_KFunction k) {
    lua_pushlightuserdata(L, (void *)(uintptr_t)&fiber_wait_token);
    return lua_yieldk(L, 1, 0, k);
}

struct fiber *wait_resumed(lua_State *L) {
    struct fiber *fiber = fibers_current(script_fibers(script_of(L)));
    if (fiber_wake_status(fiber) == LN_ECANCELLED && fiber_cancelled(fiber)) {
        fiber_end_wait(fiber);
        fiber_meet_cancel(fiber);
        raise_cancelled(L);
    }
    if (fiber_wake_status(fiber) == LN_ENOWAIT) { /* see core.refuse_wait() */
        fiber_end_wait(fiber);
        raise_no_wait(L, "a coroutine");
    }
    return fiber;
}
