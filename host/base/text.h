/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text that grows while it is written. A write that finds no memory marks the text as failed,
 * and what follows is left out: one look at the end is enough.
 */
#ifndef LUNATS_BASE_TEXT_H
#define LUNATS_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* All zero is empty. `bytes` is malloc'd, owned by whoever holds the struct, and ends with a
 * zero that `len` does not count; NULL while nothing was written. */
struct text {
    char *bytes;
    size_t len, size;
    bool failed;
};

void text_put(struct text *text, const char *bytes, size_t len);
void text_puts(struct text *text, const char *string);
void text_printf(struct text *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* A JSON string with its quotes; bytes that are no UTF-8 become U+FFFD. NULL: null. */
void text_json(struct text *text, const char *string);

/* A number, see decimal_write(). */
void text_double(struct text *text, double number);

/* RFC 3339 in UTC, with milliseconds: "2026-11-23T09:19:34.925Z". `unix_time` in seconds. */
void text_time(struct text *text, double unix_time);

/* For text_room(). */
char *text_grow(struct text *text, size_t more);

/* Room for `more` bytes at the end, to be written there and added to `len`, and for the zero,
 * which the writer adds. NULL without memory. */
static inline char *text_room(struct text *text, size_t more) {
    if (text->size - text->len <= more || text->failed)
        return text_grow(text, more);
    return text->bytes + text->len;
}

/* Frees it; it is empty again. */
void text_free(struct text *text);

#endif
