/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of host/tcp share: a loop with sockets on it, and the other side, whose calls
 * block. */
#ifndef LUNATS_SPEC_UNIT_TCP_H
#define LUNATS_SPEC_UNIT_TCP_H

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/base/status.h"
#include "host/tcp/pool.h"
#include "host/tcp/socket.h"
#include "spec/unit/skip.h"
#include "spec/unit/test.h"

static uv_loop_t tcp_loop;
static uv_timer_t tcp_tick; /* lets a turn of the loop end */
static struct tcp_home home;
static size_t held;

/* A socket of ours and what it has told. */
struct client {
    struct tcp_socket *socket;
    int events;
    void (*then)(struct client *client); /* from inside of an event; NULL: nothing */
};

static inline void on_client(void *owner) {
    struct client *client = owner;
    client->events++;
    if (client->then != NULL)
        client->then(client);
}

static inline int client_open(struct client *client, struct tcp_target target) {
    client->events = 0;
    return tcp_open(&client->socket, &home, &target, on_client, client);
}

static inline int client_dial(struct client *client, int port) {
    return client_open(client, (struct tcp_target){.host = "127.0.0.1", .port = port});
}

static inline void client_close(struct client *client) {
    if (client->socket != NULL)
        tcp_close(client->socket, false);
    client->socket = NULL;
}

static inline size_t client_len(const struct client *client) {
    size_t len;
    tcp_bytes(client->socket, &len);
    return len;
}

/* Whether these are the bytes that are there. */
static inline bool client_has(const struct client *client, const char *text) {
    size_t len;
    const char *bytes = tcp_bytes(client->socket, &len);
    return len == strlen(text) && memcmp(bytes, text, len) == 0;
}

static inline bool is_open(const struct client *client) {
    return tcp_state(client->socket) == TCP_OPEN;
}

/* Turns the loop until it is so, or far too much time has passed. */
#define UNTIL(condition)                                                                       \
    for (int turns = 0; !(condition) && turns < 20000; turns++)                                \
    uv_run(&tcp_loop, UV_RUN_ONCE)

/* Lets everything happen that is under way. */
static inline void turn_on(void) {
    for (int i = 0; i < 5; i++)
        uv_run(&tcp_loop, UV_RUN_ONCE);
}

/* Time of the loop, without waiting for it. */
static inline void pass_ms(long ms) {
    skip_ms(ms);
    uv_update_time(&tcp_loop);
}

/* ---- the other side ---- */

/* Listens on a free port of 127.0.0.1. */
static inline int listen_at(int *port, int backlog) {
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t size = sizeof(at);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(fd, (struct sockaddr *)&at, size) < 0 || listen(fd, backlog) < 0 ||
        getsockname(fd, (struct sockaddr *)&at, &size) < 0)
        abort();
    *port = ntohs(at.sin_port);
    return fd;
}

/* A port where nobody listens. */
static inline int closed_port(void) {
    int port;
    close(listen_at(&port, 1));
    return port;
}

/* Everything that comes, until it ends or is broken off; returns how much, or -1. */
static inline ssize_t hear_all(int fd, char *out, size_t size) {
    size_t len = 0;
    ssize_t got;
    while (len < size && (got = recv(fd, out + len, size - len, 0)) != 0) {
        if (got < 0)
            return -1;
        len += (size_t)got;
    }
    return (ssize_t)len;
}

/* How many bytes come until the end. */
static inline size_t count_rest(int fd) {
    static char bytes[256 * 1024];
    size_t len = 0;
    for (ssize_t got; (got = recv(fd, bytes, sizeof(bytes), 0)) > 0;)
        len += (size_t)got;
    return len;
}

static inline void say(int fd, const char *text) {
    if (send(fd, text, strlen(text), MSG_NOSIGNAL) < 0)
        abort();
}

/* What is there to be read, without waiting. */
static inline size_t drain(int fd) {
    static char bytes[256 * 1024];
    ssize_t got = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    return got > 0 ? (size_t)got : 0;
}

/* ---- running ---- */

static inline void on_tcp_tick(uv_timer_t *timer) {
    (void)timer;
}

static inline void tcp_begin(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    test_begin(argc, argv);
    uv_loop_init(&tcp_loop);
    uv_timer_init(&tcp_loop, &tcp_tick);
    uv_timer_start(&tcp_tick, on_tcp_tick, 1, 1);
    home = (struct tcp_home){.loop = &tcp_loop, .held = &held};
    clock_open(&home.clock, &tcp_loop, false);
}

/* Everything that the tests have left open is a failure; returns the exit status. */
static inline int tcp_end(void) {
    bool clean = list_empty(&home.sockets) && held == 0;
    tcp_close_all(&home);
    clock_close(home.clock);
    uv_close((uv_handle_t *)&tcp_tick, NULL);
    uv_run(&tcp_loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&tcp_loop) != 0 || !clean) {
        printf("not ok: sockets or memory are left (%zu bytes)\n", held);
        return 1;
    }
    return test_end();
}

#endif
