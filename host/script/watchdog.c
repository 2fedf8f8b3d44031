/* SPDX-License-Identifier: Apache-2.0 */
#include "host/script/watchdog.h"

#include <pthread.h>
#include <signal.h>

#define TICK_MS 50
/* This is long, unless ... */
#define LONG_MS 250
/* ... it has used less CPU than this, ... */
#define BUSY_MS 100
/* ... and this is long in any case. */
#define BLOCKED_MS 1000
/* After so many looks at nothing that runs the thread sleeps. */
#define CALM_TICKS 4

#define NS_PER_MS ((uint64_t)1000000)

/* ---- the thread ---- */

static uint64_t cpu_ns(const struct watchdog *dog) {
    struct timespec at = {0};
    clock_gettime(dog->cpu, &at);
    return (uint64_t)at.tv_sec * 1000 * NS_PER_MS + (uint64_t)at.tv_nsec;
}

/* What the last look saw. */
struct look {
    uint64_t turn;
    uint64_t since, cpu; /* nanoseconds, when this turn was seen first */
    int calm;
};

static bool is_long(const struct watchdog *dog, const struct look *last) {
    uint64_t held = uv_hrtime() - last->since;
    return held >= BLOCKED_MS * NS_PER_MS ||
           (held >= LONG_MS * NS_PER_MS && cpu_ns(dog) - last->cpu >= BUSY_MS * NS_PER_MS);
}

static void look(struct watchdog *dog, struct look *last) {
    uint64_t turn = atomic_load_explicit(&dog->turn, memory_order_relaxed);
    if (turn != last->turn) {
        *last = (struct look){turn, uv_hrtime(), cpu_ns(dog), 0};
    } else if (turn % 2 == 0) {
        last->calm++;
    } else if (atomic_load_explicit(&dog->long_turn, memory_order_relaxed) != turn &&
               is_long(dog, last)) {
        atomic_store_explicit(&dog->long_since, last->since, memory_order_relaxed);
        atomic_store_explicit(&dog->long_turn, turn, memory_order_release);
    }
}

static void watch(void *arg) {
    struct watchdog *dog = arg;
    struct look last = {0};
    uv_mutex_lock(&dog->mutex);
    while (!dog->ending) {
        look(dog, &last);
        if (last.calm < CALM_TICKS) {
            uv_cond_timedwait(&dog->cond, &dog->mutex, TICK_MS * NS_PER_MS);
            continue;
        }
        last.calm = 0;
        atomic_store(&dog->asleep, true);
        while (atomic_load(&dog->asleep) && !dog->ending)
            uv_cond_wait(&dog->cond, &dog->mutex);
    }
    uv_mutex_unlock(&dog->mutex);
}

/* ---- the loop ---- */

/* Signals are for the loop's thread. Without a thread nothing is noticed. */
static void start(struct watchdog *dog) {
    sigset_t all, before;
    sigfillset(&all);
    if (pthread_getcpuclockid(pthread_self(), &dog->cpu) != 0)
        return;
    uv_mutex_init(&dog->mutex);
    uv_cond_init(&dog->cond);
    const uv_thread_options_t options = {UV_THREAD_HAS_STACK_SIZE, (size_t)64 * 1024};
    pthread_sigmask(SIG_SETMASK, &all, &before);
    dog->started = uv_thread_create_ex(&dog->thread, &options, watch, dog) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (dog->started)
        return;
    uv_mutex_destroy(&dog->mutex);
    uv_cond_destroy(&dog->cond);
}

void watchdog_init(struct watchdog *dog) {
    *dog = (struct watchdog){.asleep = true};
}

void watchdog_wake(struct watchdog *dog) {
    if (dog->on_wake != NULL)
        dog->on_wake(dog->owner);
    if (!dog->started) {
        dog->asleep = false;
        start(dog);
        return;
    }
    uv_mutex_lock(&dog->mutex);
    dog->asleep = false;
    uv_cond_signal(&dog->cond);
    uv_mutex_unlock(&dog->mutex);
}

uint64_t watchdog_held_ms(struct watchdog *dog) {
    atomic_thread_fence(memory_order_acquire);
    uint64_t since = atomic_load_explicit(&dog->long_since, memory_order_relaxed);
    return (uv_hrtime() - since) / NS_PER_MS;
}

void watchdog_close(struct watchdog *dog) {
    if (!dog->started)
        return;
    uv_mutex_lock(&dog->mutex);
    dog->ending = true;
    uv_cond_signal(&dog->cond);
    uv_mutex_unlock(&dog->mutex);
    uv_thread_join(&dog->thread);
    uv_mutex_destroy(&dog->mutex);
    uv_cond_destroy(&dog->cond);
    dog->started = false;
}
