/* SPDX-License-Identifier: Apache-2.0 */
#include "host/cache/writes.h"

struct cache_entry *writes_take(struct writes *writes) {
    if (writes->count == 0)
        return NULL;
    struct cache_entry *entry = writes->entries[writes->first];
    writes->first = (writes->first + 1) % WRITES;
    writes->count--;
    return entry;
}

struct cache_entry *writes_add(struct writes *writes, const struct cache_table *table,
                               struct cache_entry *entry) {
    struct cache_entry *due = writes->count == WRITES ? writes_take(writes) : NULL;
    for (size_t i = 0; i < writes->count; i++) {
        const struct cache_entry *other = writes->entries[(writes->first + i) % WRITES];
        table_prefetch(table, other->hash, writes->count - i);
    }
    table_prefetch(table, entry->hash, 0);
    writes->entries[(writes->first + writes->count++) % WRITES] = entry;
    return due;
}
