/* SPDX-License-Identifier: Apache-2.0 */
#include "host/cache/cache.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/heap.h"
#include "host/cache/internal.h"

/* What malloc() rounds sizes up to, with the header that it needs itself. */
#define GRAIN 16
#define MALLOC_HEADER 8
/* An entry has a bucket of its own, on average. */
#define BUCKET sizeof(void *)
/* The cost of what waits to be linked, or for another one. Of more the copying takes longer
 * than the memory. */
#define WRITE_MOST 1024
#define CACHE_LINE 64

/* ---- entries ---- */

static size_t size_of(size_t key_len, enum cache_type type, size_t len) {
    return sizeof(struct cache_entry) + key_len + (type == CACHE_BYTES ? len : 0);
}

static uint64_t cost_of(size_t size) {
    return ((uint64_t)size + MALLOC_HEADER + GRAIN - 1) / GRAIN * GRAIN + BUCKET;
}

static uint64_t entry_cost(const struct cache_entry *entry) {
    return cost_of(size_of(entry->key_len, entry->type, entry->value.len));
}

uint64_t cache_entry_cost(struct cache_key key, const struct cache_value *value) {
    return cost_of(size_of(key.len, value->type, value->len));
}

static bool is_old(const struct cache_entry *entry, uint64_t now) {
    return entry->expires_ms != 0 && now >= entry->expires_ms;
}

/* All that have the same cost have the same size, so that each may be the next one. */
static struct cache_entry *allocate(struct cache *cache, uint64_t cost) {
    struct spare *spare = &cache->spares[cost / GRAIN % SPARES];
    if (spare->cost == cost) {
        spare->cost = 0;
        return spare->entry;
    }
    struct cache_entry *entry = malloc(cost - BUCKET - MALLOC_HEADER);
    heap_look();
    return entry;
}

/* Asks the memory for bytes that were not looked at, and are copied next. */
static void prefetch(const struct cache_entry *entry, uint64_t size) {
    for (uint64_t at = 0; at < size; at += CACHE_LINE)
        __builtin_prefetch((const char *)entry + at, 1);
}

/* Frees it, sooner or later. */
static void release(struct cache *cache, struct cache_entry *entry, uint64_t cost) {
    struct spare *spare = &cache->spares[cost / GRAIN % SPARES];
    if (cost > WRITE_MOST) {
        free(entry);
        return;
    }
    if (spare->cost != 0)
        free(spare->entry);
    *spare = (struct spare){entry, cost};
    prefetch(entry, cost);
}

/* Frees what is not in the table any more. */
static void forget(struct cache *cache, struct cache_entry *entry) {
    uint64_t cost = entry_cost(entry);
    list_remove(&entry->used);
    cache->aged -= entry->expires_ms != 0;
    cache->stats.bytes -= cost;
    release(cache, entry, cost);
}

/* Takes out and frees what `link` points at. */
static void drop(struct cache *cache, struct cache_entry **link) {
    struct cache_entry *entry = *link;
    table_remove(&cache->table, link);
    forget(cache, entry);
}

static void drop_old(struct cache *cache, struct cache_entry **link) {
    drop(cache, link);
    cache->stats.expirations++;
}

/* The least recently used one goes. `now` is 0 for whoever has no clock. */
static void evict(struct cache *cache, uint64_t now) {
    struct cache_entry *entry = list_item(cache->used.ends.prev, struct cache_entry, used);
    struct cache_entry **link = table_link(&cache->table, entry);
    if (is_old(entry, now)) {
        drop_old(cache, link);
        return;
    }
    drop(cache, link);
    cache->stats.evictions++;
}

static void touch(struct cache *cache, struct cache_entry *entry) {
    if (cache->used.ends.next == &entry->used)
        return;
    list_push_front(&cache->used, &entry->used);
}

static void write_value(struct cache_entry *entry, const struct cache_value *value) {
    entry->type = (uint8_t)value->type;
    switch (value->type) {
    case CACHE_BYTES:
        entry->value.len = value->len;
        memcpy(entry->bytes + entry->key_len, value->bytes, value->len);
        break;
    case CACHE_INTEGER:
        entry->value.integer = value->integer;
        break;
    case CACHE_NUMBER:
        entry->value.number = value->number;
        break;
    case CACHE_BOOLEAN:
        entry->value.boolean = value->boolean;
        break;
    }
}

static struct cache_value read_value(const struct cache_entry *entry) {
    struct cache_value value = {.type = (enum cache_type)entry->type};
    switch (value.type) {
    case CACHE_BYTES:
        value.bytes = entry->bytes + entry->key_len;
        value.len = entry->value.len;
        break;
    case CACHE_INTEGER:
        value.integer = entry->value.integer;
        break;
    case CACHE_NUMBER:
        value.number = entry->value.number;
        break;
    case CACHE_BOOLEAN:
        value.boolean = entry->value.boolean;
        break;
    }
    return value;
}

/* Makes room for so many bytes. What is over its bound already, as that has become smaller,
 * does not grow and is brought down by sweeps. */
static void make_room(struct cache *cache, uint64_t cost, uint64_t now) {
    uint64_t bound = cache->stats.max_bytes;
    if (bound < cache->stats.bytes)
        bound = cache->stats.bytes;
    while (cache->stats.bytes + cost > bound && !list_empty(&cache->used))
        evict(cache, now);
}

/* A new entry, linked nowhere. NULL without memory. */
static struct cache_entry *new_entry(struct cache *cache, struct cache_key key, uint32_t hash,
                                     uint64_t cost, const struct cache_value *value) {
    struct cache_entry *entry = allocate(cache, cost);
    if (entry == NULL)
        return NULL;
    entry->next = NULL;
    entry->used = (struct list_node){0};
    entry->hash = hash;
    entry->key_len = (uint16_t)key.len;
    memcpy(entry->bytes, key.bytes, key.len);
    write_value(entry, value);
    return entry;
}

/* An entry that is linked nowhere goes into its bucket, instead of one with its key. */
static void link_in(struct cache *cache, struct cache_entry **bucket,
                    struct cache_entry *entry) {
    uint64_t cost = entry_cost(entry);
    struct cache_entry **link =
        table_find_in(bucket, entry->hash, entry->bytes, entry->key_len);
    struct cache_entry *before = *link;
    if (before != NULL) {
        table_replace(link, entry);
        forget(cache, before);
    } else {
        table_insert(&cache->table, entry);
    }
    make_room(cache, cost, cache->written_ms);
    list_push_front(&cache->used, &entry->used);
    cache->aged += entry->expires_ms != 0;
    cache->stats.bytes += cost;
}

static void link_entry(struct cache *cache, struct cache_entry *entry) {
    link_in(cache, table_bucket_of(&cache->table, entry->hash), entry);
}

/* Everything but cache_set() wants to see what was set. */
static void settle(struct cache *cache) {
    struct write write;
    while ((write = writes_take(&cache->writes, &cache->table)).entry != NULL)
        link_in(cache, write.bucket, write.entry);
}

/* ---- reading ---- */

/* Where the entry is linked, unless it is too old, which removes it. *link is NULL: none. */
static struct cache_entry **find(struct cache *cache, struct cache_key key, uint32_t hash,
                                 uint64_t now) {
    settle(cache);
    struct cache_entry **link = table_find(&cache->table, hash, key.bytes, key.len);
    if (*link == NULL || !is_old(*link, now))
        return link;
    drop_old(cache, link);
    return table_find(&cache->table, hash, key.bytes, key.len);
}

bool cache_get(struct cache *cache, struct cache_key key, uint64_t now,
               struct cache_value *out) {
    uint32_t hash = table_hash(&cache->table, key.bytes, key.len);
    struct cache_entry *entry = *find(cache, key, hash, now);
    if (entry == NULL) {
        cache->stats.misses++;
        return false;
    }
    cache->stats.hits++;
    if (entry_cost(entry) <= WRITE_MOST)
        prefetch(entry, entry_cost(entry));
    touch(cache, entry); /* waits for the neighbours meanwhile */
    *out = read_value(entry);
    return true;
}

struct cache_entry *cache_next(struct cache *cache, const struct cache_entry *after,
                               uint64_t now, struct cache_key *key, bool *old) {
    settle(cache);
    struct list_node *node =
        after != NULL ? list_next(&cache->used, &after->used) : list_first(&cache->used);
    struct cache_entry *entry = list_item(node, struct cache_entry, used);
    if (entry == NULL)
        return NULL;
    *key = (struct cache_key){entry->bytes, entry->key_len};
    *old = is_old(entry, now);
    return entry;
}

/* ---- writing ---- */

/* LN_OK, LN_ENOMEM, or LN_ETOOLARGE; *out is linked nowhere. */
static int make_entry(struct cache *cache, struct cache_key key, uint32_t hash, uint64_t now,
                      uint64_t ttl_ms, const struct cache_value *value,
                      struct cache_entry **out) {
    uint64_t cost = cache_entry_cost(key, value);
    if (cost > cache->stats.max_bytes / CACHE_SHARE)
        return LN_ETOOLARGE;
    struct cache_entry *entry = *out = new_entry(cache, key, hash, cost, value);
    if (entry == NULL)
        return LN_ENOMEM;
    entry->expires_ms = ttl_ms != 0 ? now + ttl_ms : 0;
    cache->written_ms = now;
    if (ttl_ms != 0)
        caches_want_sweep(cache->caches);
    return LN_OK;
}

int cache_set(struct cache *cache, struct cache_key key, uint64_t now, uint64_t ttl_ms,
              const struct cache_value *value) {
    uint32_t hash = table_hash(&cache->table, key.bytes, key.len);
    struct cache_entry *entry;
    int rc = make_entry(cache, key, hash, now, ttl_ms, value, &entry);
    if (rc < 0)
        return rc;
    if (entry_cost(entry) > WRITE_MOST) {
        settle(cache);
        link_entry(cache, entry);
        return LN_OK;
    }
    struct write due = writes_add(&cache->writes, &cache->table, entry);
    if (due.entry != NULL)
        link_in(cache, due.bucket, due.entry);
    return LN_OK;
}

/* Puts in what is not there. */
static int put(struct cache *cache, struct cache_key key, uint32_t hash, uint64_t now,
               uint64_t ttl_ms, const struct cache_value *value) {
    struct cache_entry *entry;
    int rc = make_entry(cache, key, hash, now, ttl_ms, value, &entry);
    if (rc == LN_OK)
        link_entry(cache, entry);
    return rc;
}

int cache_add(struct cache *cache, struct cache_key key, uint64_t now, uint64_t ttl_ms,
              const struct cache_value *value, bool *added) {
    uint32_t hash = table_hash(&cache->table, key.bytes, key.len);
    struct cache_entry **link = find(cache, key, hash, now);
    *added = false;
    if (*link != NULL)
        return LN_OK;
    int rc = put(cache, key, hash, now, ttl_ms, value);
    *added = rc == LN_OK;
    return rc;
}

static double as_number(const struct cache_value *value) {
    return value->type == CACHE_INTEGER ? (double)value->integer : value->number;
}

static struct cache_value sum(const struct cache_value *a, const struct cache_value *b) {
    struct cache_value result = {.type = CACHE_INTEGER};
    if (a->type == CACHE_INTEGER && b->type == CACHE_INTEGER) {
        result.integer = (int64_t)((uint64_t)a->integer + (uint64_t)b->integer);
        return result;
    }
    result.type = CACHE_NUMBER;
    result.number = as_number(a) + as_number(b);
    return result;
}

int cache_incr(struct cache *cache, struct cache_key key, uint64_t now, uint64_t ttl_ms,
               const struct cache_value *init, struct cache_value *value) {
    uint32_t hash = table_hash(&cache->table, key.bytes, key.len);
    struct cache_entry **link = find(cache, key, hash, now), *entry = *link;
    if (entry == NULL) {
        *value = sum(init, value);
        return put(cache, key, hash, now, ttl_ms, value);
    }
    if (entry->type != CACHE_INTEGER && entry->type != CACHE_NUMBER)
        return LN_EINVAL;
    struct cache_value before = read_value(entry);
    *value = sum(&before, value);
    write_value(entry, value);
    touch(cache, entry);
    return LN_OK;
}

bool cache_delete(struct cache *cache, struct cache_key key, uint64_t now) {
    uint32_t hash = table_hash(&cache->table, key.bytes, key.len);
    struct cache_entry **link = find(cache, key, hash, now);
    if (*link == NULL)
        return false;
    drop(cache, link);
    return true;
}

/* ---- its life ---- */

bool cache_init(struct cache *cache, char *name, const uint64_t seed[2]) {
    if (!table_open(&cache->table, seed))
        return false;
    cache->name = name;
    return true;
}

bool cache_free_some(struct cache *cache, size_t most) {
    settle(cache);
    for (; most > 0; most--) {
        struct list_node *node = list_pop_front(&cache->used);
        if (node == NULL)
            break;
        free(list_item(node, struct cache_entry, used));
    }
    if (!list_empty(&cache->used))
        return false;
    for (size_t i = 0; i < SPARES; i++)
        if (cache->spares[i].cost != 0)
            free(cache->spares[i].entry);
    table_free(&cache->table);
    free(cache->name);
    cache->name = NULL;
    return true;
}

struct sweep cache_sweep(struct cache *cache, uint64_t now, size_t buckets) {
    struct sweep sweep = {0};
    settle(cache);
    if (buckets > table_buckets(&cache->table))
        buckets = table_buckets(&cache->table);
    for (; buckets > 0 && cache->aged > 0; buckets--, cache->cursor++) {
        if (cache->cursor >= table_buckets(&cache->table))
            cache->cursor = 0;
        struct cache_entry *entry = table_bucket(&cache->table, cache->cursor), *next;
        for (; entry != NULL; entry = next) {
            next = entry->next;
            sweep.seen++;
            if (!is_old(entry, now))
                continue;
            sweep.removed++;
            drop_old(cache, table_link(&cache->table, entry));
        }
    }
    return sweep;
}

void cache_trim(struct cache *cache, size_t most) {
    settle(cache);
    for (; most > 0 && cache_is_over(cache) && !list_empty(&cache->used); most--)
        evict(cache, 0);
}

const char *cache_name(const struct cache *cache) {
    return cache->name;
}

struct cache_stats cache_stats(struct cache *cache) {
    settle(cache);
    struct cache_stats stats = cache->stats;
    stats.entries = cache->table.count;
    return stats;
}
