/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The allocator of a lua_State. Lua says the size of what it frees, so small blocks need no
 * header and go through free lists by size; the rest goes to malloc. Once much is free in the
 * lists, it serves other sizes, or goes back to the system. It saves about 500
 * instructions per message and keeps the loop thread away from the locks of malloc, which
 * nats.c's threads use at the same time. Under AddressSanitizer everything goes to malloc, so
 * that every mistake is seen.
 */
#ifndef LUNATS_SCRIPT_POOL_H
#define LUNATS_SCRIPT_POOL_H

#include <stdbool.h>
#include <stddef.h>

#include <lua.h>

struct memory;
struct pool;

/* What it takes from the system it asks `memory` for, which is borrowed until its end. Returns
 * NULL without memory. */
struct pool *pool_open(struct memory *memory);

/* Bytes that it has from the system, ... */
size_t pool_held(const struct pool *pool);
/* ... and those of them that are in no block: free, or lost where sizes are rounded up. */
size_t pool_gaps(const struct pool *pool);

/* What is free serves all sizes from here on, or goes back to the system. It takes some
 * milliseconds for each 10 MB that were freed since the last time. */
void pool_gather(struct pool *pool);

/* The same bit by bit, less than a millisecond of it. False: it is not worth it. */
bool pool_tidy(struct pool *pool);

/* Frees everything that was allocated from it; after lua_close(). */
void pool_close(struct pool *pool);

/* A lua_Alloc; `ud` is the pool. */
void *pool_alloc(void *ud, void *block, size_t old_size, size_t new_size);

/* It has refused something: memory_ask_again() is told of the next request. */
void pool_expect_again(struct pool *pool);
void pool_expect_nothing(struct pool *pool);

/* What a lua_State asks for its memory; NULL: it has another allocator. */
struct memory *pool_memory_of(lua_State *L);

#endif
