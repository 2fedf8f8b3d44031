/* SPDX-License-Identifier: Apache-2.0 */
#include "host/trace/ids.h"

#include <endian.h>
#include <stdint.h>
#include <string.h>

#include <uv.h>

#include "host/base/clock.h"

/* Places of the fields in the header. */
enum { AT_TRACE = 3, AT_SPAN = 36, AT_FLAGS = 53, HEADER_LEN = 55 };

static const char digits[] = "0123456789abcdef";

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

/* Four bytes at a time, each in a lane of 16 bits: the ids of a span are most of its text. */
char *hex_write(char *out, const unsigned char *bytes, int len) {
    const uint64_t ones = UINT64_C(0x0101010101010101);
    int i = 0;
    for (; i + 4 <= len; i += 4, out += 8) {
        uint32_t word;
        memcpy(&word, bytes + i, 4);
        uint64_t x = le32toh(word);
        x = (x << 16 | x) & UINT64_C(0x0000ffff0000ffff);
        x = (x << 8 | x) & UINT64_C(0x00ff00ff00ff00ff);
        x = (x >> 4 & ones * 15) | (x << 8 & UINT64_C(0x0f000f000f000f00));
        x &= ones * 15;
        x += ones * '0' + ((x + ones * 6) >> 4 & ones) * ('a' - '9' - 1);
        x = htole64(x);
        memcpy(out, &x, 8);
    }
    for (; i < len; i++) {
        *out++ = digits[bytes[i] >> 4];
        *out++ = digits[bytes[i] & 15];
    }
    return out;
}

void traceparent_write(const struct trace_ids *ids, char out[TRACEPARENT_SIZE]) {
    memcpy(out, "00-", 3);
    char *at = hex_write(out + AT_TRACE, ids->trace, TRACE_ID_BYTES);
    *at++ = '-';
    at = hex_write(at, ids->span, SPAN_ID_BYTES);
    *at++ = '-';
    *hex_write(at, &ids->flags, 1) = '\0';
}

/* ---- random numbers: xoshiro256** by Blackman and Vigna ---- */

static struct {
    uint64_t state[4];
    bool seeded;
} generator;

/* Without a source of the system the time has to do. */
static void seed(void) {
    if (uv_random(NULL, NULL, generator.state, sizeof(generator.state), 0, NULL) < 0)
        generator.state[1] = clock_precise();
    generator.state[0] |= 1; /* all zero would stay so */
    generator.seeded = true;
}

static inline uint64_t rotate(uint64_t value, int bits) {
    return value << bits | value >> (64 - bits);
}

static uint64_t next_random(void) {
    uint64_t *s = generator.state;
    if (!generator.seeded)
        seed();
    uint64_t result = rotate(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

void span_id_new(unsigned char out[SPAN_ID_BYTES]) {
    uint64_t number;
    do
        number = next_random();
    while (number == 0);
    memcpy(out, &number, SPAN_ID_BYTES);
}

void trace_id_new(unsigned char out[TRACE_ID_BYTES]) {
    span_id_new(out);
    span_id_new(out + SPAN_ID_BYTES);
}
