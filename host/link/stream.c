/* SPDX-License-Identifier: Apache-2.0 */
#include "host/link/stream.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>

#include "host/base/buffer.h"
#include "host/base/status.h"
#include "host/tls/records.h"

#define READ_SIZE ((size_t)64 * 1024)
#define WRITE_SIZE ((size_t)32 * 1024)
#define READS_PER_TURN 8   /* of TLS, before others have their turn */
#define WRITES_PER_TURN 16 /* of TLS; a plain socket takes what it can at once */
#define SEALED_SIZE ((size_t)64 * 1024)
#define GOODBYE "the server closed the connection"

struct stream {
    uv_poll_t poll;
    uv_idle_t again; /* reads on without a poll */
    int handles;     /* of the two */
    int fd;
    SSL *ssl; /* NULL: plain */
    struct stream_events events;
    void *owner;
    struct buffer in, out;
    struct buffer sealed; /* what OpenSSL wants to be sent: records, one behind the other */
    size_t wanted;        /* bytes in front of the owner before it is called again */
    size_t high_water;
    int polled;        /* events */
    bool full;         /* the socket did not take all at the last write */
    bool broken;       /* it takes nothing any more: reading finds out why */
    bool more;         /* OpenSSL has bytes that no poll tells of */
    bool rest;         /* the owner goes on with the bytes in front of it */
    const char *ended; /* why nothing more can be read, once that is so */
    bool closed;
};

/* ---- buffers ---- */

char *stream_reserve(struct stream *stream, size_t need) {
    return buffer_reserve(&stream->out, need, WRITE_SIZE, SIZE_MAX);
}

char *stream_reserve_within(struct stream *stream, size_t need, size_t most) {
    return buffer_reserve(&stream->out, need, WRITE_SIZE, most);
}

void stream_commit(struct stream *stream, const char *end) {
    stream->out.len = (size_t)(end - stream->out.bytes);
    stream->events.on_pending(stream->owner);
}

size_t stream_unsent(const struct stream *stream) {
    return buffer_left(&stream->out) + buffer_left(&stream->sealed);
}

size_t stream_memory(const struct stream *stream) {
    return stream->in.size + stream->out.size + stream->sealed.size;
}

bool stream_congested(const struct stream *stream) {
    return stream_unsent(stream) > stream->high_water;
}

void stream_set_high_water(struct stream *stream, size_t high_water) {
    stream->high_water = high_water;
}

/* ---- the socket ---- */

enum moved { MOVED_SOME, MOVED_NOTHING, MOVED_LAST };

/* What a failed SSL_read_ex() means. */
static enum moved ssl_failure(SSL *ssl, const char **why) {
    int error = SSL_get_error(ssl, 0);
    if (error == SSL_ERROR_WANT_READ)
        return MOVED_NOTHING;
    unsigned long queued = ERR_peek_error();
    bool eof = error == SSL_ERROR_ZERO_RETURN || (queued == 0 && errno == 0) ||
               ERR_GET_REASON(queued) == SSL_R_UNEXPECTED_EOF_WHILE_READING;
    *why = eof ? GOODBYE : queued != 0 ? ERR_reason_error_string(queued) : strerror(errno);
    if (*why == NULL)
        *why = "TLS failed";
    return MOVED_LAST;
}

static enum moved ssl_receive(struct stream *stream, size_t room, size_t *got,
                              const char **why) {
    ERR_clear_error();
    errno = 0;
    if (SSL_read_ex(stream->ssl, stream->in.bytes + stream->in.len, room, got) == 1)
        return MOVED_SOME;
    return ssl_failure(stream->ssl, why);
}

static enum moved receive(struct stream *stream, size_t room, size_t *got, const char **why) {
    if (stream->ssl != NULL)
        return ssl_receive(stream, room, got, why);
    ssize_t n = read(stream->fd, stream->in.bytes + stream->in.len, room);
    if (n > 0) {
        *got = (size_t)n;
        return MOVED_SOME;
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return MOVED_NOTHING;
    *why = n == 0 ? GOODBYE : strerror(errno);
    return MOVED_LAST;
}

static enum moved transmit(struct stream *stream, struct buffer *from) {
    ssize_t n = send(stream->fd, from->bytes + from->at, buffer_left(from), MSG_NOSIGNAL);
    if (n >= 0) {
        from->at += (size_t)n;
        buffer_rewind(from);
        return MOVED_SOME;
    }
    bool later = errno == EAGAIN || errno == EINTR || errno == ENOBUFS || errno == ENOMEM;
    return later ? MOVED_NOTHING : MOVED_LAST;
}

/* ---- TLS: records go into a buffer, so that several need one system call ---- */

static bool seal_into_buffer(struct stream *stream) {
    BIO *bio = records_bio(&stream->sealed);
    if (bio != NULL)
        SSL_set0_wbio(stream->ssl, bio);
    return bio != NULL;
}

/* Makes records of what is to be sent, a bounded number of them. */
static enum moved seal(struct stream *stream) {
    struct buffer *out = &stream->out;
    ERR_clear_error();
    while (buffer_left(out) > 0 && buffer_left(&stream->sealed) < SEALED_SIZE) {
        size_t taken = 0;
        if (SSL_write_ex(stream->ssl, out->bytes + out->at, buffer_left(out), &taken) != 1)
            return MOVED_LAST;
        out->at += taken;
    }
    buffer_rewind(out);
    return MOVED_SOME;
}

/* ---- polling ---- */

static void on_poll(uv_poll_t *handle, int status, int events);
static void on_again(uv_idle_t *handle);

static void poll_again(struct stream *stream) {
    bool write = stream->full && !stream->broken;
    bool stuffed = write && stream_congested(stream);
    int events = 0;
    if (stream->closed)
        return;
    if (!stuffed && !stream->rest)
        events |= UV_READABLE;
    if (write)
        events |= UV_WRITABLE;
    if (stream->polled != events)
        uv_poll_start(&stream->poll, events, on_poll);
    stream->polled = events;
    if ((stream->more || stream->rest) && !stuffed)
        uv_idle_start(&stream->again, on_again);
    else
        uv_idle_stop(&stream->again);
}

/* ---- reading ---- */

static enum moved read_once(struct stream *stream, const char **why) {
    struct buffer *in = &stream->in;
    size_t room = in->size - in->len, got = 0;
    if (room < READ_SIZE / 2) /* or else what is there of a frame leaves little */
        room = buffer_reserve(in, READ_SIZE / 2, READ_SIZE, SIZE_MAX) != NULL
                   ? in->size - in->len
                   : 0;
    *why = "out of memory";
    enum moved moved = room > 0 ? receive(stream, room, &got, why) : MOVED_LAST;
    in->len += got;
    return moved;
}

/*
 * OpenSSL gives one record at a time, of those that it has read with one system call: all of
 * them go to the owner together. Returns why the connection has ended, or NULL.
 */
static const char *read_some(struct stream *stream) {
    const char *why = NULL;
    stream->more = false;
    for (int i = 0; i < READS_PER_TURN; i++) {
        enum moved moved = read_once(stream, &why);
        if (moved != MOVED_SOME)
            return moved == MOVED_LAST ? why : NULL;
        if (stream->ssl == NULL || SSL_has_pending(stream->ssl) == 0)
            return NULL;
    }
    stream->more = true;
    return NULL;
}

/* Hands over what is there; returns what speaks against going on, or NULL. */
static const char *deliver(struct stream *stream) {
    struct buffer *in = &stream->in;
    size_t here = in->len - in->at;
    if (here > 0 && here >= stream->wanted) {
        stream->wanted = 0;
        in->at +=
            stream->events.on_bytes(stream->owner, in->bytes + in->at, here, &stream->wanted);
        here = in->len - in->at;
    }
    stream->rest = stream->wanted > 0 && here >= stream->wanted;
    buffer_rewind(in);
    if (stream->wanted > here &&
        buffer_reserve(in, stream->wanted - here, READ_SIZE, SIZE_MAX) == NULL)
        return "out of memory";
    return NULL;
}

/* What is still to be read would make more of what nobody takes any more. */
static void give_up(struct stream *stream) {
    const char *why = read_some(stream);
    stream->events.on_lost(stream->owner,
                           why != NULL ? why : "it broke, with more to be sent than it took");
}

static void read_turn(struct stream *stream) {
    if (stream->broken && stream_congested(stream)) {
        give_up(stream);
        return;
    }
    if (stream->ended == NULL &&
        (!stream->rest || buffer_left(&stream->in) < stream->high_water))
        stream->ended = read_some(stream);
    const char *why = deliver(stream);
    if (stream->closed)
        return;
    if (why == NULL && !stream->rest)
        why = stream->ended;
    if (why != NULL) {
        stream->broken = true;
        stream->events.on_lost(stream->owner, why);
        return;
    }
    stream->events.on_alive(stream->owner);
    if (buffer_left(&stream->sealed) > 0 && !stream->closed) /* an answer of OpenSSL's own */
        stream->events.on_pending(stream->owner);
    poll_again(stream);
}

/* ---- writing ---- */

static void write_turn(struct stream *stream) {
    struct buffer *from = stream->ssl != NULL ? &stream->sealed : &stream->out;
    enum moved moved = MOVED_SOME;
    for (int i = 0; i < WRITES_PER_TURN && stream_unsent(stream) > 0; i++) {
        if (stream->ssl != NULL)
            moved = seal(stream);
        if (moved == MOVED_SOME)
            moved = transmit(stream, from);
        if (moved != MOVED_SOME || buffer_left(from) > 0)
            break; /* it has taken what it can */
    }
    /* Bytes that cannot be sent stay, to be counted; reading finds out why, after what is still
     * to be read. */
    if (moved == MOVED_LAST) {
        stream->broken = true;
        shutdown(stream->fd, SHUT_RDWR);
    }
    stream->full = stream_unsent(stream) > 0;
    poll_again(stream);
    stream->events.on_sent(stream->owner);
}

void stream_send(struct stream *stream) {
    if (!stream->full && !stream->broken) /* a full one: the poll tells when it takes some */
        write_turn(stream);
}

/* ---- the loop ---- */

static void on_poll(uv_poll_t *handle, int status, int events) {
    struct stream *stream = handle->data;
    bool write = (events & UV_WRITABLE) != 0 && stream->full;
    if (status < 0) {
        stream->polled = 0; /* libuv has stopped the handle */
        stream->broken = true;
    }
    /* An error of the socket is found by reading, once what came before it is read. */
    if (status < 0 || (events & UV_READABLE) != 0)
        read_turn(stream);
    if (!write || stream->closed)
        return;
    stream->events.on_alive(stream->owner);
    write_turn(stream);
}

static void on_again(uv_idle_t *handle) {
    read_turn(handle->data);
}

static void on_handle_closed(uv_handle_t *handle) {
    struct stream *stream = handle->data;
    if (--stream->handles > 0)
        return;
    SSL_free(stream->ssl);
    buffer_free(&stream->in);
    buffer_free(&stream->out);
    buffer_free(&stream->sealed);
    free(stream);
}

void stream_cut(struct stream *stream) {
    shutdown(stream->fd, SHUT_RDWR); /* the next read finds the end */
}

void stream_close(struct stream *stream, bool orderly) {
    stream->closed = true;
    uv_poll_stop(&stream->poll); /* takes the descriptor out of epoll at once */
    if (stream->ssl != NULL && orderly && !stream->broken) {
        ERR_clear_error();
        SSL_shutdown(stream->ssl);
        if (buffer_left(&stream->out) == 0 && buffer_left(&stream->sealed) > 0)
            transmit(stream, &stream->sealed);
    }
    shutdown(stream->fd, SHUT_RDWR); /* also where a child process has it, too */
    close(stream->fd);
    uv_close((uv_handle_t *)&stream->poll, on_handle_closed);
    uv_close((uv_handle_t *)&stream->again, on_handle_closed);
}

int stream_open(struct stream **out, uv_loop_t *loop, int fd, SSL *ssl, size_t high_water,
                const struct stream_events *events, void *owner) {
    struct stream *stream = calloc(1, sizeof(*stream));
    int rc = LN_ENOMEM;
    if (stream != NULL)
        stream->ssl = ssl;
    if (stream != NULL && (ssl == NULL || seal_into_buffer(stream)))
        rc = uv_poll_init(loop, &stream->poll, fd);
    if (rc < 0) {
        SSL_free(ssl);
        close(fd);
        free(stream);
        return rc;
    }
    uv_idle_init(loop, &stream->again); /* cannot fail */
    stream->poll.data = stream->again.data = stream;
    stream->handles = 2;
    stream->fd = fd;
    stream->events = *events;
    stream->owner = owner;
    stream->high_water = high_water;
    stream->more = ssl != NULL;
    poll_again(stream);
    *out = stream;
    return LN_OK;
}
