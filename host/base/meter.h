/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counters, gauges and histograms with labels, as Prometheus knows them. A meter has one series
 * for each set of label values that was seen, up to a bound. To count is an addition; text is
 * made by whoever shows them.
 */
#ifndef LUNATS_BASE_METER_H
#define LUNATS_BASE_METER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/base/list.h"

#define METER_LABELS 8       /* of a meter, at most */
#define METER_SERIES 1000    /* of a meter, at most */
#define METER_VALUE_SIZE 256 /* of a label value with its zero; longer ones are cut */
#define METER_BOUNDS 64      /* of a histogram, at most */

enum meter_type { METER_COUNTER, METER_GAUGE, METER_HISTOGRAM };

/* Everything is copied. */
struct meter_options {
    enum meter_type type;
    const char *name, *help;
    const char *const *labels;
    size_t label_count;
    const double *bounds; /* of a histogram: rising, finite; the last bucket has no bound */
    size_t bound_count;
};

/* One set of label values. Lives as long as its meter. */
struct series {
    struct series *next; /* the meter's */
    double value;        /* of a histogram: the sum */
    uint64_t count;      /* of a histogram: observations */
    uint64_t *buckets;   /* of a histogram: in each bucket, not added up */
    uint32_t hash;
    size_t len;
    char values[]; /* of the labels in their order, each with a zero; `len` bytes */
};

struct meter {
    struct list_node node; /* in the order of their making */
    struct meter_options options;
    struct series *series; /* the latest first */
    struct series **table;
    size_t table_size, count;
    uint64_t dropped; /* not counted, as there were too many sets already */
    unsigned users;
};

/* All zero is empty. */
struct meters {
    struct list list; /* of struct meter */
};

/*
 * The meter with exactly these options, made when there is none; another one with the same name
 * may be there as well. NULL without memory. Each call is matched by meter_close(), the last
 * one frees it.
 */
struct meter *meter_open(struct meters *meters, const struct meter_options *options);
void meter_close(struct meter *meter);
/* Whoever uses it. */
void meter_free(struct meter *meter);

/* The series of these values, one for each label. NULL: there are too many, or no memory; it is
 * counted as dropped. */
struct series *meter_series(struct meter *meter, const char *const *values);

/* A value of a counter or gauge. */
static inline void series_add(struct series *series, double by) {
    if (series != NULL)
        series->value += by;
}

/* An observation of a histogram. */
void series_observe(const struct meter *meter, struct series *series, double value);

#endif
