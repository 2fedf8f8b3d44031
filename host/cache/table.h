/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The entries of a cache by their keys: a hash table that grows and shrinks by one bucket at a
 * time (linear hashing), so that no insertion has to move more than the entries of one bucket,
 * however many there are. It owns its buckets, never the entries.
 */
#ifndef LUNATS_CACHE_TABLE_H
#define LUNATS_CACHE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/base/list.h"

/* One entry with its bytes: the key, and behind it the value if that is bytes, too. */
struct cache_entry {
    struct cache_entry *next; /* of its bucket */
    struct list_node used;    /* of the cache: the most recently used first */
    uint64_t expires_ms;      /* on the clock of whoever has set it; 0: never */
    union {
        size_t len; /* of bytes */
        int64_t integer;
        double number;
        bool boolean;
    } value;
    uint32_t hash;
    uint16_t key_len;
    uint8_t type; /* enum cache_type */
    char bytes[];
};

struct cache_table {
    struct cache_entry ***segments; /* each of TABLE_SEGMENT buckets */
    size_t segment_count, segment_room;
    size_t count; /* of entries */
    /* Buckets from 0 to `base` + `split`; those below `split` have been split already. `base`
     * is a power of two. */
    size_t base, split;
    uint64_t moves;   /* changes with the number of buckets */
    uint64_t seed[2]; /* whoever chooses keys cannot know which of them collide */
};

/* False without memory. */
bool table_open(struct cache_table *table, const uint64_t seed[2]);
/* Frees the buckets. */
void table_free(struct cache_table *table);

uint32_t table_hash(const struct cache_table *table, const char *key, size_t len);

/* The bucket of what has this hash, valid as long as `moves` stays. */
struct cache_entry **table_bucket_of(const struct cache_table *table, uint32_t hash);

/* Where the entry is linked, or where the end of its bucket is: *link is NULL then. */
struct cache_entry **table_find_in(struct cache_entry **bucket, uint32_t hash, const char *key,
                                   size_t len);
struct cache_entry **table_find(const struct cache_table *table, uint32_t hash, const char *key,
                                size_t len);

/*
 * Asks the memory, without waiting, for what is touched when an entry with this hash is
 * replaced. Where that is says only what the step before has brought: 0 is the bucket, 1 its
 * first entry, and so on until it is found, then its neighbours. Other work has to lie between
 * the calls.
 */
void table_prefetch(struct cache_entry **bucket, uint32_t hash, size_t step);

/* Where this entry is linked. */
struct cache_entry **table_link(const struct cache_table *table,
                                const struct cache_entry *entry);

/* Links an entry, whose hash and key are set and which is not there yet. */
void table_insert(struct cache_table *table, struct cache_entry *entry);

/* Links an entry in the place of what `link` points at, which has the same key. */
void table_replace(struct cache_entry **link, struct cache_entry *entry);

/* Takes out what `link` points at. */
void table_remove(struct cache_table *table, struct cache_entry **link);

size_t table_buckets(const struct cache_table *table);
/* The first entry of a bucket, or NULL. */
struct cache_entry *table_bucket(const struct cache_table *table, size_t index);

#endif
