/* SPDX-License-Identifier: Apache-2.0 */
#include "host/tcp/socket.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>

#include "host/base/container_of.h"
#include "host/base/status.h"
#include "host/dial/peer.h"
#include "host/tcp/internal.h"
#include "host/tls/records.h"

#define FIRST_SIZE ((size_t)4 * 1024)
#define RECORD_SIZE ((size_t)16 * 1024)
#define KEEPALIVE_S 60
#define LINGER_MS 5000

/* ---- what it tells ---- */

static void count(struct tcp_socket *socket) {
    size_t size = socket->in.size + socket->sealed.size + socket->out.size +
                  socket->sending.size + (socket->ssl != NULL ? 2 * RECORD_SIZE : 0);
    if (socket->home == NULL || socket->closed)
        return;
    *socket->home->held += size - socket->counted;
    socket->counted = size;
}

void socket_tell(struct tcp_socket *socket) {
    count(socket);
    if (!socket->closed && socket->on_event != NULL)
        socket->on_event(socket->owner);
}

static void explain(struct tcp_socket *socket, const char *text) {
    snprintf(socket->text, sizeof(socket->text), "%s",
             text != NULL && *text != '\0' ? text : status_text(socket->status));
}

void socket_fail(struct tcp_socket *socket, int status, const char *text) {
    socket->status = status;
    socket->state = TCP_FAILED;
    explain(socket, text);
    socket_tell(socket);
}

enum tcp_state tcp_state(const struct tcp_socket *socket) {
    return socket->state;
}

int tcp_status(const struct tcp_socket *socket) {
    return socket->status;
}

const char *tcp_reason(const struct tcp_socket *socket) {
    return socket->text;
}

void tcp_hand_over(struct tcp_socket *socket, void (*on_event)(void *owner), void *owner) {
    socket->on_event = on_event;
    socket->owner = owner;
}

/* ---- sending ---- */

static void flush(struct tcp_socket *socket);
static void end_close(struct tcp_socket *socket);

static void fail_writes(struct tcp_socket *socket, int status) {
    socket->write_status = status;
    buffer_free(&socket->out);
}

static bool is_sent(const struct tcp_socket *socket) {
    return !socket->writing && buffer_left(&socket->out) == 0;
}

static void on_written(uv_write_t *write, int status) {
    struct tcp_socket *socket = container_of(write, struct tcp_socket, write);
    socket->writing = false;
    socket->sending.at = socket->sending.len;
    buffer_rewind(&socket->sending);
    if (status < 0)
        fail_writes(socket, status);
    if (socket->line == NULL)
        return;
    flush(socket);
    if (socket->closed && is_sent(socket))
        end_close(socket);
    else
        socket_tell(socket);
}

static void on_shut(uv_shutdown_t *shutdown, int status) {
    (void)shutdown, (void)status; /* the handle is closed later, which frees the socket */
}

/* Gives libuv what the socket did not take at once. */
static void send_later(struct tcp_socket *socket) {
    struct buffer empty = socket->sending;
    socket->sending = socket->out;
    socket->out = empty;
    const uv_buf_t bytes = uv_buf_init(socket->sending.bytes + socket->sending.at,
                                       (unsigned)buffer_left(&socket->sending));
    int rc = uv_write(&socket->write, &socket->line->stream, &bytes, 1, on_written);
    socket->writing = rc == 0;
    if (rc < 0)
        fail_writes(socket, rc);
}

static void flush(struct tcp_socket *socket) {
    struct buffer *out = &socket->out;
    if (socket->writing || socket->shut || socket->write_status < 0)
        return;
    if (buffer_left(out) > 0) {
        const uv_buf_t bytes = uv_buf_init(out->bytes + out->at, (unsigned)buffer_left(out));
        int sent = uv_try_write(&socket->line->stream, &bytes, 1);
        if (sent < 0 && sent != UV_EAGAIN) {
            fail_writes(socket, sent);
            return;
        }
        out->at += sent > 0 ? (size_t)sent : 0;
        buffer_rewind(out);
    }
    if (buffer_left(out) > 0) {
        send_later(socket);
    } else if (socket->ending) {
        socket->shut = true;
        uv_shutdown(&socket->shutdown, &socket->line->stream, on_shut);
    }
}

/* Puts bytes, or a record of them, behind what is to be sent. */
static int put(struct tcp_socket *socket, const char *bytes, size_t len, size_t *taken) {
    *taken = len;
    if (socket->ssl != NULL) {
        ERR_clear_error();
        return SSL_write_ex(socket->ssl, bytes, len, taken) == 1 ? LN_OK : LN_ETLS;
    }
    char *at = buffer_reserve(&socket->out, len, FIRST_SIZE, SIZE_MAX);
    if (at == NULL)
        return LN_ENOMEM;
    memcpy(at, bytes, len);
    socket->out.len += len;
    return LN_OK;
}

ssize_t tcp_write(struct tcp_socket *socket, const char *bytes, size_t len) {
    size_t done = 0;
    int rc = socket->write_status;
    if (socket->state != TCP_OPEN || socket->ending)
        rc = LN_ECLOSED;
    while (rc == LN_OK && done < len && buffer_left(&socket->out) < TCP_BUFFER) {
        size_t room = TCP_BUFFER - buffer_left(&socket->out), taken;
        rc = put(socket, bytes + done, len - done < room ? len - done : room, &taken);
        if (rc < 0)
            break;
        done += taken;
        flush(socket);
        rc = socket->write_status;
    }
    count(socket);
    return done > 0 || rc == LN_OK ? (ssize_t)done : rc;
}

void tcp_shutdown(struct tcp_socket *socket) {
    if (socket->state != TCP_OPEN || socket->ending)
        return;
    if (socket->ssl != NULL) {
        ERR_clear_error();
        SSL_shutdown(socket->ssl);
    }
    socket->ending = true;
    flush(socket);
}

/* ---- reading ---- */

static void on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *from);

/* All sockets read into the same place and keep what has come. */
static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *out) {
    static char scratch[TCP_BUFFER];
    (void)handle, (void)size;
    *out = uv_buf_init(scratch, sizeof(scratch));
}

static size_t bound(const struct tcp_socket *socket) {
    return socket->want > TCP_BUFFER ? socket->want : TCP_BUFFER;
}

/* Reads as long as there is room for what comes. */
static void regulate(struct tcp_socket *socket) {
    bool open = socket->line != NULL && !socket->closed && socket->raw_status == LN_OK &&
                socket->state != TCP_FAILED;
    bool wish = open && buffer_left(&socket->in) < bound(socket) &&
                buffer_left(&socket->sealed) < TCP_BUFFER;
    if (wish && !socket->reading)
        uv_read_start(&socket->line->stream, on_alloc, on_read);
    else if (!wish && socket->reading)
        uv_read_stop(&socket->line->stream);
    socket->reading = wish;
}

static void end_reading(struct tcp_socket *socket, int status, const char *text) {
    socket->status = status;
    explain(socket, status == UV_EOF && text == NULL
                        ? "the other side has closed the connection"
                        : text);
}

static const char *tls_reason(SSL *ssl) {
    long verified = SSL_get_verify_result(ssl);
    if (verified != X509_V_OK && SSL_get_verify_mode(ssl) != SSL_VERIFY_NONE)
        return X509_verify_cert_error_string(verified);
    const char *why = ERR_reason_error_string(ERR_peek_error());
    return why != NULL ? why : "TLS failed";
}

static void decrypt(struct tcp_socket *socket) {
    struct buffer *in = &socket->in;
    while (socket->status == LN_OK && buffer_left(in) < bound(socket)) {
        size_t got = 0;
        char *at = buffer_reserve(in, RECORD_SIZE, RECORD_SIZE, SIZE_MAX);
        if (at == NULL) {
            end_reading(socket, LN_ENOMEM, NULL);
            break;
        }
        ERR_clear_error();
        if (SSL_read_ex(socket->ssl, at, RECORD_SIZE, &got) == 1) {
            in->len += got;
            continue;
        }
        int error = SSL_get_error(socket->ssl, 0);
        if (error == SSL_ERROR_ZERO_RETURN)
            end_reading(socket, UV_EOF, NULL);
        else if (error != SSL_ERROR_WANT_READ)
            end_reading(socket, LN_ETLS, tls_reason(socket->ssl));
        else if (socket->raw_status < 0)
            end_reading(socket, socket->raw_status,
                        socket->raw_status == UV_EOF
                            ? "the other side has closed the connection without ending TLS: "
                              "what has come may be cut"
                            : NULL);
        break;
    }
    buffer_rewind(in);
    flush(socket); /* answers of OpenSSL's own */
}

/* Goes on with what is there. */
static void advance(struct tcp_socket *socket) {
    if (socket->state == TCP_CONNECTING && socket->ssl != NULL) {
        socket_handshake(socket);
        return;
    }
    if (socket->ssl != NULL)
        decrypt(socket);
    else if (socket->raw_status < 0)
        end_reading(socket, socket->raw_status, NULL);
    regulate(socket);
    socket_tell(socket);
}

static void on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *from) {
    struct tcp_socket *socket = container_of(stream, struct line, stream)->socket;
    struct buffer *to = socket->ssl != NULL ? &socket->sealed : &socket->in;
    if (len == 0 || socket->closed)
        return;
    if (len < 0) {
        socket->raw_status = (int)len;
    } else {
        char *at = buffer_reserve(to, (size_t)len, FIRST_SIZE, SIZE_MAX);
        if (at == NULL) {
            socket->raw_status = LN_ENOMEM;
        } else {
            memcpy(at, from->base, (size_t)len);
            to->len += (size_t)len;
        }
    }
    advance(socket);
}

/* There may be room again. */
static void read_on(struct tcp_socket *socket) {
    bool rest = buffer_left(&socket->sealed) > 0 || socket->raw_status < 0;
    if (socket->state == TCP_OPEN && socket->ssl != NULL && rest)
        decrypt(socket);
    regulate(socket);
}

const char *tcp_bytes(const struct tcp_socket *socket, size_t *len) {
    *len = buffer_left(&socket->in);
    return socket->in.bytes + socket->in.at;
}

void tcp_take(struct tcp_socket *socket, size_t len) {
    socket->in.at += len;
    buffer_rewind(&socket->in);
    read_on(socket);
    count(socket);
}

void tcp_want(struct tcp_socket *socket, size_t len) {
    socket->want = len;
    read_on(socket);
}

bool tcp_is_secure(const struct tcp_socket *socket) {
    return socket->ssl != NULL;
}

static bool same(const char *a, const char *b) {
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

bool tcp_is_secure_as(const struct tcp_socket *socket, const struct tcp_target *target) {
    const struct tcp_target *mine = &socket->target;
    return tcp_is_secure(socket) && same(mine->ca, target->ca) &&
           same(mine->cert, target->cert) && same(mine->key, target->key) &&
           same(mine->server_name, target->server_name) && mine->any_peer == target->any_peer;
}

bool tcp_at_rest(const struct tcp_socket *socket) {
    return socket->state == TCP_OPEN && socket->status == LN_OK &&
           socket->write_status == LN_OK && !socket->ending && is_sent(socket) &&
           buffer_left(&socket->in) == 0 && buffer_left(&socket->sealed) == 0;
}

/* ---- a connection begins ---- */

static int begin_tls(struct tcp_socket *socket) {
    const struct tcp_target *target = &socket->target;
    const char *name = target->server_name != NULL ? target->server_name : target->host;
    socket->ssl = SSL_new(socket->context);
    BIO *from = socket->ssl != NULL ? records_bio(&socket->sealed) : NULL;
    BIO *to = from != NULL ? records_bio(&socket->out) : NULL;
    if (to == NULL) {
        BIO_free(from);
        return LN_ENOMEM;
    }
    SSL_set_bio(socket->ssl, from, to);
    SSL_set_connect_state(socket->ssl);
    if (target->any_peer)
        return name == NULL || peer_tell_name(socket->ssl, name) ? LN_OK : LN_EINVAL;
    return peer_expect_name(socket->ssl, name) ? LN_OK : LN_EINVAL;
}

void socket_handshake(struct tcp_socket *socket) {
    int rc = socket->ssl == NULL ? begin_tls(socket) : LN_OK;
    if (rc < 0) {
        socket_fail(socket, rc,
                    rc == LN_EINVAL ? "no name for the certificate of the server: "
                                      "server_name says whose it must be"
                                    : NULL);
        return;
    }
    if (buffer_left(&socket->in) > 0) { /* whoever could put them there is not proved yet */
        socket_fail(socket, LN_ETLS, "the other side has sent something before TLS");
        return;
    }
    ERR_clear_error();
    int done = SSL_do_handshake(socket->ssl);
    int error = SSL_get_error(socket->ssl, done);
    flush(socket); /* an alert, too */
    if (done == 1) {
        socket->state = TCP_OPEN;
        advance(socket);
    } else if (error != SSL_ERROR_WANT_READ) {
        socket_fail(socket, LN_ETLS, tls_reason(socket->ssl));
    } else if (socket->raw_status == LN_ENOMEM) {
        socket_fail(socket, LN_ENOMEM, NULL);
    } else if (socket->raw_status < 0 || socket->write_status < 0) {
        socket_fail(socket, LN_ETLS, "the other side broke off during the TLS handshake");
    } else {
        regulate(socket);
        count(socket);
    }
}

void socket_begin(struct tcp_socket *socket, struct line *line) {
    socket->line = line;
    if (line->handle.type == UV_TCP) {
        uv_tcp_nodelay(&line->tcp, 1);
        uv_tcp_keepalive(&line->tcp, 1, KEEPALIVE_S);
    }
    if (socket->context != NULL) {
        socket_handshake(socket);
        return;
    }
    socket->state = TCP_OPEN;
    regulate(socket);
    socket_tell(socket);
}

/* ---- the end ---- */

static void free_parts(struct tcp_socket *socket) {
    SSL_free(socket->ssl);
    SSL_CTX_free(socket->context);
    buffer_free(&socket->in);
    buffer_free(&socket->sealed);
    buffer_free(&socket->out);
    strings_free(&socket->strings);
    socket->ssl = NULL;
    socket->context = NULL;
}

static void on_end(uv_handle_t *handle) {
    struct line *line = container_of(handle, struct line, handle);
    struct tcp_socket *socket = line->socket;
    free(line);
    socket->handles--;
    buffer_free(&socket->sending);
    if (socket->handles == 0)
        free(socket);
}

/* Lets go of what is left of it. */
static void end_close(struct tcp_socket *socket) {
    struct line *line = socket->line;
    list_remove(&socket->node);
    socket->home = NULL;
    clock_disarm(socket->clock, &socket->timer);
    free_parts(socket);
    socket->line = NULL;
    if (line != NULL)
        uv_close(&line->handle, on_end);
    else if (socket->handles == 0)
        free(socket);
}

static void on_linger(struct clock_timer *timer) {
    end_close(container_of(timer, struct tcp_socket, timer));
}

void tcp_close(struct tcp_socket *socket, bool orderly) {
    connect_abandon(socket);
    if (!socket->closed && socket->home != NULL)
        *socket->home->held -= socket->counted;
    socket->counted = 0;
    orderly = orderly && !socket->closed && socket->line != NULL && socket->state == TCP_OPEN;
    if (orderly && socket->ssl != NULL && !socket->ending) {
        ERR_clear_error();
        SSL_shutdown(socket->ssl);
        flush(socket);
    }
    socket->closed = true;
    if (socket->line != NULL)
        regulate(socket);
    if (!orderly || is_sent(socket) || socket->write_status < 0) {
        end_close(socket);
        return;
    }
    socket->timer.fire = on_linger;
    clock_arm(socket->clock, &socket->timer, LINGER_MS);
}

void tcp_close_all(struct tcp_home *home) {
    struct list_node *node;
    while ((node = list_first(&home->sockets)) != NULL)
        tcp_close(list_item(node, struct tcp_socket, node), false);
}
