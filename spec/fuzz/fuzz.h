/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the fuzz targets share. Each is a program of libFuzzer that takes bytes apart, and ends
 * with abort() when something does not hold that must hold for all bytes.
 */
#ifndef LUNATS_FUZZ_H
#define LUNATS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Called by libFuzzer; 0: the input may join the corpus, -1: it shall not. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

#define HOLDS(condition)                                                                       \
    do {                                                                                       \
        if (!(condition)) {                                                                    \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);     \
            abort();                                                                           \
        }                                                                                      \
    } while (0)

/* The bytes in memory of exactly their size, so that the sanitizer sees who reads on. The
 * caller's, for free(). */
static inline char *fuzz_copy(const void *bytes, size_t len) {
    char *copy = malloc(len > 0 ? len : 1);
    HOLDS(copy != NULL);
    if (len > 0)
        memcpy(copy, bytes, len);
    return copy;
}

/* The same with a zero behind it; what comes behind a zero in the bytes is not seen. */
static inline char *fuzz_text(const void *bytes, size_t len) {
    const void *zero = len > 0 ? memchr(bytes, '\0', len) : NULL;
    size_t used = zero != NULL ? (size_t)((const char *)zero - (const char *)bytes) : len;
    char *text = malloc(used + 1);
    HOLDS(text != NULL);
    if (used > 0)
        memcpy(text, bytes, used);
    text[used] = '\0';
    return text;
}

/* What is left of an input that consists of lines. */
struct fuzz_input {
    const char *at;
    size_t left;
};

/* The next line, without its end, as fuzz_text(); "" when nothing is left. */
static inline char *fuzz_line(struct fuzz_input *input) {
    const char *end = input->left > 0 ? memchr(input->at, '\n', input->left) : NULL;
    size_t len = end != NULL ? (size_t)(end - input->at) : input->left;
    char *line = fuzz_text(input->at, len);
    len += end != NULL;
    input->at += len;
    input->left -= len;
    return line;
}

/* Whether `at` lies in bytes[0..len], its end included, with `more` bytes behind it. */
static inline bool fuzz_inside(const char *at, size_t more, const char *bytes, size_t len) {
    return at >= bytes && more <= len && (size_t)(at - bytes) <= len - more;
}

#endif
