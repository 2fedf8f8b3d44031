/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "host/base/clock.h"
#include "host/base/status.h"
#include "host/script/internal.h"
#include "host/script/memory.h"
#include "host/script/title.h"

/* Fibers run for so long before the loop turns: sockets, timers and other services wait. Longer
 * than what a link takes for its messages (link/turn.h), so that a flood of them is cut there
 * and does not become a queue of fibers. */
#define TURN_NS 25000000u

/* While they are short and none is left behind, the clock is looked at after so many. */
#define LOOK_EVERY 8
#define SHORT_NS 10000000u

/* ---- time ---- */

static void on_turn(uv_idle_t *idle);

/* From now on the next turn of the loop is waited for: what is ready then runs in it. */
static void begin_turn(struct scheduler *scheduler, uint64_t began) {
    scheduler->began = scheduler->seen = began;
    scheduler->last = NULL;
    uv_idle_start(&scheduler->idle, on_turn);
}

/* The one that ran last has held the loop for so long. Nobody is owed what he did not want. */
static void charge(struct scheduler *scheduler, uint64_t ns) {
    struct fibers *fibers = scheduler->last;
    if (fibers == NULL)
        return;
    if (fibers->spent < scheduler->floor)
        fibers->spent = scheduler->floor;
    fibers->spent += ns;
    if (list_empty(&scheduler->sets))
        scheduler->floor = fibers->spent;
    scheduler->last = NULL;
}

static bool look(struct scheduler *scheduler) {
    uint64_t now = clock_precise();
    if (scheduler->began == 0) {
        begin_turn(scheduler, now);
        scheduler->unseen = scheduler->step;
        return false;
    }
    if (scheduler->step == 1)
        charge(scheduler, now - scheduler->seen);
    scheduler->step = scheduler->behind || now - scheduler->seen > SHORT_NS ? 1 : LOOK_EVERY;
    scheduler->unseen = scheduler->step;
    scheduler->seen = now;
    return now - scheduler->began >= TURN_NS;
}

/* Whether it is time for the loop to turn. */
static inline bool is_late(struct scheduler *scheduler) {
    return scheduler->fair && --scheduler->unseen == 0 && look(scheduler);
}

/* ---- the queues ---- */

/* The script that has held the loop least comes first, so that those with short calls need not
 * wait for as many long ones of another. NULL: there is none that has spent at most so much. */
static struct fiber *next_fiber(struct scheduler *scheduler, uint64_t most) {
    struct fibers *next = NULL;
    list_each (struct fibers, at, &scheduler->sets, turn) {
        if (memory_rests(at->memory)) /* fibers_rested() */
            list_remove(&at->turn);
        else if (next == NULL || at->spent < next->spent)
            next = at;
    }
    if (next == NULL || next->spent > most)
        return NULL;
    struct list_node *node = list_pop_front(&next->ready);
    list_remove(&next->turn);
    if (!list_empty(&next->ready))
        list_push_back(&scheduler->sets, &next->turn);
    scheduler->floor = next->spent;
    return node != NULL ? list_item(node, struct fiber, ready) : NULL;
}

static void run_one(struct scheduler *scheduler, struct fiber *fiber) {
    scheduler->last = fiber->owner;
    uint64_t held_ms = fiber_resume(fiber);
    if (held_ms > 0 && scheduler->fair) {
        charge(scheduler, held_ms * 1000000);
        begin_turn(scheduler, 1);
        scheduler->unseen = scheduler->step = 1;
    }
}

/*
 * Runs this one, NULL: none, then those that are ready, as long as there is time. One whose
 * calls are long has a turn to itself: what the others have to say is sent before.
 */
static void run(struct scheduler *scheduler, struct fiber *fiber) {
    uint64_t most = UINT64_MAX;
    bool enough = false;
    scheduler->held++;
    if (fiber != NULL)
        run_one(scheduler, fiber);
    while (!list_empty(&scheduler->sets) && !enough) {
        fiber = is_late(scheduler) ? NULL : next_fiber(scheduler, most);
        enough = fiber == NULL && scheduler->fair && !list_empty(&scheduler->sets);
        if (fiber != NULL)
            run_one(scheduler, fiber);
        if (scheduler->fair)
            most = scheduler->floor + TURN_NS;
    }
    if (enough && scheduler->began == 0)
        begin_turn(scheduler, clock_precise());
    scheduler->behind |= enough;
    scheduler->held--;
}

static void on_turn(uv_idle_t *idle) {
    struct scheduler *scheduler = idle->data;
    if (list_empty(&scheduler->sets)) {
        scheduler->began = 0;
        scheduler->behind = false;
        uv_idle_stop(idle);
        return;
    }
    begin_turn(scheduler, clock_precise());
    scheduler->unseen = scheduler->step = 1;
    run(scheduler, NULL);
}

void scheduler_hold(struct scheduler *scheduler) {
    scheduler->held++;
}

void scheduler_release(struct scheduler *scheduler) {
    if (--scheduler->held == 0)
        run(scheduler, NULL);
}

/* Time that it did not want is not saved up. */
static void queue_up(struct fibers *fibers) {
    struct scheduler *scheduler = fibers->scheduler;
    if (list_linked(&fibers->turn))
        return;
    if (fibers->spent < scheduler->floor)
        fibers->spent = scheduler->floor;
    list_push_back(&scheduler->sets, &fibers->turn);
}

/* Those of a script run in the order in which they became ready. */
void fiber_make_ready(struct fiber *fiber) {
    struct fibers *fibers = fiber->owner;
    struct scheduler *scheduler = fibers->scheduler;
    bool rests = memory_rests(fibers->memory);
    if (scheduler->held == 0 && list_empty(&fibers->ready) && !rests && !is_late(scheduler)) {
        run(scheduler, fiber);
        return;
    }
    list_push_back(&fibers->ready, &fiber->ready);
    if (!rests)
        queue_up(fibers);
}

void fibers_rested(struct fibers *fibers) {
    struct scheduler *scheduler = fibers->scheduler;
    if (!list_empty(&fibers->ready))
        queue_up(fibers);
    if (scheduler->held == 0)
        run(scheduler, NULL);
}

/* ---- who wants to know ---- */

struct watchdog *scheduler_watchdog(struct scheduler *scheduler) {
    return &scheduler->dog;
}

static void on_wake(void *owner) {
    struct scheduler *scheduler = owner;
    list_each (struct scheduler_wake, wake, &scheduler->wakes, node)
        wake->fn(wake);
}

void scheduler_on_wake(struct scheduler *scheduler, struct scheduler_wake *wake) {
    list_push_back(&scheduler->wakes, &wake->node);
}

bool scheduler_asleep(const struct scheduler *scheduler) {
    return atomic_load_explicit(&scheduler->dog.asleep, memory_order_relaxed);
}

uint64_t scheduler_turns(const struct scheduler *scheduler) {
    return atomic_load_explicit(&scheduler->dog.turn, memory_order_relaxed);
}

/* ---- life ---- */

int scheduler_open(struct scheduler **out, uv_loop_t *loop) {
    struct scheduler *scheduler = calloc(1, sizeof(*scheduler));
    if (scheduler == NULL)
        return LN_ENOMEM;
    watchdog_init(&scheduler->dog);
    scheduler->dog.on_wake = on_wake;
    scheduler->dog.owner = scheduler;
    log_set_context(fiber_log_context);
    if (loop != NULL) {
        uv_idle_init(loop, &scheduler->idle); /* cannot fail */
        scheduler->idle.data = scheduler;
        scheduler->fair = true;
        scheduler->unseen = scheduler->step = LOOK_EVERY;
    }
    *out = scheduler;
    return LN_OK;
}

static void on_closed(uv_handle_t *handle) {
    free(handle->data);
}

void scheduler_close(struct scheduler *scheduler) {
    watchdog_close(&scheduler->dog);
    if (scheduler->fair)
        uv_close((uv_handle_t *)&scheduler->idle, on_closed);
    else
        free(scheduler);
}
