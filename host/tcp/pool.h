/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections of a script that nobody uses just now, by key: host, port, how it is secured. One
 * that the other side closes, or on which it says something unasked, is of no more use.
 */
#ifndef LUNATS_TCP_POOL_H
#define LUNATS_TCP_POOL_H

#include "host/tcp/socket.h"

/* All zero but for the clock is an empty one. */
struct tcp_pool {
    struct clock *clock; /* of the script */
    struct list idle;    /* the latest first */
};

/* Takes the socket, which is at rest and has been used `uses` times, for at most `idle_ms`. Of
 * those with its key `most` are kept; more push out what has waited longest. LN_OK, or
 * LN_ENOMEM: it is closed. */
int tcp_pool_keep(struct tcp_pool *pool, struct tcp_socket *socket, const char *key,
                  size_t key_len, unsigned uses, uint64_t idle_ms, size_t most);

/* The latest with this key, which is the caller's from now on, or NULL. */
struct tcp_socket *tcp_pool_take(struct tcp_pool *pool, const char *key, size_t key_len,
                                 unsigned *uses);

/* Closes all. */
void tcp_pool_close(struct tcp_pool *pool);

#endif
