/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/buffer.h"

#include <string.h>

/* What is left moves to the front when that is less than what has gone, so that a byte is moved
 * once on average; and when the buffer would become larger than it may. */
char *buffer_make_room(struct buffer *buffer, size_t need, size_t first_size, size_t most) {
    size_t left = buffer_left(buffer);
    if (buffer->at > 0 && (left <= buffer->at || buffer->len + need > most)) {
        memmove(buffer->bytes, buffer->bytes + buffer->at, left);
        buffer->len = left;
        buffer->at = 0;
    }
    if (buffer->len + need > buffer->size) {
        if (left + need > most)
            return NULL;
        size_t size = buffer->size > 0 ? buffer->size : first_size;
        while (size < buffer->len + need)
            size *= 2;
        if (size > most)
            size = most;
        char *bytes = realloc(buffer->bytes, size);
        if (bytes == NULL)
            return NULL;
        buffer->bytes = bytes;
        buffer->size = size;
    }
    return buffer->bytes + buffer->len;
}
