/* SPDX-License-Identifier: Apache-2.0 */
#include "host/web/path.h"

#include <ctype.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/status.h"

/* ---- templates ---- */

static bool is_name(const char *text, size_t len) {
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)text[i]) && text[i] != '_')
            return false;
    return len > 0;
}

static const char *add_part(struct path_template *path, char *text, size_t len, bool last) {
    if (path->count == PATH_PARTS)
        return "has too many parts";
    struct path_part *part = &path->parts[path->count++];
    *part = (struct path_part){PATH_LITERAL, text, len};
    if (len == 0 && !last)
        return "has an empty part: two slashes in a row";
    if (strcmp(text, "*") == 0) {
        part->kind = PATH_REST;
        return last ? NULL : "has something behind '*', which stands for all the rest";
    }
    if (text[0] != ':')
        return strpbrk(text, "*?#") != NULL
                   ? "has '*', '?' or '#' in a part: '*' stands alone, at the end"
                   : NULL;
    part->kind = PATH_PARAM;
    part->text++;
    part->len--;
    if (!is_name(part->text, part->len))
        return "has a parameter without a name: ':' and letters, digits or '_'";
    for (size_t i = 0; i + 1 < path->count; i++)
        if (path->parts[i].kind == PATH_PARAM && strcmp(path->parts[i].text, part->text) == 0)
            return "has two parameters with one name";
    return NULL;
}

const char *path_template_parse(struct path_template *out, const char *text, size_t len) {
    const char *fault = NULL;
    *out = (struct path_template){0};
    if (text[0] != '/' || strlen(text) != len)
        return "must begin with '/', and has no zero byte";
    out->text = strdup(text + 1);
    if (out->text == NULL)
        return "is too much: out of memory";
    for (char *at = out->text; at != NULL && fault == NULL;) {
        char *slash = strchr(at, '/');
        if (slash != NULL)
            *slash = '\0';
        fault = add_part(out, at, strlen(at), slash == NULL);
        at = slash != NULL ? slash + 1 : NULL;
    }
    if (fault != NULL)
        path_template_free(out);
    return fault;
}

void path_template_free(struct path_template *path) {
    free(path->text);
    path->text = NULL;
}

int path_template_compare(const struct path_template *a, const struct path_template *b) {
    size_t count = a->count < b->count ? a->count : b->count;
    for (size_t i = 0; i < count; i++) {
        const struct path_part *one = &a->parts[i], *other = &b->parts[i];
        if (one->kind != other->kind)
            return one->kind < other->kind ? -1 : 1;
        int order = one->kind == PATH_LITERAL ? strcmp(one->text, other->text) : 0;
        if (order != 0)
            return order;
    }
    return a->count == b->count ? 0 : a->count < b->count ? -1 : 1;
}

/* ---- decoding ---- */

static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

size_t path_decode(char *text, size_t len, bool plus) {
    size_t to = 0;
    for (size_t from = 0; from < len; from++, to++) {
        if (text[from] == '%') {
            int high = from + 2 < len ? hex_digit(text[from + 1]) : -1;
            int low = high >= 0 ? hex_digit(text[from + 2]) : -1;
            if (low < 0)
                return SIZE_MAX;
            text[to] = (char)(high * 16 + low);
            from += 2;
        } else {
            text[to] = plus && text[from] == '+' ? ' ' : text[from];
        }
    }
    return to;
}

/* Whether there is a "." or ".." between slashes, those that were encoded included. */
static bool climbs(const char *text, size_t len) {
    for (size_t at = 0; at <= len;) {
        const char *slash = memchr(text + at, '/', len - at);
        size_t part = slash != NULL ? (size_t)(slash - text) - at : len - at;
        if ((part == 1 || part == 2) && memcmp(text + at, "..", part) == 0)
            return true;
        at += part + 1;
    }
    return false;
}

/* ---- paths ---- */

static int cut(struct path *path) {
    char *end = path->text + strlen(path->text);
    for (char *at = path->text; at <= end;) {
        char *slash = strchr(at, '/');
        size_t raw = slash != NULL ? (size_t)(slash - at) : (size_t)(end - at);
        size_t len = path_decode(at, raw, false);
        if (path->count == PATH_PARTS || len == SIZE_MAX || climbs(at, len) ||
            memchr(at, '\0', len) != NULL)
            return LN_EINVAL;
        path->parts[path->count].text = at;
        path->parts[path->count++].len = len;
        char *next = at + raw + 1;
        at[len] = '\0';
        at = next;
    }
    return LN_OK;
}

int path_parse(struct path *out, const char *raw) {
    out->text = NULL;
    out->count = 0;
    if (raw[0] != '/')
        return LN_EINVAL;
    out->text = strdup(raw + 1);
    if (out->text == NULL)
        return LN_ENOMEM;
    int rc = cut(out);
    if (rc < 0)
        path_free(out);
    return rc;
}

void path_free(struct path *path) {
    free(path->text);
    path->text = NULL;
}

bool path_matches(const struct path_template *path, const struct path *request) {
    for (size_t i = 0; i < path->count; i++) {
        const struct path_part *part = &path->parts[i];
        if (i >= request->count)
            return false;
        if (part->kind == PATH_REST)
            return true;
        if (part->kind == PATH_PARAM
                ? request->parts[i].len == 0
                : part->len != request->parts[i].len ||
                      memcmp(part->text, request->parts[i].text, part->len) != 0)
            return false;
    }
    return path->count == request->count;
}

const char *path_value(const struct path_template *path, struct path *request, size_t i,
                       size_t *len) {
    *len = request->parts[i].len;
    if (path->parts[i].kind != PATH_REST)
        return request->parts[i].text;
    char *to = request->parts[i].text + *len;
    for (size_t k = i + 1; k < request->count; k++) {
        *to++ = '/';
        memmove(to, request->parts[k].text, request->parts[k].len);
        to += request->parts[k].len;
    }
    *to = '\0';
    *len = (size_t)(to - request->parts[i].text);
    return request->parts[i].text;
}
