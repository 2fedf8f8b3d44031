/* SPDX-License-Identifier: Apache-2.0 */
#include "host/script/memory.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <lauxlib.h>
#include <uv.h>

#include "host/base/container_of.h"
#include "host/script/fiber.h"
#include "host/script/pool.h"

#define NS_PER_MS ((uint64_t)1000000)

/* The first use that is told. */
#define FIRST_STEP ((size_t)64 * 1024 * 1024)
/* Of the places where memory was refused. */
#define LEVELS 12
/* So near to its limit it collects garbage, as Lua itself waits for the heap to grow: ... */
#define NEAR_SHARE 8
/* ... a tenth of the time at most, and half of it when something was refused. */
#define CALM 9
#define URGENT 1
/* Fibers are not started any more when less than that part is left: each needs more memory when
 * it runs. */
#define SCARCE_SHARE 4
/* After a refusal the script rests so many times as long as Lua has collected in vain, if that
 * was long enough to matter. */
#define REST 4
#define REST_MIN_NS (2 * NS_PER_MS)

/* ---- what is used ---- */

void memory_get_use(const struct memory *memory, struct memory_use *use) {
    const struct memory_events *events = &memory->events;
    *use = (struct memory_use){
        .lua = memory->pool != NULL ? pool_held(memory->pool) : 0,
        .gaps = memory->pool != NULL ? pool_gaps(memory->pool) : 0,
        .fibers = memory->fibers != NULL ? fibers_memory(memory->fibers) : 0,
        .others = memory->held + (events->others != NULL ? events->others(events->owner) : 0),
    };
    if (memory->threads != NULL)
        use->others += atomic_load_explicit(memory->threads, memory_order_relaxed);
}

/* ---- what the loop does afterwards ---- */

static void want_turn(struct memory *memory, uint64_t ms) {
    if (memory->clock != NULL)
        clock_arm(memory->clock, &memory->turn, ms);
}

static void tell_growth(struct memory *memory) {
    char total[MEMORY_SIZE_TEXT], parts[MEMORY_PARTS_TEXT], limit[MEMORY_SIZE_TEXT],
        text[MEMORY_TEXT];
    struct memory_use use;
    memory->grown = false;
    if (memory->events.on_growth == NULL)
        return;
    memory_get_use(memory, &use);
    int len =
        snprintf(text, sizeof(text), "more than %s of memory were used; it is %s (Lua %s)",
                 memory_size(limit, memory->step / 2), memory_size(total, memory_total(&use)),
                 memory_parts(parts, &use));
    if (memory->limit != 0)
        snprintf(text + len, sizeof(text) - (size_t)len, " of the %s of %s",
                 memory_size(limit, memory->limit), memory->limit_of);
    memory->events.on_growth(memory->events.owner, text);
}

/* In its fiber, whenever the turn of that comes: what it takes is its own time. */
static int collect_body(lua_State *L) {
    struct memory *memory = lua_touserdata(L, 1);
    uint64_t began = uv_hrtime();
    lua_gc(L, LUA_GCCOLLECT);
    memory->collected_at = uv_hrtime();
    memory->cost = memory->collected_at - began;
    return 0;
}

static void on_collected(struct fiber *fiber, void *arg, int status, const char *text) {
    (void)fiber, (void)status, (void)text;
    ((struct memory *)arg)->collecting = false;
}

/* Finalizers run, and they are code of the script: in a fiber. */
static void collect(struct memory *memory) {
    uint64_t now = uv_hrtime(),
             due = memory->collected_at + memory->cost * memory->collect_share;
    if (memory->fibers == NULL || memory->collecting) {
        memory->collect = false;
        return;
    }
    if (now < due) {
        want_turn(memory, (due - now) / NS_PER_MS + 1);
        return;
    }
    memory->collect = false;
    memory->collecting = true;
    size_t before = memory_enter(memory, MEMORY_RESERVE);
    if (fiber_spawn(memory->fibers, FIBER_BACKGROUND, collect_body, memory, on_collected) < 0)
        memory->collecting = false;
    memory_leave(memory, before);
}

static void want_collection(struct memory *memory, uint64_t share) {
    if (memory->collect && share >= memory->collect_share)
        return;
    memory->collect = true;
    memory->collect_share = share;
    want_turn(memory, 0);
}

static void on_turn(struct clock_timer *timer) {
    struct memory *memory = container_of(timer, struct memory, turn);
    if (memory->grown)
        tell_growth(memory);
    if (memory->collect)
        collect(memory);
}

static void on_rested(struct clock_timer *timer) {
    struct memory *memory = container_of(timer, struct memory, rest);
    memory->rests = false;
    if (memory->fibers != NULL)
        fibers_rested(memory->fibers);
}

static void rest(struct memory *memory) {
    uint64_t took = uv_hrtime() - memory->asked_at;
    if (took < REST_MIN_NS || memory->clock == NULL || memory->fibers == NULL)
        return;
    memory->rests = true;
    clock_arm(memory->clock, &memory->rest, took * REST / NS_PER_MS);
}

/* ---- refusing ---- */

__attribute__((format(printf, 3, 4))) static size_t add(char *out, size_t at,
                                                        const char *format, ...) {
    va_list args;
    va_start(args, format);
    int len = vsnprintf(out + at, MEMORY_PLACES - at, format, args);
    va_end(args);
    if (len >= 0 && (size_t)len < MEMORY_PLACES - at)
        return at + (size_t)len;
    out[at] = '\0';
    return at;
}

/* Reads the stack without touching it: nothing here takes memory. Of a coroutine in a fiber it
 * is known where it was resumed. */
static void note_places(struct memory *memory) {
    const struct fiber *fiber = fibers_current(memory->fibers);
    lua_State *L = fiber != NULL ? fiber_thread(fiber) : memory->L;
    char *out = memory->refusal.places;
    lua_Debug at;
    size_t len = 0;
    for (int level = 0; level < LEVELS && lua_getstack(L, level, &at); level++) {
        lua_getinfo(L, "nSl", &at);
        if (at.currentline > 0)
            len = add(out, len, "\n\t%s:%d: in ", at.short_src, at.currentline);
        else
            len = add(out, len, "\n\t%s: in ", at.short_src);
        if (at.name != NULL)
            len = add(out, len, "%s '%s'", at.namewhat, at.name);
        else if (*at.what == 'm')
            len = add(out, len, "main chunk");
        else if (*at.what == 'C')
            len = add(out, len, "?");
        else
            len = add(out, len, "function <%s:%d>", at.short_src, at.linedefined);
    }
}

/*
 * Lua asks a second time before it raises an error, but for its stack; and for the buffers of
 * its library, which ask the allocator themselves. While a stack grows it cannot be looked at:
 * its pointers may be none.
 */
static void refuse(struct memory *memory, const struct memory_use *use, size_t more,
                   bool fresh) {
    memory->lent = MEMORY_RESERVE;
    memory->refusal.by_system = use == NULL;
    memory->refusal.wanted = more;
    memory->refusal.places[0] = '\0';
    if (use != NULL)
        memory->refusal.use = *use;
    if (memory->L == NULL)
        return;
    if (fresh || memory->refusal.again)
        note_places(memory);
    if (memory->refusal.again) {
        rest(memory);
    } else {
        memory->refusals++;
        memory->asked_at = uv_hrtime();
        if (!memory->closing) /* whose allocator is another one */
            pool_expect_again(memory->pool);
    }
    want_collection(memory, URGENT);
}

void memory_ask_again(struct memory *memory, size_t more) {
    memory->refusal.again = more == memory->refusal.wanted;
}

void memory_asked_again(struct memory *memory, bool had) {
    if (memory->refusal.again && had) { /* it was none */
        memory->refusals--;
        memory->lent = 0;
    }
    memory->refusal.again = false;
}

static void grow(struct memory *memory, size_t total) {
    while (memory->step <= total)
        memory->step *= 2;
    memory->grown = true;
    want_turn(memory, 0);
}

/* With what the script was lent, and the host has for itself. */
static size_t ceiling(const struct memory *memory) {
    return memory->limit + (memory->refusal.again ? 0 : memory->lent) + memory->host;
}

size_t memory_room(const struct memory *memory) {
    struct memory_use use;
    if (memory->L == NULL || memory->limit == 0)
        return SIZE_MAX;
    memory_get_use(memory, &use);
    size_t total = memory_total(&use), most = ceiling(memory);
    return total < most ? most - total : 0;
}

bool memory_admit(struct memory *memory, size_t more, bool fresh) {
    if (memory->L == NULL ||
        (memory->limit == 0 && pool_held(memory->pool) + more < memory->step))
        return true;
    struct memory_use use;
    memory_get_use(memory, &use);
    size_t total = memory_total(&use) + more;
    if (memory->limit != 0 && total > ceiling(memory)) {
        refuse(memory, &use, more, fresh);
        return false;
    }
    if (total >= memory->step)
        grow(memory, total);
    if (memory->limit != 0 && total - use.gaps > memory->limit - memory->limit / NEAR_SHARE)
        want_collection(memory, CALM);
    return true;
}

void memory_failed(struct memory *memory, size_t more) {
    refuse(memory, NULL, more, false);
}

/* ---- life ---- */

void memory_open(struct memory *memory, struct clock *clock,
                 const struct memory_events *events) {
    *memory = (struct memory){.clock = clock, .events = *events, .step = FIRST_STEP};
    memory->turn.fire = on_turn;
    memory->rest.fire = on_rested;
}

void memory_watch(struct memory *memory, lua_State *L, struct pool *pool,
                  struct fibers *fibers) {
    memory->L = L;
    memory->pool = pool;
    memory->fibers = fibers;
}

void memory_last(struct memory *memory) {
    memory->fibers = NULL;
    memory->closing = true;
    if (memory->L != NULL)
        pool_expect_nothing(memory->pool);
}

void memory_close(struct memory *memory) {
    memory->L = NULL;
    memory->pool = NULL;
    memory->fibers = NULL;
    memory->rests = false;
    if (memory->clock == NULL)
        return;
    clock_disarm(memory->clock, &memory->turn);
    clock_disarm(memory->clock, &memory->rest);
}

void memory_limit(struct memory *memory, size_t bytes, const char *name) {
    memory->limit = bytes;
    memory->limit_of = name;
}

void memory_count_threads(struct memory *memory, const atomic_size_t *threads) {
    memory->threads = threads;
}

bool memory_scarce(const struct memory *memory) {
    struct memory_use use;
    if (memory->limit == 0)
        return false;
    memory_get_use(memory, &use);
    return memory_total(&use) - use.gaps > memory->limit - memory->limit / SCARCE_SHARE;
}

size_t memory_enter(struct memory *memory, size_t reserve) {
    if (memory == NULL)
        return 0;
    size_t before = memory->host;
    if (before < reserve)
        memory->host = reserve;
    return before;
}

void memory_leave(struct memory *memory, size_t before) {
    if (memory != NULL)
        memory->host = before;
}

/* ---- what is said of it ---- */

const char *memory_size(char out[MEMORY_SIZE_TEXT], size_t bytes) {
    bool small = bytes < (size_t)1024 * 1024;
    snprintf(out, MEMORY_SIZE_TEXT, small ? "%.1f KiB" : "%.1f MiB",
             (double)bytes / (small ? 1024 : 1024 * 1024));
    return out;
}

const char *memory_parts(char out[MEMORY_PARTS_TEXT], const struct memory_use *use) {
    char lua[MEMORY_SIZE_TEXT], gaps[MEMORY_SIZE_TEXT], fibers[MEMORY_SIZE_TEXT],
        others[MEMORY_SIZE_TEXT];
    bool gappy = use->gaps > use->lua / 4 && use->gaps > FIRST_STEP / 64;
    snprintf(out, MEMORY_PARTS_TEXT, "%s%s%s%s, fibers %s, messages and buffers %s",
             memory_size(lua, use->lua), gappy ? " (" : "",
             gappy ? memory_size(gaps, use->gaps) : "", gappy ? " of it gaps)" : "",
             memory_size(fibers, use->fibers), memory_size(others, use->others));
    return out;
}

void memory_explain(const struct memory *memory, char out[MEMORY_TEXT]) {
    const struct memory_use *use = &memory->refusal.use;
    char wanted[MEMORY_SIZE_TEXT], limit[MEMORY_SIZE_TEXT], parts[MEMORY_PARTS_TEXT];
    memory_size(wanted, memory->refusal.wanted);
    if (memory->refusal.wanted == 0 || memory->limit == 0 || memory->refusal.by_system) {
        snprintf(out, MEMORY_TEXT, "not enough memory: the system has no %s more",
                 memory->refusal.wanted > 0 ? wanted : "");
        return;
    }
    snprintf(out, MEMORY_TEXT,
             "not enough memory: %s more would exceed the %s of %s (Lua has %s)", wanted,
             memory_size(limit, memory->limit), memory->limit_of, memory_parts(parts, use));
}

bool memory_is_error(lua_State *L, int index) {
    if (lua_type(L, index) != LUA_TSTRING ||
        strcmp(lua_tostring(L, index), "not enough memory") != 0)
        return false;
    const struct memory *memory = pool_memory_of(L);
    return memory != NULL && memory->refusal.wanted > 0;
}

const char *memory_push_error(lua_State *L, bool places) {
    const struct memory *memory = pool_memory_of(L);
    const char *first = memory->refusal.places;
    char why[MEMORY_TEXT];
    memory_explain(memory, why);
    while (strncmp(first, "\n\t[C]", 5) == 0) /* which has no line */
        first += 1 + strcspn(first + 1, "\n");
    const char *end = strstr(first, ": in ");
    lua_pushlstring(L, end != NULL ? first + 2 : "", end != NULL ? (size_t)(end - first) : 0);
    lua_pushstring(L, why);
    bool more = places && memory->refusal.places[0] != '\0';
    lua_pushstring(L, more ? "\nstack traceback:" : "");
    lua_pushstring(L, more ? memory->refusal.places : "");
    lua_concat(L, 4);
    return lua_tostring(L, -1);
}
