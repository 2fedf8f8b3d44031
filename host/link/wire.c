/* SPDX-License-Identifier: Apache-2.0 */
#include "host/link/wire.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

/* "HMSG subject sid reply headers total" has the most. */
#define FIELDS_MAX 5

struct field {
    const char *bytes;
    size_t len;
};

/* Cuts a line at its blanks and control bytes, of which it has one at its end; returns the
 * number of fields, more than FIELDS_MAX as one more. */
static size_t split_any(const char *at, const char *end, struct field fields[FIELDS_MAX]) {
    size_t count = 0;
    while (at < end) {
        const char *start = at;
        while ((unsigned char)*at > ' ')
            at++;
        if (at > start) {
            if (count == FIELDS_MAX)
                return FIELDS_MAX + 1;
            fields[count++] = (struct field){start, (size_t)(at - start)};
        }
        at++;
    }
    return count;
}

/* The same for a line as servers write it, one space between two fields, with a third of the
 * instructions. */
static size_t split(const char *at, const char *end, struct field fields[FIELDS_MAX]) {
    const char *line = at;
    for (size_t count = 0; count < FIELDS_MAX; at++) {
        const char *space = memchr(at, ' ', (size_t)(end - at));
        const char *stop = space != NULL ? space : end;
        if (stop == at)
            break;
        fields[count++] = (struct field){at, (size_t)(stop - at)};
        if (space == NULL)
            return memchr(line, '\t', (size_t)(end - line)) == NULL
                       ? count
                       : split_any(line, end, fields);
        at = stop;
    }
    return split_any(line, end, fields);
}

static bool number(const struct field *field, uint64_t *out) {
    uint64_t value = 0;
    if (field->len > 18)
        return false;
    for (size_t i = 0; i < field->len; i++) {
        unsigned digit = (unsigned char)field->bytes[i] - (unsigned)'0';
        if (digit > 9)
            return false;
        value = value * 10 + digit;
    }
    *out = value;
    return true;
}

/* MSG <subject> <sid> [reply] <total>, HMSG <subject> <sid> [reply] <headers> <total> */
static bool read_head(const char *at, const char *end, bool has_headers, uint64_t *total,
                      struct wire_frame *out) {
    struct field fields[FIELDS_MAX];
    size_t count = split(at, end, fields), sizes = has_headers ? 2 : 1;
    uint64_t headers = 0;
    if (count < 2 + sizes || count > 3 + sizes)
        return false;
    out->parts = (struct message_parts){fields[0].bytes, .subject_len = fields[0].len};
    if (count == 3 + sizes) {
        out->parts.reply = fields[2].bytes;
        out->parts.reply_len = fields[2].len;
    }
    if (!number(&fields[1], &out->sid) || !number(&fields[count - 1], total) ||
        (has_headers && !number(&fields[count - 2], &headers)))
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
