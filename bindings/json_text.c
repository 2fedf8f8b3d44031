/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of JSON strings: plain runs, UTF-8, escapes. Most of a text is plain, so it is
 * looked at 16 bytes (SSE2) or 8 bytes (any other machine, and what is left) at a time.
 */
#include "bindings/json_private.h"

#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

static bool is_plain(unsigned char byte) {
    return byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
}

/*
 * Eight bytes at once: not zero if any of them is not plain. (Which ones cannot be told: a
 * borrow may also flag the plain byte above.)
 */
static uint64_t special_bytes(uint64_t word) {
    const uint64_t ones = UINT64_C(0x0101010101010101);
    const uint64_t tops = ones << 7;
    uint64_t quote = word ^ (ones * '"');
    uint64_t slash = word ^ (ones * '\\');
    return ((word - ones * 0x20) | (quote - ones) | (slash - ones) | word) & tops;
}

#if defined(__SSE2__)
/* One bit per byte that is not plain. Bytes >= 0x80 are negative, hence "less than 0x20". */
static unsigned special_mask(__m128i block) {
    __m128i low = _mm_cmplt_epi8(block, _mm_set1_epi8(0x20));
    __m128i quote = _mm_cmpeq_epi8(block, _mm_set1_epi8('"'));
    __m128i slash = _mm_cmpeq_epi8(block, _mm_set1_epi8('\\'));
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(low, _mm_or_si128(quote, slash)));
}
#endif

const char *json_skip_plain(const char *text, const char *end) {
#if defined(__SSE2__)
    while (end - text >= 16) {
        unsigned mask = special_mask(_mm_loadu_si128((const __m128i *)(const void *)text));
        if (mask != 0)
            return text + __builtin_ctz(mask);
        text += 16;
    }
#endif
    while (end - text >= 8) {
        uint64_t word;
        memcpy(&word, text, sizeof(word));
        if (special_bytes(word) != 0)
            break;
        text += 8;
    }
    while (text < end && is_plain((unsigned char)*text))
        text++;
    return text;
}

/*
 * Copies 4 to 15 plain bytes, as two words that overlap: most keys and many values are that
 * short. Returns false, with useless bytes in `out`, if not all of them are plain.
 */
static bool copy_short(char *out, const char *text, size_t len) {
    if (len >= 8) {
        uint64_t head;
        uint64_t tail;
        memcpy(&head, text, 8);
        memcpy(&tail, text + len - 8, 8);
        memcpy(out, &head, 8);
        memcpy(out + len - 8, &tail, 8);
        return (special_bytes(head) | special_bytes(tail)) == 0;
    }
    uint32_t head;
    uint32_t tail;
    memcpy(&head, text, 4);
    memcpy(&tail, text + len - 4, 4);
    memcpy(out, &head, 4);
    memcpy(out + len - 4, &tail, 4);
    return special_bytes((uint64_t)tail << 32 | head) == 0;
}

const char *json_copy_plain(char *out, const char *text, const char *end) {
#if defined(__SSE2__)
    /* The store may write bytes that are not plain; the caller overwrites them. */
    while (end - text >= 16) {
        __m128i block = _mm_loadu_si128((const __m128i *)(const void *)text);
        _mm_storeu_si128((__m128i *)(void *)out, block);
        unsigned mask = special_mask(block);
        if (mask != 0)
            return text + __builtin_ctz(mask);
        text += 16;
        out += 16;
    }
#else
    while (end - text >= 16 && copy_short(out, text, 8)) {
        text += 8;
        out += 8;
    }
#endif
    size_t left = (size_t)(end - text);
    if (left >= 4 && left < 16 && copy_short(out, text, left))
        return end;
    while (text < end && is_plain((unsigned char)*text))
        *out++ = *text++;
    return text;
}

static bool is_tail(const char *text) {
    return ((unsigned char)*text & 0xC0) == 0x80;
}

size_t json_utf8_length(const char *text, const char *end) {
    unsigned char lead = (unsigned char)text[0];
    unsigned char second = end - text > 1 ? (unsigned char)text[1] : 0;
    if ((second & 0xC0) != 0x80 || lead < 0xC2 || lead > 0xF4)
        return 0; /* 0x80-0xBF are tails; 0xC0 and 0xC1 would be overlong */
    if (lead < 0xE0)
        return 2;
    if (end - text < 3 || !is_tail(text + 2))
        return 0;
    if (lead < 0xF0) {
        bool overlong = lead == 0xE0 && second < 0xA0;
        bool surrogate = lead == 0xED && second > 0x9F;
        return overlong || surrogate ? 0 : 3;
    }
    bool overlong = lead == 0xF0 && second < 0x90;
    bool beyond = lead == 0xF4 && second > 0x8F;
    if (overlong || beyond || end - text < 4 || !is_tail(text + 3))
        return 0;
    return 4;
}

/* ---- escapes ---- */

/* The value of four hex digits, or -1. */
static int read_hex4(const char *p, const char *end) {
    int value = 0;
    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int byte = (unsigned char)p[i];
        int lower = byte | 0x20;
        if (byte >= '0' && byte <= '9')
            value = value * 16 + (byte - '0');
        else if (lower >= 'a' && lower <= 'f')
            value = value * 16 + (lower - 'a' + 10);
        else
            return -1;
    }
    return value;
}

static char *write_utf8(char *out, unsigned code) {
    if (code < 0x80) {
        *out++ = (char)code;
        return out;
    }
    if (code < 0x800) {
        *out++ = (char)(0xC0 | code >> 6);
    } else {
        if (code < 0x10000) {
            *out++ = (char)(0xE0 | code >> 12);
        } else {
            *out++ = (char)(0xF0 | code >> 18);
            *out++ = (char)(0x80 | (code >> 12 & 0x3F));
        }
        *out++ = (char)(0x80 | (code >> 6 & 0x3F));
    }
    *out++ = (char)(0x80 | (code & 0x3F));
    return out;
}

/* The escape \uXXXX, or two of them that are a surrogate pair; otherwise as json_unescape(). */
static char *unescape_unicode(const char **text, const char *end, char *out,
                              const char **message) {
    const char *p = *text;
    int code = read_hex4(p + 2, end);
    if (code < 0) {
        *message = "expected four hex digits after \\u";
        return NULL;
    }
    int len = 6;
    if (code >= 0xD800 && code <= 0xDFFF) {
        bool pair = code < 0xDC00 && end - p >= 12 && p[6] == '\\' && p[7] == 'u';
        int low = pair ? read_hex4(p + 8, end) : -1;
        if (low < 0xDC00 || low > 0xDFFF) {
            *message = "half of a surrogate pair";
            return NULL;
        }
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
        len = 12;
    }
    *text = p + len;
    return write_utf8(out, (unsigned)code);
}

/* The byte that a two-character escape stands for, or 0. */
static char unescape_byte(char escape) {
    switch (escape) {
    case '"':
    case '\\':
    case '/':
        return escape;
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    default:
        return '\0';
    }
}

char *json_unescape(const char **text, const char *end, char *out, const char **message) {
    const char *p = *text;
    if (p + 1 < end && p[1] == 'u')
        return unescape_unicode(text, end, out, message);
    char byte = p + 1 < end ? unescape_byte(p[1]) : '\0';
    if (byte == '\0') {
        *message = "invalid escape";
        return NULL;
    }
    *out++ = byte;
    *text += 2;
    return out;
}
