/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entries that were set and are not in the table yet. With a million of them nothing that a
 * write touches - bucket, entry, its neighbours by last use - is in the caches of the
 * processor, and where each is says only the one before. So a write is done when a few more
 * have come, and each of those asks the memory for what it touches next, without waiting.
 */
#ifndef LUNATS_CACHE_WRITES_H
#define LUNATS_CACHE_WRITES_H

#include "host/cache/table.h"

#define WRITES 4 /* the bucket, its first two entries, the neighbours of one of them */

struct write {
    struct cache_entry *entry;
    struct cache_entry **bucket; /* where it belongs, while the table has these `moves` */
};

/* All zero: empty. Owns the entries in it. */
struct writes {
    struct write all[WRITES]; /* the one that waits for longest first */
    size_t count;
    uint64_t moves; /* of the table, when the buckets were looked up */
};

/* Adds an entry. Returns the one that waits for longest when there are too many; else its entry
 * is NULL. */
struct write writes_add(struct writes *writes, const struct cache_table *table,
                        struct cache_entry *entry);

/* Takes out the one that waits for longest; its entry is NULL: there is none. */
struct write writes_take(struct writes *writes, const struct cache_table *table);

#endif
