/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder know of a socket. */
#ifndef LUNATS_TCP_INTERNAL_H
#define LUNATS_TCP_INTERNAL_H

#include <netdb.h>

#include <openssl/ssl.h>

#include "host/base/buffer.h"
#include "host/base/strings.h"
#include "host/tcp/socket.h"

struct errand;

/* One attempt to connect to one address; the one that wins is the connection. Freed when its
 * handle is closed. */
struct line {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    };
    uv_connect_t connect;
    struct tcp_socket *socket;
    struct list_node node; /* of `attempts` */
};

struct tcp_socket {
    struct tcp_home *home; /* NULL: closed at once */
    struct list_node node; /* of its sockets */
    void (*on_event)(void *owner);
    void *owner;
    enum tcp_state state;
    struct tcp_target target;
    struct strings strings; /* of the target */
    struct clock *clock;
    struct clock_timer timer; /* the next address, or the end of a close */
    /* Until it is connected. */
    struct errand *errand;
    struct addrinfo *addresses, *next;
    struct list attempts;
    /* From then on. */
    struct line *line;
    SSL_CTX *context; /* NULL: plain */
    SSL *ssl;
    struct buffer in, sealed; /* what came; what is to be decrypted */
    struct buffer out;        /* what is to be sent, with TLS records */
    struct buffer sending;    /* what libuv sends */
    uv_write_t write;
    uv_shutdown_t shutdown;
    size_t want;
    size_t counted; /* bytes in home->held */
    bool reading, writing;
    bool ending;      /* tcp_shutdown() */
    bool shut;        /* it was told so */
    bool closed;      /* tcp_close() */
    int raw_status;   /* of the bytes that are read; UV_EOF: they have ended */
    int status;       /* see tcp_status() */
    int write_status; /* why nothing more can be sent */
    unsigned handles; /* of libuv, not closed yet */
    char text[TCP_TEXT_SIZE];
};

/* ---- socket.c ---- */

void socket_tell(struct tcp_socket *socket);
/* It never was connected, or has failed at its handshake. The text is copied; NULL: the one of
 * the status. */
void socket_fail(struct tcp_socket *socket, int status, const char *text);
/* There is a connection. */
void socket_begin(struct tcp_socket *socket, struct line *line);
/* What there is of the handshake is done, or begun. */
void socket_handshake(struct tcp_socket *socket);
void socket_close_line(struct line *line);

/* ---- connect.c ---- */

/* Looks up the host, unless it is an address, and reads the certificates. */
int connect_prepare(struct tcp_socket *socket);
/* Gives up what is under way. */
void connect_abandon(struct tcp_socket *socket);

#endif
