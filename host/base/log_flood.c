/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/log_flood.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define SECOND_MS 1000
#define LINES 32      /* that are remembered */
#define TEXT_SIZE 256 /* of the beginning of a message */
#define NAME_SIZE 128 /* of a service */

/* A line, from when it was written first in the second that goes on. */
struct line {
    uint64_t hash; /* 0: none */
    uint64_t begun_ms;
    uint64_t hidden;
    unsigned shown;
    enum log_level level;
    bool of_process;         /* it has no service */
    char service[NAME_SIZE]; /* this and the text only if something is hidden */
    char text[TEXT_SIZE];
};

static struct {
    unsigned limit;
    unsigned counting; /* lines of which something is hidden */
    struct line lines[LINES];
    struct line told; /* what log_flood_next() has handed out */
} flood;

/* ---- what is the same line ---- */

static uint64_t mix(uint64_t hash, const void *bytes, size_t len) {
    for (const unsigned char *at = bytes, *end = at + len; at < end; at++)
        hash = (hash ^ *at) * 1099511628211u;
    return hash;
}

/* The id by which an error is found (host/service/delivery.c): no two errors have the same. */
static size_t id_length(const char *at, const char *begin) {
    static const char before[] = "internal error ";
    size_t len = sizeof(before) - 1;
    if ((size_t)(at - begin) < len || memcmp(at - len, before, len) != 0)
        return 0;
    return strcspn(at, ": \n");
}

static uint64_t mix_without_numbers(uint64_t hash, const char *text) {
    for (const char *at = text; *at != '\0';) {
        size_t skipped = at > text && at[-1] == ' ' ? id_length(at, text) : 0;
        if (skipped == 0 && (at == text || at[-1] != ':'))
            skipped = strspn(at, "0123456789");
        if (skipped == 0) {
            size_t digits = strspn(at, "0123456789"), len = digits > 0 ? digits : 1;
            hash = mix(hash, at, len);
            skipped = len;
        }
        at += skipped;
    }
    return hash;
}

static uint64_t mix_field(uint64_t hash, const struct log_field *field) {
    hash = mix(hash, field->key, strlen(field->key) + 1);
    switch (field->type) {
    case LOG_TYPE_STRING:
    case LOG_TYPE_JSON:
        return mix(hash, field->value.string.data, field->value.string.len);
    case LOG_TYPE_INT:
        return mix(hash, &field->value.integer, sizeof(field->value.integer));
    case LOG_TYPE_FLOAT:
        return mix(hash, &field->value.number, sizeof(field->value.number));
    case LOG_TYPE_BOOL:
        return mix(hash, &field->value.boolean, sizeof(field->value.boolean));
    }
    return hash;
}

static uint64_t hash_of(const struct log_record *record) {
    const char *service = record->service != NULL ? record->service : "";
    uint64_t hash = mix(14695981039346656037u, service, strlen(service) + 1);
    hash = (hash ^ (uint64_t)record->level) * 1099511628211u;
    hash = record->level >= LOG_LEVEL_WARN
               ? mix_without_numbers(hash, record->message)
               : mix(hash, record->message, strlen(record->message));
    for (size_t i = 0; i < record->field_count; i++)
        hash = mix_field(hash, &record->fields[i]);
    return hash | 1;
}

/* ---- counting ---- */

/* The line of this hash, or the one to be forgotten for it; NULL: all count something. */
static struct line *find(uint64_t hash) {
    struct line *oldest = NULL;
    for (struct line *line = flood.lines; line < flood.lines + LINES; line++) {
        if (line->hash == hash)
            return line;
        if (line->hidden == 0 && (oldest == NULL || line->begun_ms < oldest->begun_ms))
            oldest = line;
    }
    return oldest;
}

static void begin(struct line *line, uint64_t hash, uint64_t now_ms) {
    line->hash = hash;
    line->begun_ms = now_ms;
    line->shown = 0;
}

static void hide(struct line *line, const struct log_record *record) {
    if (line->hidden++ > 0)
        return;
    flood.counting++;
    line->level = record->level;
    line->of_process = record->service == NULL;
    snprintf(line->service, sizeof(line->service), "%s",
             record->service != NULL ? record->service : "");
    snprintf(line->text, sizeof(line->text), "%.*s", (int)strcspn(record->message, "\n"),
             record->message);
}

/* ---- public ---- */

void log_flood_limit(unsigned per_second) {
    flood.limit = per_second;
}

bool log_flood_admits(const struct log_record *record, uint64_t now_ms) {
    if (flood.limit == 0)
        return true;
    uint64_t hash = hash_of(record);
    struct line *line = find(hash);
    if (line == NULL)
        return true;
    if (line->hash != hash || (line->hidden == 0 && now_ms - line->begun_ms >= SECOND_MS))
        begin(line, hash, now_ms);
    if (line->shown < flood.limit) {
        line->shown++;
        return true;
    }
    hide(line, record);
    return false;
}

bool log_flood_counts(void) {
    return flood.counting > 0;
}

bool log_flood_next(uint64_t now_ms, bool all, struct log_flood *out) {
    for (struct line *line = flood.lines; line < flood.lines + LINES; line++) {
        uint64_t ms = now_ms - line->begun_ms;
        if (line->hidden == 0 || (!all && ms < SECOND_MS))
            continue;
        flood.told = *line;
        flood.counting--;
        line->hidden = 0;
        line->hash = 0; /* its next second begins with the next one */
        *out = (struct log_flood){
            .level = flood.told.level,
            .service = flood.told.of_process ? NULL : flood.told.service,
            .text = flood.told.text,
            .hidden = flood.told.hidden,
            .ms = ms,
        };
        return true;
    }
    return false;
}
