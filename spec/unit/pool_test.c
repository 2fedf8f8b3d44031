/* SPDX-License-Identifier: Apache-2.0 */
/* The allocator of a lua_State as it is without a sanitizer: what it holds of what is freed. */
#define LN_POOLED 1
#include "host/script/pool.c" /* NOLINT(bugprone-suspicious-include) */

#include <lauxlib.h>
#include <lualib.h>

#include "spec/unit/test.h"

#define MIB ((size_t)1024 * 1024)
#define LARGEST SMALL_MAX

static struct {
    struct memory memory;
    struct pool *pool;
} at;

static void open_pool(void) {
    memory_open(&at.memory, NULL, &(struct memory_events){0});
    at.pool = pool_open(&at.memory);
}

static void close_pool(void) {
    pool_close(at.pool);
}

static void *take_block(size_t size) {
    return pool_alloc(at.pool, NULL, 0, size);
}

static void give_block(void *block, size_t size) {
    pool_alloc(at.pool, block, size, 0);
}

/* So many bytes in blocks of that size, as a list. */
static void *fill(size_t size, size_t bytes) {
    void *last = NULL;
    for (; bytes >= size; bytes -= size) {
        void **block = take_block(size);
        if (block == NULL)
            return last;
        *block = last;
        last = block;
    }
    return last;
}

/* Gives all of them, or but each n-th, which are returned. */
static void *drop(void *blocks, size_t size, size_t keep) {
    void *kept = NULL;
    for (size_t i = 1; blocks != NULL; i++) {
        void **block = blocks;
        blocks = *block;
        if (keep > 0 && i % keep == 0) {
            *block = kept;
            kept = block;
        } else {
            give_block(block, size);
        }
    }
    return kept;
}

static void sizes_that_come_one_after_the_other_use_the_same_memory(void) {
    open_pool();
    for (size_t size = 16; size <= LARGEST; size += 16) {
        void *blocks = fill(size, 4 * MIB);
        CHECK(pool_held(at.pool) < 6 * MIB);
        drop(blocks, size, 0);
    }
    close_pool();
}

static void what_is_free_goes_back(void) {
    open_pool();
    for (size_t size = 16; size <= LARGEST; size += 112)
        drop(fill(size, MIB), size, 0);
    void *large = take_block(3 * MIB);
    CHECK(pool_gaps(at.pool) > MIB / 2);
    pool_gather(at.pool);
    CHECK(pool_held(at.pool) <= 3 * MIB + SLABS_SIZE);
    give_block(large, 3 * MIB);
    CHECK(pool_held(at.pool) <= SLABS_SIZE);
    close_pool();
}

static void what_is_free_goes_back_bit_by_bit_at_rest(void) {
    open_pool();
    CHECK(!pool_tidy(at.pool));
    void *kept = fill(64, MIB);
    drop(fill(48, 20 * MIB), 48, 0);
    int turns = 0;
    for (size_t before = pool_held(at.pool); pool_tidy(at.pool); turns++) {
        CHECK(before - pool_held(at.pool) < 3 * MIB);
        before = pool_held(at.pool);
    }
    CHECK(turns > 10);
    CHECK(pool_held(at.pool) < 2 * MIB);
    drop(kept, 64, 4); /* not much, and no slab is free as a whole */
    CHECK(!pool_tidy(at.pool) || !pool_tidy(at.pool));
    close_pool();
}

static void what_lies_between_is_used_for_other_sizes(void) {
    open_pool();
    void *few = drop(fill(48, 4 * MIB), 48, 100);
    void *more = fill(112, 3 * MIB);
    CHECK(pool_held(at.pool) < 6 * MIB);
    drop(few, 48, 0);
    drop(more, 112, 0);
    pool_gather(at.pool);
    CHECK(pool_held(at.pool) <= SLABS_SIZE);
    close_pool();
}

/* Every second block: no piece is large enough, however often they are gathered. */
static void what_is_too_small_is_left_alone(void) {
    open_pool();
    void *half = drop(fill(32, 4 * MIB), 32, 2);
    void *more = fill(64, 4 * MIB);
    CHECK(pool_held(at.pool) < 10 * MIB);
    void *small = fill(32, 2 * MIB);
    CHECK(pool_held(at.pool) < 10 * MIB);
    drop(half, 32, 0);
    drop(more, 64, 0);
    drop(small, 32, 0);
    close_pool();
}

static unsigned next(unsigned *seed) {
    *seed = *seed * 1103515245 + 12345;
    return *seed >> 8;
}

/* Blocks that come, grow, shrink and go; each knows what is in it. */
static void blocks_keep_what_is_in_them(void) {
    enum { BLOCKS = 2000, TURNS = 100000 };
    static struct {
        unsigned char *bytes;
        size_t size;
    } blocks[BLOCKS];
    unsigned seed = 7;
    size_t used = 0;
    open_pool();
    for (unsigned turn = 0; turn < TURNS; turn++) {
        unsigned i = next(&seed) % BLOCKS;
        size_t size = next(&seed) % 3 == 0 ? 0 : 1 + next(&seed) % (LARGEST + 300);
        size_t before = blocks[i].size, both = before < size ? before : size;
        blocks[i].bytes = pool_alloc(at.pool, blocks[i].bytes, before, size);
        for (size_t n = 0; n < both; n += 13)
            CHECK_INT(blocks[i].bytes[n], i % 251);
        if (size > 0)
            memset(blocks[i].bytes, (int)(i % 251), size);
        blocks[i].size = size;
        used += size - before;
        if (turn % 5000 == 0)
            pool_gather(at.pool);
    }
    CHECK_INT(pool_held(at.pool) - pool_gaps(at.pool), used);
    for (unsigned i = 0; i < BLOCKS; i++)
        pool_alloc(at.pool, blocks[i].bytes, blocks[i].size, 0);
    pool_gather(at.pool);
    CHECK(pool_held(at.pool) <= SLABS_SIZE);
    close_pool();
}

/* ---- a script at its limit ---- */

static int run(lua_State *L, const char *code) {
    memory_turn(&at.memory);
    lua_settop(L, 0);
    int rc = luaL_loadstring(L, code);
    return rc == LUA_OK ? lua_pcall(L, 0, 1, 0) : rc;
}

static void a_limit_holds_for_what_was_freed_too(void) {
    open_pool();
    lua_State *L = lua_newstate(pool_alloc, at.pool);
    luaL_openlibs(L);
    memory_watch(&at.memory, L, at.pool, NULL);
    memory_limit(&at.memory, 8 * MIB, "--memory");
    CHECK_INT(run(L, "for size = 40, 900, 40 do "
                     "  local t, base = {}, ('x'):rep(size) "
                     "  for i = 1, 3 * 2^20 // (size + 48) do t[i] = base .. i end "
                     "  t = nil collectgarbage() "
                     "end"),
              LUA_OK);
    CHECK_INT(at.memory.refusals, 0);
    CHECK(pool_held(at.pool) < 8 * MIB);
    CHECK_INT(run(L, "for n = 1, 4 do for size = 40, 900, 40 do "
                     "  local t, base = {}, ('x'):rep(size) "
                     "  pcall(function() while true do t[#t + 1] = base .. #t end end) "
                     "  t = nil "
                     "end end"),
              LUA_OK);
    CHECK(at.memory.refusals > 0);
    CHECK(pool_held(at.pool) <= 8 * MIB + MEMORY_RESERVE);
    lua_close(L);
    memory_close(&at.memory);
    close_pool();
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    RUN(sizes_that_come_one_after_the_other_use_the_same_memory);
    RUN(what_is_free_goes_back);
    RUN(what_is_free_goes_back_bit_by_bit_at_rest);
    RUN(what_lies_between_is_used_for_other_sizes);
    RUN(what_is_too_small_is_left_alone);
    RUN(blocks_keep_what_is_in_them);
    RUN(a_limit_holds_for_what_was_freed_too);
    return test_end();
}
