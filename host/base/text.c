/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "host/base/decimal.h"
#include "host/base/utf8.h"

char *text_grow(struct text *text, size_t more) {
    size_t size = text->size != 0 ? text->size : 256;
    if (text->failed)
        return NULL;
    while (size <= text->len + more)
        size *= 2;
    char *bytes = realloc(text->bytes, size);
    if (bytes == NULL) {
        text->failed = true;
        return NULL;
    }
    text->bytes = bytes;
    text->size = size;
    return bytes + text->len;
}

void text_put(struct text *text, const char *bytes, size_t len) {
    char *at = text_room(text, len);
    if (at == NULL)
        return;
    memcpy(at, bytes, len);
    text->len += len;
    text->bytes[text->len] = '\0';
}

void text_puts(struct text *text, const char *string) {
    text_put(text, string, strlen(string));
}

void text_printf(struct text *text, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *at = len < 0 ? NULL : text_room(text, (size_t)len);
    if (at == NULL)
        return;
    va_start(args, format);
    vsnprintf(at, (size_t)len + 1, format, args);
    va_end(args);
    text->len += (size_t)len;
}

/* How much of it needs neither an escape nor a look at its UTF-8. */
static size_t plain_length(const char *string, const char *end) {
    const char *at = string;
    while (at < end && *at >= ' ' && *at <= '~' && *at != '"' && *at != '\\')
        at++;
    return (size_t)(at - string);
}

void text_json(struct text *text, const char *string) {
    if (string == NULL) {
        text_puts(text, "null");
        return;
    }
    const char *end = string + strlen(string);
    text_put(text, "\"", 1);
    for (;;) {
        size_t len = plain_length(string, end);
        text_put(text, string, len);
        string += len;
        if (string == end)
            break;
        len = utf8_length(string, end);
        if (len == 0)
            text_puts(text, "\xef\xbf\xbd");
        else if ((unsigned char)*string < ' ')
            text_printf(text, "\\u%04x", (unsigned)*string);
        else if (*string == '"' || *string == '\\')
            text_printf(text, "\\%c", *string);
        else
            text_put(text, string, len);
        string += len != 0 ? len : 1;
    }
    text_put(text, "\"", 1);
}

void text_double(struct text *text, double number) {
    char digits[DECIMAL_SIZE];
    decimal_write(digits, number);
    text_puts(text, digits);
}

void text_time(struct text *text, double unix_time) {
    int64_t ms = (int64_t)(unix_time * 1000);
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    char date[64];
    gmtime_r(&seconds, &tm);
    strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
    text_printf(text, "%s.%03dZ", date, (int)(ms % 1000));
}

void text_free(struct text *text) {
    free(text->bytes);
    *text = (struct text){0};
}
