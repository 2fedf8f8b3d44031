/* SPDX-License-Identifier: Apache-2.0 */
#include "host/dial/info.h"

#include <string.h>

#define NAME_SIZE 32
#define DEPTH_MAX 16

/* ---- as much of JSON as an INFO needs ---- */

static const char *skip_blanks(const char *at, const char *end) {
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\r' || *at == '\n'))
        at++;
    return at;
}

static unsigned hex_digit(char c) {
    return (unsigned)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10) & 15;
}

/* The character of an escape; what is not ASCII becomes a question mark: it is in no field that
 * is used for more than being shown. */
static const char *read_escape(const char *at, const char *end, char *out) {
    static const char letters[] = "bfnrt", meant[] = "\b\f\n\r\t";
    const char *letter = strchr(letters, *at);
    *out = letter != NULL && *letter != '\0' ? meant[letter - letters] : *at;
    if (*at != 'u' || end - at < 5)
        return at + 1;
    unsigned code = hex_digit(at[1]) << 12 | hex_digit(at[2]) << 8 | hex_digit(at[3]) << 4 |
                    hex_digit(at[4]);
    *out = code < 128 ? (char)code : '?';
    return at + 5;
}

/* A string with its quotes; copies what fits. Returns its end, or NULL. */
static const char *read_string(const char *at, const char *end, char *out, size_t size) {
    size_t len = 0;
    if (at == end || *at != '"')
        return NULL;
    for (at++; at < end && *at != '"';) {
        char c = *at++;
        if (c == '\\') {
            if (at == end)
                return NULL;
            at = read_escape(at, end, &c);
        }
        if (len + 1 < size)
            out[len++] = c;
    }
    if (size > 0)
        out[len] = '\0';
    return at < end ? at + 1 : NULL;
}

/* The end of any value, or NULL. */
static const char *skip_value(const char *at, const char *end) {
    int depth = 0;
    do {
        at = skip_blanks(at, end);
        if (at == end)
            return NULL;
        if (*at == '"') {
            at = read_string(at, end, NULL, 0);
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

/* ---- fields ---- */

/* Whole numbers; what is larger becomes the largest one. */
static int64_t number(const char *at, const char *end) {
    bool negative = at < end && *at == '-';
    int64_t value = 0;
    for (at += negative; at < end && *at >= '0' && *at <= '9'; at++) {
        if (value > (INT64_MAX - 9) / 10)
            return negative ? INT64_MIN : INT64_MAX;
        value = value * 10 + (*at - '0');
    }
    return negative ? -value : value;
}

static void read_field(const char *name, const char *at, const char *end, struct info *out) {
    bool yes = *at == 't';
    if (strcmp(name, "server_id") == 0)
        read_string(at, end, out->server_id, sizeof(out->server_id));
    else if (strcmp(name, "version") == 0)
        read_string(at, end, out->version, sizeof(out->version));
    else if (strcmp(name, "client_ip") == 0)
        read_string(at, end, out->client_ip, sizeof(out->client_ip));
    else if (strcmp(name, "client_id") == 0)
        out->client_id = (uint64_t)number(at, end);
    else if (strcmp(name, "max_payload") == 0)
        out->max_payload = number(at, end);
    else if (strcmp(name, "headers") == 0)
        out->headers = yes;
    else if (strcmp(name, "tls_required") == 0)
        out->tls_required = yes;
    else if (strcmp(name, "tls_available") == 0)
        out->tls_available = yes;
    else if (strcmp(name, "ldm") == 0)
        out->lame_duck = yes;
    else if (strcmp(name, "connect_urls") == 0 && *at == '[')
        out->urls = at + 1, out->urls_end = end;
}

bool info_read(const char *json, size_t len, struct info *out) {
    const char *at = json, *end = json + len;
    out->lame_duck = false;
    out->urls = out->urls_end = NULL;
    at = skip_blanks(at, end);
    if (at == end || *at++ != '{')
        return false;
    for (;;) {
        char name[NAME_SIZE];
        at = skip_blanks(at, end);
        if (at < end && *at == ',') {
            at++;
            continue;
        }
        if (at < end && *at == '}')
            return true;
        at = read_string(at, end, name, sizeof(name));
        at = at != NULL ? skip_blanks(at, end) : end;
        if (at == end || *at++ != ':')
            return false;
        at = skip_blanks(at, end);
        const char *after = skip_value(at, end);
        if (after == NULL || after == end) /* the object has an end, too */
            return false;
        read_field(name, at, after, out);
        at = after;
    }
}

bool info_next_url(struct info *info, char *out, size_t size) {
    const char *at = info->urls, *end = info->urls_end;
    while (at != NULL && at < end && (*at == ',' || skip_blanks(at, end) != at))
        at = *at == ',' ? at + 1 : skip_blanks(at, end);
    const char *after = at != NULL ? read_string(at, end, out, size) : NULL;
    info->urls = after;
    return after != NULL && (size_t)(after - at) < size + 2;
}
