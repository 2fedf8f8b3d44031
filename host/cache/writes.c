/* SPDX-License-Identifier: Apache-2.0 */
#include "host/cache/writes.h"

#include <string.h>

/* Looks up the buckets anew, if that of anything may be another one by now. */
static void follow(struct writes *writes, const struct cache_table *table) {
    if (writes->moves == table->moves)
        return;
    writes->moves = table->moves;
    for (size_t i = 0; i < writes->count; i++)
        writes->all[i].bucket = table_bucket_of(table, writes->all[i].entry->hash);
}

static struct write take(struct writes *writes) {
    struct write write = writes->all[0];
    memmove(writes->all, writes->all + 1, sizeof(writes->all) - sizeof(writes->all[0]));
    writes->count--;
    return write;
}

struct write writes_take(struct writes *writes, const struct cache_table *table) {
    if (writes->count == 0)
        return (struct write){0};
    follow(writes, table);
    return take(writes);
}

struct write writes_add(struct writes *writes, const struct cache_table *table,
                        struct cache_entry *entry) {
    struct write due = {0};
    follow(writes, table);
    if (writes->count == WRITES)
        due = take(writes);
    for (size_t i = 0; i < writes->count; i++)
        table_prefetch(writes->all[i].bucket, writes->all[i].entry->hash, writes->count - i);
    struct cache_entry **bucket = table_bucket_of(table, entry->hash);
    table_prefetch(bucket, entry->hash, 0);
    writes->all[writes->count++] = (struct write){entry, bucket};
    return due;
}
