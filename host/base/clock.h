/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time and timers of one script.
 *
 * A clock is real (driven by the loop) or manual (it stands still until clock_step(), for
 * specs). Its timers are linked into a heap behind a single uv_timer, so that arming the
 * deadline of a request costs no system call, no libuv handle and no memory.
 *
 * All functions belong to the loop thread.
 */
#ifndef LUNATS_BASE_CLOCK_H
#define LUNATS_BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include <uv.h>

struct clock;

/*
 * One timer, embedded in whatever it belongs to, who sets `fire`; the rest is the clock's. All
 * zero is idle. The memory is the embedder's and must stay valid and in its place while the
 * timer is armed.
 */
struct clock_timer {
    void (*fire)(struct clock_timer *timer); /* called once, disarmed; may re-arm */
    uint64_t due;                            /* milliseconds on the clock, clock_now() scale */
    uint64_t order;                          /* ties fire in the order they were armed */
    struct clock_timer *child, *next;        /* the first below it, the one beside it */
    struct clock_timer **link;               /* what points at it; NULL = not armed */
};

/*
 * Opens a clock, which keeps its loop alive while timers are armed. On success *out is the
 * caller's, who must hand it to clock_close().
 * manual: starts at the present time and moves by clock_step() only. What is due at once (a
 * sleep of 0) fires in the next turn all the same.
 */
int clock_open(struct clock **out, uv_loop_t *loop, bool manual);

/* Closes the clock; timers that are still armed never fire. Frees the memory with the loop. */
void clock_close(struct clock *clock);

/* Milliseconds since an arbitrary start; never goes back. */
uint64_t clock_now(const struct clock *clock);

/* Unix time in seconds as this clock sees it. */
double clock_wall(const struct clock *clock);

/* Sets a manual clock that has no timers yet to the time of another one. */
void clock_follow(struct clock *clock, const struct clock *leader);

bool clock_is_manual(const struct clock *clock);

/* Nanoseconds since an arbitrary start, the system's: how long something took, at the cost of
 * as few instructions as possible. */
static inline uint64_t clock_precise(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/*
 * Arms a timer to fire in `ms` milliseconds (0: at the next turn of the loop). Re-arms it when
 * it is armed already.
 */
void clock_arm(struct clock *clock, struct clock_timer *timer, uint64_t ms);

/* Does nothing to a timer that is not armed. */
void clock_disarm(struct clock *clock, struct clock_timer *timer);

static inline bool clock_armed(const struct clock_timer *timer) {
    return timer->link != NULL;
}

/* The due time of the next timer, or UINT64_MAX. */
uint64_t clock_next_due(const struct clock *clock);

/*
 * Moves a manual clock to `until` at most: sets the time to the next due timer and fires it.
 * Returns true if one fired (call again), false when none is due any more and the time is
 * `until`. The caller runs what became ready between the steps, so that time never jumps over
 * work that a timer caused.
 */
bool clock_step(struct clock *clock, uint64_t until);

#endif
