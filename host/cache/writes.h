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

/* All zero: empty. Owns what is in it. */
struct writes {
    struct cache_entry *entries[WRITES];
    size_t first, count;
};

/* Adds an entry. Returns the one that waits for longest when there are too many, or NULL. */
struct cache_entry *writes_add(struct writes *writes, const struct cache_table *table,
                               struct cache_entry *entry);

/* Takes out the one that waits for longest; NULL: there is none. */
struct cache_entry *writes_take(struct writes *writes);

#endif
