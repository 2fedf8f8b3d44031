/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes metrics as text: the format of Prometheus (0.0.4) or OpenMetrics. All samples of a
 * family stand together, so one family is written to its end before the next one begins.
 */
#ifndef LUNATS_ADMIN_METRICS_H
#define LUNATS_ADMIN_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/base/meter.h"
#include "host/base/text.h"

struct metrics {
    struct text *text;
    bool open_metrics;
    /* The family. */
    const char *name;
    enum meter_type type;
};

struct metrics_label {
    const char *name, *value;
};

/* A family begins. `name` is borrowed until the next one; that of a counter ends in "_total".
 */
void metrics_family(struct metrics *metrics, const char *name, enum meter_type type,
                    const char *help);

/* One sample of a counter or gauge. Labels without a value (NULL) are left out. */
void metrics_sample(struct metrics *metrics, const struct metrics_label *labels, size_t count,
                    double value);

/* One series of a histogram: in each bucket, not added up; `counts` has one more than bounds.
 */
void metrics_histogram(struct metrics *metrics, const struct metrics_label *labels,
                       size_t count, const double *bounds, const uint64_t *counts,
                       size_t bound_count, double sum);

/* All series of a meter, with further labels in front of its own. */
void metrics_meter(struct metrics *metrics, const struct meter *meter,
                   const struct metrics_label *labels, size_t count);

/* The shortest text that is this number again; NaN, +Inf, -Inf. */
void metrics_number(struct text *text, double value);

/* After the last family. */
void metrics_end(struct metrics *metrics);

#endif
