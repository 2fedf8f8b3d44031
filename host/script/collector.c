/* SPDX-License-Identifier: Apache-2.0 */
#include "host/script/collector.h"

#include <stdlib.h>

#include "host/base/container_of.h"
#include "host/base/heap.h"
#include "host/base/status.h"
#include "host/script/pool.h"

#define MB ((size_t)1024 * 1024)
/* Of this size a heap is large; it is small again below half of it. A full collection takes 20
 * to 30 ms then. */
#define LARGE (32 * MB)

/*
 * In steps: a cycle begins when the heap is PAUSE percent of what was alive after the one
 * before. Whenever 2^STEP_SIZE bytes have been allocated it goes on by STEP_SPEED units of work
 * for each 16 of them, a quarter of a millisecond. It takes about one unit for each 16 bytes of
 * the heap, so it ends before 1/32 of the heap has been allocated.
 */
#define PAUSE 132
#define STEP_SPEED 40
#define STEP_SIZE 13

#define LOOK_MS 200 /* while something runs */
#define GAP_MS 10   /* between two slices ... */
#define SLICE_NS 1000000
#define CALM_RATE 1000 /* ... while no more fibers than this run in a second */

/* A collection at rest is worth it when the heap has grown by this part, ... */
#define GROWN 16
/* ... and otherwise after so many times the time that the last one has taken: it may find that
 * much has been dropped. */
#define SPARE 100
#define CYCLES 3 /* what is dropped in one cycle is often seen by the next one only */

/* What malloc() has of freed memory goes back to the system when it is so much: 5 ms for each.
 */
#define TRIM (16 * MB)

struct collector {
    uv_timer_t timer;
    struct scheduler_wake wake;
    struct scheduler *scheduler;
    struct fibers *fibers;
    lua_State *L;
    struct pool *pool;
    bool large;
    uint64_t turns, looked_ms; /* of the scheduler, at the last look */
    bool ran;                  /* something, since the end of the last collection at rest */
    /* A collection at rest. */
    int cycles;          /* that it may still make; 0: none is under way */
    size_t before;       /* the heap at the beginning of its cycle */
    size_t kept;         /* the heap at the end of the last one */
    uint64_t cost_ns;    /* of the slices since its beginning */
    size_t most;         /* the largest heap since memory was given back */
    uint64_t not_before; /* milliseconds of the loop, unless the heap has grown */
};

static size_t heap(lua_State *L) {
    return (size_t)lua_gc(L, LUA_GCCOUNT) * 1024 + (size_t)lua_gc(L, LUA_GCCOUNTB);
}

static size_t measure(struct collector *collector) {
    size_t size = heap(collector->L);
    if (size > collector->most)
        collector->most = size;
    return size;
}

static void by_steps(lua_State *L) {
    lua_gc(L, LUA_GCINC, PAUSE, STEP_SPEED, STEP_SIZE);
}

static void by_generations(lua_State *L) {
    lua_gc(L, LUA_GCGEN, 0, 0);
}

/* What a script has chosen with collectgarbage() stays until its heap crosses one of these. */
static void choose_mode(struct collector *collector) {
    size_t size = measure(collector);
    if (!collector->large && size >= LARGE) {
        collector->large = true;
        by_steps(collector->L);
    } else if (collector->large && size < LARGE / 2) {
        collector->large = false;
        collector->cycles = 0;
        by_generations(collector->L);
    }
}

/* ---- at rest ---- */

static void end_cycle(struct collector *collector) {
    size_t after = heap(collector->L);
    bool much = collector->before > after && collector->before - after > after / GROWN;
    collector->cycles = much && collector->cycles > 0 ? collector->cycles - 1 : 0;
    collector->before = after;
    if (collector->cycles > 0)
        return;
    collector->kept = after;
    uint64_t now = uv_now(collector->timer.loop);
    collector->not_before = now + collector->cost_ns / 1000000 * SPARE;
}

/* Runs in a fiber, as finalizers may; at once, or when it is the turn of this script. */
static int run_slice(lua_State *L) {
    struct collector *collector = lua_touserdata(L, 1);
    uint64_t began = clock_precise(), now;
    bool done;
    collector->turns += 2; /* this is one, and no sign of life */
    do {
        done = lua_gc(L, LUA_GCSTEP, 0) != 0;
        now = clock_precise();
    } while (!done && now - began < SLICE_NS);
    collector->cost_ns += now - began;
    if (done)
        end_cycle(collector);
    return 0;
}

static void give_back(struct collector *collector) {
    size_t size = measure(collector);
    if (collector->most - size < TRIM)
        return;
    heap_trim();
    collector->most = size;
}

static bool is_due(const struct collector *collector, uint64_t now) {
    if (!collector->ran || lua_gc(collector->L, LUA_GCISRUNNING) == 0)
        return false;
    return heap(collector->L) > collector->kept + collector->kept / GROWN ||
           now >= collector->not_before;
}

static void begin(struct collector *collector) {
    collector->cycles = CYCLES;
    collector->ran = false;
    collector->cost_ns = 0;
    collector->before = heap(collector->L);
}

/* A slice of one that is under way or due; false: there is nothing to do. */
static bool rest(struct collector *collector, uint64_t now) {
    if (!collector->large || (collector->cycles == 0 && !is_due(collector, now)))
        return false;
    if (collector->cycles == 0)
        begin(collector);
    fiber_spawn(collector->fibers, FIBER_PHASE, run_slice, collector, NULL);
    give_back(collector);
    return true;
}

static bool tidy(struct collector *collector) {
    return collector->pool != NULL && pool_tidy(collector->pool);
}

/* ---- looking ---- */

static void on_timer(uv_timer_t *timer) {
    struct collector *collector = container_of(timer, struct collector, timer);
    uint64_t now = uv_now(timer->loop), turns = scheduler_turns(collector->scheduler);
    uint64_t ran = (turns - collector->turns) / 2, past = now - collector->looked_ms;
    collector->turns = turns;
    collector->looked_ms = now;
    collector->ran |= ran > 0;
    choose_mode(collector);
    bool calm = ran * 1000 <= past * CALM_RATE;
    if (calm && (rest(collector, now) || tidy(collector)))
        uv_timer_start(timer, on_timer, GAP_MS, 0);
    else if (!scheduler_asleep(collector->scheduler))
        uv_timer_start(timer, on_timer, LOOK_MS, 0);
    else if (collector->large && collector->ran && now < collector->not_before)
        uv_timer_start(timer, on_timer, collector->not_before - now, 0);
}

static void on_wake(struct scheduler_wake *wake) {
    struct collector *collector = container_of(wake, struct collector, wake);
    if (uv_is_active((uv_handle_t *)&collector->timer) &&
        uv_timer_get_due_in(&collector->timer) <= LOOK_MS)
        return;
    uv_timer_start(&collector->timer, on_timer, LOOK_MS, 0);
}

int collector_open(struct collector **out, uv_loop_t *loop, struct scheduler *scheduler,
                   struct fibers *fibers, lua_State *L, struct pool *pool) {
    struct collector *collector = calloc(1, sizeof(*collector));
    if (collector == NULL)
        return LN_ENOMEM;
    uv_timer_init(loop, &collector->timer); /* cannot fail */
    uv_unref((uv_handle_t *)&collector->timer);
    collector->scheduler = scheduler;
    collector->fibers = fibers;
    collector->L = L;
    collector->pool = pool;
    collector->wake.fn = on_wake;
    scheduler_on_wake(scheduler, &collector->wake);
    on_wake(&collector->wake);
    by_steps(L); /* PAUSE counts for generations, too, while nearly all that is new stays */
    by_generations(L); /* messages die young: 10 % less CPU per echo */
    *out = collector;
    return LN_OK;
}

static void on_closed(uv_handle_t *handle) {
    free(container_of((uv_timer_t *)handle, struct collector, timer));
}

void collector_close(struct collector *collector) {
    if (collector == NULL)
        return;
    list_remove(&collector->wake.node);
    uv_close((uv_handle_t *)&collector->timer, on_closed);
}
