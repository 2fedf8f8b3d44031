/* SPDX-License-Identifier: Apache-2.0 */
/* Writing protocol lines: each puts something at `at` and returns its end. */
#ifndef LUNATS_BASE_PUT_H
#define LUNATS_BASE_PUT_H

#include <stdint.h>
#include <string.h>

#define NUMBER_SIZE 20 /* digits of the largest one */

static inline char *put(char *at, const char *bytes, size_t len) {
    memcpy(at, bytes, len);
    return at + len;
}

static inline char *put_text(char *at, const char *text) {
    return put(at, text, strlen(text));
}

static inline char *put_number(char *at, uint64_t value) {
    char digits[NUMBER_SIZE];
    size_t count = 0;
    do
        digits[count++] = (char)('0' + value % 10);
    while ((value /= 10) > 0);
    while (count > 0)
        *at++ = digits[--count];
    return at;
}

#endif
