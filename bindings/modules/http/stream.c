/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of an answer that is written piece by piece and wait for the client. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "bindings/modules/http/internal.h"

size_t stream_growth(const struct stream *stream, size_t len) {
    size_t needed = stream->len - stream->at + len;
    return needed > stream->size ? 2 * needed - stream->size : 0;
}

size_t stream_add(struct stream *stream, const char *bytes, size_t len) {
    if (stream->at > 0 && stream->len + len > stream->size) {
        stream->len -= stream->at;
        memmove(stream->bytes, stream->bytes + stream->at, stream->len);
        stream->at = 0;
    }
    if (stream->len + len > stream->size) {
        size_t size = 2 * (stream->len + len);
        char *grown = realloc(stream->bytes, size);
        if (grown == NULL)
            return SIZE_MAX;
        stream->bytes = grown;
        stream->size = size;
    }
    if (len > 0)
        memcpy(stream->bytes + stream->len, bytes, len);
    stream->len += len;
    stream->full |= stream->len - stream->at > HTTP_STREAM_FULL;
    return stream->len - stream->at;
}

size_t stream_take(struct stream *stream, char *out, size_t max) {
    size_t waiting = stream->len - stream->at, taken = waiting < max ? waiting : max;
    if (taken > 0)
        memcpy(out, stream->bytes + stream->at, taken);
    stream->at += taken;
    if (stream->at == stream->len)
        stream->at = stream->len = 0;
    return taken;
}
