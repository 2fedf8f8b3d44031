/* SPDX-License-Identifier: Apache-2.0 */
#include "host/trace/ids.h"

#include <stdint.h>
#include <string.h>

#include <uv.h>

#include "host/base/clock.h"

/* Places of the fields in the header. */
enum { AT_TRACE = 3, AT_SPAN = 36, AT_FLAGS = 53, HEADER_LEN = 55 };

/* ---- the header ---- */

/* Capital letters are not valid. */
static int digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_bytes(unsigned char *out, const char *text, int len) {
    int bad = 0;
    for (int i = 0; i < len; i++) {
        int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);
        bad |= high | low; /* negative once one is */
        out[i] = (unsigned char)((unsigned)high << 4 | (unsigned)low);
    }
    return bad >= 0;
}

static bool is_zero(const unsigned char *bytes, int len) {
    unsigned char all = 0;
    for (int i = 0; i < len; i++)
        all |= bytes[i];
    return all == 0;
}

bool traceparent_read(struct trace_ids *out, const char *text) {
    struct trace_ids ids;
    unsigned char version;
    size_t len = strlen(text);
    if (len < HEADER_LEN || text[2] != '-' || text[AT_SPAN - 1] != '-' ||
        text[AT_FLAGS - 1] != '-' || !read_bytes(&version, text, 1) || version == 0xff ||
        (len > HEADER_LEN && (version == 0 || text[HEADER_LEN] != '-')) ||
        !read_bytes(ids.trace, text + AT_TRACE, TRACE_ID_BYTES) ||
        !read_bytes(ids.span, text + AT_SPAN, SPAN_ID_BYTES) ||
        !read_bytes(&ids.flags, text + AT_FLAGS, 1) || is_zero(ids.trace, TRACE_ID_BYTES) ||
        is_zero(ids.span, SPAN_ID_BYTES))
        return false;
    ids.flags &= TRACE_SAMPLED | TRACE_RANDOM;
    *out = ids;
    return true;
}

/* Ids are most of what a span costs, so eight bytes are written at once: sixteen digits, in the
 * vectors that every processor has which gcc and clang know. */
typedef unsigned char bytes16 __attribute__((vector_size(16)));
typedef signed char digits16 __attribute__((vector_size(16)));
typedef uint64_t words2 __attribute__((vector_size(16)));

char *span_id_write(char *out, const unsigned char id[SPAN_ID_BYTES]) {
    uint64_t word;
    memcpy(&word, id, sizeof(word));
    bytes16 bytes = (bytes16)(words2){word, 0};
    bytes16 high = bytes >> 4, low = bytes & 0xf;
    digits16 digits = (digits16)__builtin_shufflevector(high, low, 0, 16, 1, 17, 2, 18, 3, 19,
                                                        4, 20, 5, 21, 6, 22, 7, 23);
    digits += '0' + ((digits > 9) & ('a' - '9' - 1));
    memcpy(out, &digits, sizeof(digits));
    return out + sizeof(digits);
}

char *trace_id_write(char *out, const unsigned char id[TRACE_ID_BYTES]) {
    return span_id_write(span_id_write(out, id), id + SPAN_ID_BYTES);
}

void traceparent_write(const struct trace_ids *ids, char out[TRACEPARENT_SIZE]) {
    memcpy(out, "00-", 3);
    char *at = trace_id_write(out + AT_TRACE, ids->trace);
    *at++ = '-';
    at = span_id_write(at, ids->span);
    *at++ = '-';
    *at++ = '0';
    *at++ = (char)('0' + ids->flags); /* two bits */
    *at = '\0';
}

/* ---- random numbers: xoroshiro128++ by Blackman and Vigna ---- */

/* Both 0: not seeded yet. */
struct generator {
    uint64_t one, other;
};
static struct generator generator;

/* Without a source of the system the time has to do. */
static void seed(void) {
    if (uv_random(NULL, NULL, &generator, sizeof(generator), 0, NULL) < 0)
        generator.other = clock_precise();
    generator.one |= 1; /* all zero would stay so */
}

static inline uint64_t rotate(uint64_t value, int bits) {
    return value << bits | value >> (64 - bits);
}

static inline uint64_t next_random(struct generator *at) {
    uint64_t one = at->one, other = at->other;
    uint64_t result = rotate(one + other, 17) + one;
    other ^= one;
    at->one = rotate(one, 49) ^ other ^ other << 21;
    at->other = rotate(other, 28);
    return result;
}

/* Eight bytes that are not all zero. */
static inline void put_random(unsigned char *out, struct generator *at) {
    uint64_t number;
    do
        number = next_random(at);
    while (number == 0);
    memcpy(out, &number, sizeof(number));
}

static inline struct generator seeded(void) {
    if ((generator.one | generator.other) == 0)
        seed();
    return generator;
}

void span_id_new(unsigned char out[SPAN_ID_BYTES]) {
    struct generator at = seeded();
    put_random(out, &at);
    generator = at;
}

void trace_ids_new(struct trace_ids *out) {
    struct generator at = seeded();
    put_random(out->trace, &at);
    put_random(out->trace + 8, &at);
    put_random(out->span, &at);
    out->flags = TRACE_RANDOM;
    generator = at;
}
