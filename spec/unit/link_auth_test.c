/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signing in with a key, against a server that chooses its nonces: what a real one asks for
 * once in 256 connections has to be asked for at will.
 */
#include "host/link.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "spec/unit/test.h"

#define SEED "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY"

/* ---- a server that wants a signature ---- */

static struct {
    int fd, port;
    char nonces[4][32]; /* one for each connection */
    int connections;
    bool refuses; /* whatever the signature */
} server;

static void make_nonce(char nonce[32], bool starts_with_zero) {
    static int counter;
    for (bool found = false; !found;) {
        unsigned char *signature = NULL;
        int len = 0;
        snprintf(nonce, 32, "nonce-%d", counter++);
        if (nats_Sign(SEED, nonce, &signature, &len) != NATS_OK)
            abort();
        found = (signature[0] == 0) == starts_with_zero;
        free(signature);
    }
}

static bool say(int fd, const char *text) {
    return write(fd, text, strlen(text)) == (ssize_t)strlen(text);
}

static void serve_one(int fd, const char *nonce) {
    char info[512], heard[4096] = "";
    size_t len = 0;
    snprintf(info, sizeof(info),
             "INFO {\"server_id\":\"N\",\"version\":\"2.9.10\",\"proto\":1,\"headers\":true,"
             "\"max_payload\":1048576,\"auth_required\":true,\"nonce\":\"%s\"}\r\n",
             nonce);
    say(fd, info);
    while (strstr(heard, "PING\r\n") == NULL && len < sizeof(heard) - 1) {
        ssize_t got = read(fd, heard + len, sizeof(heard) - 1 - len);
        if (got <= 0)
            return;
        len += (size_t)got;
        heard[len] = '\0';
    }
    if (server.refuses || strstr(heard, "\"sig\":\"") == NULL) {
        say(fd, "-ERR 'Authorization Violation'\r\n");
        return;
    }
    say(fd, "PONG\r\n");
    while (read(fd, heard, sizeof(heard)) > 0)
        ;
}

static void serve(void *unused) {
    (void)unused;
    for (int fd; (fd = accept(server.fd, NULL, NULL)) >= 0; close(fd)) {
        if (server.connections < 4)
            serve_one(fd, server.nonces[server.connections]);
        server.connections++;
    }
}

static void server_listen(void) {
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t size = sizeof(a);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    server.connections = 0;
    server.fd = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(server.fd, (struct sockaddr *)&a, size) < 0 || listen(server.fd, 4) < 0 ||
        getsockname(server.fd, (struct sockaddr *)&a, &size) < 0)
        abort();
    server.port = ntohs(a.sin_port);
}

/* ---- a link to it ---- */

struct peer {
    int states, status, closed;
    enum link_state state;
};

static void on_state(void *owner, enum link_state state, int status, const char *text) {
    struct peer *p = owner;
    (void)text;
    p->state = state;
    p->status = status;
    p->states++;
}

static void on_closed(void *owner) {
    struct peer *p = owner;
    p->closed = 1;
}

/* Signs in once, with the nonces that were made; returns how the link ended up. */
static struct peer sign_in(void) {
    static const struct link_events events = {.on_state = on_state};
    char url[64], path[] = "/tmp/lunats-nkey.XXXXXX";
    const char *servers[] = {url};
    struct link_options options = {.servers = servers, .server_count = 1, .nkey = path};
    struct peer peer = {0};
    struct link *link;
    uv_thread_t thread;
    uv_loop_t loop;
    int fd = mkstemp(path);
    if (fd < 0 || !say(fd, SEED "\n"))
        abort();
    close(fd);
    server_listen();
    snprintf(url, sizeof(url), "nats://127.0.0.1:%d", server.port);
    uv_loop_init(&loop);
    uv_thread_create(&thread, serve, NULL);
    if (link_open(&link, &loop, &options, &events, &peer) == LN_OK) {
        while (peer.states == 0)
            uv_run(&loop, UV_RUN_ONCE);
        link_close(link, 0, on_closed, &peer);
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    shutdown(server.fd, SHUT_RDWR); /* ends accept() */
    uv_thread_join(&thread);
    close(server.fd);
    uv_loop_close(&loop);
    unlink(path);
    return peer;
}

static void a_signature_is_accepted(void) {
    make_nonce(server.nonces[0], false);
    struct peer peer = sign_in();
    CHECK_INT(peer.state, LINK_CONNECTED);
    CHECK_INT(server.connections, 1);
}

static void a_signature_that_begins_with_zero_is_asked_for_again(void) {
    make_nonce(server.nonces[0], true);
    make_nonce(server.nonces[1], true);
    make_nonce(server.nonces[2], false);
    struct peer peer = sign_in();
    CHECK_INT(peer.state, LINK_CONNECTED);
    CHECK_INT(peer.states, 1);
}

static void a_refusal_is_final_all_the_same(void) {
    for (int i = 0; i < 4; i++)
        make_nonce(server.nonces[i], false);
    server.refuses = true;
    struct peer peer = sign_in();
    server.refuses = false;
    CHECK_INT(peer.state, LINK_CLOSED);
    CHECK_INT(peer.status, LN_EAUTH);
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    test_begin(argc, argv);
    nats_Open(-1);
    RUN(a_signature_is_accepted);
    RUN(a_signature_that_begins_with_zero_is_asked_for_again);
    RUN(a_refusal_is_final_all_the_same);
    nats_CloseAndWait(2000);
    return test_end();
}
