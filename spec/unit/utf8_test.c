/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/utf8.h"
#include "spec/unit/test.h"

/* The offset of the first invalid byte, or -1. */
static int invalid(const char *text, size_t len) {
    const char *wrong = utf8_find_invalid(text, text + len);
    return wrong == NULL ? -1 : (int)(wrong - text);
}

/* What an encoder makes of a number, valid or not. */
static size_t encode(unsigned code, size_t len, char *out) {
    static const unsigned char leads[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = len - 1; i > 0; i--, code >>= 6)
        out[i] = (char)(0x80 | (code & 0x3F));
    out[0] = (char)(leads[len] | code);
    return len;
}

static void every_code_has_one_form(void) {
    char text[4];
    for (unsigned code = 0; code < 0x200000; code++)
        for (size_t len = 1; len <= 4; len++) {
            static const unsigned first[] = {0, 0, 0x80, 0x800, 0x10000};
            static const unsigned last[] = {0, 0x7F, 0x7FF, 0xFFFF, 0x10FFFF};
            if (code >= 1U << (len == 1 ? 7 : len == 2 ? 11 : len == 3 ? 16 : 21))
                continue;
            bool valid =
                code >= first[len] && code <= last[len] && !(code >= 0xD800 && code <= 0xDFFF);
            encode(code, len, text);
            CHECK_INT(utf8_length(text, text + len), valid ? len : 0);
            CHECK_INT(invalid(text, len), valid ? -1 : 0);
        }
}

static void sequences_end_before_the_end(void) {
    char text[4];
    for (size_t len = 2; len <= 4; len++) {
        encode(len == 2 ? 0xE4 : len == 3 ? 0x20AC : 0x1F600, len, text);
        for (size_t n = 1; n < len; n++) {
            CHECK_INT(utf8_length(text, text + n), 0);
            CHECK_INT(invalid(text, n), 0);
        }
    }
}

static void the_first_invalid_byte_is_found(void) {
    char text[64];
    for (size_t at = 0; at < sizeof(text); at++) {
        memset(text, 'a', sizeof(text));
        CHECK_INT(invalid(text, sizeof(text)), -1);
        text[at] = (char)0xFF;
        CHECK_INT(invalid(text, sizeof(text)), at);
        text[at] = (char)0x80;
        CHECK_INT(invalid(text, sizeof(text)), at);
    }
    CHECK_INT(invalid("\xE2\x82\xAC\xE2\x82\xAC\xE2\x82", 8), 6);
    CHECK_INT(invalid("\xE2\x82\xAC"
                      "a\xC3\xA4\xF0\x9F\x98\x80\xC3",
                      11),
              10);
    CHECK_INT(invalid("", 0), -1);
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    RUN(every_code_has_one_form);
    RUN(sequences_end_before_the_end);
    RUN(the_first_invalid_byte_is_found);
    return test_end();
}
