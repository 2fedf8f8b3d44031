/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of JSON strings that are not plain: UTF-8, escapes. */
#include "bindings/json/internal.h"
#include "bindings/json/plain.h"

#include <string.h>

/* ---- UTF-8 ---- */

static bool is_tail(const char *text) {
    return ((unsigned char)*text & 0xC0) == 0x80;
}

/* Length (2 to 4) of the valid sequence that starts with a byte >= 0x80; 0 if invalid. */
static size_t utf8_length(const char *text, const char *end) {
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

static bool is_three(const char *text) {
    unsigned lead = (unsigned char)text[0];
    unsigned high = (lead & 0x0F) << 6 | ((unsigned char)text[1] & 0x3F); /* of 16 bits, 10 */
    bool valid = (lead & 0xF0) == 0xE0 && is_tail(text + 1) && is_tail(text + 2);
    return valid && high >= 0x20 && high >> 5 != 0x1B; /* neither overlong nor a surrogate */
}

static bool is_ascii(const char *eight) {
    uint64_t word;
    memcpy(&word, eight, sizeof(word));
    return (word & JSON_TOPS) == 0;
}

/* In long texts most bytes are ASCII, and most others in sequences of three. */
const char *json_find_invalid(const char *text, const char *end) {
    for (;;) {
        while (end - text >= 8 && is_ascii(text))
            text += 8;
        while (end - text >= 3 && is_three(text))
            text += 3;
        if (text == end)
            return NULL;
        size_t len = (unsigned char)*text < 0x80 ? 1 : utf8_length(text, end);
        if (len == 0)
            return text;
        text += len;
    }
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
