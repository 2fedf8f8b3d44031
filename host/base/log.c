/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "host/base/log_line.h"
#include "host/base/output.h"

static const char *const level_names[] = {"debug", "info", "warn", "error", "off"};
static const char *const format_names[] = {"text", "json"};

enum log_level log_threshold = LOG_LEVEL_INFO;

static struct {
    enum log_level level;
    enum log_format format;
    bool colours;
    uint64_t lost;      /* lines that have not been reported */
    uint64_t unprinted; /* the same of print */
    struct list taps;
    bool in_taps;
} sink = {.level = LOG_LEVEL_INFO};

/* ---- writing ---- */

static bool sink_write(const struct log_record *record) {
    struct log_line line;
    log_line_compose(&line, record, sink.format, sink.colours);
    bool ok = output_write(OUTPUT_STDERR, line.data, line.len);
    log_line_free(&line);
    return ok;
}

static int64_t present(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void report(uint64_t *count, const char *message) {
    if (*count == 0)
        return;
    struct log_field field = {"lines", LOG_TYPE_INT, {.integer = (int64_t)*count}};
    struct log_record record = {LOG_LEVEL_WARN, present(), NULL, message, &field, 1};
    if (sink.level > LOG_LEVEL_WARN || sink_write(&record))
        *count = 0;
}

/* Says how many lines a full or closed reader swallowed, once it takes lines again. */
static void report_lost(void) {
    if (!output_drain(OUTPUT_STDERR))
        return;
    sink.lost += output_take_lost(OUTPUT_STDERR);
    report(&sink.lost, "log lines were lost");
    if (output_drain(OUTPUT_STDOUT)) {
        sink.unprinted += output_take_lost(OUTPUT_STDOUT);
        report(&sink.unprinted, "output of print was lost");
    }
}

bool log_drain(void) {
    report_lost();
    bool all = output_drain(OUTPUT_STDERR);
    return output_drain(OUTPUT_STDOUT) && all;
}

static void update_threshold(void) {
    log_threshold = sink.level;
    list_each (struct log_tap, tap, &sink.taps, node)
        if (tap->level < log_threshold)
            log_threshold = tap->level;
}

static bool is_for(const struct log_tap *tap, const struct log_record *record) {
    if (record->level < tap->level)
        return false;
    return tap->service == NULL ||
           (record->service != NULL && strcmp(tap->service, record->service) == 0);
}

static bool offer_to_taps(const struct log_record *record) {
    bool taken = false;
    struct list walk = {0};
    if (sink.in_taps)
        return false;
    sink.in_taps = true;
    list_move(&walk, &sink.taps);
    for (struct list_node *node; (node = list_pop_front(&walk)) != NULL;) {
        struct log_tap *tap = list_item(node, struct log_tap, node);
        list_push_back(&sink.taps, node);
        taken = (is_for(tap, record) && tap->on_record(tap, record)) || taken;
    }
    sink.in_taps = false;
    update_threshold(); /* one that was removed meanwhile did not see them all */
    return taken;
}

void log_write(enum log_level level, const char *service, const char *message,
               const struct log_field *fields, size_t field_count) {
    if (!log_enabled(level) || level >= LOG_LEVEL_OFF)
        return;
    struct log_record record = {
        .level = level,
        .time_ms = present(),
        .service = service,
        .message = message,
        .fields = fields,
        .field_count = field_count,
    };
    if (offer_to_taps(&record) || level < sink.level)
        return;
    int saved = errno; /* callers log first and look at errno afterwards */
    report_lost();
    sink_write(&record);
    errno = saved;
}

void log_vprintf(enum log_level level, const char *service, const char *format, va_list args) {
    if (!log_enabled(level))
        return;
    char fixed[512];
    char *message = fixed;
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(fixed, sizeof(fixed), format, args);
    if (n >= (int)sizeof(fixed)) {
        message = malloc((size_t)n + 1);
        if (message != NULL)
            vsnprintf(message, (size_t)n + 1, format, again);
    }
    va_end(again);
    /* Without memory the beginning of the message is better than nothing. */
    log_write(level, service, message != NULL ? message : fixed, NULL, 0);
    if (message != fixed)
        free(message);
}

void log_printf(enum log_level level, const char *service, const char *format, ...) {
    va_list args;
    va_start(args, format);
    log_vprintf(level, service, format, args);
    va_end(args);
}

/* ---- settings ---- */

void log_configure(enum log_level level, enum log_format format) {
    const char *no_color = getenv("NO_COLOR");
    sink.level = level;
    sink.format = format;
    sink.colours = isatty(STDERR_FILENO) && (no_color == NULL || no_color[0] == '\0');
    update_threshold();
}

static bool find_name(const char *const *names, int count, const char *name, int *out) {
    for (int i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0) {
            *out = i;
            return true;
        }
    return false;
}

bool log_level_parse(const char *name, enum log_level *out) {
    int found;
    if (!find_name(level_names, LOG_LEVEL_OFF + 1, name, &found))
        return false;
    *out = (enum log_level)found;
    return true;
}

bool log_format_parse(const char *name, enum log_format *out) {
    int found;
    if (!find_name(format_names, LOG_FORMAT_JSON + 1, name, &found))
        return false;
    *out = (enum log_format)found;
    return true;
}

const char *log_level_name(enum log_level level) {
    return level_names[level];
}

void log_tap_add(struct log_tap *tap) {
    list_push_back(&sink.taps, &tap->node);
    update_threshold();
}

void log_tap_remove(struct log_tap *tap) {
    list_remove(&tap->node);
    update_threshold();
}
