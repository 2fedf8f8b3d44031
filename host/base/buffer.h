/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes that come in at the end and leave at the front. All zero is an empty one. */
#ifndef LUNATS_BASE_BUFFER_H
#define LUNATS_BASE_BUFFER_H

#include <stddef.h>
#include <stdlib.h>

#define BUFFER_KEPT ((size_t)256 * 1024) /* a larger one is given back once it is empty */

struct buffer {
    char *bytes;          /* owned */
    size_t at, len, size; /* bytes[at..len) are there */
};

static inline size_t buffer_left(const struct buffer *buffer) {
    return buffer->len - buffer->at;
}

/* buffer_reserve() where there is not enough room behind the end. */
char *buffer_make_room(struct buffer *buffer, size_t need, size_t first_size, size_t most);

/* Room for `need` more bytes at the end, a new one begins with `first_size`; NULL when memory
 * is short, or it would have to grow for more than `most`. Who fills it adds to `len`. */
static inline char *buffer_reserve(struct buffer *buffer, size_t need, size_t first_size,
                                   size_t most) {
    if (buffer->len + need <= buffer->size)
        return buffer->bytes + buffer->len;
    return buffer_make_room(buffer, need, first_size, most);
}

static inline void buffer_free(struct buffer *buffer) {
    free(buffer->bytes);
    *buffer = (struct buffer){0};
}

/* Starts again at the front, where the cache is warm, when nothing is left. */
static inline void buffer_rewind(struct buffer *buffer) {
    if (buffer->at < buffer->len)
        return;
    buffer->at = buffer->len = 0;
    if (buffer->size > BUFFER_KEPT)
        buffer_free(buffer);
}

#endif
