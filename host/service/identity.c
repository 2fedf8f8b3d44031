/* SPDX-License-Identifier: Apache-2.0 */
#include "host/service/identity.h"

#include <stdlib.h>
#include <string.h>

#define NAME_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
#define NAME_LENGTH 64

static bool consists_of(const char *text, const char *allowed) {
    size_t len = strlen(text);
    return len > 0 && len <= NAME_LENGTH && strspn(text, allowed) == len;
}

bool identity_name_ok(const char *name) {
    return consists_of(name, NAME_CHARS);
}

/* ---- versions: https://semver.org, 2.0.0 ---- */

/* Digits without a zero in front; returns their end, NULL when there are none. */
static const char *number(const char *at) {
    size_t len = strspn(at, "0123456789");
    return len == 0 || (len > 1 && *at == '0') ? NULL : at + len;
}

/* Identifiers with dots between them, up to the end or `stop`; returns the end of the last.
 * NULL: one is empty, or, where `strict`, a number with a zero in front. */
static const char *identifiers(const char *at, char stop, bool strict) {
    for (;; at++) {
        size_t len = strspn(at, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "0123456789-");
        bool digits = strspn(at, "0123456789") == len;
        if (len == 0 || (strict && digits && number(at) == NULL))
            return NULL;
        at += len;
        if (*at == '\0' || *at == stop)
            return at;
        if (*at != '.')
            return NULL;
    }
}

bool identity_version_ok(const char *version) {
    const char *at = version;
    if (strlen(version) > NAME_LENGTH)
        return false;
    for (int i = 0; i < 3; i++) {
        at = number(at);
        if (at == NULL || (i < 2 && *at++ != '.'))
            return false;
    }
    if (*at == '-')
        at = identifiers(at + 1, '+', true);
    if (at != NULL && *at == '+')
        at = identifiers(at + 1, '\0', false);
    return at != NULL && *at == '\0';
}

/* ---- names ---- */

/* What stands for one character of a subject. */
static const char *endpoint_part(const char *at, char part[2]) {
    if (*at == '*')
        return "any";
    if (*at == '>')
        return "all";
    part[0] = *at;
    if (strchr(NAME_CHARS, *at) == NULL)
        part[0] = '_';
    return part;
}

char *identity_endpoint_name(const char *text) {
    size_t len = strlen(text);
    char *name = calloc(1, len * 3 + 2), *to = name;
    for (const char *at = text; name != NULL && *at != '\0'; at++) {
        char part[2] = "";
        to = stpcpy(to, endpoint_part(at, part));
    }
    if (name != NULL && *name == '\0')
        *name = '_';
    return name;
}

char *identity_name_from_path(const char *path) {
    const char *slash = strrchr(path, '/');
    char *name = strdup(slash ? slash + 1 : path);
    if (name == NULL)
        return NULL;
    char *dot = strrchr(name, '.');
    if (dot != NULL && dot != name)
        *dot = '\0';
    if (strlen(name) > NAME_LENGTH)
        name[NAME_LENGTH] = '\0';
    for (char *at = name; *at != '\0'; at++)
        if (strchr(NAME_CHARS, *at) == NULL)
            *at = '_';
    return name;
}
