/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/log_line.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "host/base/decimal.h"
#include "host/base/utf8.h"

#define LINE_LIMIT 32768    /* bytes of a line, a little more with the marks of what is cut */
#define MESSAGE_LIMIT 16384 /* of the message, so that there is room for fields */
#define VALUE_LIMIT 8192    /* of a field */

/* ---- composing ---- */

static void line_init(struct log_line *line) {
    line->data = line->fixed;
    line->len = 0;
    line->size = sizeof(line->fixed);
    line->limit = LINE_LIMIT;
    line->full = false;
}

/* Makes room for `more` bytes and the line break at the end, which always finds a place. */
static bool line_reserve(struct log_line *line, size_t more) {
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

static void put(struct log_line *line, const char *bytes, size_t len) {
    if (!line_reserve(line, len))
        return;
    memcpy(line->data + line->len, bytes, len);
    line->len += len;
}

static void put_text(struct log_line *line, const char *text) {
    put(line, text, strlen(text));
}

static void put_byte(struct log_line *line, char byte) {
    put(line, &byte, 1);
}

/* Two hexadecimal digits after a prefix: "\x" or "\u00". */
static void put_hex(struct log_line *line, const char *prefix, unsigned char byte) {
    static const char digits[] = "0123456789abcdef";
    put_text(line, prefix);
    put_byte(line, digits[byte >> 4]);
    put_byte(line, digits[byte & 15]);
}

static void put_time(struct log_line *line, int64_t time_ms) {
    time_t seconds = (time_t)(time_ms / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    char text[64];
    size_t n = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text + n, sizeof(text) - n, ".%03dZ", (int)(time_ms % 1000));
    put_text(line, text);
}

static void put_double(struct log_line *line, double number) {
    char text[DECIMAL_SIZE];
    decimal_write(text, number);
    put_text(line, text);
}

/* ---- characters ---- */

/* The code point of a valid sequence. */
static unsigned decode(const unsigned char *at, size_t len) {
    static const unsigned char lead[] = {0, 0x7F, 0x1F, 0x0F, 0x07};
    unsigned code = at[0] & lead[len];
    for (size_t i = 1; i < len; i++)
        code = code << 6 | (at[i] & 0x3F);
    return code;
}

/* Controls (C0, DEL, C1), line separators, and what turns the direction of writing round. */
static bool is_control(unsigned code) {
    return code < 0x20 || (code >= 0x7F && code < 0xA0) || code == 0x061C || code == 0x200E ||
           code == 0x200F || (code >= 0x2028 && code <= 0x202E) ||
           (code >= 0x2066 && code <= 0x2069);
}

static void put_unicode(struct log_line *line, unsigned code) {
    put_text(line, "\\u");
    char digits[8];
    snprintf(digits, sizeof(digits), "%04x", code);
    put_text(line, digits);
}

/* How many bytes of a string are shown: at most `max`, and no half of a character. */
static size_t shown_length(const char *data, size_t len, size_t max) {
    if (len <= max)
        return len;
    while (max > 0 && ((unsigned char)data[max] & 0xC0) == 0x80)
        max--;
    return max;
}

/* In the place of what does not fit any more. */
static void put_cut(struct log_line *line, size_t shown, size_t len) {
    char mark[64];
    snprintf(mark, sizeof(mark), " [cut: %zu of %zu bytes]", shown, len);
    put_text(line, mark);
}

/* Text that is JSON already, kept on one line. Controls can only be inside of its strings. */
static void put_raw_json(struct log_line *line, const char *data, size_t len) {
    if (len == 0)
        put_text(line, "null");
    for (size_t i = 0, n; i < len; i += n) {
        n = utf8_length(data + i, data + len);
        unsigned code = n > 0 ? decode((const unsigned char *)data + i, n) : 0xFFFD;
        if (n == 0)
            n = 1;
        if (data[i] == '\n' || data[i] == '\r' || data[i] == '\t')
            put_byte(line, ' ');
        else if (is_control(code) || code == 0xFFFD)
            put_unicode(line, code);
        else
            put(line, data + i, n);
    }
}

/* Whether JSON text of this length still fits. */
static bool fits(const struct log_line *line, size_t len) {
    return len <= VALUE_LIMIT && line->len + len <= line->limit;
}

/* All but strings, which each format quotes in its own way. */
static void put_scalar(struct log_line *line, const struct log_field *field) {
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

/* JSON that is too long is shown as a string, since half of it is no JSON. */
static bool is_string(const struct log_line *line, const struct log_field *field) {
    return field->type == LOG_TYPE_STRING ||
           (field->type == LOG_TYPE_JSON && !fits(line, field->value.string.len));
}

/* ---- names ---- */

/* Names of ours; but for the first one only JSON has them. */
static const char *const taken[] = {"fields_cut", "time", "level", "service", "message"};
enum { TAKEN_IN_TEXT = 1, TAKEN_IN_JSON = 5 };

/* Where the names of the fields of a line are, as they were written: no two are the same, as
 * readers of JSON would keep one of them only. */
#define NAMES_MAX 64
struct names {
    size_t taken;
    size_t count;
    struct {
        size_t at, len;
    } name[NAMES_MAX];
};

static bool is_used(const struct log_line *line, const struct names *names, size_t at) {
    size_t len = line->len - at;
    for (size_t i = 0; i < names->taken; i++)
        if (strlen(taken[i]) == len && memcmp(taken[i], line->data + at, len) == 0)
            return true;
    for (size_t i = 0; i < names->count; i++)
        if (names->name[i].len == len &&
            memcmp(line->data + names->name[i].at, line->data + at, len) == 0)
            return true;
    return false;
}

/* The name that has been written from `at` on gets underscores until it is another one. */
static void name_end(struct log_line *line, struct names *names, size_t at) {
    while (!line->full && is_used(line, names, at))
        put_byte(line, '_');
    if (names->count < NAMES_MAX) {
        names->name[names->count].at = at;
        names->name[names->count++].len = line->len - at;
    }
}

/* Those of the record, then those of its context. */
static size_t field_count(const struct log_record *record) {
    return record->field_count + record->context_count;
}

static const struct log_field *field_at(const struct log_record *record, size_t i) {
    return i < record->field_count ? &record->fields[i]
                                   : &record->context[i - record->field_count];
}

/* All fields, each by `put`; behind `cut` stands the number of those that do not fit any more.
 */
static void put_fields(struct log_line *line, const struct log_record *record, size_t reserved,
                       void (*put_one)(struct log_line *line, struct names *names,
                                       const struct log_field *field),
                       const char *cut) {
    struct names names;
    names.taken = reserved;
    names.count = 0;
    size_t i = 0, count = field_count(record);
    for (; i < count && line->len < line->limit; i++)
        put_one(line, &names, field_at(record, i));
    if (i == count)
        return;
    char number[32];
    snprintf(number, sizeof(number), "%zu", count - i);
    put_text(line, cut);
    put_text(line, number);
}

/* ---- JSON ---- */

/* One character of a string; returns its length. */
static size_t json_char(struct log_line *line, const char *at, const char *end) {
    size_t n = utf8_length(at, end);
    if (n == 0) {
        put_hex(line, "\\\\x", (unsigned char)*at); /* the reader sees \xff */
        return 1;
    }
    unsigned code = decode((const unsigned char *)at, n);
    if (*at == '"' || *at == '\\') {
        put_byte(line, '\\');
        put_byte(line, *at);
    } else if (*at == '\n') {
        put_text(line, "\\n");
    } else if (*at == '\t') {
        put_text(line, "\\t");
    } else if (is_control(code)) {
        put_unicode(line, code);
    } else {
        put(line, at, n);
    }
    return n;
}

static void json_chars(struct log_line *line, const char *data, size_t len, size_t max) {
    size_t shown = shown_length(data, len, max), i = 0;
    while (i < shown && line->len < line->limit)
        i += json_char(line, data + i, data + shown);
    if (i < len)
        put_cut(line, i, len);
}

static void json_string(struct log_line *line, const char *data, size_t len, size_t max) {
    put_byte(line, '"');
    json_chars(line, data, len, max);
    put_byte(line, '"');
}

static void json_member(struct log_line *line, const char *key, const char *value) {
    json_string(line, key, strlen(key), VALUE_LIMIT);
    put_byte(line, ':');
    json_string(line, value, strlen(value), MESSAGE_LIMIT);
}

static void json_field(struct log_line *line, struct names *names,
                       const struct log_field *field) {
    put_text(line, ",\"");
    size_t at = line->len;
    json_chars(line, field->key, strlen(field->key), VALUE_LIMIT);
    name_end(line, names, at);
    put_text(line, "\":");
    if (is_string(line, field))
        json_string(line, field->value.string.data, field->value.string.len, VALUE_LIMIT);
    else if (field->type == LOG_TYPE_FLOAT && !isfinite(field->value.number))
        put_text(line, "null");
    else
        put_scalar(line, field);
}

static void compose_json(struct log_line *line, const struct log_record *record) {
    put_text(line, "{\"time\":\"");
    put_time(line, record->time_ms);
    put_text(line, "\",");
    json_member(line, "level", log_level_name(record->level));
    if (record->service != NULL) {
        put_byte(line, ',');
        json_member(line, "service", record->service);
    }
    put_byte(line, ',');
    json_member(line, "message", record->message);
    put_fields(line, record, TAKEN_IN_JSON, json_field, ",\"fields_cut\":");
    put_byte(line, '}');
}

/* ---- text ---- */

/* One character; returns its length. */
static size_t text_char(struct log_line *line, const char *at, const char *end) {
    size_t n = utf8_length(at, end);
    unsigned code = n > 0 ? decode((const unsigned char *)at, n) : 0;
    if (n == 0 || (code < 0x80 && is_control(code) && code != '\t'))
        put_hex(line, "\\x", (unsigned char)*at);
    else if (code >= 0x80 && is_control(code))
        put_unicode(line, code);
    else
        put(line, at, n);
    return n > 0 ? n : 1;
}

/* Writes the text up to `end` or the limit; returns how far it came. */
static const char *text_plain(struct log_line *line, const char *at, const char *end) {
    while (at < end && line->len < line->limit)
        at += text_char(line, at, end);
    return at;
}

static void text_name(struct log_line *line, const char *name) {
    text_plain(line, name, name + strlen(name));
}

/* Whether a value can stand without quotes. */
static bool is_word(const char *data, size_t len) {
    for (size_t i = 0, n; i < len; i += n) {
        n = utf8_length(data + i, data + len);
        if (n == 0 || data[i] == ' ' || data[i] == '"' || data[i] == '=' || data[i] == '\\' ||
            is_control(decode((const unsigned char *)data + i, n)))
            return false;
    }
    return len > 0;
}

static void text_value(struct log_line *line, const char *data, size_t len) {
    size_t shown = shown_length(data, len, VALUE_LIMIT), i = 0;
    if (shown == len && line->len + len <= line->limit && is_word(data, len)) {
        put(line, data, len);
        return;
    }
    put_byte(line, '"');
    while (i < shown && line->len < line->limit) {
        if (data[i] == '"' || data[i] == '\\')
            put_byte(line, '\\');
        if (data[i] == '\n' || data[i] == '\t')
            put_text(line, data[i++] == '\n' ? "\\n" : "\\t");
        else
            i += text_char(line, data + i, data + shown);
    }
    if (i < len)
        put_cut(line, i, len);
    put_byte(line, '"');
}

/* What would end a name, or look like a value, becomes an underscore. */
static void text_key(struct log_line *line, struct names *names, const char *key) {
    const char *end = key + strlen(key);
    size_t at = line->len;
    while (key < end && line->len < line->limit) {
        if (*key == ' ' || *key == '=' || *key == '"' || *key == '\t') {
            put_byte(line, '_');
            key++;
        } else {
            key += text_char(line, key, end);
        }
    }
    if (line->len == at)
        put_byte(line, '_');
    name_end(line, names, at);
}

static void text_field(struct log_line *line, struct names *names,
                       const struct log_field *field) {
    put_byte(line, ' ');
    text_key(line, names, field->key);
    put_byte(line, '=');
    if (is_string(line, field))
        text_value(line, field->value.string.data, field->value.string.len);
    else
        put_scalar(line, field);
}

static void text_level(struct log_line *line, enum log_level level, bool colours) {
    static const char *const words[] = {"DEBUG", "INFO ", "WARN ", "ERROR"};
    static const char *const starts[] = {"\x1b[36m", "\x1b[32m", "\x1b[33m", "\x1b[31m"};
    if (colours)
        put_text(line, starts[level]);
    put_text(line, words[level]);
    if (colours)
        put_text(line, "\x1b[0m");
}

/*
 * A traceback goes below, indented, so that every line that starts with a time is a record. The
 * fields stand at the end of the first line.
 */
static void text_message(struct log_line *line, const struct log_record *record) {
    const char *at = record->message;
    size_t len = strlen(at);
    len -= len > 0 && at[len - 1] == '\n';
    size_t shown = shown_length(at, len, MESSAGE_LIMIT);
    const char *end = at + shown, *stop = memchr(at, '\n', shown);
    bool several = stop != NULL;
    const char *to = text_plain(line, at, several ? stop : end);
    if (!several && to < at + len)
        put_cut(line, (size_t)(to - at), len);
    put_fields(line, record, TAKEN_IN_TEXT, text_field, " fields_cut=");
    while (stop != NULL && line->len < line->limit) {
        const char *next = stop + 1;
        stop = memchr(next, '\n', (size_t)(end - next));
        put_text(line, "\n    ");
        to = text_plain(line, next, stop != NULL ? stop : end);
    }
    if (several && to < at + len)
        put_cut(line, (size_t)(to - at), len);
}

static void compose_text(struct log_line *line, const struct log_record *record, bool colours) {
    put_time(line, record->time_ms);
    put_byte(line, ' ');
    text_level(line, record->level, colours);
    put_byte(line, ' ');
    if (record->service != NULL) {
        text_name(line, record->service);
        put_text(line, ": ");
    }
    text_message(line, record);
}

/* ---- public ---- */

void log_line_compose(struct log_line *line, const struct log_record *record,
                      enum log_format format, bool colours) {
    line_init(line);
    if (format == LOG_FORMAT_JSON)
        compose_json(line, record);
    else
        compose_text(line, record, colours);
    line->data[line->len++] = '\n';
}

void log_line_free(struct log_line *line) {
    if (line->data != line->fixed)
        free(line->data);
}
