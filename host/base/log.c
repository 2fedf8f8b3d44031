/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "host/base/utf8.h"

#define LINE_SIZE 2048 /* longer lines are composed on the heap */

/* A line that is being composed. */
struct line {
    char *data;
    size_t len, size;
    bool full; /* out of memory: what did not fit is missing */
    char fixed[LINE_SIZE];
};

static const char *const level_names[] = {"debug", "info", "warn", "error", "off"};
static const char *const format_names[] = {"text", "json"};

enum log_level log_threshold = LOG_LEVEL_INFO;

static struct {
    enum log_level level;
    enum log_format format;
    bool colours;
    uint64_t lost; /* lines since the last one that was written */
    struct list taps;
    bool in_taps;
} sink = {.level = LOG_LEVEL_INFO};

/* ---- composing ---- */

static void line_init(struct line *line) {
    line->data = line->fixed;
    line->len = 0;
    line->size = sizeof(line->fixed);
    line->full = false;
}

static void line_free(struct line *line) {
    if (line->data != line->fixed)
        free(line->data);
}

/* Makes room for `more` bytes and the line break at the end, which always finds a place. */
static bool line_reserve(struct line *line, size_t more) {
    size_t need = line->len + more + 1;
    if (line->full || need <= line->size)
        return !line->full;
    size_t size = line->size * 2 > need ? line->size * 2 : need;
    char *data = line->data == line->fixed ? malloc(size) : realloc(line->data, size);
    if (data == NULL) {
        line->full = true;
        return false;
    }
    if (line->data == line->fixed)
        memcpy(data, line->fixed, line->len);
    line->data = data;
    line->size = size;
    return true;
}

static void put(struct line *line, const char *bytes, size_t len) {
    if (!line_reserve(line, len))
        return;
    memcpy(line->data + line->len, bytes, len);
    line->len += len;
}

static void put_text(struct line *line, const char *text) {
    put(line, text, strlen(text));
}

static void put_byte(struct line *line, char byte) {
    put(line, &byte, 1);
}

/* Two hexadecimal digits after a prefix: "\x" or "\u00". */
static void put_hex(struct line *line, const char *prefix, unsigned char byte) {
    static const char digits[] = "0123456789abcdef";
    put_text(line, prefix);
    put_byte(line, digits[byte >> 4]);
    put_byte(line, digits[byte & 15]);
}

static void put_time(struct line *line, int64_t time_ms) {
    time_t seconds = (time_t)(time_ms / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    char text[64];
    size_t n = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text + n, sizeof(text) - n, ".%03dZ", (int)(time_ms % 1000));
    put_text(line, text);
}

/* The shortest of three that reads back as the same number. */
static void put_double(struct line *line, double number) {
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, number);
        if (strtod(text, NULL) == number)
            break;
    }
    /* A script may have set a locale with another decimal point. */
    for (char *c = text; *c != '\0'; c++)
        if (strchr("0123456789+-e.naif", *c) == NULL)
            *c = '.';
    put_text(line, text);
}

/* Text that is JSON already, kept on one line. */
static void put_raw_json(struct line *line, const char *data, size_t len) {
    if (len == 0)
        put_text(line, "null");
    for (size_t i = 0; i < len; i++) {
        bool breaks = data[i] == '\n' || data[i] == '\r';
        put(line, breaks ? " " : &data[i], 1);
    }
}

/* All but strings, which each format quotes in its own way. */
static void put_scalar(struct line *line, const struct log_field *field) {
    char number[32];
    switch (field->type) {
    case LOG_TYPE_INT:
        snprintf(number, sizeof(number), "%" PRId64, field->value.integer);
        put_text(line, number);
        break;
    case LOG_TYPE_FLOAT:
        put_double(line, field->value.number);
        break;
    case LOG_TYPE_BOOL:
        put_text(line, field->value.boolean ? "true" : "false");
        break;
    case LOG_TYPE_JSON:
        put_raw_json(line, field->value.string.data, field->value.string.len);
        break;
    case LOG_TYPE_STRING:
        break;
    }
}

/* ---- JSON ---- */

static void json_string(struct line *line, const char *data, size_t len) {
    const unsigned char *s = (const unsigned char *)data;
    put_byte(line, '"');
    for (size_t i = 0; i < len;) {
        size_t n = utf8_length(data + i, data + len);
        if (n == 0) {
            put_hex(line, "\\\\x", s[i++]); /* the reader sees \xff */
            continue;
        }
        if (s[i] == '"' || s[i] == '\\') {
            put_byte(line, '\\');
            put_byte(line, data[i]);
        } else if (s[i] == '\n') {
            put_text(line, "\\n");
        } else if (s[i] == '\t') {
            put_text(line, "\\t");
        } else if (s[i] < 0x20 || s[i] == 0x7F) {
            put_hex(line, "\\u00", s[i]);
        } else {
            put(line, data + i, n);
        }
        i += n;
    }
    put_byte(line, '"');
}

static void json_member(struct line *line, const char *key, const char *value) {
    json_string(line, key, strlen(key));
    put_byte(line, ':');
    json_string(line, value, strlen(value));
}

static void json_field(struct line *line, const struct log_field *field) {
    static const char *const taken[] = {"time", "level", "service", "message"};
    put_byte(line, ',');
    json_string(line, field->key, strlen(field->key));
    for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++)
        if (strcmp(field->key, taken[i]) == 0) {
            line->len -= line->full ? 0 : 1; /* the closing quote */
            put_text(line, "_\"");
        }
    put_byte(line, ':');
    if (field->type == LOG_TYPE_STRING)
        json_string(line, field->value.string.data, field->value.string.len);
    else if (field->type == LOG_TYPE_FLOAT && !isfinite(field->value.number))
        put_text(line, "null");
    else
        put_scalar(line, field);
}

static void compose_json(struct line *line, const struct log_record *record) {
    put_text(line, "{\"time\":\"");
    put_time(line, record->time_ms);
    put_text(line, "\",");
    json_member(line, "level", level_names[record->level]);
    if (record->service != NULL) {
        put_byte(line, ',');
        json_member(line, "service", record->service);
    }
    put_byte(line, ',');
    json_member(line, "message", record->message);
    for (size_t i = 0; i < record->field_count; i++)
        json_field(line, &record->fields[i]);
    put_byte(line, '}');
}

/* ---- text ---- */

/* Control bytes could move the cursor or colour the terminal: shown as \x1b. */
static void text_plain(struct line *line, const char *data, size_t len) {
    for (size_t i = 0; i < len; i++) {
        unsigned char byte = (unsigned char)data[i];
        if ((byte < 0x20 && byte != '\t') || byte == 0x7F)
            put_hex(line, "\\x", byte);
        else
            put_byte(line, data[i]);
    }
}

static void text_value(struct line *line, const char *data, size_t len) {
    bool quote = len == 0;
    for (size_t i = 0; i < len && !quote; i++)
        quote = (unsigned char)data[i] <= 0x20 || strchr("\"=\\\x7F", data[i]) != NULL;
    if (!quote) {
        put(line, data, len);
        return;
    }
    put_byte(line, '"');
    for (size_t i = 0; i < len; i++) {
        if (data[i] == '"' || data[i] == '\\')
            put_byte(line, '\\');
        if (data[i] == '\n')
            put_text(line, "\\n");
        else if (data[i] == '\t')
            put_text(line, "\\t");
        else
            text_plain(line, &data[i], 1);
    }
    put_byte(line, '"');
}

static void text_field(struct line *line, const struct log_field *field) {
    put_byte(line, ' ');
    text_plain(line, field->key, strlen(field->key));
    put_byte(line, '=');
    if (field->type == LOG_TYPE_STRING)
        text_value(line, field->value.string.data, field->value.string.len);
    else
        put_scalar(line, field);
}

static void text_level(struct line *line, enum log_level level) {
    static const char *const words[] = {"DEBUG", "INFO ", "WARN ", "ERROR"};
    static const char *const colours[] = {"\x1b[36m", "\x1b[32m", "\x1b[33m", "\x1b[31m"};
    if (sink.colours)
        put_text(line, colours[level]);
    put_text(line, words[level]);
    if (sink.colours)
        put_text(line, "\x1b[0m");
}

static void compose_text(struct line *line, const struct log_record *record) {
    put_time(line, record->time_ms);
    put_byte(line, ' ');
    text_level(line, record->level);
    put_byte(line, ' ');
    if (record->service != NULL) {
        text_plain(line, record->service, strlen(record->service));
        put_text(line, ": ");
    }
    const char *rest = record->message;
    size_t len = strcspn(rest, "\n");
    text_plain(line, rest, len);
    for (size_t i = 0; i < record->field_count; i++)
        text_field(line, &record->fields[i]);
    /* A traceback goes below, indented, so that every line that starts with a time is a record.
     */
    for (rest += len; *rest == '\n'; rest += len) {
        len = strcspn(++rest, "\n");
        if (len == 0 && *rest == '\0')
            break;
        put_text(line, "\n    ");
        text_plain(line, rest, len);
    }
}

/* ---- writing ---- */

static bool write_all(const char *data, size_t len) {
    while (len > 0) {
        ssize_t n = write(STDERR_FILENO, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false; /* EAGAIN, EPIPE, ...: nobody is there to be told */
        data += n;
        len -= (size_t)n;
    }
    return true;
}

static void sink_write(const struct log_record *record) {
    struct line line;
    line_init(&line);
    if (sink.format == LOG_FORMAT_JSON)
        compose_json(&line, record);
    else
        compose_text(&line, record);
    line.data[line.len++] = '\n';
    int saved = errno;
    if (!write_all(line.data, line.len))
        sink.lost++;
    errno = saved; /* callers log first and look at errno afterwards */
    line_free(&line);
}

/* Says how many lines a full or closed stderr swallowed, once it takes lines again. */
static void report_lost(const struct log_record *record) {
    struct log_field count = {"lines", LOG_TYPE_INT, {.integer = (int64_t)sink.lost}};
    struct log_record lost = {LOG_LEVEL_WARN,        record->time_ms, NULL,
                              "log lines were lost", &count,          1};
    uint64_t before = sink.lost;
    sink_write(&lost);
    sink.lost = sink.lost == before ? 0 : before;
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
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    struct log_record record = {
        .level = level,
        .time_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000,
        .service = service,
        .message = message,
        .fields = fields,
        .field_count = field_count,
    };
    if (offer_to_taps(&record) || level < sink.level)
        return;
    if (sink.lost > 0)
        report_lost(&record);
    sink_write(&record);
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
