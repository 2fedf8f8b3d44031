/* SPDX-License-Identifier: Apache-2.0 */
#include "host/script/pool.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/pooled.h"
#include "host/script/memory.h"
#include "host/script/slabs.h"

#define GRAIN SLABS_GRAIN /* sizes are rounded up to it; also the alignment */
#define SMALL_MAX 1024    /* above it: malloc. A message with its payload is usually below */
#define CLASSES (SMALL_MAX / GRAIN)

/* Free blocks are gathered when they are this part of all slabs, and that many bytes, more than
 * was of no use the last time: ... */
#define MUCH_SHARE 8
#define MUCH ((size_t)256 * 1024)
/* ... so many bytes of them each time a slab would be added, a fraction of a millisecond. */
#define GATHER (4 * SLABS_SIZE)
/* And so many while nothing else is to be done, which takes less than a millisecond. */
#define TIDY (16 * SLABS_SIZE)
/* Pieces that may be too small for what is wanted until a slab is added. */
#define PIECES 64
/* Before something is refused all of them are gathered, when they are that part, and all pieces
 * are looked at. */
#define TIGHT_SHARE 64

/* What is rare stands outside of pool_alloc(), which needs no frame of its own then. */
#define RARE __attribute__((noinline)) static

struct free_block {
    struct free_block *next;
};

struct pool {
    struct free_block *free[CLASSES];
    size_t small, large; /* bytes of the blocks that are in use */
    struct slabs slabs;
    struct slabs_piece rest; /* what blocks are cut from */
    size_t gathering;        /* the class whose free blocks are next; CLASSES: none */
    size_t useless;          /* bytes between blocks that gathering does not help */
    struct memory *memory;   /* borrowed */
    bool moving;             /* a block is there already, of a stack it may be */
};

static size_t class_of(size_t size) {
    return (size - 1) / GRAIN;
}

struct pool *pool_open(struct memory *memory) {
    struct pool *pool = calloc(1, sizeof(*pool));
    if (pool == NULL)
        return NULL;
    pool->memory = memory;
    pool->gathering = CLASSES;
    return pool;
}

size_t pool_held(const struct pool *pool) {
    return pool->slabs.bytes + pool->large;
}

size_t pool_gaps(const struct pool *pool) {
    return pool->slabs.bytes - pool->small;
}

void pool_close(struct pool *pool) {
    slabs_close(&pool->slabs);
    free(pool);
}

/* ---- free blocks of all sizes become pieces of any size, or go back to the system ---- */

/* About what the lists have, and what is lost where sizes are rounded up. */
static size_t between(const struct pool *pool) {
    return pool_gaps(pool) - pool->slabs.marked - (size_t)(pool->rest.end - pool->rest.at);
}

static size_t worth_gathering(struct pool *pool) {
    size_t now = between(pool);
    if (now < pool->useless)
        pool->useless = now;
    return now - pool->useless;
}

static void gather(struct pool *pool, size_t most) {
    if (pool->gathering == CLASSES)
        pool->gathering = 0;
    while (pool->gathering < CLASSES && most > 0) {
        size_t class = pool->gathering, size = (class + 1) * GRAIN;
        struct free_block *block = pool->free[class];
        if (block == NULL) {
            pool->gathering++;
            continue;
        }
        pool->free[class] = block->next;
        slabs_mark(&pool->slabs, block, size);
        most -= size < most ? size : most;
    }
    if (pool->gathering == CLASSES)
        pool->useless = between(pool);
}

void pool_gather(struct pool *pool) {
    gather(pool, SIZE_MAX);
}

bool pool_tidy(struct pool *pool) {
    if (pool->gathering == CLASSES &&
        worth_gathering(pool) <= pool->slabs.bytes / MUCH_SHARE + MUCH)
        return false;
    gather(pool, TIDY);
    return true;
}

/* Returns whether that much more would be refused. */
static bool make_room(struct pool *pool, size_t more) {
    bool tight = memory_room(pool->memory) < more;
    size_t much = pool->slabs.bytes / (tight ? TIGHT_SHARE : MUCH_SHARE) + (tight ? 0 : MUCH);
    if (pool->gathering < CLASSES || worth_gathering(pool) > much)
        gather(pool, tight ? SIZE_MAX : GATHER);
    return tight;
}

/* ---- what the system gives ---- */

static void *got(struct pool *pool, void *block, size_t more) {
    if (block == NULL)
        memory_failed(pool->memory, more);
    return block;
}

static bool admit(struct pool *pool, size_t more) {
    make_room(pool, more);
    return memory_admit(pool->memory, more, !pool->moving);
}

RARE void *take_large(struct pool *pool, size_t size) {
    if (!admit(pool, size))
        return NULL;
    void *block = got(pool, malloc(size), size);
    pool->large += block != NULL ? size : 0;
    return block;
}

RARE void *move_large(struct pool *pool, void *block, size_t old_size, size_t new_size) {
    if (new_size > old_size && !admit(pool, new_size - old_size))
        return NULL;
    void *moved = got(pool, realloc(block, new_size), new_size - old_size);
    pool->large += moved != NULL ? new_size - old_size : 0;
    return moved;
}

/* ---- small blocks ---- */

/* The rest of a piece that is too small for the block at hand serves smaller ones. */
static void keep_rest(struct pool *pool) {
    size_t left = (size_t)(pool->rest.end - pool->rest.at) / GRAIN;
    if (left == 0)
        return;
    struct free_block *block = (struct free_block *)(void *)pool->rest.at;
    block->next = pool->free[left - 1];
    pool->free[left - 1] = block;
    pool->rest.at = pool->rest.end;
}

/* Looks at so many pieces. While blocks are gathered those that are too small would be gathered
 * again and again. */
static bool cut(struct pool *pool, size_t size, size_t pieces) {
    for (; pieces > 0 && pool->gathering == CLASSES; pieces--) {
        if (!slabs_cut(&pool->slabs, &pool->rest))
            return false;
        size_t got = (size_t)(pool->rest.end - pool->rest.at);
        if (got >= size)
            return true;
        pool->useless += got;
        keep_rest(pool);
    }
    return false;
}

static bool add_slab(struct pool *pool, size_t size) {
    return memory_admit(pool->memory, size, !pool->moving) &&
           got(pool, slabs_add(&pool->slabs, &pool->rest) ? pool->rest.at : NULL, size) != NULL;
}

RARE void *carve(struct pool *pool, size_t size) {
    size_t rounded = (class_of(size) + 1) * GRAIN;
    if ((size_t)(pool->rest.end - pool->rest.at) < rounded) {
        keep_rest(pool);
        size_t pieces = make_room(pool, rounded) ? SIZE_MAX : PIECES;
        if (!cut(pool, rounded, pieces) && !add_slab(pool, rounded))
            return NULL;
    }
    void *block = pool->rest.at;
    pool->rest.at += rounded;
    pool->small += size;
    return block;
}

static inline void *take(struct pool *pool, size_t size) {
    if (size > SMALL_MAX)
        return take_large(pool, size);
    size_t class = class_of(size);
    struct free_block *block = pool->free[class];
    if (block == NULL)
        return carve(pool, size);
    pool->small += size;
    pool->free[class] = block->next;
    return block;
}

static inline void give(struct pool *pool, void *memory, size_t size) {
    if (size > SMALL_MAX) {
        pool->large -= size;
        free(memory);
        return;
    }
    pool->small -= size;
    struct free_block *block = memory;
    size_t class = class_of(size);
    block->next = pool->free[class];
    pool->free[class] = block;
}

/* For what shrinks: that may need a slab, and is no reason to refuse one. */
static void *take_anyway(struct pool *pool, size_t size) {
    size_t before = memory_enter(pool->memory, SIZE_MAX / 2);
    void *block = take(pool, size);
    memory_leave(pool->memory, before);
    return block;
}

static void *move_block(struct pool *pool, void *block, size_t old_size, size_t new_size) {
    if (!LN_POOLED || (old_size > SMALL_MAX && new_size > SMALL_MAX))
        return move_large(pool, block, old_size, new_size);
    if (old_size <= SMALL_MAX && new_size <= SMALL_MAX &&
        class_of(old_size) == class_of(new_size)) {
        pool->small += new_size - old_size;
        return block;
    }
    void *to = new_size < old_size ? take_anyway(pool, new_size) : take(pool, new_size);
    if (to == NULL)
        return NULL;
    memcpy(to, block, old_size < new_size ? old_size : new_size);
    give(pool, block, old_size);
    return to;
}

RARE void *move(struct pool *pool, void *block, size_t old_size, size_t new_size) {
    pool->moving = block != NULL;
    void *moved = move_block(pool, block, old_size, new_size);
    pool->moving = false;
    return moved;
}

void *pool_alloc(void *ud, void *block, size_t old_size, size_t new_size) {
    struct pool *pool = ud;
    if (block == NULL) /* old_size is a type tag then */
        old_size = 0;
    if (!LN_POOLED && new_size > 0)
        return move(pool, block, old_size, new_size);
    if (!LN_POOLED) {
        pool->large -= old_size;
        free(block);
        return NULL;
    }
    if (block == NULL)
        return new_size > 0 ? take(pool, new_size) : NULL;
    if (new_size > 0)
        return old_size > 0 ? move(pool, block, old_size, new_size) : take(pool, new_size);
    if (old_size > 0)
        give(pool, block, old_size);
    return NULL;
}

/* ---- after a refusal ---- */

/* What memory_admit() would be asked for; 0: nothing. */
static size_t needs(size_t old_size, size_t new_size) {
    if (new_size <= old_size)
        return 0;
    if (!LN_POOLED || (old_size > SMALL_MAX && new_size > SMALL_MAX))
        return new_size - old_size;
    return new_size > SMALL_MAX ? new_size : (class_of(new_size) + 1) * GRAIN;
}

/* The next request: the same again, if Lua has collected its garbage, or another one. */
static void *alloc_again(void *ud, void *block, size_t old_size, size_t new_size) {
    struct pool *pool = ud;
    size_t more = needs(block != NULL ? old_size : 0, new_size);
    if (more == 0)
        return pool_alloc(ud, block, old_size, new_size);
    lua_setallocf(pool->memory->L, pool_alloc, ud);
    memory_ask_again(pool->memory, more);
    void *result = pool_alloc(ud, block, old_size, new_size);
    memory_asked_again(pool->memory, result != NULL);
    return result;
}

void pool_expect_again(struct pool *pool) {
    lua_setallocf(pool->memory->L, alloc_again, pool);
}

void pool_expect_nothing(struct pool *pool) {
    lua_setallocf(pool->memory->L, pool_alloc, pool);
}

struct memory *pool_memory_of(lua_State *L) {
    void *pool;
    lua_Alloc alloc = lua_getallocf(L, &pool);
    return alloc == pool_alloc || alloc == alloc_again ? ((struct pool *)pool)->memory : NULL;
}
