/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The functions of the table `coroutine` that have to know of fibers. A wait inside a coroutine
 * of the script's own passes through coroutine.resume and coroutine.wrap up to the fiber, and
 * its result comes back down, so app.request works in an iterator made with coroutine.wrap as
 * it does everywhere. A coroutine that waits is, for everybody else, as if it were running.
 */
#include "bindings/bindings.h"
#include "bindings/lib/lib.h"
#include "host/script/watchdog.h"

/* Who has called step(): where the coroutine is found again, and what becomes of its results.
 */
enum { RESUME, WRAP };

static lua_State *check_coroutine(lua_State *L) {
    lua_State *co = lua_tothread(L, 1);
    luaL_argexpected(L, co != NULL, 1, "coroutine");
    return co;
}

static struct fiber *current(lua_State *L) {
    return fibers_current(script_fibers(script_of(L)));
}

static struct watchdog *watchdog(lua_State *L) {
    return scheduler_watchdog(script_scheduler(script_of(L)));
}

/* The same as of Lua; what runs in co is watched. */
static int resume(lua_State *L, lua_State *co, int nargs, int *count) {
    struct watchdog *dog = watchdog(L);
    lua_State *before = watchdog_dive(dog, co);
    int rc = lua_resume(co, L, nargs, count);
    watchdog_surface(dog, co, before);
    return rc;
}

/* Runs its to-be-closed variables. */
static void reset(lua_State *L, lua_State *co) {
    struct watchdog *dog = watchdog(L);
    lua_State *before = watchdog_dive(dog, co);
    lua_resetthread(co);
    watchdog_surface(dog, co, before);
}

static int step(lua_State *L, lua_State *co, int nargs, lua_KContext caller);

/* What co waited for is there. */
static int go_on(lua_State *L, int status, lua_KContext caller) {
    (void)status;
    wait_meet_doom(L);
    lua_State *co = lua_tothread(L, caller == WRAP ? lua_upvalueindex(1) : 1);
    lua_pop(co, 1); /* the token */
    return step(L, co, 0, caller);
}

/* The error of a coroutine that has died is on top of co, of one that cannot be resumed, too.
 */
static int fail(lua_State *L, lua_State *co, lua_KContext caller) {
    if (caller == RESUME) {
        lua_xmove(co, L, 1); /* a coroutine that resumes itself has it already */
        lua_pushboolean(L, 0);
        lua_insert(L, -2);
        return 2;
    }
    int status = lua_status(co);
    if (status != LUA_OK && status != LUA_YIELD)
        reset(L, co);
    lua_xmove(co, L, 1);
    if (status != LUA_ERRMEM && lua_type(L, -1) == LUA_TSTRING) {
        luaL_where(L, 1);
        lua_insert(L, -2);
        lua_concat(L, 2);
    }
    return lua_error(L);
}

/* Moves the results of co to L. */
static int succeed(lua_State *L, lua_State *co, int count, lua_KContext caller) {
    if (!lua_checkstack(L, count + 1)) {
        lua_pop(co, count);
        lua_pushliteral(co, "too many results to resume");
        return fail(L, co, caller);
    }
    if (caller == RESUME)
        lua_pushboolean(L, 1);
    lua_xmove(co, L, count);
    return caller == RESUME ? count + 1 : count;
}

static int step(lua_State *L, lua_State *co, int nargs, lua_KContext caller) {
    struct fiber *fiber = current(L);
    bool blocks = fiber != NULL && !lua_isyieldable(L);
    int count;
    if (blocks)
        fiber_block(fiber);
    int rc = resume(L, co, nargs, &count);
    if (blocks)
        fiber_unblock(fiber);
    if (rc != LUA_OK && rc != LUA_YIELD)
        return fail(L, co, caller);
    if (fiber_waits(co) && lua_isyieldable(L))
        return wait_pass(L, caller, go_on);
    return succeed(L, co, count, caller);
}

/* Pushes why co cannot be resumed now, or moves the arguments from index `first` on to it. */
static bool hand_over(lua_State *L, lua_State *co, int first) {
    int nargs = lua_gettop(L) - first + 1;
    if (fiber_waits(co)) {
        lua_pushliteral(L, "cannot resume a coroutine that waits (in app.sleep, app.request, "
                           "...): it goes on by itself; a callback can resume one of the "
                           "script's own that has called coroutine.yield");
        return false;
    }
    if (!lua_checkstack(co, nargs + 1)) {
        lua_pushliteral(L, "too many arguments to resume");
        return false;
    }
    lua_xmove(L, co, nargs);
    return true;
}

/* coroutine.resume(co, ...) -> true, ... | false, error */
static int co_resume(lua_State *L) {
    lua_State *co = check_coroutine(L);
    int nargs = lua_gettop(L) - 1;
    if (hand_over(L, co, 2))
        return step(L, co, nargs, RESUME);
    lua_pushboolean(L, 0);
    lua_insert(L, -2);
    return 2;
}

/* The function that coroutine.wrap has made; upvalue 1 is the coroutine. */
static int call_wrapped(lua_State *L) {
    lua_State *co = lua_tothread(L, lua_upvalueindex(1));
    int nargs = lua_gettop(L);
    if (hand_over(L, co, 1))
        return step(L, co, nargs, WRAP);
    return luaL_error(L, "%s", lua_tostring(L, -1));
}

/* coroutine.wrap(fn) -> function */
static int co_wrap(lua_State *L) {
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_State *co = lua_newthread(L);
    lua_pushvalue(L, 1);
    lua_xmove(L, co, 1);
    lua_pushcclosure(L, call_wrapped, 1);
    return 1;
}

/* ---- yielding and closing ---- */

/* Resumes a coroutine that has called coroutine.yield, for it to come to rest. */
static const char close_token = 'c';

static int yielded(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    if (lua_gettop(L) == 1 && lua_touserdata(L, 1) == &close_token)
        return wait_rest(L);
    return lua_gettop(L);
}

/* coroutine.yield(...) -> ... */
static int co_pause(lua_State *L) {
    const struct fiber *fiber = current(L);
    if (fiber != NULL && fiber_thread(fiber) == L && lua_isyieldable(L))
        return wait_for_end(L); /* a mistake, which ends the fiber */
    return lua_yieldk(L, lua_gettop(L), 0, yielded);
}

/* Whether it was co_pause() that has suspended the coroutine. */
static bool has_yielded(lua_State *co) {
    lua_Debug at;
    if (lua_status(co) != LUA_YIELD || !lua_getstack(co, 0, &at) || !lua_checkstack(co, 1))
        return false;
    lua_getinfo(co, "f", &at);
    bool same = lua_tocfunction(co, -1) == co_pause;
    lua_pop(co, 1);
    return same;
}

/* coroutine.close(co); upvalue 1 is the function of Lua */
static int co_close(lua_State *L) {
    lua_State *co = check_coroutine(L);
    if (fiber_waits(co))
        return luaL_error(L, "cannot close a coroutine that waits (in app.sleep, app.request, "
                             "...)");
    if (has_yielded(co) && lua_checkstack(co, LUA_MINSTACK)) {
        int count;
        lua_pushlightuserdata(co, (void *)(uintptr_t)&close_token);
        resume(L, co, 1, &count);
    }
    lua_settop(L, 1);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_State *before = watchdog_dive(watchdog(L), co);
    int rc = lua_pcall(L, 1, LUA_MULTRET, 0);
    watchdog_surface(watchdog(L), co, before);
    return rc == LUA_OK ? lua_gettop(L) : lua_error(L);
}

/* ---- looking ---- */

/* coroutine.status(co); upvalue 1 is the function of Lua */
static int co_status(lua_State *L) {
    if (fiber_waits(check_coroutine(L))) {
        lua_pushliteral(L, "normal");
        return 1;
    }
    lua_settop(L, 1);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, 1, 1);
    return 1;
}

/* coroutine.running() -> coroutine, whether it is the main one */
static int co_running(lua_State *L) {
    struct fiber *fiber = current(L);
    if (fiber != NULL && fiber_thread(fiber) == L)
        fiber_expose(fiber);
    lua_pushboolean(L, lua_pushthread(L));
    return 2;
}

static const luaL_Reg functions[] = {
    {"resume", co_resume},   {"wrap", co_wrap}, {"yield", co_pause},
    {"running", co_running}, {NULL, NULL},
};

static const luaL_Reg around[] = {{"close", co_close}, {"status", co_status}, {NULL, NULL}};

void bindings_coroutine(lua_State *L) {
    lua_getglobal(L, "coroutine");
    luaL_setfuncs(L, functions, 0);
    for (const luaL_Reg *at = around; at->name != NULL; at++) {
        lua_getfield(L, -1, at->name);
        lua_pushcclosure(L, at->func, 1);
        lua_setfield(L, -2, at->name);
    }
    lua_pop(L, 1);
}
