/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The transport for a plain socket: this file reads and writes it, nats.c keeps the
 * conversation.
 *
 * nats.c connects and authenticates. Then its descriptor is replaced by one end of a pair of
 * sockets, and the connection to the server is ours. Messages are read and written here. What
 * else the server says (INFO, PING, -ERR) goes to nats.c through the pair, and what nats.c
 * answers comes back through it, so that everything that nats.c knows of the protocol still
 * holds. Only messages are many: read, copied, queued, locked and freed by nats.c they cost
 * 1,700 instructions each, here 400; an echo as a whole takes half the time.
 *
 * With TLS the bytes are inside of nats.c: see link_nats.c. Whether it is TLS is not a matter
 * of options, since servers may ask for it: before anything else goes over the socket, nats.c
 * has to write a message through the pair.
 */
#include "host/link/internal.h"
#include "host/link/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_SIZE ((size_t)64 * 1024)
#define WRITE_SIZE ((size_t)32 * 1024)
#define KEPT_SIZE ((size_t)256 * 1024) /* a larger buffer is given back once it is empty */
#define FORWARD_SIZE ((size_t)16 * 1024)
#define NUMBER_SIZE 20

/* A sid is a place in `places` and, so that a late message finds nobody, how often it has been
 * given away before. */
#define PLACE_BITS 24
#define PLACE_MAX (1u << PLACE_BITS)
#define NO_PLACE UINT32_MAX

struct buffer {
    char *bytes;
    size_t at, len, size; /* bytes[at..len) are there */
};

struct place {
    struct link_sub *sub; /* NULL: free */
    uint64_t generation;
    uint32_t next_free;
};

struct direct {
    int nats_end; /* our end of the pair whose other end nats.c has; -1: closed */
    struct buffer in, out;
    struct place *places;
    uint32_t place_count, first_free;
    uint64_t in_msgs, in_bytes, out_msgs, out_bytes;
};

/* ---- buffers ---- */

/* Room for `need` more bytes at the end; NULL when memory is short. What is left moves to the
 * front when that is less than what has gone, so that a byte is moved once on average. */
static char *reserve(struct buffer *buffer, size_t need, size_t first_size) {
    size_t left = buffer->len - buffer->at;
    if (buffer->len + need > buffer->size && buffer->at > 0 && left <= buffer->at) {
        memmove(buffer->bytes, buffer->bytes + buffer->at, left);
        buffer->len = left;
        buffer->at = 0;
    }
    if (buffer->len + need > buffer->size) {
        size_t size = buffer->size > 0 ? buffer->size : first_size;
        while (size < buffer->len + need)
            size *= 2;
        char *bytes = realloc(buffer->bytes, size);
        if (bytes == NULL)
            return NULL;
        buffer->bytes = bytes;
        buffer->size = size;
    }
    return buffer->bytes + buffer->len;
}

/* Starts again at the front, where the cache is warm, when nothing is left. */
static void rewind_empty(struct buffer *buffer) {
    if (buffer->at < buffer->len)
        return;
    buffer->at = buffer->len = 0;
    if (buffer->size > KEPT_SIZE) {
        free(buffer->bytes);
        *buffer = (struct buffer){0};
    }
}

static char *put(char *at, const char *bytes, size_t len) {
    memcpy(at, bytes, len);
    return at + len;
}

static char *put_text(char *at, const char *text) {
    return put(at, text, strlen(text));
}

static char *put_number(char *at, uint64_t value) {
    char digits[NUMBER_SIZE];
    size_t count = 0;
    do
        digits[count++] = (char)('0' + value % 10);
    while ((value /= 10) > 0);
    while (count > 0)
        *at++ = digits[--count];
    return at;
}

static void wrote(struct conn *conn, const char *end) {
    struct buffer *out = &conn->direct->out;
    out->len = (size_t)(end - out->bytes);
    conn_want_write(conn);
}

/* ---- sids ---- */

static bool places_grow(struct direct *direct) {
    uint32_t count = direct->place_count == 0 ? 16 : direct->place_count * 2;
    if (count > PLACE_MAX)
        return false;
    struct place *places = realloc(direct->places, count * sizeof(*places));
    if (places == NULL)
        return false;
    direct->places = places;
    for (uint32_t i = count; i-- > direct->place_count;) {
        places[i] = (struct place){.next_free = direct->first_free};
        direct->first_free = i;
    }
    direct->place_count = count;
    return true;
}

/* Gives the next message of this sub a place; returns the sid, or 0 when memory is short. */
static uint64_t take_place(struct direct *direct, struct link_sub *sub) {
    if (direct->first_free == NO_PLACE && !places_grow(direct))
        return 0;
    uint32_t index = direct->first_free;
    struct place *place = &direct->places[index];
    direct->first_free = place->next_free;
    place->sub = sub;
    return ++place->generation << PLACE_BITS | index;
}

static void free_place(struct direct *direct, uint64_t sid) {
    uint32_t index = (uint32_t)(sid & (PLACE_MAX - 1));
    direct->places[index].sub = NULL;
    direct->places[index].next_free = direct->first_free;
    direct->first_free = index;
}

static struct link_sub *find_sub(const struct direct *direct, uint64_t sid) {
    uint32_t index = (uint32_t)(sid & (PLACE_MAX - 1));
    if (index >= direct->place_count)
        return NULL;
    const struct place *place = &direct->places[index];
    return place->generation == sid >> PLACE_BITS ? place->sub : NULL;
}

/* ---- reading ---- */

/* nats.c finds the end of the connection at its end of the pair, and lets go of it. */
static void hang_up(struct conn *conn) {
    struct direct *direct = conn->direct;
    if (direct->nats_end >= 0)
        close(direct->nats_end);
    direct->nats_end = -1;
    for (int i = 0; i < 1000 && !conn->lost; i++)
        natsConnection_ProcessReadEvent(conn->nats);
}

/* Shows nats.c what is no message, in pieces that the pair and its buffer can take. */
static void forward(struct conn *conn, const char *line, size_t len) {
    while (len > 0 && !conn->lost) {
        size_t size = len < FORWARD_SIZE ? len : FORWARD_SIZE;
        ssize_t sent = send(conn->direct->nats_end, line, size, MSG_NOSIGNAL);
        if (sent <= 0) {
            hang_up(conn);
            return;
        }
        natsConnection_ProcessReadEvent(conn->nats);
        line += sent;
        len -= (size_t)sent;
    }
    if (!conn->lost) /* an INFO may have changed it */
        conn->link->info.max_payload = natsConnection_GetMaxPayload(conn->nats);
}

static void deliver(struct conn *conn, const struct wire_frame *frame) {
    struct direct *direct = conn->direct;
    struct link_sub *sub = find_sub(direct, frame->sid);
    direct->in_msgs++;
    direct->in_bytes += frame->parts.len;
    if (sub == NULL)
        return;
    struct message *msg = message_new(&frame->parts);
    if (msg != NULL)
        subs_dispatch(sub, msg);
    else if (sub->on_error != NULL)
        sub->on_error(sub->owner, LN_ENOMEM, "out of memory: a message is lost");
}

static void refuse(struct conn *conn) {
    conn->why_lost = "what the server sends is not the protocol of NATS";
    hang_up(conn);
}

/* Handles all whole frames; returns how many bytes the next one wants to have, 0 = unknown. */
static size_t take_frames(struct conn *conn) {
    struct buffer *in = &conn->direct->in;
    struct wire_frame frame = {0};
    while (!conn->lost && !conn->dead && in->at < in->len) {
        const char *bytes = in->bytes + in->at;
        enum wire_kind kind = wire_next(bytes, in->len - in->at, &frame);
        if (kind == WIRE_PART)
            return frame.size;
        in->at += frame.size;
        if (kind == WIRE_MSG)
            deliver(conn, &frame);
        else if (kind == WIRE_LINE)
            forward(conn, bytes, frame.size);
        else
            refuse(conn);
    }
    return 0;
}

static void direct_read(struct conn *conn) {
    struct buffer *in = &conn->direct->in;
    size_t room = in->size - in->len;
    if (room < READ_SIZE / 2) /* or else what is there of a frame leaves little */
        room = reserve(in, READ_SIZE / 2, READ_SIZE) != NULL ? in->size - in->len : 0;
    ssize_t got = room > 0 ? recv(conn->fd, in->bytes + in->len, room, 0) : 0;
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        hang_up(conn);
        return;
    }
    in->len += (size_t)got;
    size_t wanted = take_frames(conn);
    rewind_empty(in);
    size_t here = in->len - in->at;
    if (wanted > here && reserve(in, wanted - here, READ_SIZE) == NULL)
        hang_up(conn);
}

/* ---- writing ---- */

static size_t direct_buffered(const struct conn *conn) {
    return conn->direct->out.len - conn->direct->out.at;
}

/* Appends what nats.c has to say (PONG) to what we have. The pair may be too small for all of
 * it at once. */
static void take_word(struct conn *conn) {
    char words[1024];
    conn->nats_wants = conn->written = false;
    while (!conn->written && !conn->lost) {
        ssize_t got;
        natsConnection_ProcessWriteEvent(conn->nats);
        while (!conn->lost &&
               (got = recv(conn->direct->nats_end, words, sizeof(words), MSG_DONTWAIT)) > 0) {
            char *at = reserve(&conn->direct->out, (size_t)got, WRITE_SIZE);
            if (at == NULL) {
                hang_up(conn); /* half a word would be worse */
                return;
            }
            wrote(conn, put(at, words, (size_t)got));
        }
    }
}

static bool direct_write(struct conn *conn) {
    struct buffer *out = &conn->direct->out;
    if (conn->nats_wants)
        take_word(conn);
    if (conn->lost || out->at == out->len)
        return true;
    ssize_t sent = send(conn->fd, out->bytes + out->at, out->len - out->at, MSG_NOSIGNAL);
    bool later = errno == EAGAIN || errno == EINTR || errno == ENOBUFS || errno == ENOMEM;
    if (sent < 0 && !later) {
        out->at = out->len; /* reading finds out, after what is still to be read */
        rewind_empty(out);
        return true;
    }
    out->at += sent > 0 ? (size_t)sent : 0;
    rewind_empty(out);
    return out->len == 0;
}

/* ---- publishing ---- */

#define VERSION_LINE "NATS/1.0\r\n"

static size_t headers_size(const struct link_out *out) {
    if (out->header_count == 0)
        return 0;
    size_t size = sizeof(VERSION_LINE) - 1 + 2;
    for (size_t i = 0; i < out->header_count; i++)
        size += strlen(out->headers[i].name) + strlen(out->headers[i].value) + 4;
    return size;
}

static char *put_headers(char *at, const struct link_out *out) {
    at = put_text(at, VERSION_LINE);
    for (size_t i = 0; i < out->header_count; i++) {
        at = put_text(at, out->headers[i].name);
        at = put(at, ": ", 2);
        at = put_text(at, out->headers[i].value);
        at = put(at, "\r\n", 2);
    }
    return put(at, "\r\n", 2);
}

static int direct_publish(struct conn *conn, const struct link_out *out, const char *reply) {
    struct direct *direct = conn->direct;
    size_t headers = headers_size(out);
    size_t subject_len = strlen(out->subject), reply_len = reply != NULL ? strlen(reply) : 0;
    int64_t max = conn->link->info.max_payload;
    if (max > 0 && headers + out->len > (size_t)max)
        return LN_ETOOLARGE;
    size_t need = subject_len + reply_len + headers + out->len + 2 * NUMBER_SIZE + 16;
    char *at = reserve(&direct->out, need, WRITE_SIZE);
    if (at == NULL)
        return LN_ENOMEM;
    at = headers > 0 ? put(at, "HPUB ", 5) : put(at, "PUB ", 4);
    at = put(at, out->subject, subject_len);
    *at++ = ' ';
    if (reply != NULL) {
        at = put(at, reply, reply_len);
        *at++ = ' ';
    }
    if (headers > 0) {
        at = put_number(at, headers);
        *at++ = ' ';
    }
    at = put_number(at, headers + out->len);
    at = put(at, "\r\n", 2);
    if (headers > 0)
        at = put_headers(at, out);
    if (out->len > 0)
        at = put(at, out->data, out->len);
    wrote(conn, put(at, "\r\n", 2));
    direct->out_msgs++;
    direct->out_bytes += out->len;
    return LN_OK;
}

/* ---- subscriptions ---- */

static char *put_unsub(char *at, uint64_t sid) {
    at = put_number(put(at, "UNSUB ", 6), sid);
    return put(at, "\r\n", 2);
}

static int direct_subscribe(struct conn *conn, struct link_sub *sub) {
    struct direct *direct = conn->direct;
    size_t need =
        strlen(sub->pattern) + (sub->queue != NULL ? strlen(sub->queue) : 0) + NUMBER_SIZE + 16;
    char *at = reserve(&direct->out, need, WRITE_SIZE);
    sub->sid = at != NULL ? take_place(direct, sub) : 0;
    if (sub->sid == 0)
        return LN_ENOMEM;
    at = put_text(put(at, "SUB ", 4), sub->pattern);
    *at++ = ' ';
    if (sub->queue != NULL) {
        at = put_text(at, sub->queue);
        *at++ = ' ';
    }
    at = put_number(at, sub->sid);
    wrote(conn, put(at, "\r\n", 2));
    return LN_OK;
}

static bool direct_drain(struct conn *conn, struct link_sub *sub) {
    char *at = reserve(&conn->direct->out, NUMBER_SIZE + 16, WRITE_SIZE);
    if (at == NULL)
        return false;
    wrote(conn, put_unsub(at, sub->sid));
    return true;
}

static void direct_unsubscribe(struct conn *conn, struct link_sub *sub) {
    if (!sub->draining)
        direct_drain(conn, sub);
    free_place(conn->direct, sub->sid);
}

static int direct_provoke(struct conn *conn, const char *subject) {
    char *at = reserve(&conn->direct->out, strlen(subject) + 2 * NUMBER_SIZE + 16, WRITE_SIZE);
    if (at == NULL)
        return LN_ENOMEM;
    at = put_text(put(at, "SUB ", 4), subject);
    at = put(at, " 0\r\n", 4); /* no place has this sid */
    wrote(conn, put_unsub(at, 0));
    return LN_OK;
}

/* ---- life ---- */

static void direct_add_stats(const struct conn *conn, struct link_stats *out) {
    out->in_msgs += conn->direct->in_msgs;
    out->in_bytes += conn->direct->in_bytes;
    out->out_msgs += conn->direct->out_msgs;
    out->out_bytes += conn->direct->out_bytes;
}

static void direct_end(struct conn *conn) {
    struct direct *direct = conn->direct;
    hang_up(conn);
    shutdown(conn->fd, SHUT_RDWR); /* also where a child process has it, too */
    close(conn->fd);
    free(direct->in.bytes);
    free(direct->out.bytes);
    free(direct->places);
    free(direct);
    conn->direct = NULL;
}

const struct transport transport_direct = {
    .read = direct_read,
    .write = direct_write,
    .publish = direct_publish,
    .subscribe = direct_subscribe,
    .drain = direct_drain,
    .unsubscribe = direct_unsubscribe,
    .provoke = direct_provoke,
    .buffered = direct_buffered,
    .add_stats = direct_add_stats,
    .end = direct_end,
};

/*
 * What nats.c now writes comes out of the pair. Returns false if it is not the message that it
 * was told to write but TLS, which servers may ask for whatever the URL says: those bytes
 * belong into the stream. Nobody else listens to the subject, and its refusal would be ours to
 * handle.
 */
static bool writes_plainly(struct conn *conn, int nats_end, int fd) {
    char bytes[512];
    const char *subject = calls_unused_subject(conn->link);
    if (natsConnection_Publish(conn->nats, subject, NULL, 0) != NATS_OK)
        return false;
    natsConnection_ProcessWriteEvent(conn->nats);
    conn->nats_wants = false;
    ssize_t len = recv(nats_end, bytes, sizeof(bytes), MSG_DONTWAIT);
    if (len >= 4 && memcmp(bytes, "PUB ", 4) == 0)
        return true;
    if (len > 0 && send(fd, bytes, (size_t)len, MSG_NOSIGNAL) != len)
        shutdown(fd, SHUT_RDWR); /* its buffer was empty: the connection is of no use */
    return false;
}

/* Takes the socket from nats.c; false, and nothing has changed, when it is one with TLS or
 * descriptors are short. */
bool direct_begin(struct conn *conn) {
    struct direct *direct = calloc(1, sizeof(*direct));
    int fd = fcntl(conn->fd, F_DUPFD_CLOEXEC, 0), ends[2] = {-1, -1};
    bool replaced =
        direct != NULL && fd >= 0 &&
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0 &&
        dup3(ends[0], conn->fd, O_CLOEXEC) >= 0;
    bool plain = replaced && writes_plainly(conn, ends[1], fd);
    if (replaced && !plain)
        dup3(fd, conn->fd, O_CLOEXEC);
    close(ends[0]);
    if (!plain) {
        free(direct);
        close(fd);
        close(ends[1]);
        return false;
    }
    direct->nats_end = ends[1];
    direct->first_free = NO_PLACE;
    conn->fd = fd;
    conn->direct = direct;
    conn->transport = &transport_direct;
    return true;
}
