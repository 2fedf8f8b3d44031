/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Client sockets of a script on the loop: TCP or a Unix socket, plain or TLS. What comes in is
 * kept until it is taken; not much more is read than somebody wants, and not much more is
 * accepted than the other side takes.
 *
 * Everything happens on the loop thread. A name is looked up, and certificates are read, in a
 * thread of its own. All addresses of a name are tried: the next one as soon as one has failed,
 * or does not answer within a quarter of a second.
 */
#ifndef LUNATS_TCP_SOCKET_H
#define LUNATS_TCP_SOCKET_H

#include <stdbool.h>
#include <stddef.h>

#include <uv.h>

#include "host/base/clock.h"
#include "host/base/list.h"

#define TCP_BUFFER ((size_t)64 * 1024) /* of either direction, unless more is wanted */
#define TCP_TEXT_SIZE 256

struct tcp_socket;

/* The sockets of one script. All zero but for the first part. */
struct tcp_home {
    uv_loop_t *loop;
    struct clock *clock; /* real */
    size_t *held;        /* memory that they need is added here */
    struct list sockets;
};

/* Strings are copied. */
struct tcp_target {
    const char *host; /* a name or an address; NULL: `path` */
    const char *path; /* of a Unix socket */
    int port;
    bool tls;
    const char *ca, *cert, *key; /* PEM files, see struct tls_files */
    const char *server_name;     /* NULL: the host */
    bool any_peer;               /* whatever certificate it has */
};

enum tcp_state {
    TCP_CONNECTING, /* or at its handshake */
    TCP_OPEN,       /* what comes in may have ended */
    TCP_FAILED,     /* there never was a connection, or its handshake failed */
};

/*
 * Begins to connect. on_event() comes from the loop whenever something has changed: connected
 * or failed, bytes are there, some were sent, the end. It may close the socket. On success *out
 * is the caller's, who hands it to tcp_close(). LN_OK, LN_ENOMEM or a code of libuv.
 */
int tcp_open(struct tcp_socket **out, struct tcp_home *home, const struct tcp_target *target,
             void (*on_event)(void *owner), void *owner);

/* Begins TLS on an open connection, of which nothing waits to be read or sent. The state is
 * TCP_CONNECTING until it is done. Only the TLS part of the target counts. */
int tcp_start_tls(struct tcp_socket *socket, const struct tcp_target *target);

/* Nothing is told any more. `orderly`: what was accepted is sent, within five seconds, unless
 * the home is closed before. */
void tcp_close(struct tcp_socket *socket, bool orderly);

/* Closes all that are left, at once. */
void tcp_close_all(struct tcp_home *home);

/* Whom it tells from now on. */
void tcp_hand_over(struct tcp_socket *socket, void (*on_event)(void *owner), void *owner);

enum tcp_state tcp_state(const struct tcp_socket *socket);

/* Why it failed, or why no more will come: a code of libuv (UV_EOF: the other side has ended
 * it), LN_ETLS, LN_EINVAL or LN_ENOMEM. LN_OK: more may come. */
int tcp_status(const struct tcp_socket *socket);
/* The same for people. */
const char *tcp_reason(const struct tcp_socket *socket);

/* What has come and was not taken; borrowed until the loop turns. */
const char *tcp_bytes(const struct tcp_socket *socket, size_t *len);
void tcp_take(struct tcp_socket *socket, size_t len);
/* Somebody waits until so many are there. 0: nobody. */
void tcp_want(struct tcp_socket *socket, size_t len);

/* Accepts some bytes, or none while there is no room: on_event() tells when there is. Returns
 * how many, or why none can be sent any more. */
ssize_t tcp_write(struct tcp_socket *socket, const char *bytes, size_t len);
/* Nothing comes behind what was accepted, and the other side sees that. */
void tcp_shutdown(struct tcp_socket *socket);

bool tcp_is_secure(const struct tcp_socket *socket);
/* Whether its TLS has begun with what the TLS part of the target says. */
bool tcp_is_secure_as(const struct tcp_socket *socket, const struct tcp_target *target);

/* It is open, nothing waits to be read or sent, and it has not been shut down. */
bool tcp_at_rest(const struct tcp_socket *socket);

#endif
