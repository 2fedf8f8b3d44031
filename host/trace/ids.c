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

/* The two digits of each byte: ids are most of what a span costs. */
#define ROW(high)                                                                              \
    high "0" high "1" high "2" high "3" high "4" high "5" high "6" high "7" high "8" high      \
         "9" high "a" high "b" high "c" high "d" high "e" high "f"
static const char pairs[] = ROW("0") ROW("1") ROW("2") ROW("3") ROW("4") ROW("5") ROW("6")
    ROW("7") ROW("8") ROW("9") ROW("a") ROW("b") ROW("c") ROW("d") ROW("e") ROW("f");

static inline void write_byte(char *out, unsigned char byte) {
    memcpy(out, pairs + (size_t)byte * 2, 2);
}

char *span_id_write(char *out, const unsigned char id[SPAN_ID_BYTES]) {
    write_byte(out, id[0]);
    write_byte(out + 2, id[1]);
    write_byte(out + 4, id[2]);
    write_byte(out + 6, id[3]);
    write_byte(out + 8, id[4]);
    write_byte(out + 10, id[5]);
    write_byte(out + 12, id[6]);
    write_byte(out + 14, id[7]);
    return out + 16;
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
    write_byte(at, ids->flags);
    at[2] = '\0';
}

/* ---- random numbers: xoroshiro128++ by Blackman and Vigna ---- */

static struct { uint64_t state[2]; /* both 0: not seeded yet */ } generator;

/* Without a source of the system the time has to do. */
static void seed(void) {
    if (uv_random(NULL, NULL, generator.state, sizeof(generator.state), 0, NULL) < 0)
        generator.state[1] = clock_precise();
    generator.state[0] |= 1; /* all zero would stay so */
}

static inline uint64_t rotate(uint64_t value, int bits) {
    return value << bits | value >> (64 - bits);
}

static inline uint64_t next_random(void) {
    uint64_t one = generator.state[0], other = generator.state[1];
    uint64_t result = rotate(one + other, 17) + one;
    other ^= one;
    generator.state[0] = rotate(one, 49) ^ other ^ other << 21;
    generator.state[1] = rotate(other, 28);
    return result;
}

void span_id_new(unsigned char out[SPAN_ID_BYTES]) {
    uint64_t number;
    if ((generator.state[0] | generator.state[1]) == 0)
        seed();
    do
        number = next_random();
    while (number == 0);
    memcpy(out, &number, SPAN_ID_BYTES);
}

void trace_id_new(unsigned char out[TRACE_ID_BYTES]) {
    span_id_new(out);
    uint64_t number = next_random();
    memcpy(out + SPAN_ID_BYTES, &number, sizeof(number));
}
