/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder know of each other: cache.c has the entries of one cache,
 * caches.c whose caches there are and what is done for them from the loop. */
#ifndef LUNATS_CACHE_INTERNAL_H
#define LUNATS_CACHE_INTERNAL_H

#include "host/cache/cache.h"
#include "host/cache/table.h"
#include "host/cache/writes.h"

/* Memory of entries that are gone, one of a size each, for the next of that size: values that
 * are replaced are mostly as long as those before. */
#define SPARES 4

struct spare {
    struct cache_entry *entry; /* owned; nothing in it means anything */
    uint64_t cost;             /* 0: none */
};

struct cache {
    struct list_node node; /* of struct caches */
    struct caches *caches;
    char *name;           /* owned */
    struct list users;    /* struct cache_user */
    struct list services; /* struct holder, see caches.c */
    struct cache_table table;
    struct list used;     /* of entries: the most recently used first */
    struct writes writes; /* neither in the table nor counted yet */
    uint64_t written_ms;  /* the time of the last one */
    struct spare spares[SPARES];
    uint64_t aged; /* entries that have an age */
    size_t cursor; /* the bucket where the next sweep begins */
    struct cache_stats stats;
};

/* ---- caches.c, for cache.c ---- */

/* There is something to sweep. */
void caches_want_sweep(struct caches *caches);

/* ---- cache.c, for caches.c ---- */

/* False without memory. Owns `name` from then on. */
bool cache_init(struct cache *cache, char *name, const uint64_t seed[2]);
/* Frees at most so many entries; true: that were all, and all else is freed, but `cache`. */
bool cache_free_some(struct cache *cache, size_t most);

/* Looks at `buckets` buckets, removes what is too old, and counts what it has seen. */
struct sweep {
    size_t seen, removed;
};
struct sweep cache_sweep(struct cache *cache, uint64_t now, size_t buckets);

/* Lets at most so many go of those that are too many. */
void cache_trim(struct cache *cache, size_t most);

static inline bool cache_is_over(const struct cache *cache) {
    return cache->stats.bytes > cache->stats.max_bytes;
}

#endif
