/* SPDX-License-Identifier: Apache-2.0 */
#include "host/script/pool.h"

#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#define POOLED 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POOLED 0
#endif
#endif
#ifndef POOLED
#define POOLED 1
#endif

#define GRAIN 16       /* sizes are rounded up to it; also the alignment */
#define SMALL_MAX 1024 /* above it: malloc. A message with its payload is usually below */
#define CLASSES (SMALL_MAX / GRAIN)
#define SLAB_SIZE ((size_t)32 * 1024)

struct free_block {
    struct free_block *next;
};

struct slab {
    struct slab *next;
    _Alignas(GRAIN) char bytes[];
};

struct pool {
    struct free_block *free[CLASSES];
    struct slab *slabs;
    char *at, *end; /* what is left of the newest slab */
};

static size_t class_of(size_t size) {
    return (size - 1) / GRAIN;
}

struct pool *pool_open(void) {
    return calloc(1, sizeof(struct pool));
}

void pool_close(struct pool *pool) {
    while (pool->slabs != NULL) {
        struct slab *slab = pool->slabs;
        pool->slabs = slab->next;
        free(slab);
    }
    free(pool);
}

/* The rest of a slab that is too small for the block at hand serves smaller ones. */
static void keep_rest(struct pool *pool) {
    size_t left = (size_t)(pool->end - pool->at) / GRAIN;
    if (left == 0)
        return;
    struct free_block *block = (struct free_block *)(void *)pool->at;
    block->next = pool->free[left - 1];
    pool->free[left - 1] = block;
}

static void *carve(struct pool *pool, size_t class) {
    size_t size = (class + 1) * GRAIN;
    if ((size_t)(pool->end - pool->at) < size) {
        struct slab *slab = malloc(sizeof(*slab) + SLAB_SIZE);
        if (slab == NULL)
            return NULL;
        keep_rest(pool);
        slab->next = pool->slabs;
        pool->slabs = slab;
        pool->at = slab->bytes;
        pool->end = slab->bytes + SLAB_SIZE;
    }
    void *block = pool->at;
    pool->at += size;
    return block;
}

static void *take(struct pool *pool, size_t size) {
    if (size > SMALL_MAX)
        return malloc(size);
    size_t class = class_of(size);
    struct free_block *block = pool->free[class];
    if (block == NULL)
        return carve(pool, class);
    pool->free[class] = block->next;
    return block;
}

static void give(struct pool *pool, void *memory, size_t size) {
    if (size > SMALL_MAX) {
        free(memory);
        return;
    }
    struct free_block *block = memory;
    size_t class = class_of(size);
    block->next = pool->free[class];
    pool->free[class] = block;
}

static void *move(struct pool *pool, void *block, size_t old_size, size_t new_size) {
    if (old_size > SMALL_MAX && new_size > SMALL_MAX)
        return realloc(block, new_size);
    if (old_size <= SMALL_MAX && new_size <= SMALL_MAX &&
        class_of(old_size) == class_of(new_size))
        return block;
    void *to = take(pool, new_size);
    if (to == NULL)
        return NULL;
    memcpy(to, block, old_size < new_size ? old_size : new_size);
    give(pool, block, old_size);
    return to;
}

void *pool_alloc(void *ud, void *block, size_t old_size, size_t new_size) {
    struct pool *pool = ud;
    if (!POOLED) {
        if (new_size > 0)
            return realloc(block, new_size);
        free(block);
        return NULL;
    }
    if (block == NULL) /* old_size is a type tag then */
        return new_size > 0 ? take(pool, new_size) : NULL;
    if (new_size > 0)
        return old_size > 0 ? move(pool, block, old_size, new_size) : take(pool, new_size);
    if (old_size > 0)
        give(pool, block, old_size);
    return NULL;
}
