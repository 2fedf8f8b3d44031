/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/utf8.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static bool is_tail(const char *text) {
    return ((unsigned char)*text & 0xC0) == 0x80;
}

size_t utf8_length(const char *text, const char *end) {
    unsigned char lead = (unsigned char)text[0];
    unsigned char second = end - text > 1 ? (unsigned char)text[1] : 0;
    if (lead < 0x80)
        return 1;
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
    return (word & UINT64_C(0x8080808080808080)) == 0;
}

/* In long texts most bytes are ASCII, and most others in sequences of three. */
const char *utf8_find_invalid(const char *text, const char *end) {
    for (;;) {
        while (end - text >= 8 && is_ascii(text))
            text += 8;
        while (end - text >= 3 && is_three(text))
            text += 3;
        if (text == end)
            return NULL;
        size_t len = utf8_length(text, end);
        if (len == 0)
            return text;
        text += len;
    }
}
