/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/clock.h"

#include <stdlib.h>
#include <sys/time.h>

#include "host/base/status.h"

struct clock {
    uv_timer_t uv;  /* armed for the first one, unless the clock is manual */
    uv_idle_t soon; /* instead, when that one is due already */
    int handles;    /* of the two, while they close */
    uv_loop_t *loop;
    struct clock_timer *first; /* by (due, order): the root of the heap */
    uint64_t order;            /* of the next timer to be armed */
    uint64_t manual_now;       /* the time of a manual clock */
    uint64_t started;          /* clock_now() at the opening */
    double wall_started;       /* Unix time at the opening */
    uint64_t uv_due;           /* what the uv_timer is armed for; UINT64_MAX = not armed */
    bool manual;
    bool firing; /* run_due() runs: it schedules at its end */
};

static bool earlier(const struct clock_timer *a, const struct clock_timer *b) {
    return a->due != b->due ? a->due < b->due : a->order < b->order;
}

/*
 * The timers form a pairing heap: a tree in which nobody is due before its parent, the children
 * of each in a list. The usual life of a deadline, armed behind all others and disarmed long
 * before it is due, touches a handful of pointers; taking the earliest one off costs O(log n)
 * on average.
 */
static void link_at(struct clock_timer **link, struct clock_timer *timer) {
    *link = timer;
    if (timer != NULL)
        timer->link = link;
}

/* Joins two heaps (NULL: an empty one); returns the root, whose link is the caller's to set. */
static struct clock_timer *join(struct clock_timer *a, struct clock_timer *b) {
    if (a == NULL || b == NULL)
        return a == NULL ? b : a;
    struct clock_timer *root = earlier(b, a) ? b : a, *below = root == a ? b : a;
    link_at(&below->next, root->child);
    link_at(&root->child, below);
    return root;
}

/* Makes one heap of a list of them: pairs from left to right, then all from right to left. */
static struct clock_timer *join_all(struct clock_timer *list) {
    struct clock_timer *pairs = NULL, *root = NULL;
    while (list != NULL) {
        struct clock_timer *a = list, *b = a->next;
        list = b != NULL ? b->next : NULL;
        a->next = NULL;
        if (b != NULL)
            b->next = NULL;
        a = join(a, b);
        a->next = pairs;
        pairs = a;
    }
    while (pairs != NULL) {
        struct clock_timer *next = pairs->next;
        pairs->next = NULL;
        root = join(root, pairs);
        pairs = next;
    }
    return root;
}

static void heap_add(struct clock *clock, struct clock_timer *timer) {
    timer->child = timer->next = NULL;
    link_at(&clock->first, join(clock->first, timer));
}

static void heap_remove(struct clock *clock, struct clock_timer *timer) {
    link_at(timer->link, timer->next);
    timer->link = NULL;
    link_at(&clock->first, join(clock->first, join_all(timer->child)));
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
    if (clock->firing || clock->first == NULL)
        return;
    uint64_t due = clock->first->due;
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
    uv_timer_stop(&clock->uv); /* where `soon` was first */
    uv_idle_stop(&clock->soon);
    clock->firing = true;
    /* A timer that re-arms itself for "now" fires in the next turn, not in this loop. */
    uint64_t last = clock->order;
    uint64_t now = clock_now(clock);
    while (clock->first != NULL && clock->first->due <= now && clock->first->order < last)
        fire(clock, clock->first);
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
    free(clock);
}

void clock_close(struct clock *clock) {
    while (clock->first != NULL)
        heap_remove(clock, clock->first);
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

void clock_arm(struct clock *clock, struct clock_timer *timer, uint64_t ms) {
    if (clock_armed(timer))
        heap_remove(clock, timer);
    if (!clock->manual) /* the turn of the loop may have begun long ago */
        uv_update_time(clock->loop);
    uint64_t now = clock_now(clock);
    timer->due = ms > UINT64_MAX - now ? UINT64_MAX : now + ms;
    timer->order = clock->order++;
    heap_add(clock, timer);
    schedule(clock);
}

/* Without timers it leaves no active handle on the loop. */
static void idle(struct clock *clock) {
    if (clock->first != NULL || clock->firing || clock->uv_due == UINT64_MAX)
        return;
    clock->uv_due = UINT64_MAX;
    uv_timer_stop(&clock->uv);
    uv_idle_stop(&clock->soon);
}

void clock_disarm(struct clock *clock, struct clock_timer *timer) {
    if (!clock_armed(timer))
        return;
    heap_remove(clock, timer);
    idle(clock);
}

uint64_t clock_next_due(const struct clock *clock) {
    return clock->first != NULL ? clock->first->due : UINT64_MAX;
}

bool clock_step(struct clock *clock, uint64_t until) {
    if (clock->first != NULL && clock->first->due <= until) {
        if (clock->first->due > clock->manual_now)
            clock->manual_now = clock->first->due;
        fire(clock, clock->first);
        return true;
    }
    if (until > clock->manual_now)
        clock->manual_now = until;
    return false;
}
