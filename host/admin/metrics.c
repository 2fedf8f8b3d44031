/* SPDX-License-Identifier: Apache-2.0 */
#include "host/admin/metrics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/utf8.h"

#define LABELS (METER_LABELS + 4)

static const char total[] = "_total";

/* ---- escaping ---- */

/* A value of a label or a help text: line ends and backslashes, and quotes in labels; bytes
 * that are no UTF-8 become '?'. */
static void put_escaped(struct text *text, const char *from, bool quoted) {
    const char *end = from + strlen(from);
    while (from < end) {
        size_t len = utf8_length(from, end);
        if (len == 0)
            text_put(text, "?", 1);
        else if (*from == '\n')
            text_put(text, "\\n", 2);
        else if (*from == '\\' || (*from == '"' && quoted))
            text_printf(text, "\\%c", *from);
        else
            text_put(text, from, len);
        from += len != 0 ? len : 1;
    }
}

/* The shortest text that is this number again. */
static void put_shortest(struct text *text, double value) {
    char number[32];
    snprintf(number, sizeof(number), "%.15g", value);
    if (strtod(number, NULL) != value)
        snprintf(number, sizeof(number), "%.17g", value);
    text_puts(text, number);
}

void metrics_number(struct text *text, double value) {
    if (isnan(value))
        text_puts(text, "NaN");
    else if (isinf(value))
        text_puts(text, value > 0 ? "+Inf" : "-Inf");
    else if (value == floor(value) && fabs(value) < 1e15)
        text_printf(text, "%.0f", value);
    else
        put_shortest(text, value);
}

/* The bound of a bucket: always with a point or an exponent, as OpenMetrics wants it, and the
 * same text in both formats, so that it is one series. */
static void format_bound(char out[32], double bound) {
    if (isinf(bound)) {
        strcpy(out, "+Inf");
        return;
    }
    snprintf(out, 32, "%.15g", bound);
    if (strpbrk(out, ".e") == NULL)
        strcat(out, ".0");
}

/* ---- samples ---- */

static void put_line(struct metrics *metrics, const char *suffix,
                     const struct metrics_label *labels, size_t count, double value) {
    struct text *text = metrics->text;
    const char *between = "{";
    text_puts(text, metrics->name);
    text_puts(text, suffix);
    for (size_t i = 0; i < count; i++) {
        if (labels[i].value == NULL)
            continue;
        text_puts(text, between);
        text_puts(text, labels[i].name);
        text_puts(text, "=\"");
        put_escaped(text, labels[i].value, true);
        text_puts(text, "\"");
        between = ",";
    }
    text_puts(text, *between == ',' ? "} " : " ");
    metrics_number(text, value);
    text_puts(text, "\n");
}

/* OpenMetrics names the family of a counter without "_total". */
static int family_length(const struct metrics *metrics) {
    size_t len = strlen(metrics->name), tail = sizeof(total) - 1;
    bool cut = metrics->open_metrics && metrics->type == METER_COUNTER && len > tail &&
               strcmp(metrics->name + len - tail, total) == 0;
    return (int)(cut ? len - tail : len);
}

void metrics_family(struct metrics *metrics, const char *name, enum meter_type type,
                    const char *help) {
    static const char *const types[] = {"counter", "gauge", "histogram"};
    metrics->name = name;
    metrics->type = type;
    text_printf(metrics->text, "# HELP %.*s ", family_length(metrics), name);
    put_escaped(metrics->text, help, metrics->open_metrics);
    text_printf(metrics->text, "\n# TYPE %.*s %s\n", family_length(metrics), name, types[type]);
}

void metrics_sample(struct metrics *metrics, const struct metrics_label *labels, size_t count,
                    double value) {
    put_line(metrics, "", labels, count, value);
}

static void copy(struct metrics_label *to, const struct metrics_label *from, size_t count) {
    for (size_t i = 0; i < count; i++)
        to[i] = from[i];
}

void metrics_histogram(struct metrics *metrics, const struct metrics_label *labels,
                       size_t count, const double *bounds, const uint64_t *counts,
                       size_t bound_count, double sum) {
    struct metrics_label all[LABELS];
    char bound[32];
    uint64_t so_far = 0;
    copy(all, labels, count);
    all[count] = (struct metrics_label){"le", bound};
    for (size_t i = 0; i <= bound_count; i++) {
        so_far += counts[i];
        format_bound(bound, i < bound_count ? bounds[i] : INFINITY);
        put_line(metrics, "_bucket", all, count + 1, (double)so_far);
    }
    put_line(metrics, "_sum", labels, count, sum);
    put_line(metrics, "_count", labels, count, (double)so_far);
}

void metrics_meter(struct metrics *metrics, const struct meter *meter,
                   const struct metrics_label *labels, size_t count) {
    const struct meter_options *options = &meter->options;
    struct metrics_label all[LABELS];
    copy(all, labels, count);
    for (const struct series *at = meter->series; at != NULL; at = at->next) {
        const char *value = at->values;
        for (size_t i = 0; i < options->label_count; i++) {
            all[count + i] = (struct metrics_label){options->labels[i], value};
            value += strlen(value) + 1;
        }
        if (options->type == METER_HISTOGRAM)
            metrics_histogram(metrics, all, count + options->label_count, options->bounds,
                              at->buckets, options->bound_count, at->value);
        else
            metrics_sample(metrics, all, count + options->label_count, at->value);
    }
}

void metrics_end(struct metrics *metrics) {
    if (metrics->open_metrics)
        text_puts(metrics->text, "# EOF\n");
}
