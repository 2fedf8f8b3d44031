/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/meter.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/utf8.h"

/* ---- a meter ---- */

static char *text(const char *const *of) {
    return (char *)(uintptr_t)*of;
}

void meter_free(struct meter *meter) {
    list_remove(&meter->node);
    for (struct series *at = meter->series, *next; at != NULL; at = next) {
        next = at->next;
        free(at->buckets);
        free(at);
    }
    free(meter->table);
    free(text(&meter->options.name));
    free(text(&meter->options.help));
    for (size_t i = 0; meter->options.labels != NULL && i < meter->options.label_count; i++)
        free(text(&meter->options.labels[i]));
    free((void *)(uintptr_t)meter->options.labels);
    free((void *)(uintptr_t)meter->options.bounds);
    free(meter);
}

static bool copy_options(struct meter_options *to, const struct meter_options *from) {
    const char **labels = calloc(from->label_count + 1, sizeof(*labels));
    double *bounds = calloc(from->bound_count + 1, sizeof(*bounds));
    to->type = from->type;
    to->labels = labels;
    to->label_count = from->label_count;
    to->bounds = bounds;
    to->bound_count = from->bound_count;
    to->name = strdup(from->name);
    to->help = strdup(from->help);
    if (labels == NULL || bounds == NULL || to->name == NULL || to->help == NULL)
        return false;
    memcpy(bounds, from->bounds != NULL ? from->bounds : bounds,
           from->bound_count * sizeof(*bounds));
    bool ok = true;
    for (size_t i = 0; i < from->label_count; i++)
        ok &= (labels[i] = strdup(from->labels[i])) != NULL;
    return ok;
}

static bool same(const struct meter_options *a, const struct meter_options *b) {
    if (a->type != b->type || strcmp(a->name, b->name) != 0 ||
        a->label_count != b->label_count || a->bound_count != b->bound_count)
        return false;
    for (size_t i = 0; i < a->label_count; i++)
        if (strcmp(a->labels[i], b->labels[i]) != 0)
            return false;
    for (size_t i = 0; i < a->bound_count; i++)
        if (a->bounds[i] != b->bounds[i])
            return false;
    return true;
}

struct meter *meter_open(struct meters *meters, const struct meter_options *options) {
    list_each (struct meter, at, &meters->list, node)
        if (same(&at->options, options)) {
            at->users++;
            return at;
        }
    struct meter *meter = calloc(1, sizeof(*meter));
    if (meter == NULL)
        return NULL;
    meter->users = 1;
    list_push_back(&meters->list, &meter->node);
    if (copy_options(&meter->options, options))
        return meter;
    meter_free(meter);
    return NULL;
}

void meter_close(struct meter *meter) {
    if (--meter->users == 0)
        meter_free(meter);
}

/* ---- its series ---- */

static uint32_t hash_of(const char *bytes, size_t len) {
    uint32_t hash = 2166136261U; /* FNV-1a */
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (unsigned char)bytes[i]) * 16777619U;
    return hash;
}

/* Where a series with this key is, or belongs. The table is never full. */
static struct series **place(const struct meter *meter, uint32_t hash, const char *key,
                             size_t len) {
    size_t at = hash % meter->table_size;
    for (struct series *here; (here = meter->table[at]) != NULL;) {
        if (here->hash == hash && here->len == len && memcmp(here->values, key, len) == 0)
            break;
        at = (at + 1) % meter->table_size;
    }
    return &meter->table[at];
}

static bool make_room(struct meter *meter) {
    size_t size = meter->table_size == 0 ? 8 : 2 * meter->table_size;
    if (2 * meter->count < meter->table_size)
        return true;
    struct series **table = calloc(size, sizeof(struct series *));
    if (table == NULL)
        return false;
    free(meter->table);
    meter->table = table;
    meter->table_size = size;
    for (struct series *at = meter->series; at != NULL; at = at->next)
        *place(meter, at->hash, at->values, at->len) = at;
    return true;
}

static struct series *add(struct meter *meter, uint32_t hash, const char *key, size_t len) {
    struct series *series = calloc(1, sizeof(*series) + len);
    if (series == NULL)
        return NULL;
    if (meter->options.type == METER_HISTOGRAM) {
        series->buckets = calloc(meter->options.bound_count + 1, sizeof(uint64_t));
        if (series->buckets == NULL) {
            free(series);
            return NULL;
        }
    }
    series->hash = hash;
    series->len = len;
    memcpy(series->values, key, len);
    *place(meter, hash, key, len) = series;
    series->next = meter->series;
    meter->series = series;
    meter->count++;
    return series;
}

/* Copies the value up to its limit; bytes that are no UTF-8 become '?', so that no two series
 * look the same. Returns the length. */
static size_t copy_value(char out[METER_VALUE_SIZE], const char *value) {
    size_t len = strnlen(value, METER_VALUE_SIZE - 1);
    memcpy(out, value, len);
    out[len] = '\0';
    for (char *at = out; (at = (char *)(uintptr_t)utf8_find_invalid(at, out + len)) != NULL;)
        *at = '?';
    return len;
}

struct series *meter_series(struct meter *meter, const char *const *values) {
    char key[METER_LABELS * METER_VALUE_SIZE];
    size_t len = 0;
    for (size_t i = 0; i < meter->options.label_count; i++)
        len += copy_value(key + len, values[i]) + 1;
    uint32_t hash = hash_of(key, len);
    struct series *found = meter->table_size > 0 ? *place(meter, hash, key, len) : NULL;
    if (found == NULL && meter->count < METER_SERIES && make_room(meter))
        found = add(meter, hash, key, len);
    if (found == NULL)
        meter->dropped++;
    return found;
}

void series_observe(const struct meter *meter, struct series *series, double value) {
    size_t i = 0;
    if (series == NULL)
        return;
    while (i < meter->options.bound_count && value > meter->options.bounds[i])
        i++;
    series->buckets[i]++;
    series->count++;
    series->value += value;
}
