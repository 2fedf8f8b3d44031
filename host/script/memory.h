/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one version of a script has of memory, and how much it may have: the objects of Lua, the
 * host's part of its fibers, and what its service has besides, messages above all.
 *
 * The allocator asks before it takes more from the system, so memory that is used again costs
 * nothing. When it is refused some, Lua collects all garbage and asks once more, before it
 * raises an error; but for a stack, and for the buffers of its library. The limit is for the
 * code of the script: whoever says what has happened has a reserve above it. Embedded in its
 * owner; all zero is one that counts nothing.
 */
#ifndef LUNATS_SCRIPT_MEMORY_H
#define LUNATS_SCRIPT_MEMORY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <lua.h>

#include "host/base/clock.h"

struct fibers;
struct pool;

/* What is used, in bytes. */
struct memory_use {
    size_t lua;    /* objects, with the garbage that was not collected yet, ... */
    size_t gaps;   /* ... and what of it lies free between them */
    size_t fibers; /* the host's part of them */
    size_t others; /* what the service has besides, its threads included */
};

static inline size_t memory_total(const struct memory_use *use) {
    return use->lua + use->fibers + use->others;
}

struct memory_events {
    /* Memory of the service besides, which counts as well. NULL: none. */
    size_t (*others)(void *owner);
    /* So much was never used before: told once for each doubling. Borrowed for the call, which
     * comes from the loop. NULL: nobody wants to know. */
    void (*on_growth)(void *owner, const char *text);
    void *owner;
};

#define MEMORY_PLACES 1024

struct memory {
    lua_State *L; /* NULL: not yet, or not any more */
    struct pool *pool;
    struct fibers *fibers;
    struct clock *clock; /* real */
    struct clock_timer turn;
    struct memory_events events;
    const atomic_size_t *threads; /* bytes of what runs beside the loop; NULL: none */
    size_t limit;                 /* bytes; 0: none */
    const char *limit_of;         /* what the user calls it */
    size_t step;                  /* the next doubling */
    size_t held;       /* by what bindings have for it outside of Lua; counted by those */
    size_t lent, host; /* above the limit, see memory_turn() and memory_enter() */
    bool closing;
    bool grown;             /* to be told */
    bool collect;           /* to be done, ... */
    uint64_t collect_share; /* ... for that part of the time at most */
    bool collecting;        /* a fiber does, or will when it is its turn */
    uint64_t collected_at;  /* nanoseconds, and how long it took */
    uint64_t cost;
    uint64_t refusals; /* that were errors */
    uint64_t asked_at; /* the last one; nanoseconds */
    bool rests;        /* until a timer ends it */
    struct clock_timer rest;
    struct {
        bool again; /* Lua asks for it once more */
        bool by_system;
        size_t wanted;
        struct memory_use use;
        char places[MEMORY_PLACES]; /* as in a traceback, as far as they are known */
    } refusal;                      /* the last one */
};

/* Nothing is limited before. */
void memory_open(struct memory *memory, struct clock *clock,
                 const struct memory_events *events);
/* It counts from now on. */
void memory_watch(struct memory *memory, lua_State *L, struct pool *pool,
                  struct fibers *fibers);
/* The fibers are gone, and the lua_State is about to be closed. */
void memory_last(struct memory *memory);
/* The lua_State is gone. */
void memory_close(struct memory *memory);

/* 0: none. `name` is what the user calls this limit; a literal. */
void memory_limit(struct memory *memory, size_t bytes, const char *name);

/* Counts what threads have as well; borrowed until it is NULL. */
void memory_count_threads(struct memory *memory, const atomic_size_t *threads);

void memory_get_use(const struct memory *memory, struct memory_use *use);

/* ---- for the allocator ---- */

/* What it may take before something is refused; SIZE_MAX: anything. */
size_t memory_room(const struct memory *memory);
/* It may take that much more. `fresh`: this is no block that grows. */
bool memory_admit(struct memory *memory, size_t more, bool fresh);
/* The system has not given it that much. */
void memory_failed(struct memory *memory, size_t more);
/* After a refusal: what is asked for next, and whether it could be had. */
void memory_ask_again(struct memory *memory, size_t more);
void memory_asked_again(struct memory *memory, bool had);

/* ---- for those who run Lua ---- */

/* A turn of the script begins: what it was lent to be able to say why it has failed, for the
 * rest of the turn in which memory was refused, is called back. */
static inline void memory_turn(struct memory *memory) {
    if (memory != NULL)
        memory->lent = 0;
}

/*
 * Whether the fibers of the script have to wait: a refusal for which Lua has collected in vain
 * may take long, and the next one would come at once. So the others have most of the time.
 */
static inline bool memory_rests(const struct memory *memory) {
    return memory != NULL && memory->rests;
}

/* So much is in use that nothing should begin which needs more later. */
bool memory_scarce(const struct memory *memory);

/* The host has something to do in Lua: that much above the limit is its own until
 * memory_leave(), which takes what this returns. */
#define MEMORY_RESERVE ((size_t)1024 * 1024)
size_t memory_enter(struct memory *memory, size_t reserve);
void memory_leave(struct memory *memory, size_t before);

/* ---- what is said of it ---- */

/* Why the last refusal was one. */
#define MEMORY_TEXT 512
void memory_explain(const struct memory *memory, char out[MEMORY_TEXT]);

/* Whether the value is Lua's error for a refusal. */
bool memory_is_error(lua_State *L, int index);
/* Pushes what such an error means: where, and why. With `places` also the traceback, which no
 * message handler could make. May raise (out of memory). */
const char *memory_push_error(lua_State *L, bool places);

/* "63.2 MiB" */
#define MEMORY_SIZE_TEXT 24
const char *memory_size(char out[MEMORY_SIZE_TEXT], size_t bytes);

/* "Lua 63.2 MiB, fibers 0.1 KiB, messages and buffers 96.0 KiB", without the first word; and
 * behind the first size what of it are gaps, where that is much. */
#define MEMORY_PARTS_TEXT 160
const char *memory_parts(char out[MEMORY_PARTS_TEXT], const struct memory_use *use);

#endif
