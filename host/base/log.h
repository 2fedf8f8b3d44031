/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Structured log lines on stderr.
 *
 * One sink per process: a line is composed first and then written with a single write(2), so
 * that lines of several processes on one terminal or pipe do not mix. A reader that stops never
 * stops us: lines are kept up to a bound, then lost, counted and told when it reads again
 * (output.h). Lines have a bounded length and show controls as escapes (log_line.h). A line
 * that is repeated all the time is counted instead (log_flood.h). Taps see all records before
 * that, which is how specs capture them; copies see what is written.
 *
 * Everything here but log_aside() belongs to the loop thread. Nothing fails and nothing is kept
 * of the arguments.
 */
#ifndef LUNATS_BASE_LOG_H
#define LUNATS_BASE_LOG_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "host/base/list.h"

enum log_level {
    LOG_LEVEL_DEBUG,
    LOG_LEVEL_INFO,
    LOG_LEVEL_WARN,
    LOG_LEVEL_ERROR,
    LOG_LEVEL_OFF, /* as a threshold only: nothing is written */
};

enum log_format {
    LOG_FORMAT_TEXT, /* 2026-11-23T17:30:01.123Z INFO  orders: message key=value key="a b" */
    LOG_FORMAT_JSON, /* {"time":"...","level":"info","service":"orders","message":"...",...} */
};

enum log_type {
    LOG_TYPE_STRING,
    LOG_TYPE_INT,
    LOG_TYPE_FLOAT, /* what JSON cannot express (nan, inf) becomes null there */
    LOG_TYPE_BOOL,
    LOG_TYPE_JSON, /* text that is JSON already; written as it is, line breaks become blanks */
};

/* One key=value pair of a record; everything is borrowed for the call. */
struct log_field {
    const char *key; /* zero-terminated; one that is taken or used twice gets underscores */
    enum log_type type;
    union {
        struct {
            const char *data; /* any bytes */
            size_t len;
        } string; /* of LOG_TYPE_STRING and LOG_TYPE_JSON */
        int64_t integer;
        double number;
        bool boolean;
    } value;
};

/* A field of zero-terminated text. */
static inline struct log_field log_text(const char *key, const char *text) {
    return (struct log_field){
        .key = key, .type = LOG_TYPE_STRING, .value.string = {text, strlen(text)}};
}

/* One record as taps see it; borrowed for the call. */
struct log_record {
    enum log_level level;
    int64_t time_ms;     /* Unix time in milliseconds */
    const char *service; /* NULL: the process itself */
    const char *message; /* zero-terminated; several lines possible */
    const struct log_field *fields;
    size_t field_count;
    const struct log_field *context; /* what it was logged in; none has a name of the above */
    size_t context_count;
};

/*
 * Says in what a record is logged, in a handler, say: fills in the fields and returns how many.
 * What they point to lasts until it is called again. Asked only for records that go somewhere.
 * NULL: nobody knows.
 */
#define LOG_CONTEXT_MAX 6
typedef size_t (*log_context_fn)(struct log_field out[LOG_CONTEXT_MAX]);
void log_set_context(log_context_fn fn);

/*
 * Writes what a slow reader has not taken yet, and what there is to say of lines that were
 * lost or counted; true when nothing waits any more. For the loop, see log_on_waiting().
 */
bool log_drain(void);

/* Told when something begins to wait: call log_drain() from time to time. It also is the
 * listener of output_on_kept(). */
void log_on_waiting(void (*on_waiting)(void *owner), void *owner);

/* The end of the process: says how often lines were repeated that were only counted. */
void log_end(void);

/* Sets the threshold and the format. Before the first call: info, text. Colours follow from
 * standard error and NO_COLOR, CLICOLOR_FORCE, CLICOLOR and TERM. */
void log_configure(enum log_level level, enum log_format format);

/* Every line has this number as its field "worker"; 0: none. */
void log_set_worker(unsigned number);

/* How often the same line of a service is written in a second; more are counted. 0: always. */
void log_limit(unsigned per_second);

/* Finds the level or format by its name ("debug", "json", ...); false if there is none. */
bool log_level_parse(const char *name, enum log_level *out);
bool log_format_parse(const char *name, enum log_format *out);

/* The name of a level: "debug", "info", "warn", "error", "off". Borrowed, static. */
const char *log_level_name(enum log_level level);

/* Another threshold for one service. Embedded by the owner; all zero is idle. */
struct log_override {
    struct list_node node; /* the module's */
    const char *service;   /* borrowed while it is set */
    enum log_level level;
};
/* Sets it, again is fine; until log_override_clear(), which does nothing to an idle one. */
void log_override_set(struct log_override *override, const char *service, enum log_level level);
void log_override_clear(struct log_override *override);

/* The threshold of a service, or of the process (NULL). */
enum log_level log_level_of(const char *service);

/* The lowest level anybody listens to, taps included. Read it through log_enabled() only. */
extern enum log_level log_threshold;

/* Tells whether a record of this level goes anywhere; cheap enough for every message. */
static inline bool log_enabled(enum log_level level) {
    return level >= log_threshold;
}

/*
 * Writes one record. `service` is NULL for the process itself; `fields` may be NULL when
 * field_count is 0. Several lines of a message are indented in text and escaped in JSON.
 */
void log_write(enum log_level level, const char *service, const char *message,
               const struct log_field *fields, size_t field_count);

/* Writes a record without fields; the message is printf-like. */
void log_printf(enum log_level level, const char *service, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void log_vprintf(enum log_level level, const char *service, const char *format, va_list args)
    __attribute__((format(printf, 3, 0)));

/*
 * From any thread, while the loop is stuck: one line past taps, copies, and what waits for a
 * slow reader, who does not get it at all unless he takes it at once. Of a message of many
 * lines the last are left out if need be.
 */
void log_aside(enum log_level level, const char *service, const char *message);

/* log_debug(service, format, ...) and its sisters do not evaluate their arguments when off. */
#define log_at(level, ...)                                                                     \
    do {                                                                                       \
        if (log_enabled(level))                                                                \
            log_printf((level), __VA_ARGS__);                                                  \
    } while (0)
#define log_debug(...) log_at(LOG_LEVEL_DEBUG, __VA_ARGS__)
#define log_info(...) log_at(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_warn(...) log_at(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_error(...) log_at(LOG_LEVEL_ERROR, __VA_ARGS__)

/*
 * A listener to all records from `level` on, whatever the threshold of stderr is. Embedded by
 * the owner, who fills in the upper part and must remove it before its memory goes.
 */
struct log_tap {
    enum log_level level;
    const char *service; /* only the records of this service; NULL: all. Borrowed while added */
    /* Sees a record. Returning true keeps it away from stderr. It may log (the taps do not see
     * that record) and may remove any tap. */
    bool (*on_record)(struct log_tap *tap, const struct log_record *record);
    void *owner;
    struct list_node node; /* the module's */
};
void log_tap_add(struct log_tap *tap);
void log_tap_remove(struct log_tap *tap); /* does nothing to one that was not added */

/*
 * Somebody who wants to see each line that is written to stderr, too. Embedded by the owner.
 * It may log: no copy sees that record, so nothing goes round in circles.
 */
struct log_copy {
    void (*on_record)(struct log_copy *copy, const struct log_record *record);
    void *owner;
    struct list_node node; /* the module's */
};
void log_copy_add(struct log_copy *copy);
void log_copy_remove(struct log_copy *copy); /* does nothing to one that was not added */

/* The record as LOG_FORMAT_JSON has it, without the line break; the caller frees it. NULL: no
 * memory. */
char *log_as_json(const struct log_record *record, size_t *len);

#endif
