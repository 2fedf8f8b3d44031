/* SPDX-License-Identifier: Apache-2.0 */
#include "host/script/interrupt.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "host/script/hooks.h"
#include "host/script/title.h"
#include "host/script/watchdog.h"

#define NS_PER_MS ((uint64_t)1000000)

/* Our own Lua code goes on to its end, so that locks and counts are in order. Unless it does
 * not come to one: a second or so, with a hook at each instruction. */
#define PASSES_MAX 5000000

/* After so much time of the processor in one function in C nothing but that function runs. */
#define STUCK_MS 20

/* Levels of a traceback that are shown. */
#define LEVELS 16

/* The watchdog that has sent the signal. */
static _Atomic(struct watchdog *) sender;

/* ---- the stack ---- */

static bool is_ours(const lua_Debug *at) {
    return strncmp(at->source, "=lunats/", 8) == 0;
}

/* A C function is whose Lua code has called it. */
static bool runs_ours(lua_State *L, lua_Debug *at) {
    lua_getinfo(L, "S", at);
    for (int level = 1; at->what[0] == 'C'; level++) {
        if (!lua_getstack(L, level, at))
            return false;
        lua_getinfo(L, "S", at);
    }
    return is_ours(at);
}

static size_t write_level(lua_State *L, lua_Debug *at, char *out, size_t size) {
    lua_getinfo(L, "Sln", at);
    int n = snprintf(out, size, "\n\t%s:", at->short_src);
    if (at->currentline > 0)
        n = snprintf(out, size, "\n\t%s:%d:", at->short_src, at->currentline);
    size_t len = (size_t)n < size ? (size_t)n : size - 1;
    if (at->name != NULL)
        n = snprintf(out + len, size - len, " in function '%s'", at->name);
    else if (at->what[0] == 'm')
        n = snprintf(out + len, size - len, " in main chunk");
    else
        n = snprintf(out + len, size - len, " in function <%s:%d>", at->short_src,
                     at->linedefined);
    return (size_t)n < size - len ? len + (size_t)n : size - 1;
}

/* Everything that lua_getinfo() reads here lies still: see is_stuck(). It allocates nothing,
 * and neither does snprintf() for these formats. */
static void write_trace(struct watchdog *dog, lua_State *L, int level, bool stuck) {
    struct interrupt *in = &dog->interrupt;
    lua_Debug at;
    size_t len = 0;
    in->stuck = stuck;
    fiber_say(dog->what, in->title, in->service, INTERRUPT_TEXT);
    in->lines[0] = '\0';
    for (int last = level + LEVELS; level < last && lua_getstack(L, level, &at); level++)
        len += write_level(L, &at, in->lines + len, sizeof(in->lines) - len);
    atomic_store_explicit(&in->trace, INTERRUPT_TRACE_READY, memory_order_release);
}

static bool wants_trace(const struct interrupt *in) {
    return atomic_load_explicit(&in->trace, memory_order_acquire) == INTERRUPT_TRACE_WANTED;
}

/* ---- the handler ---- */

static uint64_t cpu_ns(void) {
    struct timespec at = {0};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &at);
    return (uint64_t)at.tv_sec * 1000 * NS_PER_MS + (uint64_t)at.tv_nsec;
}

static bool is_armed(const struct interrupt *in, lua_State *L) {
    return in->armed == L && lua_gethook(L) == in->hook && lua_gethookmask(L) != 0 &&
           hooks_allowed(L);
}

/* lua_sethook() is made for handlers of signals: lua.c does so for Ctrl-C. The hook of a script
 * is lost, so that it can't keep ours away. */
static void arm(struct interrupt *in, lua_State *L) {
    in->armed = L;
    in->signals = 0;
    in->armed_cpu = cpu_ns();
    lua_sethook(L, in->hook, LUA_MASKCALL | LUA_MASKCOUNT, 1);
    hooks_allow(L);
}

static void disarm(struct interrupt *in, lua_State *L) {
    if (lua_gethook(L) == in->hook)
        lua_sethook(L, NULL, 0, 0);
}

/*
 * A function in C runs all the time since the hook was set, as Lua calls the hook before each
 * instruction and each function. So the frames of the stack below the innermost one are as they
 * were and can be read from the handler, while the thread is somewhere inside that function.
 * The innermost one itself cannot: the collector may be about to call a finalizer in C, and Lua
 * fills in a frame after it has linked it. That Lua had left every such place by then is seen
 * by the time that the thread has computed since, or by its sleep. What remains are the few
 * instructions in which the collector, run by that function, moves the stack.
 */
static bool is_stuck(const struct interrupt *in) {
    bool moved = cpu_ns() - in->armed_cpu >= STUCK_MS * NS_PER_MS ||
                 atomic_load_explicit(&in->blocked, memory_order_relaxed);
    return in->signals >= 2 && moved;
}

static void take(struct watchdog *dog) {
    struct interrupt *in = &dog->interrupt;
    uint64_t turn = atomic_load_explicit(&in->turn, memory_order_acquire);
    int level = atomic_load_explicit(&in->level, memory_order_relaxed);
    if (!pthread_equal(pthread_self(), in->thread) || in->hook == NULL ||
        turn != atomic_load_explicit(&dog->turn, memory_order_relaxed))
        return;
    lua_State *L = atomic_load_explicit(&dog->L, memory_order_relaxed);
    bool told = atomic_load_explicit(&in->told, memory_order_relaxed) == turn;
    if (level == INTERRUPT_ONCE && told)
        level = INTERRUPT_NONE;
    if (level == INTERRUPT_NONE && !wants_trace(in))
        return;
    in->in_force = level;
    if (is_armed(in, L))
        in->signals++;
    else
        arm(in, L);
    if (wants_trace(in) && is_stuck(in))
        write_trace(dog, L, 1, true);
}

static void on_signal(int signum) {
    (void)signum;
    int saved = errno;
    struct watchdog *dog = atomic_load(&sender);
    if (dog != NULL)
        take(dog);
    errno = saved;
}

void interrupt_ask(struct watchdog *dog, uint64_t turn, enum interrupt_level level,
                   uint32_t spent_ms, bool blocked) {
    struct interrupt *in = &dog->interrupt;
    atomic_store_explicit(&in->level, level, memory_order_relaxed);
    atomic_store_explicit(&in->spent_ms, spent_ms, memory_order_relaxed);
    atomic_store_explicit(&in->blocked, blocked, memory_order_relaxed);
    atomic_store_explicit(&in->turn, turn, memory_order_release);
    atomic_store(&sender, dog);
    pthread_kill(in->thread, SIGURG);
}

void interrupt_open(struct watchdog *dog) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    dog->interrupt.thread = pthread_self();
    hooks_prove();
    sigaction(SIGURG, &action, NULL);
}

void interrupt_close(struct watchdog *dog) {
    struct watchdog *mine = dog;
    atomic_compare_exchange_strong(&sender, &mine, NULL);
}

/* ---- the hook ---- */

static void note_place(struct interrupt *in, lua_State *L) {
    lua_Debug at;
    in->place[0] = '\0';
    for (int level = 0; lua_getstack(L, level, &at); level++) {
        lua_getinfo(L, "Sl", &at);
        if (at.currentline > 0 && !is_ours(&at)) {
            snprintf(in->place, sizeof(in->place), "%s:%d", at.short_src, at.currentline);
            return;
        }
    }
}

static void write_message(const struct watchdog *dog, char *text, size_t size) {
    const struct interrupt *in = &dog->interrupt;
    double spent = atomic_load_explicit(&in->spent_ms, memory_order_relaxed) / 1000.0;
    double slice = atomic_load_explicit(&dog->slice_ms, memory_order_relaxed) / 1000.0;
    snprintf(text, size, "%s%sended after %.3g s without a wait: its slice is %.3g s",
             in->place, in->place[0] != '\0' ? ": " : "", spent, slice);
}

/* Lua runs the handler of the error inside of the hook, and keeps hooks away from it: an
 * endless one, and the 200 that Lua calls for errors in it, would each need a signal. Ours are
 * in C, which instructions do not call, so they are left alone. */
static void end_handlers(const struct interrupt *in, lua_State *L) {
    lua_sethook(L, in->hook, LUA_MASKCOUNT, 1);
    hooks_allow(L);
}

bool interrupt_due(struct watchdog *dog, lua_State *L, lua_Debug *at, char *text, size_t size) {
    struct interrupt *in = &dog->interrupt;
    uint64_t turn = atomic_load_explicit(&in->turn, memory_order_relaxed);
    int level = in->in_force;
    in->armed = NULL; /* it has been called */
    if (wants_trace(in))
        write_trace(dog, L, 0, false);
    if (level ==
        INTERRUPT_NONE) { /* a coroutine that has kept the hook is rid of it here, too */
        disarm(in, L);
        return false;
    }
    if (in->passed < PASSES_MAX && runs_ours(L, at)) {
        in->passed++;
        return false;
    }
    note_place(in, L);
    write_message(dog, text, size);
    if (level == INTERRUPT_ONCE) {
        in->in_force = INTERRUPT_NONE;
        disarm(in, L);
    } else {
        end_handlers(in, L);
    }
    atomic_store_explicit(&in->told, turn, memory_order_relaxed);
    return true;
}

/* ---- the call ---- */

void interrupt_surface(struct watchdog *dog, lua_State *co, lua_State *L) {
    struct interrupt *in = &dog->interrupt;
    disarm(in, co);
    arm(in, L);
}

const char *interrupt_over(struct watchdog *dog, uint64_t turn, lua_State *L) {
    struct interrupt *in = &dog->interrupt;
    in->in_force = INTERRUPT_NONE;
    in->armed = NULL;
    in->passed = 0;
    if (in->hook != NULL)
        disarm(in, L);
    return atomic_load_explicit(&in->told, memory_order_relaxed) == turn ? in->place : NULL;
}
