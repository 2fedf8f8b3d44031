/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/log_line.h"

#include "spec/unit/log_capture.h"
#include "spec/unit/test.h"

/* ---- whatever the bytes are, a line is a line ---- */

static unsigned seed = 1;

static unsigned dice(unsigned sides) {
    seed = seed * 1103515245 + 12345;
    return (seed >> 16) % sides;
}

/* Bytes that mean something to somebody, in any order; zero-terminated, zeros inside. */
static size_t hostile(char *out, size_t size) {
    static const char *const pieces[] = {
        "\n", "\r", "\r\n",     "\x1b[2J", "\"", "\\",           "=",    " ",
        ",",  "{",  "}",        ":",       "a",  "\xe2\x80\xa8", "\xc2", "\xed\xa0\x80",
        "\t", "\b", "\xf4\x8f", "\\x00",   "_",  "time",         "\x7f", "\xc3\xa4",
    };
    size_t len = 0, count = dice(12);
    for (size_t i = 0; i < count; i++) {
        const char *piece = pieces[dice(sizeof(pieces) / sizeof(pieces[0]))];
        size_t n = strlen(piece);
        if (len + n + 1 >= size)
            break;
        memcpy(out + len, piece, n);
        len += n;
        if (dice(8) == 0)
            out[len++] = dice(2) == 0 ? '\0' : (char)dice(256);
    }
    out[len] = '\0';
    return len;
}

/* The end of a JSON string that begins behind the quote at `at`; NULL: it has none. */
static const char *string_end(const char *at) {
    for (at++; *at != '"'; at++) {
        if ((unsigned char)*at < 0x20)
            return NULL;
        if (*at == '\\' && *++at == '\0')
            return NULL;
    }
    return at + 1;
}

/* Counts the members of a flat JSON object whose keys are all different; -1: it is none. */
static int count_members(const char *at) {
    const char *keys[64];
    size_t lens[64];
    int count = 0;
    if (*at != '{')
        return -1;
    do {
        const char *key = ++at;
        if (*key != '"' || (at = string_end(key)) == NULL || *at++ != ':')
            return -1;
        for (int i = 0; i < count; i++)
            if (lens[i] == (size_t)(at - key) && memcmp(keys[i], key, lens[i]) == 0)
                return -1;
        keys[count] = key;
        lens[count++] = (size_t)(at - key);
        at = *at == '"' ? string_end(at) : at + strcspn(at, ",}");
        if (at == NULL)
            return -1;
    } while (*at == ',');
    return strcmp(at, "}\n") == 0 ? count : -1;
}

/* Each line break is the end, or an indentation follows; no other control is in it. */
static bool is_one_record(const char *text, size_t len) {
    if (strlen(text) != len || text[len - 1] != '\n')
        return false;
    for (size_t i = 0; i + 1 < len; i++) {
        bool control = (unsigned char)text[i] < 0x20 || text[i] == 0x7f;
        if (text[i] == '\n' && strncmp(text + i, "\n    ", 5) != 0)
            return false;
        if (control && text[i] != '\n' && text[i] != '\t')
            return false;
    }
    return true;
}

static size_t some_context(struct log_field out[LOG_CONTEXT_MAX]) {
    static char subject[64];
    size_t len = hostile(subject, sizeof(subject));
    out[0] = log_text("listener", "name");
    out[1] = (struct log_field){"subject", LOG_TYPE_STRING, {.string = {subject, len}}};
    return 2;
}

static void no_bytes_break_a_line(void) {
    static char keys[8][64], values[8][64], message[64], service[64];
    log_set_context(some_context);
    for (int round = 0; round < 20000; round++) {
        struct log_field fields[8];
        size_t count = dice(9);
        for (size_t i = 0; i < count; i++) {
            hostile(keys[i], sizeof(keys[i]));
            fields[i] = (struct log_field){.key = keys[i], .type = LOG_TYPE_STRING};
            fields[i].value.string.len = hostile(values[i], sizeof(values[i]));
            fields[i].value.string.data = values[i];
        }
        hostile(message, sizeof(message));
        hostile(service, sizeof(service));
        bool json = round % 2 == 0;
        log_configure(LOG_LEVEL_INFO, json ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT);
        capture_begin();
        log_write(LOG_LEVEL_INFO, service, message, fields, count);
        const char *out = capture_end();
        if (json)
            CHECK_INT(count_members(out), (int)count + 6);
        else
            CHECK(is_one_record(out, captured_len));
    }
    log_set_context(NULL);
    log_configure(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    RUN(no_bytes_break_a_line);
    return test_end();
}
