/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Notices what holds the loop: a thread looks now and then whether the same call still runs, so
 * that the calls themselves, one for each message, need no clock. It sleeps for good while
 * nothing runs.
 *
 * What used less than a tenth of a second of CPU is told after a second only: on a busy machine
 * a short call may wait long for its turn.
 */
#ifndef LUNATS_SCRIPT_WATCHDOG_H
#define LUNATS_SCRIPT_WATCHDOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <time.h>

#include <uv.h>

/* Embedded by its owner; all zero but `asleep`: watchdog_init(). The loop's, unless it says
 * otherwise. */
struct watchdog {
    _Atomic uint64_t turn;      /* odd: a call runs */
    _Atomic uint64_t long_turn; /* the thread's: this one takes long, since ... */
    _Atomic uint64_t long_since;
    _Atomic bool asleep; /* the thread waits for watchdog_wake(), or was never started */
    bool started, ending;
    clockid_t cpu; /* of the loop's thread */
    uv_thread_t thread;
    uv_mutex_t mutex;
    uv_cond_t cond;
    void (*on_wake)(void *owner); /* a call begins after a while without; NULL: nobody asks */
    void *owner;
};

void watchdog_init(struct watchdog *dog);
/* Ends its thread. */
void watchdog_close(struct watchdog *dog);

/* For the two functions below. */
void watchdog_wake(struct watchdog *dog);
uint64_t watchdog_held_ms(struct watchdog *dog);

/* A call begins. */
static inline void watchdog_begin(struct watchdog *dog) {
    uint64_t turn = atomic_load_explicit(&dog->turn, memory_order_relaxed);
    atomic_store_explicit(&dog->turn, turn + 1, memory_order_relaxed);
    /* A thread that falls asleep at this very moment may miss this call; it sees the next. */
    if (atomic_load_explicit(&dog->asleep, memory_order_relaxed))
        watchdog_wake(dog);
}

/* It has ended. Returns for how many milliseconds it has held the loop, 0 if not for long. */
static inline uint64_t watchdog_end(struct watchdog *dog) {
    uint64_t turn = atomic_load_explicit(&dog->turn, memory_order_relaxed);
    atomic_store_explicit(&dog->turn, turn + 1, memory_order_relaxed);
    if (atomic_load_explicit(&dog->long_turn, memory_order_relaxed) == turn)
        return watchdog_held_ms(dog);
    return 0;
}

#endif
