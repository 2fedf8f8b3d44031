/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paths of requests, and the templates that routes are declared with: "/orders/:id", or one
 * that ends with a star. What is between slashes is a part; it is decoded by itself, so that an
 * encoded slash stays inside of it.
 */
#ifndef LUNATS_WEB_PATH_H
#define LUNATS_WEB_PATH_H

#include <stdbool.h>
#include <stddef.h>

#define PATH_PARTS 64 /* of a path or a template, at most */

/* ---- templates ---- */

enum path_kind {
    PATH_LITERAL, /* orders */
    PATH_PARAM,   /* :id, one part that is not empty */
    PATH_REST,    /* *, everything that is left, which may be nothing; the last one */
};

struct path_part {
    enum path_kind kind;
    const char *text; /* literal or name; ends with a zero */
    size_t len;
};

struct path_template {
    char *text; /* owned; what the parts point into */
    size_t count;
    struct path_part parts[PATH_PARTS];
};

/* Returns NULL, or what is wrong with it (static): then there is nothing to free. */
const char *path_template_parse(struct path_template *out, const char *text, size_t len);
void path_template_free(struct path_template *path);

/* Below 0: whatever matches both belongs to `a`, as it says more. 0: they match the same. */
int path_template_compare(const struct path_template *a, const struct path_template *b);

/* ---- paths ---- */

struct path {
    char *text; /* owned; the parts, decoded, each with a zero behind it */
    size_t count;
    struct {
        char *text;
        size_t len;
    } parts[PATH_PARTS];
};

/*
 * Decodes a path as it was sent, up to the '?'. Returns LN_OK, LN_ENOMEM, or LN_EINVAL for what
 * no route should see: no slash at its beginning, an incomplete %XX, a zero byte, a part that
 * is "." or "..", too many parts.
 */
int path_parse(struct path *out, const char *raw);
void path_free(struct path *path);

bool path_matches(const struct path_template *path, const struct path *request);

/* The value of part `i` of a template that matches. That of PATH_REST has the slashes between
 * its parts again, for which the path is changed: it is the last thing that is asked for. */
const char *path_value(const struct path_template *path, struct path *request, size_t i,
                       size_t *len);

/* Decodes %XX in place, and with `plus` '+' to a blank, as in queries and forms. Returns the
 * new length, or SIZE_MAX for an incomplete %XX. */
size_t path_decode(char *text, size_t len, bool plus);

#endif
