/* SPDX-License-Identifier: Apache-2.0 */
/* The part of /metrics about caches. They belong to no service, so their samples have no label
 * but their name. */
#include "host/admin/internal.h"
#include "host/admin/metrics.h"
#include "host/cache/cache.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct {
    const char *name, *help;
    enum meter_type type;
    size_t offset; /* of a uint64_t in struct cache_stats */
} families[] = {
    {"lunats_cache_entries", "Entries of a cache.", METER_GAUGE,
     offsetof(struct cache_stats, entries)},
    {"lunats_cache_bytes", "Bytes of the entries of a cache, with what each needs besides.",
     METER_GAUGE, offsetof(struct cache_stats, bytes)},
    {"lunats_cache_max_bytes", "Bytes that a cache may have.", METER_GAUGE,
     offsetof(struct cache_stats, max_bytes)},
    {"lunats_cache_hits_total", "Values that were asked for and there.", METER_COUNTER,
     offsetof(struct cache_stats, hits)},
    {"lunats_cache_misses_total", "Values that were asked for and not there.", METER_COUNTER,
     offsetof(struct cache_stats, misses)},
    {"lunats_cache_evictions_total", "Entries that had to go for others.", METER_COUNTER,
     offsetof(struct cache_stats, evictions)},
    {"lunats_cache_expirations_total", "Entries that were removed as they were too old.",
     METER_COUNTER, offsetof(struct cache_stats, expirations)},
};

void caches_write(struct metrics *metrics, const struct caches *caches) {
    if (caches == NULL || caches_next(caches, NULL) == NULL)
        return;
    for (size_t i = 0; i < COUNT(families); i++) {
        metrics_family(metrics, families[i].name, families[i].type, families[i].help);
        for (struct cache *at = NULL; (at = caches_next(caches, at)) != NULL;) {
            struct cache_stats stats = cache_stats(at);
            const uint64_t *value =
                (const uint64_t *)(const void *)((const char *)&stats + families[i].offset);
            const struct metrics_label label = {"cache", cache_name(at)};
            metrics_sample(metrics, &label, 1, (double)*value);
        }
    }
}
