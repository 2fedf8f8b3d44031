/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <time.h>

#include <lauxlib.h>
#include <lualib.h>

#include "host/script/script.h"
#include "host/script/watchdog.h"
#include "spec/unit/test.h"

#define SLICE_MS 100

static uv_loop_t loop;
static struct scheduler *scheduler;
static char told[4096];
static lua_CFunction inside; /* adds globals */

/* As bindings/slice.c, with a string. */
static void on_interrupt(lua_State *L, lua_Debug *at) {
    char text[1024];
    if (!interrupt_due(scheduler_watchdog(scheduler), L, at, text, sizeof(text)))
        return;
    lua_pushstring(L, text);
    lua_error(L);
}

static void begin(void) {
    uv_loop_init(&loop);
    scheduler_open(&scheduler, NULL);
    scheduler_watchdog(scheduler)->interrupt.hook = on_interrupt;
}

static void end(void) {
    scheduler_close(scheduler);
    uv_loop_close(&loop);
}

/* Runs code with a slice; its first result, or its error, is in `told` afterwards. */
static struct watchdog_held run(const char *code, uint32_t slice_ms) {
    struct watchdog *dog = scheduler_watchdog(scheduler);
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    if (inside != NULL)
        inside(L);
    if (luaL_loadbuffer(L, code, strlen(code), "=test") == LUA_OK) {
        watchdog_begin(dog, L, slice_ms);
        lua_pcall(L, 0, 1, 0);
    }
    struct watchdog_held held = watchdog_end(dog);
    const char *text = lua_tostring(L, -1);
    snprintf(told, sizeof(told), "%s", text != NULL ? text : "(nothing)");
    lua_close(L);
    return held;
}

#define ENDED "test:1: ended after "

static void ends_a_loop(void) {
    begin();
    struct watchdog_held held = run("while true do end", SLICE_MS);
    CHECK(strncmp(told, ENDED, strlen(ENDED)) == 0);
    CHECK(strstr(told, "its slice is 0.1 s") != NULL);
    CHECK(held.ms >= SLICE_MS);
    CHECK_STR(held.ended, "test:1");
    end();
}

static void leaves_alone_what_is_short_or_has_no_slice(void) {
    begin();
    run("return 'done'", SLICE_MS);
    CHECK_STR(told, "done");
    struct watchdog_held held =
        run("local t = os.clock() while os.clock() - t < 0.4 do end return 'done'", 0);
    CHECK_STR(told, "done");
    CHECK(held.ms > 0 && held.ended == NULL);
    end();
}

static void gives_time_to_clean_up_once(void) {
    begin();
    run("local ok, err = pcall(function() while true do end end) "
        "for i = 1, 1000 do err = err .. '' end return 'cleaned: ' .. err",
        SLICE_MS);
    CHECK(strncmp(told, "cleaned: " ENDED, strlen("cleaned: " ENDED)) == 0);
    end();
}

static void ends_one_that_catches_the_error(void) {
    static const char *const codes[] = {
        "while true do pcall(function() while true do end end) end",
        "xpcall(error, function() while true do end end, 1) while true do end",
        "local _ <close> = setmetatable({}, { __close = load 'while true do end' }) error(1)",
        "while true do debug.sethook() end",
        "debug.sethook(function() while true do end end, '', 1) local x = 1 return x",
        "for _ in pcall, function() while true do end end do end",
    };
    begin();
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        struct watchdog_held held = run(codes[i], SLICE_MS);
        CHECK(held.ms >= SLICE_MS && held.ended != NULL);
    }
    end();
}

static void ends_a_finalizer_and_lets_the_call_go_on(void) {
    begin();
    run("local n = 0 "
        "setmetatable({}, { __gc = function() n = n + 1 while true do end end }) "
        "collectgarbage() return 'finalized ' .. n",
        SLICE_MS);
    CHECK_STR(told, "finalized 1");
    end();
}

static void begins_anew_for_each_call(void) {
    begin();
    run("while true do end", SLICE_MS);
    for (int i = 0; i < 5; i++) {
        run("local t = os.clock() while os.clock() - t < 0.04 do end return 'done'", SLICE_MS);
        CHECK_STR(told, "done");
    }
    end();
}

/* nested(): Lua that runs inside of a call, but is none. */
static int nested(lua_State *L) {
    struct watchdog *dog = scheduler_watchdog(scheduler);
    struct watchdog_outer outer;
    lua_State *other = lua_newthread(L);
    if (luaL_loadstring(other, "local t = os.clock() while os.clock() - t < 0.01 do end") ==
        LUA_OK) {
        watchdog_enter(dog, &outer, other, 30000, "nested");
        lua_pcall(other, 0, 0, 0);
        watchdog_leave(dog, &outer);
    }
    return 0;
}

static int open_nested(lua_State *L) {
    lua_register(L, "nested", nested);
    return 0;
}

static void counts_what_runs_inside_of_a_call(void) {
    begin();
    inside = open_nested;
    struct watchdog_held held = run("while true do nested() end", SLICE_MS);
    inside = NULL;
    CHECK(held.ms >= SLICE_MS && held.ended != NULL);
    CHECK(strncmp(told, ENDED, strlen(ENDED)) == 0);
    end();
}

static uint64_t cpu_ms(void) {
    return (uint64_t)clock() * 1000 / CLOCKS_PER_SEC;
}

/* Lua calls a handler for the error of a handler, 200 deep. */
static void ends_endless_handlers_soon(void) {
    begin();
    uint64_t before = cpu_ms();
    run("xpcall(error, function() while true do end end, 1)", SLICE_MS);
    CHECK(cpu_ms() - before < 6 * SLICE_MS);
    end();
}

/* ---- the top level of a script ---- */

static int open_nothing(lua_State *L) {
    (void)L;
    return 0;
}

static void on_error(void *owner, const struct script_error *error) {
    (void)owner;
    snprintf(told, sizeof(told), "%s", error->text);
}

static void ends_a_top_level(void) {
    static const char source[] = "local function spin() while true do end end spin()";
    struct script *script;
    struct script_options options = {
        .path = "top.lua",
        .source = source,
        .source_len = sizeof(source) - 1,
        .limits = {.slice_ms = 1000000, .start_ms = SLICE_MS},
        .open = open_nothing,
        .on_error = on_error,
    };
    begin();
    CHECK_INT(script_open(&script, &loop, scheduler, &options), LN_ESCRIPT);
    CHECK(strncmp(told, "top.lua:1: ended after ", 23) == 0);
    CHECK(strstr(told, "\nstack traceback:\n") != NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    end();
}

static void ends_a_finalizer_at_the_end_of_a_script(void) {
    static const char source[] =
        "kept = setmetatable({}, { __gc = function() while true do end end })";
    struct script *script;
    struct script_options options = {
        .path = "top.lua",
        .source = source,
        .source_len = sizeof(source) - 1,
        .limits = {.slice_ms = SLICE_MS, .start_ms = SLICE_MS},
        .open = open_nothing,
        .on_error = on_error,
    };
    begin();
    CHECK_INT(script_open(&script, &loop, scheduler, &options), LN_OK);
    script_close(script);
    uv_run(&loop, UV_RUN_DEFAULT);
    end();
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    RUN(leaves_alone_what_is_short_or_has_no_slice);
    if (test_by_tsan) /* which keeps signals until something is called: a loop hears of none */
        return test_end();
    RUN(ends_a_loop);
    RUN(gives_time_to_clean_up_once);
    RUN(ends_one_that_catches_the_error);
    RUN(ends_a_finalizer_and_lets_the_call_go_on);
    RUN(begins_anew_for_each_call);
    RUN(counts_what_runs_inside_of_a_call);
    RUN(ends_endless_handlers_soon);
    RUN(ends_a_top_level);
    RUN(ends_a_finalizer_at_the_end_of_a_script);
    return test_end();
}
