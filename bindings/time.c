/* SPDX-License-Identifier: Apache-2.0 */
/* Time: sleeping, clocks, and a sleep that can be cut short. */
#include "bindings/bindings.h"
#include "bindings/lib/lib.h"

static int sleep_done(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    fiber_end_wait(wait_resumed(L));
    return 0;
}

/* core.sleep(seconds) */
static int core_sleep(lua_State *L) {
    uint64_t ms = check_ms(L, 1);
    struct fiber *fiber = check_fiber(L, "app.sleep");
    fiber_begin_wait(fiber, NULL);
    fiber_deadline(fiber, ms);
    return wait_yield(L, sleep_done);
}

/* A sleep that can be cut short. */
struct alarm {
    struct fiber *fiber; /* that sleeps, or NULL */
};

#define ALARM_TYPE "lunats.alarm"

/* core.alarm() -> alarm */
static int core_alarm(lua_State *L) {
    struct alarm *alarm = lua_newuserdatauv(L, sizeof(*alarm), 0);
    alarm->fiber = NULL;
    luaL_setmetatable(L, ALARM_TYPE);
    return 1;
}

static void abandon_alarm(struct fiber *fiber, void *area) {
    (void)fiber;
    struct alarm **alarm = area;
    (*alarm)->fiber = NULL;
}

/* alarm:sleep(seconds): like core.sleep(), until alarm:ring() */
static int alarm_sleep(lua_State *L) {
    struct alarm *alarm = luaL_checkudata(L, 1, ALARM_TYPE);
    uint64_t ms = check_ms(L, 2);
    struct fiber *fiber = check_fiber(L, "alarm:sleep");
    if (alarm->fiber != NULL)
        return luaL_error(L, "somebody else sleeps on this alarm");
    struct alarm **area = fiber_begin_wait(fiber, abandon_alarm);
    *area = alarm; /* argument 1 keeps it alive */
    alarm->fiber = fiber;
    fiber_deadline(fiber, ms);
    return wait_yield(L, sleep_done);
}

/* alarm:ring(): wakes who sleeps on it */
static int alarm_ring(lua_State *L) {
    struct alarm *alarm = luaL_checkudata(L, 1, ALARM_TYPE);
    if (alarm->fiber != NULL)
        fiber_wake(alarm->fiber, LN_OK);
    return 0;
}

static const luaL_Reg alarm_methods[] = {
    {"sleep", alarm_sleep},
    {"ring", alarm_ring},
    {NULL, NULL},
};

/* core.now() -> Unix time in seconds, on the clock of the script */
static int core_now(lua_State *L) {
    lua_pushnumber(L, clock_wall(script_clock(script_of(L))));
    return 1;
}

/* core.clock() -> seconds since some start, never going back */
static int core_clock(lua_State *L) {
    lua_pushnumber(L, (lua_Number)clock_now(script_clock(script_of(L))) / 1e3);
    return 1;
}

/* core.exact_clock() -> the same, also where much has run since the loop looked at the time */
static int core_exact_clock(lua_State *L) {
    const struct clock *clock = script_clock(script_of(L));
    bool manual = clock_is_manual(clock);
    lua_pushnumber(L, manual ? (lua_Number)clock_now(clock) / 1e3
                             : (lua_Number)clock_precise() / 1e9);
    return 1;
}

/* core.hrtime() -> seconds of a precise clock that no spec can stop */
static int core_hrtime(lua_State *L) {
    lua_pushnumber(L, (lua_Number)uv_hrtime() / 1e9);
    return 1;
}

static const luaL_Reg functions[] = {
    {"sleep", core_sleep},
    {"alarm", core_alarm},
    {"now", core_now},
    {"clock", core_clock},
    {"exact_clock", core_exact_clock},
    {"hrtime", core_hrtime},
    {NULL, NULL},
};

void bindings_time(lua_State *L) {
    add_class(L, ALARM_TYPE, alarm_methods);
    luaL_setfuncs(L, functions, 0);
}
