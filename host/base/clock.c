/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/clock.h"

#include <stdlib.h>
#include <sys/time.h>

#include "host/base/status.h"

struct clock {
    uv_timer_t uv;  /* armed for heap[0], unless the clock is manual */
    uv_idle_t soon; /* instead, when heap[0] is due already */
    int handles;    /* of the two, while they close */
    uv_loop_t *loop;
    struct clock_timer **heap; /* by (due, order); timer->slot is its index + 1 */
    size_t count, capacity;
    uint64_t order;      /* of the next timer to be armed */
    uint64_t manual_now; /* the time of a manual clock */
    uint64_t started;    /* clock_now() at the opening */
    double wall_started; /* Unix time at the opening */
    uint64_t uv_due;     /* what the uv_timer is armed for; UINT64_MAX = not armed */
    bool manual;
    bool firing; /* run_due() runs: it schedules at its end */
};

static bool earlier(const struct clock_timer *a, const struct clock_timer *b) {
    return a->due != b->due ? a->due < b->due : a->order < b->order;
}

static void place(struct clock *clock, size_t at, struct clock_timer *timer) {
    clock->heap[at] = timer;
    timer->slot = at + 1;
}

static void sift_up(struct clock *clock, size_t at, struct clock_timer *timer) {
    while (at > 0) {
        size_t parent = (at - 1) / 2;
        if (!earlier(timer, clock->heap[parent]))
            break;
        place(clock, at, clock->heap[parent]);
        at = parent;
    }
    place(clock, at, timer);
}

static void sift_down(struct clock *clock, size_t at, struct clock_timer *timer) {
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= clock->count)
            break;
        if (child + 1 < clock->count && earlier(clock->heap[child + 1], clock->heap[child]))
            child++;
        if (!earlier(clock->heap[child], timer))
            break;
        place(clock, at, clock->heap[child]);
        at = child;
    }
    place(clock, at, timer);
}

static void heap_remove(struct clock *clock, struct clock_timer *timer) {
    size_t at = timer->slot - 1;
    timer->slot = 0;
    struct clock_timer *last = clock->heap[--clock->count];
    if (last == timer)
        return;
    if (at > 0 && earlier(last, clock->heap[(at - 1) / 2]))
        sift_up(clock, at, last);
    else
        sift_down(clock, at, last);
}

static void fire(struct clock *clock, struct clock_timer *timer) {
    heap_remove(clock, timer);
    timer->fire(timer);
}

static void on_timer(uv_timer_t *uv);
static void on_soon(uv_idle_t *soon);

/*
 * Points the uv_timer at the earliest timer. One that is armed too early is left alone: most
 * deadlines are disarmed long before they are due, and moving the uv_timer for each of them
 * would cost more than an occasional wake-up for nothing.
 *
 * What is due already waits for an idle handle, not for a uv_timer of 0 ms: libuv before 1.45
 * runs such a timer again and again without ever looking at the sockets.
 */
static void schedule(struct clock *clock) {
    if (clock->firing || clock->count == 0)
        return;
    uint64_t due = clock->heap[0]->due;
    uint64_t now = clock_now(clock);
    if (due >= clock->uv_due || (clock->manual && due > now))
        return;
    clock->uv_due = due;
    if (due > now)
        uv_timer_start(&clock->uv, on_timer, due - now, 0);
    else
        uv_idle_start(&clock->soon, on_soon);
}

static void run_due(struct clock *clock) {
    clock->uv_due = UINT64_MAX;
    uv_idle_stop(&clock->soon);
    clock->firing = true;
    /* A timer that re-arms itself for "now" fires in the next turn, not in this loop. */
    uint64_t last = clock->order;
    uint64_t now = clock_now(clock);
    while (clock->count > 0 && clock->heap[0]->due <= now && clock->heap[0]->order < last)
        fire(clock, clock->heap[0]);
    clock->firing = false;
    schedule(clock);
}

static void on_timer(uv_timer_t *uv) {
    run_due(uv->data);
}

static void on_soon(uv_idle_t *soon) {
    run_due(soon->data);
}

int clock_open(struct clock **out, uv_loop_t *loop, bool manual) {
    struct clock *clock = calloc(1, sizeof(*clock));
    if (clock == NULL)
        return LN_ENOMEM;
    int rc = uv_timer_init(loop, &clock->uv);
    if (rc < 0) {
        free(clock);
        return rc;
    }
    uv_idle_init(loop, &clock->soon); /* cannot fail */
    clock->uv.data = clock->soon.data = clock;
    clock->handles = 2;
    clock->loop = loop;
    clock->manual = manual;
    clock->uv_due = UINT64_MAX;
    clock->started = uv_now(loop);
    clock->manual_now = clock->started;
    struct timeval tv;
    gettimeofday(&tv, NULL);
    clock->wall_started = (double)tv.tv_sec + (double)tv.tv_usec / 1e6;
    *out = clock;
    return LN_OK;
}

static void on_closed(uv_handle_t *handle) {
    struct clock *clock = handle->data;
    if (--clock->handles > 0)
        return;
    free(clock->heap);
    free(clock);
}

void clock_close(struct clock *clock) {
    for (size_t i = 0; i < clock->count; i++)
        clock->heap[i]->slot = 0;
    clock->count = 0;
    uv_close((uv_handle_t *)&clock->uv, on_closed);
    uv_close((uv_handle_t *)&clock->soon, on_closed);
}

uint64_t clock_now(const struct clock *clock) {
    return clock->manual ? clock->manual_now : uv_now(clock->loop);
}

double clock_wall(const struct clock *clock) {
    if (clock->manual)
        return clock->wall_started + (double)(clock->manual_now - clock->started) / 1e3;
    struct timeval tv;
    gettimeofday(&tv, NULL);
    return (double)tv.tv_sec + (double)tv.tv_usec / 1e6;
}

void clock_follow(struct clock *clock, const struct clock *leader) {
    if (!clock->manual)
        return;
    clock->started = leader->started;
    clock->manual_now = leader->manual_now;
    clock->wall_started = leader->wall_started;
}

bool clock_is_manual(const struct clock *clock) {
    return clock->manual;
}

static int grow(struct clock *clock) {
    size_t capacity = clock->capacity ? clock->capacity * 2 : 64;
    struct clock_timer **heap = realloc(clock->heap, capacity * sizeof(*heap));
    if (heap == NULL)
        return LN_ENOMEM;
    clock->heap = heap;
    clock->capacity = capacity;
    return LN_OK;
}

int clock_arm(struct clock *clock, struct clock_timer *timer, uint64_t ms) {
    clock_disarm(clock, timer);
    if (clock->count == clock->capacity) {
        int rc = grow(clock);
        if (rc < 0)
            return rc;
    }
    if (!clock->manual) /* the turn of the loop may have begun long ago */
        uv_update_time(clock->loop);
    uint64_t now = clock_now(clock);
    timer->due = ms > UINT64_MAX - now ? UINT64_MAX : now + ms;
    timer->order = clock->order++;
    sift_up(clock, clock->count++, timer);
    schedule(clock);
    return LN_OK;
}

void clock_disarm(struct clock *clock, struct clock_timer *timer) {
    if (timer->slot != 0)
        heap_remove(clock, timer);
}

uint64_t clock_next_due(const struct clock *clock) {
    return clock->count > 0 ? clock->heap[0]->due : UINT64_MAX;
}

bool clock_step(struct clock *clock, uint64_t until) {
    if (clock->count > 0 && clock->heap[0]->due <= until) {
        if (clock->heap[0]->due > clock->manual_now)
            clock->manual_now = clock->heap[0]->due;
        fire(clock, clock->heap[0]);
        return true;
    }
    if (until > clock->manual_now)
        clock->manual_now = until;
    return false;
}
