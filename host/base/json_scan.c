/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/json_scan.h"

#include <stdbool.h>
#include <string.h>

#define DEPTH_MAX 16

const char *json_skip_blanks(const char *at, const char *end) {
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\r' || *at == '\n'))
        at++;
    return at;
}

/* ---- strings ---- */

static unsigned hex_digit(char c) {
    return (unsigned)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10) & 15;
}

/* The four digits behind a "u". */
static unsigned hex_number(const char *at) {
    return hex_digit(at[1]) << 12 | hex_digit(at[2]) << 8 | hex_digit(at[3]) << 4 |
           hex_digit(at[4]);
}

static size_t write_utf8(unsigned code, char out[4]) {
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    size_t more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    static const unsigned char first[] = {0, 0xC0, 0xE0, 0xF0};
    out[0] = (char)(first[more] | code >> 6 * more);
    for (size_t i = 1; i <= more; i++)
        out[i] = (char)(0x80 | (code >> 6 * (more - i) & 0x3F));
    return more + 1;
}

/* The character of an escape, from behind the backslash on. A half of a pair alone becomes a
 * question mark. */
static const char *read_escape(const char *at, const char *end, char out[4], size_t *len) {
    static const char letters[] = "bfnrt", meant[] = "\b\f\n\r\t";
    const char *letter = strchr(letters, *at);
    out[0] = letter != NULL && *letter != '\0' ? meant[letter - letters] : *at;
    *len = 1;
    if (*at != 'u' || end - at < 5)
        return at + 1;
    unsigned code = hex_number(at);
    at += 5;
    if (code >= 0xD800 && code < 0xDC00 && end - at >= 6 && at[0] == '\\' && at[1] == 'u') {
        unsigned low = hex_number(at + 1);
        if (low >= 0xDC00 && low < 0xE000) {
            code = 0x10000 + ((code & 0x3FF) << 10 | (low & 0x3FF));
            at += 6;
        }
    }
    *len = write_utf8(code >= 0xD800 && code < 0xE000 ? '?' : code, out);
    return at;
}

const char *json_read_string(const char *at, const char *end, char *out, size_t size) {
    size_t used = 0;
    bool fits = true; /* what is behind the first that does not is left out, too */
    if (at == end || *at != '"')
        return NULL;
    for (at++; at < end && *at != '"';) {
        char bytes[4] = {*at++};
        size_t len = 1;
        if (bytes[0] == '\\') {
            if (at == end)
                return NULL;
            at = read_escape(at, end, bytes, &len);
        }
        fits = fits && used + len < size;
        if (fits) {
            memcpy(out + used, bytes, len);
            used += len;
        }
    }
    if (size > 0)
        out[used] = '\0';
    return at < end ? at + 1 : NULL;
}

/* ---- values ---- */

/* The end of any value, or NULL. */
static const char *skip_value(const char *at, const char *end) {
    int depth = 0;
    do {
        at = json_skip_blanks(at, end);
        if (at == end)
            return NULL;
        if (*at == '"') {
            at = json_read_string(at, end, NULL, 0);
            if (at == NULL)
                return NULL;
        } else if (*at == '{' || *at == '[') {
            if (++depth > DEPTH_MAX)
                return NULL;
            at++;
        } else if (*at == '}' || *at == ']') {
            depth--;
            at++;
        } else {
            const char *start = at;
            while (at < end && strchr(" \t\r\n\"{}[],:", *at) == NULL)
                at++;
            if (at == start)
                at++; /* a comma or colon inside of something */
        }
    } while (depth > 0);
    return depth == 0 ? at : NULL;
}

/* ---- objects ---- */

int json_next_member(const char **at, const char *end, struct json_member *out) {
    const char *from = json_skip_blanks(*at, end);
    while (from < end && *from == ',')
        from = json_skip_blanks(from + 1, end);
    if (from < end && *from == '}')
        return 0;
    from = json_read_string(from, end, out->name, sizeof(out->name));
    from = from != NULL ? json_skip_blanks(from, end) : end;
    if (from == end || *from != ':')
        return -1;
    out->value = json_skip_blanks(from + 1, end);
    out->end = skip_value(out->value, end);
    if (out->end == NULL || out->end == end) /* the object has an end, too */
        return -1;
    *at = out->end;
    return 1;
}

int json_first_member(const char **at, const char *end, struct json_member *out) {
    const char *from = json_skip_blanks(*at, end);
    if (from == end || *from != '{')
        return -1;
    *at = from + 1;
    return json_next_member(at, end, out);
}
