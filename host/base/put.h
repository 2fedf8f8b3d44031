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

/* Two digits of what is below 100. */
static inline char *put_pair_(char *at, uint64_t value) {
    static const char pairs[] = "00010203040506070809101112131415161718192021222324252627282930"
                                "31323334353637383940414243444546474849505152535455565758596061"
                                "62636465666768697071727374757677787980818283848586878889909192"
                                "93949596979899";
    return put(at, pairs + value * 2, 2);
}

/* How many digits it has: its bits times log10(2) is right, or one too few. */
static inline size_t put_digits_(uint64_t value) {
    static const uint64_t least[NUMBER_SIZE] = {
        0, /* has a digit, too */
        10u,
        100u,
        1000u,
        10000u,
        100000u,
        1000000u,
        10000000u,
        100000000u,
        1000000000u,
        10000000000u,
        100000000000u,
        1000000000000u,
        10000000000000u,
        100000000000000u,
        1000000000000000u,
        10000000000000000u,
        100000000000000000u,
        1000000000000000000u,
        10000000000000000000u,
    };
    size_t digits = (size_t)(64 - __builtin_clzll(value | 1)) * 1233 >> 12;
    return digits + (value >= least[digits]);
}

static inline char *put_number(char *at, uint64_t value) {
    char *end = at + put_digits_(value), *digit = end;
    for (; value >= 100; value /= 100)
        put_pair_(digit -= 2, value % 100);
    if (value >= 10)
        put_pair_(at, value);
    else
        *at = (char)('0' + value);
    return end;
}

/*
 * Nine digits of a number below a billion, with its zeros in front. The first one and a
 * fraction of 57 bits, which times 100 gives the next two, and so on. The fraction is too large
 * by less than 1e-8, so no digit is wrong.
 */
static inline char *put_nine(char *at, uint32_t value) {
    const uint64_t one = (uint64_t)1 << 57;
    uint64_t rest = value * (one / 100000000 + 1);
    *at++ = (char)('0' + (rest >> 57));
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        rest = (rest & (one - 1)) * 100;
        at = put_pair_(at, rest >> 57);
    }
    return at;
}

#endif
