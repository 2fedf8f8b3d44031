/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of a connection, plain or TLS: one descriptor on the loop, a buffer for what comes
 * and one for what goes. It knows nothing of what the bytes mean.
 *
 * Everything on the loop thread. Events may close the stream.
 */
#ifndef LUNATS_LINK_STREAM_H
#define LUNATS_LINK_STREAM_H

#include <stdbool.h>
#include <stddef.h>

#include <openssl/ssl.h>
#include <uv.h>

struct stream;

struct stream_events {
    /* These bytes are there. Returns how many it has used up; *wanted is how many it wants to
     * have in front of it before it is called again, 0 = more than now. Are they there already,
     * it is called at the next turn of the loop; no more are read before than to have as many
     * waiting as the high-water mark says. */
    size_t (*on_bytes)(void *owner, const char *bytes, size_t len, size_t *wanted);
    /* The other side lives: it has sent something, or taken some of what the socket was full
     * of.
     */
    void (*on_alive)(void *owner);
    /* stream_reserve() was used: stream_send() should be called before the loop blocks. */
    void (*on_pending)(void *owner);
    /* The socket has taken some, or all. */
    void (*on_sent)(void *owner);
    /* The end of the connection; what had come before was told. `why` is borrowed. */
    void (*on_lost)(void *owner, const char *why);
};

/* Takes descriptor and SSL object (NULL: plain), also when it fails. Reads at once, as bytes
 * may be inside of OpenSSL already, in the next turn of the loop. `high_water`: see
 * stream_congested(). */
int stream_open(struct stream **out, uv_loop_t *loop, int fd, SSL *ssl, size_t high_water,
                const struct stream_events *events, void *owner);

/* No event comes any more; the memory goes with the loop's next turns. `orderly`: says goodbye,
 * with TLS. */
void stream_close(struct stream *stream, bool orderly);

/* Room for `need` bytes behind what is to be sent; NULL without memory. stream_commit() says
 * where they end, and nothing else may come between the two. */
char *stream_reserve(struct stream *stream, size_t need);
/* The same, but for more than `most` bytes that are not sent. */
char *stream_reserve_within(struct stream *stream, size_t need, size_t most);
void stream_commit(struct stream *stream, const char *end);

/* Writes as much as the socket takes. */
void stream_send(struct stream *stream);

/* Bytes that are not sent. */
size_t stream_unsent(const struct stream *stream);

/* Bytes of its buffers. */
size_t stream_memory(const struct stream *stream);

void stream_set_high_water(struct stream *stream, size_t high_water);

/* More than the high-water mark is not sent. Nothing is read while the socket takes nothing
 * either: what comes in makes replies, and those would pile up. */
bool stream_congested(const struct stream *stream);

/* Loses the connection: on_lost() follows from the loop. */
void stream_cut(struct stream *stream);

#endif
