/* SPDX-License-Identifier: Apache-2.0 */
#include "host/supervisor/sums.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/admin/metrics.h"
#include "host/base/status.h"

#define SLOTS 1024 /* at first; a power of two */

/* What is found by its text. */
struct entry {
    struct entry *chain; /* in the same slot */
    uint64_t hash;
    size_t len;
    char *key; /* of `len` bytes, in the memory of the entry */
};

struct table {
    struct entry **slots;
    size_t size, count;
};

struct sample {
    struct entry entry; /* first; "name{labels}" */
    struct sample *next;
    double value;
};

enum type {
    TYPE_UNKNOWN,
    TYPE_UNTYPED,
    TYPE_COUNTER,
    TYPE_GAUGE,
    TYPE_HISTOGRAM,
    TYPE_SUMMARY
};
static const char *const type_names[] = {"untyped", "untyped",   "counter",
                                         "gauge",   "histogram", "summary"};

struct family {
    struct entry entry; /* first; the name */
    struct family *next;
    char *help; /* owned, as it was written; NULL: none */
    enum type type;
    struct sample *first, *last;
};

struct sums {
    struct table families, samples;
    struct family *first, *last;
    size_t limit, used;
    size_t dropped;
    /* Of the text that is read. */
    unsigned worker;
    struct family *current; /* to which the next samples belong */
    bool foreign;           /* its type is another one in the text: they do not */
};

/* A piece of the text. */
struct span {
    const char *at;
    size_t len;
};

/* ---- tables ---- */

static uint64_t hash_of(const char *key, size_t len) {
    uint64_t hash = 14695981039346656037U; /* FNV-1a */
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (unsigned char)key[i]) * 1099511628211U;
    return hash;
}

static struct entry *find(const struct table *table, const char *key, size_t len) {
    uint64_t hash = hash_of(key, len);
    struct entry *at = table->size > 0 ? table->slots[hash & (table->size - 1)] : NULL;
    while (at != NULL && (at->hash != hash || at->len != len || memcmp(at->key, key, len) != 0))
        at = at->chain;
    return at;
}

static void put(struct table *table, struct entry *entry) {
    struct entry **slot = &table->slots[entry->hash & (table->size - 1)];
    entry->chain = *slot;
    *slot = entry;
}

static bool grow(struct table *table) {
    struct table larger = {.size = table->size > 0 ? table->size * 2 : SLOTS};
    if (table->count < table->size)
        return true;
    larger.slots = calloc(larger.size, sizeof(struct entry *));
    if (larger.slots == NULL)
        return false;
    for (size_t i = 0; i < table->size; i++)
        for (struct entry *at = table->slots[i], *next; at != NULL; at = next) {
            next = at->chain;
            put(&larger, at);
        }
    larger.count = table->count;
    free(table->slots);
    *table = larger;
    return true;
}

/* A new entry of `size` bytes with the key behind it, all else zero. NULL: no memory, or no
 * more of it is allowed. */
static void *add(struct sums *sums, struct table *table, size_t size, const char *key,
                 size_t len) {
    size_t needed = size + len + 2 * sizeof(struct entry *);
    struct entry *entry = NULL;
    if (needed <= sums->limit - sums->used && grow(table))
        entry = calloc(1, size + len);
    if (entry == NULL) {
        sums->dropped++;
        return NULL;
    }
    sums->used += needed;
    entry->key = (char *)entry + size;
    entry->len = len;
    memcpy(entry->key, key, len);
    entry->hash = hash_of(key, len);
    put(table, entry);
    table->count++;
    return entry;
}

/* ---- families ---- */

static struct family *open_family(struct sums *sums, struct span name) {
    struct family *family = (struct family *)find(&sums->families, name.at, name.len);
    if (family != NULL)
        return family;
    family = add(sums, &sums->families, sizeof(*family), name.at, name.len);
    if (family == NULL)
        return NULL;
    *(sums->last != NULL ? &sums->last->next : &sums->first) = family;
    sums->last = family;
    return family;
}

static bool is_summed(const struct family *family) {
    return family->type == TYPE_COUNTER || family->type == TYPE_HISTOGRAM;
}

static void take_help(struct sums *sums, struct span name, struct span rest) {
    struct family *family = sums->current = open_family(sums, name);
    sums->foreign = false;
    if (family == NULL || family->help != NULL || rest.len > sums->limit - sums->used)
        return;
    family->help = strndup(rest.at, rest.len);
    if (family->help != NULL)
        sums->used += rest.len;
}

static void take_type(struct sums *sums, struct span name, struct span rest) {
    enum type type = TYPE_UNTYPED;
    for (size_t i = TYPE_UNTYPED; i < sizeof(type_names) / sizeof(type_names[0]); i++)
        if (strlen(type_names[i]) == rest.len && memcmp(type_names[i], rest.at, rest.len) == 0)
            type = (enum type)i;
    struct family *family = sums->current = open_family(sums, name);
    if (family != NULL && family->type == TYPE_UNKNOWN && family->first == NULL)
        family->type = type;
    sums->foreign = family != NULL && family->type != type;
}

static bool has_suffix(struct span name, size_t from, const char *suffix) {
    return name.len - from == strlen(suffix) &&
           memcmp(name.at + from, suffix, name.len - from) == 0;
}

/* Whether a sample of this name is one of the family. */
static bool is_of(const struct family *family, struct span name) {
    size_t len = family->entry.len;
    if (name.len < len || memcmp(family->entry.key, name.at, len) != 0)
        return false;
    return name.len == len ||
           ((family->type == TYPE_HISTOGRAM || family->type == TYPE_SUMMARY) &&
            (has_suffix(name, len, "_bucket") || has_suffix(name, len, "_sum") ||
             has_suffix(name, len, "_count")));
}

/* ---- samples ---- */

static bool is_name(char byte, bool first) {
    return isalpha((unsigned char)byte) || byte == '_' || byte == ':' ||
           (isdigit((unsigned char)byte) && !first);
}

/* The end of a name that begins at `at`; `at` itself: there is none. */
static const char *skip_name(const char *at, const char *end) {
    const char *from = at;
    while (at < end && is_name(*at, at == from))
        at++;
    return at;
}

static const char *skip_blanks(const char *at, const char *end) {
    while (at < end && (*at == ' ' || *at == '\t'))
        at++;
    return at;
}

/* Behind the quote that ends a value; NULL: none does. */
static const char *skip_value(const char *at, const char *end) {
    if (at == end || *at != '"')
        return NULL;
    for (at++; at < end && *at != '"'; at++)
        at += *at == '\\';
    return at < end ? at + 1 : NULL;
}

/* From the brace to what is behind the other one, with whether a label is called "worker".
 * NULL: these are no labels. */
static const char *skip_labels(const char *at, const char *end, bool *has_worker) {
    static const char worker[] = "worker";
    *has_worker = false;
    for (at++; at < end && *at != '}';) {
        const char *name = at;
        at = skip_name(at, end);
        *has_worker |=
            at - name == sizeof(worker) - 1 && memcmp(name, worker, sizeof(worker) - 1) == 0;
        if (at == name || at == end || *at != '=')
            return NULL;
        at = skip_value(at + 1, end);
        if (at == NULL || at == end || (*at != ',' && *at != '}'))
            return NULL;
        at += *at == ',';
    }
    return at < end ? at + 1 : NULL;
}

/* The number, with perhaps a time behind it. */
static bool read_value(const char *at, const char *end, double *out) {
    char number[64], *stop;
    const char *from = skip_blanks(at, end);
    size_t len = 0;
    while (from + len < end && from[len] != ' ' && from[len] != '\t')
        len++;
    if (from == at || len == 0 || len >= sizeof(number))
        return false;
    memcpy(number, from, len);
    number[len] = '\0';
    *out = strtod(number, &stop);
    return stop == number + len;
}

static void count_sample(struct sums *sums, struct family *family, const char *key, size_t len,
                         double value) {
    struct sample *sample = (struct sample *)find(&sums->samples, key, len);
    if (sample == NULL) {
        sample = add(sums, &sums->samples, sizeof(*sample), key, len);
        if (sample == NULL)
            return;
        *(family->last != NULL ? &family->last->next : &family->first) = sample;
        family->last = sample;
    } else if (!is_summed(family)) {
        return; /* twice in one text: the first one counts */
    }
    sample->value += value;
}

/* Of a gauge: with the label that says whose it is in front of the others. */
static void count_labelled(struct sums *sums, struct family *family, struct span name,
                           struct span labels, bool has_worker, double value) {
    bool more = labels.len > 2;
    size_t size = name.len + labels.len + 64;
    char *key = malloc(size);
    if (key == NULL) {
        sums->dropped++;
        return;
    }
    int len = snprintf(key, size, "%.*s{%sworker=\"%u\"%s", (int)name.len, name.at,
                       has_worker ? "lunats_" : "", sums->worker, more ? "," : "}");
    if (more) {
        memcpy(key + len, labels.at + 1, labels.len - 1);
        len += (int)labels.len - 1;
    }
    count_sample(sums, family, key, (size_t)len, value);
    free(key);
}

static struct family *family_of(struct sums *sums, struct span name) {
    if (sums->current != NULL && is_of(sums->current, name))
        return sums->foreign ? NULL : sums->current;
    sums->current = open_family(sums, name);
    sums->foreign = false;
    return sums->current;
}

static void take_sample(struct sums *sums, const char *at, const char *end) {
    bool has_worker = false;
    double value;
    const char *behind = skip_name(at, end);
    struct span name = {at, (size_t)(behind - at)}, labels = {behind, 0};
    if (behind < end && *behind == '{')
        behind = skip_labels(behind, end, &has_worker);
    if (name.len == 0 || behind == NULL || !read_value(behind, end, &value)) {
        sums->dropped++;
        return;
    }
    labels.len = (size_t)(behind - labels.at);
    struct family *family = family_of(sums, name);
    if (family == NULL || (sums->worker == 0 && !is_summed(family)))
        return;
    if (is_summed(family))
        count_sample(sums, family, at, (size_t)(behind - at), value);
    else
        count_labelled(sums, family, name, labels, has_worker, value);
}

/* ---- lines ---- */

/* "# HELP name text" and "# TYPE name type"; what else begins like a comment is one. */
static void take_comment(struct sums *sums, const char *at, const char *end) {
    at = skip_blanks(at + 1, end);
    bool help = end - at > 5 && memcmp(at, "HELP ", 5) == 0;
    if (!help && (end - at <= 5 || memcmp(at, "TYPE ", 5) != 0))
        return;
    at = skip_blanks(at + 5, end);
    const char *behind = skip_name(at, end);
    const char *rest = skip_blanks(behind, end);
    struct span name = {at, (size_t)(behind - at)}, text = {rest, (size_t)(end - rest)};
    if (name.len == 0 || rest == behind)
        sums->dropped++;
    else if (help)
        take_help(sums, name, text);
    else
        take_type(sums, name, text);
}

void sums_add(struct sums *sums, const char *text, size_t len, unsigned worker) {
    const char *end = text + len;
    sums->worker = worker;
    sums->current = NULL;
    for (const char *at = text; at < end;) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        if (line_end == NULL)
            line_end = end;
        const char *from = skip_blanks(at, line_end);
        if (from < line_end && *from == '#')
            take_comment(sums, from, line_end);
        else if (from < line_end)
            take_sample(sums, from, line_end);
        at = line_end < end ? line_end + 1 : end;
    }
}

/* ---- the whole ---- */

size_t sums_dropped(const struct sums *sums) {
    return sums->dropped;
}

void sums_write(const struct sums *sums, struct text *out) {
    for (const struct family *family = sums->first; family != NULL; family = family->next) {
        const struct entry *name = &family->entry;
        if (family->first == NULL)
            continue;
        if (family->help != NULL)
            text_printf(out, "# HELP %.*s %s\n", (int)name->len, name->key, family->help);
        text_printf(out, "# TYPE %.*s %s\n", (int)name->len, name->key,
                    type_names[family->type]);
        for (const struct sample *at = family->first; at != NULL; at = at->next) {
            text_put(out, at->entry.key, at->entry.len);
            text_puts(out, " ");
            metrics_number(out, at->value);
            text_puts(out, "\n");
        }
    }
}

int sums_open(struct sums **out, size_t limit) {
    struct sums *sums = calloc(1, sizeof(*sums));
    if (sums == NULL)
        return LN_ENOMEM;
    sums->limit = limit;
    *out = sums;
    return LN_OK;
}

void sums_free(struct sums *sums) {
    for (struct family *family = sums->first, *next; family != NULL; family = next) {
        next = family->next;
        for (struct sample *at = family->first, *after; at != NULL; at = after) {
            after = at->next;
            free(at);
        }
        free(family->help);
        free(family);
    }
    free(sums->families.slots);
    free(sums->samples.slots);
    free(sums);
}
