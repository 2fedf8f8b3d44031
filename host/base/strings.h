/* SPDX-License-Identifier: Apache-2.0 */
/* Strings of a struct of options, copied together. */
#ifndef LUNATS_BASE_STRINGS_H
#define LUNATS_BASE_STRINGS_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

struct strings {
    char *bytes;
    size_t size;
};

/* Copies what these fields point at, those that are not NULL, and lets them point at the
 * copies. False without memory, and nothing has changed. */
static inline bool strings_copy(struct strings *out, const char **const *fields, size_t count) {
    size_t size = 1;
    for (size_t i = 0; i < count; i++)
        size += *fields[i] != NULL ? strlen(*fields[i]) + 1 : 0;
    char *at = malloc(size);
    *out = (struct strings){at, size};
    for (size_t i = 0; at != NULL && i < count; i++) {
        size_t len = *fields[i] != NULL ? strlen(*fields[i]) + 1 : 0;
        if (len > 0)
            *fields[i] = memcpy(at, *fields[i], len);
        at += len;
    }
    return at != NULL;
}

/* Wiped first, as passwords may be among them. */
static inline void strings_free(struct strings *strings) {
    OPENSSL_clear_free(strings->bytes, strings->size);
    *strings = (struct strings){0};
}

#endif
