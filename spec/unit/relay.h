/* SPDX-License-Identifier: Apache-2.0 */
/* The way to a server: a slow one, or one on which somebody changes what is in clear text. */
#ifndef LUNATS_SPEC_UNIT_RELAY_H
#define LUNATS_SPEC_UNIT_RELAY_H

#include <poll.h>
#include <stdatomic.h>

#include "spec/unit/link.h"

#define RELAY_PAUSE_MS 10

static struct {
    int fd, port, to;
    size_t portion;    /* bytes that the server gets at once, with a pause behind; 0: all */
    char announce[64]; /* put in front of what the server's INFO says; "": nothing */
    atomic_bool ends;
    uv_thread_t thread;
} relay;

static inline bool relay_write(int to, const char *bytes, size_t len) {
    for (ssize_t n; len > 0; bytes += n, len -= (size_t)n)
        if ((n = write(to, bytes, len)) <= 0)
            return false;
    return true;
}

static inline bool relay_pass(int from, int to, size_t portion) {
    static char bytes[65536];
    ssize_t got = read(from, bytes, portion > 0 ? portion : sizeof(bytes));
    if (got <= 0 || !relay_write(to, bytes, (size_t)got))
        return false;
    if (portion > 0)
        sleep_ms(RELAY_PAUSE_MS);
    return true;
}

/* "INFO {" comes first, in clear text. */
static inline bool relay_announce(int client, int of_server) {
    char head[6];
    return recv(of_server, head, sizeof(head), MSG_WAITALL) == (ssize_t)sizeof(head) &&
           relay_write(client, head, sizeof(head)) &&
           relay_write(client, relay.announce, strlen(relay.announce));
}

static inline void relay_connection(int client) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)relay.to)};
    int of_server = socket(AF_INET, SOCK_STREAM, 0);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    bool ok = connect(of_server, (struct sockaddr *)&at, sizeof(at)) == 0 &&
              (relay.announce[0] == '\0' || relay_announce(client, of_server));
    while (ok && !relay.ends) {
        struct pollfd fds[2] = {{.fd = client, .events = POLLIN},
                                {.fd = of_server, .events = POLLIN}};
        poll(fds, 2, RELAY_PAUSE_MS);
        ok = (fds[1].revents == 0 || relay_pass(of_server, client, 0)) &&
             (fds[0].revents == 0 || relay_pass(client, of_server, relay.portion));
    }
    close(of_server);
    close(client);
}

static inline void relay_run(void *unused) {
    (void)unused;
    for (int client; (client = accept(relay.fd, NULL, NULL)) >= 0;)
        relay_connection(client);
}

/* Writes the URL that leads over it to the server. A slow one's buffer is small. */
static inline void relay_start(const struct server *to, size_t portion, const char *announce,
                               char url[64]) {
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t size = sizeof(at);
    int small = 65536;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    relay.to = to->port;
    relay.portion = portion;
    relay.ends = false;
    snprintf(relay.announce, sizeof(relay.announce), "%s", announce);
    relay.fd = socket(AF_INET, SOCK_STREAM, 0);
    if (portion > 0)
        setsockopt(relay.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    if (bind(relay.fd, (struct sockaddr *)&at, size) < 0 || listen(relay.fd, 8) < 0 ||
        getsockname(relay.fd, (struct sockaddr *)&at, &size) < 0)
        abort();
    relay.port = ntohs(at.sin_port);
    snprintf(url, 64, "%s://127.0.0.1:%d", with_tls ? "tls" : "nats", relay.port);
    uv_thread_create(&relay.thread, relay_run, NULL);
}

/* Its connection is cut, and there is no other one. */
static inline void relay_stop(void) {
    relay.ends = true;
    shutdown(relay.fd, SHUT_RDWR); /* ends accept() */
    uv_thread_join(&relay.thread);
    close(relay.fd);
}

#endif
