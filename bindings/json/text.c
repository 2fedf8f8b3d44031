/* SPDX-License-Identifier: Apache-2.0 */
/* Escapes in JSON strings. */
#include "bindings/json/internal.h"

#include <stdbool.h>

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
