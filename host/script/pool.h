/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The allocator of a lua_State. Lua says the size of what it frees, so small blocks need no
 * header and go through free lists by size; the rest goes to malloc. It saves about 500
 * instructions per message and keeps the loop thread away from the locks of malloc, which
 * nats.c's threads use at the same time. Under AddressSanitizer everything goes to malloc, so
 * that every mistake is seen.
 */
#ifndef LUNATS_SCRIPT_POOL_H
#define LUNATS_SCRIPT_POOL_H

#include <stddef.h>

#include <lua.h>

struct memory;
struct pool;

/* What it takes from the system it asks `memory` for, which is borrowed until its end. Returns
 * NULL without memory. */
struct pool *pool_open(struct memory *memory);

/* Bytes of the blocks that are in use. */
size_t pool_used(const struct pool *pool);

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
