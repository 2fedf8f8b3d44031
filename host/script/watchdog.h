/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Notices what holds the loop: a thread looks now and then whether the same call still runs, so
 * that the calls themselves, one for each message, need no clock. It sleeps for good while
 * nothing runs. What has used up its slice it has ended (interrupt.h).
 *
 * It counts processor time of the loop's thread: on a busy machine a short call may wait long
 * for its turn. Time in which the thread was seen asleep, as in os.execute(), counts for a
 * tenth. Neither passes while the process is stopped.
 */
#ifndef LUNATS_SCRIPT_WATCHDOG_H
#define LUNATS_SCRIPT_WATCHDOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <time.h>

#include <lua.h>
#include <uv.h>

#include "host/script/interrupt.h"

/* Embedded by its owner; all zero but `asleep`: watchdog_init(). The loop's, unless it says
 * otherwise. */
struct watchdog {
    _Atomic uint64_t turn;      /* odd: a call runs, ... */
    _Atomic(lua_State *) L;     /* in this thread of Lua, ... */
    _Atomic uint32_t slice_ms;  /* which has so long; 0: no matter */
    const char *what;           /* it is no fiber, but this; NULL: a fiber */
    _Atomic uint64_t long_turn; /* the thread's: this one takes long, since ... */
    _Atomic uint64_t long_since;
    _Atomic bool asleep;        /* the thread waits for watchdog_wake(), or was never started */
    _Atomic(const char *) stop; /* why: a signal that the loop has not heard of; NULL: none */
    bool started, ending;
    clockid_t cpu; /* of the loop's thread, ... */
    int id;        /* and how the system calls it */
    uv_thread_t thread;
    uv_mutex_t mutex;
    uv_cond_t cond;
    void (*on_wake)(void *owner); /* a call begins after a while without; NULL: nobody asks */
    void *owner;
    struct interrupt interrupt;
};

void watchdog_init(struct watchdog *dog);
/* Ends its thread. */
void watchdog_close(struct watchdog *dog);

/* A call that holds the loop for so long ends the process with this status; 0 ms: never. Before
 * the first call. */
void watchdog_end_process(struct watchdog *dog, uint32_t stall_ms, int exit_status);

/* What was held, and how it has ended. */
struct watchdog_held {
    uint64_t ms;       /* 0: not for long */
    const char *ended; /* the place where it was; NULL: nowhere. Borrowed until the next call */
};

/* For the functions below. */
void watchdog_wake(struct watchdog *dog);
struct watchdog_held watchdog_over(struct watchdog *dog, uint64_t turn);

/* A call begins: L runs, and has so many milliseconds. */
static inline void watchdog_begin(struct watchdog *dog, lua_State *L, uint32_t slice_ms) {
    uint64_t turn = atomic_load_explicit(&dog->turn, memory_order_relaxed);
    atomic_store_explicit(&dog->L, L, memory_order_relaxed);
    atomic_store_explicit(&dog->slice_ms, slice_ms, memory_order_relaxed);
    atomic_store_explicit(&dog->turn, turn + 1, memory_order_release);
    /* A thread that falls asleep at this very moment looks once more. */
    if (atomic_load_explicit(&dog->asleep, memory_order_relaxed))
        watchdog_wake(dog);
}

/* It has ended. */
static inline struct watchdog_held watchdog_end(struct watchdog *dog) {
    uint64_t turn = atomic_load_explicit(&dog->turn, memory_order_relaxed);
    atomic_store_explicit(&dog->turn, turn + 1, memory_order_relaxed);
    if (atomic_load_explicit(&dog->long_turn, memory_order_relaxed) == turn)
        return watchdog_over(dog, turn);
    return (struct watchdog_held){0, NULL};
}

/* A signal asks for a stop, of which the loop hears when nothing holds it any more: the log
 * says what does. `why` is static; NULL: it has heard. From handlers of signals, too. */
void watchdog_stop_waits(struct watchdog *dog, const char *why);

/* A call that was interrupted by another one. */
struct watchdog_outer {
    lua_State *L; /* NULL: there was none */
    uint32_t slice_ms;
    const char *what;
    bool goes_on; /* the other one is part of it */
};

/* The same for what is no fiber, and may be called by one. It uses what is left of the slice
 * of the fiber then, so that no slice is without end; of one that has none it has its own. */
void watchdog_enter(struct watchdog *dog, struct watchdog_outer *outer, lua_State *L,
                    uint32_t slice_ms, const char *what);
void watchdog_leave(struct watchdog *dog, const struct watchdog_outer *outer);

/* From here on another thread of Lua runs in the call, a coroutine; returns the one that did.
 */
static inline lua_State *watchdog_dive(struct watchdog *dog, lua_State *co) {
    lua_State *L = atomic_load_explicit(&dog->L, memory_order_relaxed);
    atomic_store_explicit(&dog->L, co, memory_order_relaxed);
    return L;
}

static inline void watchdog_surface(struct watchdog *dog, lua_State *co, lua_State *L) {
    atomic_store_explicit(&dog->L, L, memory_order_relaxed);
    if (dog->interrupt.in_force != INTERRUPT_NONE)
        interrupt_surface(dog, co, L);
}

#endif
