/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plain bytes of JSON strings: those that mean themselves, all but control bytes, '"' and '\\'.
 * Most of a text is plain, so it is looked at 16 bytes (SSE2) or 8 bytes (any other machine,
 * and what is left) at a time. In a header, because most strings are short: a call would cost
 * as much as the rest.
 */
#ifndef LUNATS_JSON_PLAIN_H
#define LUNATS_JSON_PLAIN_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

static inline bool json_is_plain(unsigned char byte) {
    return byte >= 0x20 && byte != '"' && byte != '\\';
}

#define JSON_ONES UINT64_C(0x0101010101010101)
#define JSON_TOPS (JSON_ONES << 7)

/*
 * Eight bytes at once: not zero if any of them is not plain. (Which ones cannot be told: a
 * borrow may also flag the plain byte above.)
 */
static inline uint64_t json_special_bytes(uint64_t word) {
    uint64_t quote = word ^ (JSON_ONES * '"');
    uint64_t slash = word ^ (JSON_ONES * '\\');
    return ((word - JSON_ONES * 0x20) | (quote - JSON_ONES) | (slash - JSON_ONES)) & ~word &
           JSON_TOPS;
}

#if defined(__SSE2__)
/* One bit per byte that is not plain. */
static inline unsigned json_special_mask(__m128i block) {
    __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(block, _mm_set1_epi8(0x1F)), block);
    __m128i quote = _mm_cmpeq_epi8(block, _mm_set1_epi8('"'));
    __m128i slash = _mm_cmpeq_epi8(block, _mm_set1_epi8('\\'));
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(low, _mm_or_si128(quote, slash)));
}
#endif

/*
 * Skips plain bytes: returns the first other one, or end. Makes *high not zero if there was a
 * byte >= 0x80 among them (or, with no harm, just behind): then utf8_find_invalid() has to
 * look.
 */
static inline const char *json_skip_plain(const char *text, const char *end, uint64_t *high) {
#if defined(__SSE2__)
    while (end - text >= 16) {
        __m128i block = _mm_loadu_si128((const __m128i *)(const void *)text);
        *high |= (unsigned)_mm_movemask_epi8(block);
        unsigned mask = json_special_mask(block);
        if (mask != 0)
            return text + __builtin_ctz(mask);
        text += 16;
    }
#endif
    while (end - text >= 8) {
        uint64_t word;
        memcpy(&word, text, sizeof(word));
        if (json_special_bytes(word) != 0)
            break;
        *high |= word & JSON_TOPS;
        text += 8;
    }
    while (text < end && json_is_plain((unsigned char)*text))
        *high |= (unsigned char)*text++ & 0x80;
    return text;
}

/*
 * Copies 4 to 15 plain bytes, as two words that overlap: most keys and many values are that
 * short. Returns false, with useless bytes in `out`, if not all of them are plain.
 */
static inline bool json_copy_short(char *out, const char *text, size_t len, uint64_t *high) {
    if (len >= 8) {
        uint64_t head;
        uint64_t tail;
        memcpy(&head, text, 8);
        memcpy(&tail, text + len - 8, 8);
        memcpy(out, &head, 8);
        memcpy(out + len - 8, &tail, 8);
        *high |= (head | tail) & JSON_TOPS;
        return (json_special_bytes(head) | json_special_bytes(tail)) == 0;
    }
    uint32_t head;
    uint32_t tail;
    memcpy(&head, text, 4);
    memcpy(&tail, text + len - 4, 4);
    memcpy(out, &head, 4);
    memcpy(out + len - 4, &tail, 4);
    *high |= (head | tail) & JSON_TOPS;
    return json_special_bytes((uint64_t)tail << 32 | head) == 0;
}

/* As json_skip_plain(), and copies what it skips to `out`, which must have room for it. */
static inline const char *json_copy_plain(char *out, const char *text, const char *end,
                                          uint64_t *high) {
#if defined(__SSE2__)
    /* The store may write bytes that are not plain; the caller overwrites them. */
    while (end - text >= 16) {
        __m128i block = _mm_loadu_si128((const __m128i *)(const void *)text);
        _mm_storeu_si128((__m128i *)(void *)out, block);
        *high |= (unsigned)_mm_movemask_epi8(block);
        unsigned mask = json_special_mask(block);
        if (mask != 0)
            return text + __builtin_ctz(mask);
        text += 16;
        out += 16;
    }
#else
    while (end - text >= 16 && json_copy_short(out, text, 8, high)) {
        text += 8;
        out += 8;
    }
#endif
    size_t left = (size_t)(end - text);
    if (left >= 4 && left < 16 && json_copy_short(out, text, left, high))
        return end;
    while (text < end && json_is_plain((unsigned char)*text)) {
        *high |= (unsigned char)*text & 0x80;
        *out++ = *text++;
    }
    return text;
}

#endif
