/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/log.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "host/base/clock.h"
#include "host/base/log_flood.h"
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
    struct list taps, copies, overrides;
    bool in_taps, in_copies;
    log_context_fn context;
    unsigned worker; /* 0: none */
    void (*on_waiting)(void *owner);
    void *owner;
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

/* The field that says which worker this is; returns how many that are. */
static size_t put_worker(struct log_field *out) {
    if (sink.worker > 0)
        *out = (struct log_field){
            .key = "worker", .type = LOG_TYPE_INT, .value.integer = sink.worker};
    return sink.worker > 0;
}

static void report(uint64_t *count, const char *message) {
    struct log_field worker;
    if (*count == 0)
        return;
    struct log_field field = {"lines", LOG_TYPE_INT, {.integer = (int64_t)*count}};
    struct log_record record = {.level = LOG_LEVEL_WARN,
                                .time_ms = present(),
                                .message = message,
                                .fields = &field,
                                .field_count = 1,
                                .context = &worker,
                                .context_count = put_worker(&worker)};
    if (sink.level > LOG_LEVEL_WARN || sink_write(&record))
        *count = 0;
}

/* Says how many lines a full or closed reader swallowed, once it takes lines again. Returns
 * whether nothing is left to be said. */
static bool report_lost(void) {
    if (!output_drain(OUTPUT_STDERR))
        return false;
    sink.lost += output_take_lost(OUTPUT_STDERR);
    report(&sink.lost, "log lines were lost");
    if (!output_drain(OUTPUT_STDOUT))
        return false;
    sink.unprinted += output_take_lost(OUTPUT_STDOUT);
    report(&sink.unprinted, "output of print was lost");
    return sink.lost == 0 && sink.unprinted == 0;
}

/* Nobody has to be told of those that remove one: only the list that is walked changes. */
static void offer_to_copies(const struct log_record *record) {
    struct list walk = {0};
    if (sink.in_copies || list_empty(&sink.copies))
        return;
    sink.in_copies = true;
    list_move(&walk, &sink.copies);
    for (struct list_node *node; (node = list_pop_front(&walk)) != NULL;) {
        struct log_copy *copy = list_item(node, struct log_copy, node);
        list_push_back(&sink.copies, node);
        copy->on_record(copy, record);
    }
    sink.in_copies = false;
}

static void emit(const struct log_record *record) {
    report_lost();
    sink_write(record);
    offer_to_copies(record);
}

/* ---- floods ---- */

static uint64_t steady_ms(void) {
    return clock_precise() / 1000000;
}

/* 1,234,567 */
static void write_count(char *out, size_t size, uint64_t count) {
    char digits[32];
    int len = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)count);
    size_t to = 0;
    for (int i = 0; i < len && to + 2 < size; i++) {
        if (i > 0 && (len - i) % 3 == 0)
            out[to++] = ',';
        out[to++] = digits[i];
    }
    out[to] = '\0';
}

static void report_flood(const struct log_flood *flood) {
    char count[48], message[512];
    write_count(count, sizeof(count), flood->hidden);
    double seconds = flood->ms < 1000 ? (double)flood->ms / 1000 : 1;
    snprintf(message, sizeof(message), "repeated %s times in %.2g s: %s", count, seconds,
             flood->text);
    struct log_field field = {"repeated", LOG_TYPE_INT, {.integer = (int64_t)flood->hidden}};
    emit(&(struct log_record){.level = flood->level,
                              .time_ms = present(),
                              .service = flood->service,
                              .message = message,
                              .fields = &field,
                              .field_count = 1});
}

static void report_floods(bool all) {
    struct log_flood flood;
    while (log_flood_counts() && log_flood_next(steady_ms(), all, &flood))
        report_flood(&flood);
}

static bool admits(const struct log_record *record) {
    report_floods(false);
    bool counted = log_flood_counts();
    if (log_flood_admits(record, steady_ms()))
        return true;
    if (!counted && sink.on_waiting != NULL)
        sink.on_waiting(sink.owner);
    return false;
}

void log_limit(unsigned per_second) {
    log_flood_limit(per_second);
}

void log_end(void) {
    report_floods(true);
}

bool log_drain(void) {
    bool all = report_lost();
    report_floods(false);
    all = output_drain(OUTPUT_STDERR) && all;
    return output_drain(OUTPUT_STDOUT) && all && !log_flood_counts();
}

void log_on_waiting(void (*on_waiting)(void *owner), void *owner) {
    sink.on_waiting = on_waiting;
    sink.owner = owner;
    output_on_kept(on_waiting, owner);
}

/* ---- who hears what ---- */

enum log_level log_level_of(const char *service) {
    if (service != NULL)
        list_each (struct log_override, override, &sink.overrides, node)
            if (strcmp(override->service, service) == 0)
                return override->level;
    return sink.level;
}

static void update_threshold(void) {
    log_threshold = sink.level;
    list_each (struct log_override, override, &sink.overrides, node)
        if (override->level < log_threshold)
            log_threshold = override->level;
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

/* Which worker it is, and what it is logged in. What the record names itself says more. */
static size_t take_context(const struct log_record *record,
                           struct log_field out[LOG_CONTEXT_MAX + 1]) {
    size_t count = put_worker(out), kept = 0;
    if (sink.context != NULL)
        count += sink.context(out + count);
    for (size_t i = 0; i < count; i++) {
        size_t at = 0;
        while (at < record->field_count && strcmp(record->fields[at].key, out[i].key) != 0)
            at++;
        if (at == record->field_count)
            out[kept++] = out[i];
    }
    return kept;
}

void log_write(enum log_level level, const char *service, const char *message,
               const struct log_field *fields, size_t field_count) {
    if (!log_enabled(level) || level >= LOG_LEVEL_OFF)
        return;
    int saved = errno; /* callers log first and look at errno afterwards */
    struct log_field context[LOG_CONTEXT_MAX + 1];
    struct log_record record = {
        .level = level,
        .time_ms = present(),
        .service = service,
        .message = message,
        .fields = fields,
        .field_count = field_count,
        .context = context,
    };
    record.context_count = take_context(&record, context);
    if (!offer_to_taps(&record) && level >= log_level_of(service) && admits(&record))
        emit(&record);
    errno = saved;
}

/* Lines at the end of the message, of a traceback, are left out until the rest goes into a pipe
 * at once. Returns whether it does. */
static bool compose_short(struct log_line *line, struct log_record *record, char *message) {
    record->message = message;
    for (;;) {
        log_line_compose(line, record, sink.format, sink.colours);
        if (line->len <= PIPE_BUF)
            return true;
        log_line_free(line);
        char *end = strrchr(message, '\n');
        if (end == NULL)
            end = message + strlen(message) / 2;
        if (end == message)
            return false;
        *end = '\0';
    }
}

void log_aside(enum log_level level, const char *service, const char *message) {
    struct log_record record = {.level = level, .time_ms = present(), .service = service};
    struct log_field worker;
    struct log_line line;
    record.context = &worker;
    record.context_count = put_worker(&worker);
    char *copy = level >= sink.level ? strdup(message) : NULL;
    if (copy != NULL && compose_short(&line, &record, copy)) {
        output_aside(line.data, line.len);
        log_line_free(&line);
    }
    free(copy);
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

void log_set_worker(unsigned number) {
    sink.worker = number;
}

void log_set_context(log_context_fn fn) {
    sink.context = fn;
}

static bool is_set(const char *name) {
    const char *value = getenv(name);
    return value != NULL && value[0] != '\0';
}

static bool is(const char *name, const char *wanted) {
    const char *value = getenv(name);
    return value != NULL && strcmp(value, wanted) == 0;
}

/* https://no-color.org and https://bixense.com/clicolors: who wants none gets none. */
static bool wants_colours(void) {
    if (is_set("NO_COLOR"))
        return false;
    if (is_set("CLICOLOR_FORCE") && !is("CLICOLOR_FORCE", "0"))
        return true;
    return isatty(STDERR_FILENO) && !is("TERM", "dumb") && !is("CLICOLOR", "0");
}

void log_configure(enum log_level level, enum log_format format) {
    sink.level = level;
    sink.format = format;
    sink.colours = wants_colours();
    update_threshold();
}

void log_override_set(struct log_override *override, const char *service,
                      enum log_level level) {
    list_remove(&override->node);
    override->service = service;
    override->level = level;
    list_push_back(&sink.overrides, &override->node);
    update_threshold();
}

void log_override_clear(struct log_override *override) {
    list_remove(&override->node);
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

void log_copy_add(struct log_copy *copy) {
    list_push_back(&sink.copies, &copy->node);
}

void log_copy_remove(struct log_copy *copy) {
    list_remove(&copy->node);
}

char *log_as_json(const struct log_record *record, size_t *len) {
    struct log_line line;
    log_line_compose(&line, record, LOG_FORMAT_JSON, false);
    *len = line.len - 1;
    char *json = malloc(line.len);
    if (json != NULL) {
        memcpy(json, line.data, *len);
        json[*len] = '\0';
    }
    log_line_free(&line);
    return json;
}
