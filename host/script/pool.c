/* SPDX-License-Identifier: Apache-2.0 */
#include "host/script/pool.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/pooled.h"
#include "host/script/memory.h"

#define GRAIN 16       /* sizes are rounded up to it; also the alignment */
#define SMALL_MAX 1024 /* above it: malloc. A message with its payload is usually below */
#define CLASSES (SMALL_MAX / GRAIN)
#define SLAB_SIZE ((size_t)32 * 1024)

/* What is rare stands outside of pool_alloc(), which needs no frame of its own then. */
#define RARE __attribute__((noinline)) static

struct free_block {
    struct free_block *next;
};

struct slab {
    struct slab *next;
    _Alignas(GRAIN) char bytes[];
};

struct pool {
    struct free_block *free[CLASSES];
    size_t used; /* bytes of the blocks that are in use */
    struct slab *slabs;
    char *at, *end;        /* what is left of the newest slab */
    struct memory *memory; /* borrowed */
    bool moving;           /* a block is there already, of a stack it may be */
};

static size_t class_of(size_t size) {
    return (size - 1) / GRAIN;
}

struct pool *pool_open(struct memory *memory) {
    struct pool *pool = calloc(1, sizeof(*pool));
    if (pool != NULL)
        pool->memory = memory;
    return pool;
}

size_t pool_used(const struct pool *pool) {
    return pool->used;
}

void pool_close(struct pool *pool) {
    while (pool->slabs != NULL) {
        struct slab *slab = pool->slabs;
        pool->slabs = slab->next;
        free(slab);
    }
    free(pool);
}

/* ---- what the system gives ---- */

static void *got(struct pool *pool, void *block, size_t more) {
    if (block == NULL)
        memory_failed(pool->memory, more);
    return block;
}

static bool admit(struct pool *pool, size_t more) {
    return memory_admit(pool->memory, more, !pool->moving);
}

RARE void *take_large(struct pool *pool, size_t size) {
    if (!admit(pool, size))
        return NULL;
    void *block = got(pool, malloc(size), size);
    pool->used += block != NULL ? size : 0;
    return block;
}

RARE void *move_large(struct pool *pool, void *block, size_t old_size, size_t new_size) {
    if (new_size > old_size && !admit(pool, new_size - old_size))
        return NULL;
    void *moved = got(pool, realloc(block, new_size), new_size - old_size);
    pool->used += moved != NULL ? new_size - old_size : 0;
    return moved;
}

/* ---- small blocks ---- */

/* The rest of a slab that is too small for the block at hand serves smaller ones. */
static void keep_rest(struct pool *pool) {
    size_t left = (size_t)(pool->end - pool->at) / GRAIN;
    if (left == 0)
        return;
    struct free_block *block = (struct free_block *)(void *)pool->at;
    block->next = pool->free[left - 1];
    pool->free[left - 1] = block;
}

static bool add_slab(struct pool *pool, size_t size) {
    if (!admit(pool, size))
        return false;
    struct slab *slab = got(pool, malloc(sizeof(*slab) + SLAB_SIZE), size);
    if (slab == NULL)
        return false;
    keep_rest(pool);
    slab->next = pool->slabs;
    pool->slabs = slab;
    pool->at = slab->bytes;
    pool->end = slab->bytes + SLAB_SIZE;
    return true;
}

RARE void *carve(struct pool *pool, size_t size) {
    size_t rounded = (class_of(size) + 1) * GRAIN;
    if ((size_t)(pool->end - pool->at) < rounded && !add_slab(pool, rounded))
        return NULL;
    void *block = pool->at;
    pool->at += rounded;
    pool->used += size;
    return block;
}

static inline void *take(struct pool *pool, size_t size) {
    if (size > SMALL_MAX)
        return take_large(pool, size);
    size_t class = class_of(size);
    struct free_block *block = pool->free[class];
    if (block == NULL)
        return carve(pool, size);
    pool->used += size;
    pool->free[class] = block->next;
    return block;
}

static inline void give(struct pool *pool, void *memory, size_t size) {
    pool->used -= size;
    if (size > SMALL_MAX) {
        free(memory);
        return;
    }
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
        pool->used += new_size - old_size;
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
        pool->used -= old_size;
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
