/* SPDX-License-Identifier: Apache-2.0 */
#include "host/cache/table.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/hash.h"

/* Buckets of a segment: 4 KiB. */
#define TABLE_SEGMENT ((size_t)512)
/* With fewer than one entry for so many buckets there are too many; so many go at a time. */
#define SHRINK 4

uint32_t table_hash(const struct cache_table *table, const char *key, size_t len) {
    return hash_bytes(table->seed, key, len);
}

/* ---- buckets ---- */

static struct cache_entry **bucket(const struct cache_table *table, size_t index) {
    return &table->segments[index / TABLE_SEGMENT][index % TABLE_SEGMENT];
}

static size_t index_of(const struct cache_table *table, uint32_t hash) {
    size_t index = hash & (table->base * 2 - 1);
    return index < table->base + table->split ? index : index - table->base;
}

struct cache_entry **table_bucket_of(const struct cache_table *table, uint32_t hash) {
    return bucket(table, index_of(table, hash));
}

static bool add_segment(struct cache_table *table) {
    if (table->segment_count == table->segment_room) {
        size_t room = table->segment_room == 0 ? 4 : table->segment_room * 2;
        struct cache_entry ***segments = realloc(table->segments, room * sizeof(*segments));
        if (segments == NULL)
            return false;
        table->segments = segments;
        table->segment_room = room;
    }
    struct cache_entry **segment = calloc(TABLE_SEGMENT, sizeof(*segment));
    if (segment == NULL)
        return false;
    table->segments[table->segment_count++] = segment;
    return true;
}

/* Without memory the buckets just get longer. */
static void grow(struct cache_table *table) {
    size_t from = table->split, to = table->base + table->split;
    if (to == table->segment_count * TABLE_SEGMENT && !add_segment(table))
        return;
    struct cache_entry **stay = bucket(table, from), **go = bucket(table, to);
    for (struct cache_entry *entry = *stay; entry != NULL; entry = entry->next) {
        if ((entry->hash & table->base) != 0) {
            *go = entry;
            go = &entry->next;
        } else {
            *stay = entry;
            stay = &entry->next;
        }
    }
    *stay = *go = NULL;
    table->moves++;
    if (++table->split == table->base) {
        table->base *= 2;
        table->split = 0;
    }
}

static void shrink(struct cache_table *table) {
    if (table->split == 0) {
        table->base /= 2;
        table->split = table->base;
    }
    table->split--;
    table->moves++;
    size_t last = table->base + table->split;
    struct cache_entry **into = bucket(table, table->split), **from = bucket(table, last);
    while (*into != NULL)
        into = &(*into)->next;
    *into = *from;
    *from = NULL;
    /* One empty segment stays, for a table that grows and shrinks all the time. */
    if (last + TABLE_SEGMENT <= (table->segment_count - 1) * TABLE_SEGMENT)
        free(table->segments[--table->segment_count]);
}

/* ---- entries ---- */

bool table_open(struct cache_table *table, const uint64_t seed[2]) {
    *table = (struct cache_table){.base = TABLE_SEGMENT};
    memcpy(table->seed, seed, sizeof(table->seed));
    if (add_segment(table))
        return true;
    table_free(table);
    return false;
}

void table_free(struct cache_table *table) {
    for (size_t i = 0; i < table->segment_count; i++)
        free(table->segments[i]);
    free(table->segments);
    table->segments = NULL;
    table->segment_count = table->segment_room = 0;
}

struct cache_entry **table_find_in(struct cache_entry **link, uint32_t hash, const char *key,
                                   size_t len) {
    for (; *link != NULL; link = &(*link)->next)
        if ((*link)->hash == hash && (*link)->key_len == len &&
            memcmp((*link)->bytes, key, len) == 0)
            break;
    return link;
}

struct cache_entry **table_find(const struct cache_table *table, uint32_t hash, const char *key,
                                size_t len) {
    return table_find_in(table_bucket_of(table, hash), hash, key, len);
}

/* The header, in front of which malloc() has its own, and the key. */
static void prefetch_entry(const struct cache_entry *entry) {
    __builtin_prefetch((const char *)entry - sizeof(size_t), 1);
    __builtin_prefetch(entry->bytes, 1);
}

void table_prefetch(struct cache_entry **bucket, uint32_t hash, size_t step) {
    struct cache_entry *entry;
    if (step == 0) {
        __builtin_prefetch(bucket, 1);
        return;
    }
    for (entry = *bucket; step > 1 && entry != NULL && entry->hash != hash; step--)
        entry = entry->next;
    if (entry == NULL)
        return;
    if (step == 1) {
        prefetch_entry(entry);
        return;
    }
    __builtin_prefetch(&entry->used.prev->next, 1);
    __builtin_prefetch(&entry->used.next->prev, 1);
}

struct cache_entry **table_link(const struct cache_table *table,
                                const struct cache_entry *entry) {
    struct cache_entry **link = table_bucket_of(table, entry->hash);
    while (*link != entry)
        link = &(*link)->next;
    return link;
}

void table_insert(struct cache_table *table, struct cache_entry *entry) {
    struct cache_entry **link = table_bucket_of(table, entry->hash);
    entry->next = *link;
    *link = entry;
    if (++table->count > table->base + table->split)
        grow(table);
}

void table_replace(struct cache_entry **link, struct cache_entry *entry) {
    entry->next = (*link)->next;
    *link = entry;
}

void table_remove(struct cache_table *table, struct cache_entry **link) {
    *link = (*link)->next;
    table->count--;
    for (int i = 0; i < SHRINK; i++) {
        size_t buckets = table->base + table->split;
        if (buckets <= TABLE_SEGMENT || table->count >= buckets / SHRINK)
            break;
        shrink(table);
    }
}

size_t table_buckets(const struct cache_table *table) {
    return table->base + table->split;
}

struct cache_entry *table_bucket(const struct cache_table *table, size_t index) {
    return *bucket(table, index);
}
