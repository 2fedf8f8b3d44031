/* SPDX-License-Identifier: Apache-2.0 */
#include "host/link/wire.h"

#include <endian.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

/* "HMSG subject sid reply headers total" has the most. */
#define FIELDS_MAX 5

struct field {
    const char *bytes;
    size_t len;
};

/* The first blank or control byte of what ends with one; eight bytes at a time. */
static const char *find_blank(const char *at, const char *end) {
    const uint64_t ones = 0x0101010101010101u, tops = ones * 0x80;
    for (uint64_t word; end - at >= 8; at += 8) {
        memcpy(&word, at, 8);
        word =
            le64toh(word); /* a borrow goes to bytes behind the first one that is at most ' ' */
        uint64_t marks = (word - ones * (' ' + 1)) & ~word & tops;
        if (marks != 0)
            return at + __builtin_ctzll(marks) / 8;
    }
    while ((unsigned char)*at > ' ')
        at++;
    return at;
}

/* Cuts a line at its blanks and control bytes, of which it has one at its end; returns the
 * number of fields, more than FIELDS_MAX as one more. */
static size_t split(const char *at, const char *end, struct field fields[FIELDS_MAX]) {
    size_t count = 0;
    for (; at < end; at++) {
        const char *start = at;
        at = find_blank(at, end);
        if (at == start)
            continue;
        if (count == FIELDS_MAX)
            return FIELDS_MAX + 1;
        fields[count++] = (struct field){start, (size_t)(at - start)};
    }
    return count;
}

/* Reads digits, at most 18, up to something else; returns where it stopped, or NULL when there
 * are none or more. */
static const char *read_number(const char *at, uint64_t *out) {
    const char *start = at;
    uint64_t value = 0;
    for (unsigned digit; (digit = (unsigned char)*at - (unsigned)'0') <= 9; at++)
        value = value * 10 + digit;
    *out = value;
    return at > start && at - start <= 18 ? at : NULL;
}

static bool number(const struct field *field, uint64_t *out) {
    return read_number(field->bytes, out) == field->bytes + field->len;
}

/* "total" or "headers total", one space between them, up to the end of the line. */
static bool read_sizes(const char *at, const char *end, bool has_headers, uint64_t *headers,
                       uint64_t *total) {
    if (has_headers) {
        at = read_number(at, headers);
        if (at == NULL || *at++ != ' ')
            return false;
    }
    return read_number(at, total) == end;
}

/*
 * MSG <subject> <sid> [reply] <total>, HMSG <subject> <sid> [reply] <headers> <total> as
 * servers write them, with one space between two fields.
 */
static bool read_plain(const char *at, const char *end, bool has_headers, uint64_t *headers,
                       uint64_t *total, struct wire_frame *out) {
    const char *blank = find_blank(at, end);
    out->parts.subject = at;
    out->parts.subject_len = (size_t)(blank - at);
    if (blank == at || *blank != ' ')
        return false;
    at = read_number(blank + 1, &out->sid);
    if (at == NULL || *at++ != ' ')
        return false;
    if (read_sizes(at, end, has_headers, headers, total))
        return true;
    blank = find_blank(at, end);
    out->parts.reply = at;
    out->parts.reply_len = (size_t)(blank - at);
    return blank > at && *blank == ' ' &&
           read_sizes(blank + 1, end, has_headers, headers, total);
}

/* The same with any number of blanks between the fields, which the protocol allows, at three
 * times the instructions. */
static bool read_loose(const char *at, const char *end, bool has_headers, uint64_t *headers,
                       uint64_t *total, struct wire_frame *out) {
    struct field fields[FIELDS_MAX];
    size_t count = split(at, end, fields), sizes = has_headers ? 2 : 1;
    if (count < 2 + sizes || count > 3 + sizes)
        return false;
    out->parts = (struct message_parts){fields[0].bytes, .subject_len = fields[0].len};
    if (count == 3 + sizes) {
        out->parts.reply = fields[2].bytes;
        out->parts.reply_len = fields[2].len;
    }
    return number(&fields[1], &out->sid) && number(&fields[count - 1], total) &&
           (!has_headers || number(&fields[count - 2], headers));
}

static bool read_head(const char *at, const char *end, bool has_headers, uint64_t *total,
                      struct wire_frame *out) {
    uint64_t headers = 0;
    out->parts = (struct message_parts){0};
    if (!read_plain(at, end, has_headers, &headers, total, out) &&
        !read_loose(at, end, has_headers, &headers, total, out))
        return false;
    out->parts.headers_len = (size_t)headers;
    return headers <= *total && *total <= WIRE_PAYLOAD_MAX;
}

/* ---- lines without a payload ---- */

static bool starts(const char *line, const char *end, const char *word, size_t len) {
    return (size_t)(end - line) >= len && strncasecmp(line, word, len) == 0;
}

static void set_text(struct wire_frame *out, const char *at, const char *end) {
    while (at < end && (*at == ' ' || *at == '\t'))
        at++;
    while (end > at && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    out->text = at;
    out->text_len = (size_t)(end - at);
}

static enum wire_kind read_line(const char *line, const char *end, struct wire_frame *out) {
    if (starts(line, end, "PING", 4))
        return WIRE_PING;
    if (starts(line, end, "PONG", 4))
        return WIRE_PONG;
    if (starts(line, end, "+OK", 3))
        return WIRE_OK;
    if (starts(line, end, "INFO ", 5)) {
        set_text(out, line + 5, end);
        return WIRE_INFO;
    }
    if (!starts(line, end, "-ERR", 4))
        return WIRE_BAD;
    set_text(out, line + 4, end);
    if (out->text_len >= 2 && *out->text == '\'' && out->text[out->text_len - 1] == '\'') {
        out->text++;
        out->text_len -= 2;
    }
    return WIRE_ERR;
}

/* ---- frames ---- */

enum wire_kind wire_next(const char *bytes, size_t len, struct wire_frame *out) {
    out->size = 0;
    const char *eol = memchr(bytes, '\n', len);
    if (eol == NULL)
        return len > WIRE_LINE_MAX ? WIRE_BAD : WIRE_PART;
    bool has_headers = bytes[0] == 'H' || bytes[0] == 'h';
    const char *word = has_headers ? bytes + 1 : bytes;
    const char *end = eol > bytes && eol[-1] == '\r' ? eol - 1 : eol;
    size_t head = (size_t)(eol + 1 - bytes);
    if (end - word < 4 || (word[0] | 0x20) != 'm') {
        out->size = head;
        return has_headers ? WIRE_BAD : read_line(bytes, end, out);
    }
    uint64_t total;
    if (!read_head(word + 4, end, has_headers, &total, out))
        return WIRE_BAD;
    out->size = head + (size_t)total + 2;
    if (len < out->size)
        return WIRE_PART;
    out->parts.headers = has_headers ? eol + 1 : NULL;
    out->parts.data = eol + 1 + out->parts.headers_len;
    out->parts.len = (size_t)total - out->parts.headers_len;
    return bytes[out->size - 2] == '\r' && bytes[out->size - 1] == '\n' ? WIRE_MSG : WIRE_BAD;
}
