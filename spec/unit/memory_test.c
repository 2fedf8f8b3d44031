/* SPDX-License-Identifier: Apache-2.0 */
/* The memory of a lua_State: how much it may have, and what happens at the limit. */
#include "host/script/memory.h"

#include <stdio.h>
#include <string.h>

#include <lauxlib.h>
#include <lualib.h>
#include <uv.h>

#include "host/base/status.h"
#include "host/script/fiber.h"
#include "host/script/pool.h"
#include "host/script/slabs.h"
#include "spec/unit/test.h"

#define MIB ((size_t)1024 * 1024)
#define LIMIT (8 * MIB)
/* A small block that fits is given, with the slab that it needs. */
#define MOST (LIMIT + SLABS_SIZE)

static struct {
    struct memory memory;
    struct pool *pool;
    lua_State *L;
    uv_loop_t loop;
    struct clock *clock;
    size_t others;
    int growths;
    char growth[MEMORY_TEXT];
} at;

static size_t others(void *owner) {
    (void)owner;
    return at.others;
}

static void on_growth(void *owner, const char *text) {
    (void)owner;
    at.growths++;
    snprintf(at.growth, sizeof(at.growth), "%s", text);
}

static bool open_all(size_t limit) {
    memset(&at, 0, sizeof(at));
    if (uv_loop_init(&at.loop) != 0 || clock_open(&at.clock, &at.loop, false) != LN_OK)
        return false;
    memory_open(&at.memory, at.clock, &(struct memory_events){others, on_growth, NULL});
    at.pool = pool_open(&at.memory);
    at.L = lua_newstate(pool_alloc, at.pool);
    luaL_openlibs(at.L);
    memory_watch(&at.memory, at.L, at.pool, NULL);
    memory_limit(&at.memory, limit, "--memory");
    return true;
}

static void close_all(void) {
    lua_close(at.L);
    memory_close(&at.memory);
    pool_close(at.pool);
    clock_close(at.clock);
    uv_run(&at.loop, UV_RUN_DEFAULT);
    uv_loop_close(&at.loop);
}

/* Runs a text; its result, or its error, is on top of the stack. */
static int run(const char *code) {
    lua_settop(at.L, 0);
    memory_turn(&at.memory);
    int rc = luaL_loadstring(at.L, code);
    return rc == LUA_OK ? lua_pcall(at.L, 0, 1, 0) : rc;
}

static int explain(lua_State *L) {
    memory_push_error(L, true);
    return 1;
}

static const char *why(void) {
    size_t before = memory_enter(&at.memory, MEMORY_RESERVE);
    lua_pushcfunction(at.L, explain);
    lua_pcall(at.L, 0, 1, 0);
    memory_leave(&at.memory, before);
    return luaL_optstring(at.L, -1, "");
}

static size_t used(void) {
    struct memory_use use;
    memory_get_use(&at.memory, &use);
    return memory_total(&use);
}

static size_t without_gaps(void) {
    struct memory_use use;
    memory_get_use(&at.memory, &use);
    return memory_total(&use) - use.gaps;
}

/* As a script at its limit cannot even be told to. */
static void forget(void) {
    lua_pushnil(at.L);
    lua_setglobal(at.L, "t");
    lua_gc(at.L, LUA_GCCOLLECT);
}

static void what_is_used_is_what_lua_says(void) {
    CHECK(open_all(0));
    CHECK_INT(run("keep = ('x'):rep(3000000)"), LUA_OK);
    CHECK_INT(without_gaps(),
              (size_t)lua_gc(at.L, LUA_GCCOUNT) * 1024 + (size_t)lua_gc(at.L, LUA_GCCOUNTB));
    at.others = 5000;
    CHECK(used() > 3005000);
    close_all();
}

static void large_things_are_refused_and_nothing_is_lost(void) {
    CHECK(open_all(LIMIT));
    CHECK(run("kept = ('k'):rep(2 * 2^20) return ('x'):rep(2^30)") != LUA_OK);
    CHECK_STR(lua_tostring(at.L, -1), "not enough memory");
    CHECK_INT(at.memory.refusals, 1);
    CHECK_INT(run("return #kept"), LUA_OK);
    CHECK_INT(lua_tointeger(at.L, -1), 2 << 20);
    CHECK(used() < LIMIT);
    close_all();
}

static void small_things_are_bounded_too(void) {
    CHECK(open_all(LIMIT));
    CHECK_INT(run("t = {} for i = 1, 1e9 do t[i] = { i } end"), LUA_ERRMEM);
    CHECK(used() <= MOST + MEMORY_RESERVE);
    CHECK(used() > LIMIT / 2);
    forget();
    CHECK_INT(run("return 1"), LUA_OK);
    CHECK(without_gaps() < MIB);
    close_all();
}

static void garbage_is_collected_before_something_is_refused(void) {
    CHECK(open_all(LIMIT));
    CHECK_INT(run("collectgarbage 'stop' "
                  "for i = 1, 100 do local s = ('x'):rep(2^10):rep(2^11) .. i end "
                  "for i = 1, 200000 do local t = { i, {} } end return 1"),
              LUA_OK);
    CHECK_INT(at.memory.refusals, 0);
    CHECK(used() <= MOST);
    close_all();
}

static void an_error_says_where_and_why(void) {
    CHECK(open_all(LIMIT));
    at.others = 3 * MIB / 2;
    CHECK_INT(run("local x = ('x'):rep(2^20)\nlocal function big(n)\n"
                  " local s = x .. x .. x .. x .. x .. x\n return s\nend\nbig(1)"),
              LUA_ERRMEM);
    CHECK(memory_is_error(at.L, -1));
    const char *text = why();
    CHECK(strstr(text, ":3: not enough memory: 6.0 MiB more would exceed the 8.0 MiB of "
                       "--memory (Lua has ") != NULL);
    CHECK(strstr(text, "fibers 0.0 KiB, messages and buffers 1.5 MiB)") != NULL);
    CHECK(strstr(text, "\nstack traceback:\n\t[string") != NULL);
    CHECK(strstr(text, ":3: in local 'big'") != NULL);
    CHECK(strstr(text, ":6: in main chunk") != NULL);
    close_all();
}

/* A stack that grows is asked for once only, and cannot be looked at. */
static void deep_recursion_is_refused(void) {
    CHECK(open_all(LIMIT));
    CHECK(run("local function f(n) return 1 + f(n + 1) end f(1)") != LUA_OK);
    CHECK(run("local t = {} local function f(n) t[n] = {n} return 1 + f(n + 1) end f(1)") !=
          LUA_OK);
    CHECK_INT(run("return 1"), LUA_OK);
    close_all();
}

static void what_others_use_counts(void) {
    CHECK(open_all(LIMIT));
    at.others = LIMIT;
    CHECK(run("return ('x'):rep(2^20)") != LUA_OK);
    at.others = 0;
    CHECK_INT(run("return ('x'):rep(2^20)"), LUA_OK);
    close_all();
}

/* Who catches the error has room to say so, once in a turn. */
static void there_is_a_reserve_for_what_follows(void) {
    CHECK(open_all(LIMIT));
    CHECK_INT(run("t = {} "
                  "local ok, err = pcall(function() for i = 1, 1e9 do t[i] = { i } end end) "
                  "return err .. (' '):rep(300000)"),
              LUA_OK);
    CHECK_INT(run("for i = 1, 1e9 do t[#t + 1] = { i } end"), LUA_ERRMEM);
    CHECK(used() <= MOST + MEMORY_RESERVE);
    CHECK(strstr(why(), "not enough memory: ") != NULL);
    close_all();
}

static void catching_it_for_ever_does_not_help(void) {
    CHECK(open_all(LIMIT));
    CHECK_INT(run("t = {} for n = 1, 5 do "
                  "pcall(function() for i = 1, 1e9 do t[#t + 1] = { i } end end) end"),
              LUA_OK);
    CHECK(used() <= MOST + MEMORY_RESERVE);
    close_all();
}

static void finalizers_are_bounded_while_lua_does_not_count(void) {
    CHECK(open_all(LIMIT));
    CHECK_INT(run("setmetatable({}, { __gc = function() "
                  "for i = 1, 1e9 do t = { t } end end }) collectgarbage() return 1"),
              LUA_OK);
    CHECK(at.memory.refusals > 0);
    CHECK(used() <= MOST + 2 * MEMORY_RESERVE);
    forget();
    CHECK_INT(run("setmetatable({}, { __gc = function() "
                  "for i = 1, 1e9 do t = { t } end end })"),
              LUA_OK);
    close_all(); /* runs the last one */
}

static void growth_is_told_once_for_each_doubling(void) {
    CHECK(open_all(0));
    CHECK_INT(run("kept = ('x'):rep(2^20):rep(70)"), LUA_OK);
    uv_run(&at.loop, UV_RUN_NOWAIT);
    CHECK_INT(at.growths, 1);
    /* A string is made in a buffer. */
    CHECK(strstr(at.growth, "more than 128.0 MiB of memory were used; it is 7") != NULL);
    CHECK_INT(run("kept = nil collectgarbage() kept = ('x'):rep(2^20):rep(80)"), LUA_OK);
    uv_run(&at.loop, UV_RUN_NOWAIT);
    CHECK_INT(at.growths, 1);
    CHECK_INT(run("kept = ('x'):rep(2^20):rep(300)"), LUA_OK);
    uv_run(&at.loop, UV_RUN_NOWAIT);
    CHECK_INT(at.growths, 2);
    CHECK(strstr(at.growth, "more than 512.0 MiB") != NULL);
    close_all();
}

static void sizes_are_short(void) {
    char text[MEMORY_SIZE_TEXT];
    CHECK_STR(memory_size(text, 1536), "1.5 KiB");
    CHECK_STR(memory_size(text, 64 * MIB), "64.0 MiB");
}

static void on_fiber_error(void *owner, const char *text) {
    (void)owner;
    test_fail(__FILE__, __LINE__, "%s", text);
}

/* One that cannot begin yet has cost nothing yet. */
static void collections_keep_their_pace_however_late_they_are(void) {
    struct scheduler *scheduler;
    struct fibers *fibers;
    CHECK(open_all(0));
    CHECK_INT(run("kept = ('x'):rep(2^10):rep(7 * 2^10) collectgarbage()"), LUA_OK);
    memory_limit(&at.memory, used() + MIB / 2, "--memory");
    CHECK_INT(scheduler_open(&scheduler, NULL), LN_OK);
    CHECK_INT(fibers_open(&fibers, at.L, scheduler, at.clock, on_fiber_error, NULL), LN_OK);
    memory_watch(&at.memory, at.L, at.pool, fibers);
    scheduler_hold(scheduler);
    for (int i = 0; i < 5; i++) {
        CHECK(memory_admit(&at.memory, 1, true));
        clock_arm(at.clock, &at.memory.turn, 0);
        uv_run(&at.loop, UV_RUN_ONCE);
    }
    CHECK_INT(fibers_total(fibers), 1);
    CHECK_INT(at.memory.cost, 0);
    scheduler_release(scheduler);
    CHECK_INT(fibers_total(fibers), 0);
    CHECK(at.memory.cost > 0);
    memory_last(&at.memory);
    fibers_close(fibers);
    scheduler_close(scheduler);
    close_all();
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    RUN(what_is_used_is_what_lua_says);
    RUN(large_things_are_refused_and_nothing_is_lost);
    RUN(small_things_are_bounded_too);
    RUN(garbage_is_collected_before_something_is_refused);
    RUN(an_error_says_where_and_why);
    RUN(deep_recursion_is_refused);
    RUN(what_others_use_counts);
    RUN(there_is_a_reserve_for_what_follows);
    RUN(catching_it_for_ever_does_not_help);
    RUN(finalizers_are_bounded_while_lua_does_not_count);
    RUN(growth_is_told_once_for_each_doubling);
    RUN(sizes_are_short);
    RUN(collections_keep_their_pace_however_late_they_are);
    return test_end();
}
