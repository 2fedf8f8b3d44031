/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets of scripts over TLS: whom they believe, and all the ways in which it can break. */
#include "spec/unit/tcp.h"

#include <openssl/err.h>

#include "host/tcp/internal.h"
#include "spec/unit/certificates.h"

/* ---- a server ---- */

/* One connection after the other is talked to in a thread. */
static struct {
    int fd, port;
    void (*talk)(int fd);
    uv_thread_t thread;
} server;

static void serve(void *unused) {
    (void)unused;
    for (int fd; (fd = accept(server.fd, NULL, NULL)) >= 0; close(fd))
        server.talk(fd);
}

static void server_start(void (*talk)(int fd)) {
    server.fd = listen_at(&server.port, 8);
    server.talk = talk;
    uv_thread_create(&server.thread, serve, NULL);
}

static void server_stop(void) {
    shutdown(server.fd, SHUT_RDWR); /* ends accept() */
    uv_thread_join(&server.thread);
    close(server.fd);
}

/* With TLS, and the certificate of 127.0.0.1. */
static void end_tls(SSL *ssl) {
    SSL_free(ssl);
    ERR_clear_error();
}

static bool tls_write(SSL *ssl, const char *text) {
    return SSL_write(ssl, text, (int)strlen(text)) > 0;
}

/* Returns whatever comes, until the other side has ended. */
static void echo(int fd) {
    char bytes[4096];
    SSL *ssl = accept_tls(fd, "cert");
    int got = 0;
    while (ssl != NULL && (got = SSL_read(ssl, bytes, sizeof(bytes))) > 0)
        SSL_write(ssl, bytes, got);
    if (ssl != NULL && got == 0)
        SSL_shutdown(ssl);
    end_tls(ssl);
}

/* Says something and ends its half; what it hears then is for the test. */
static char heard_after_end[64];

static void end_first(int fd) {
    SSL *ssl = accept_tls(fd, "cert");
    if (ssl == NULL)
        return;
    tls_write(ssl, "last");
    SSL_shutdown(ssl);
    size_t len = 0;
    for (int got; (got = SSL_read(ssl, heard_after_end + len, 32)) > 0;)
        len += (size_t)got;
    end_tls(ssl);
}

/* The connection ends, and nobody has said so. */
static void break_off(int fd) {
    SSL *ssl = accept_tls(fd, "cert");
    if (ssl != NULL)
        tls_write(ssl, "half of i");
    end_tls(ssl);
}

/* Waits until the client goes away. */
static void hold(int fd) {
    char bytes[4096];
    while (recv(fd, bytes, sizeof(bytes), 0) > 0)
        continue;
}

static void hang_up(int fd) {
    char byte;
    if (recv(fd, &byte, 1, 0) == 1) /* it has begun */
        shutdown(fd, SHUT_RDWR);
}

static void speak_plainly(int fd) {
    say(fd, "HTTP/1.1 400 Bad Request\r\n\r\n");
    hold(fd);
}

/* A record that is none, in the middle of a connection. */
static void send_rubbish(int fd) {
    SSL *ssl = accept_tls(fd, "cert");
    if (ssl == NULL)
        return;
    tls_write(ssl, "good");
    static const char record[] = "\x17\x03\x03\x00\x20rubbish rubbish rubbish rubbish!";
    if (send(fd, record, sizeof(record) - 1, MSG_NOSIGNAL) > 0)
        hold(fd);
    end_tls(ssl);
}

static void turn_secure(int fd) {
    char line[8] = "";
    if (recv(fd, line, 5, MSG_WAITALL) != 5)
        return;
    say(fd, "go\n");
    echo(fd);
}

/* ---- a client ---- */

static struct client a;

static struct tcp_target target(void) {
    return (struct tcp_target){
        .host = "127.0.0.1", .port = server.port, .tls = true, .ca = ca_path};
}

static bool opens(struct tcp_target to) {
    a = (struct client){0};
    if (client_open(&a, to) < 0)
        return false;
    UNTIL(tcp_state(a.socket) != TCP_CONNECTING);
    if (!is_open(&a))
        printf("# %d: %s\n", tcp_status(a.socket), tcp_reason(a.socket));
    return is_open(&a);
}

static bool fails(struct tcp_target to, int status, const char *words) {
    a = (struct client){0};
    if (client_open(&a, to) < 0)
        return false;
    UNTIL(tcp_state(a.socket) != TCP_CONNECTING);
    bool ok = tcp_state(a.socket) == TCP_FAILED && tcp_status(a.socket) == status &&
              strstr(tcp_reason(a.socket), words) != NULL &&
              tcp_write(a.socket, "x", 1) == LN_ECLOSED && client_len(&a) == 0;
    if (!ok)
        printf("# state %d, %d: %s\n", (int)tcp_state(a.socket), tcp_status(a.socket),
               tcp_reason(a.socket));
    client_close(&a);
    return ok;
}

/* Runs with a server that talks so. */
#define WITH(talks, name)                                                                      \
    static void name##_with(void);                                                             \
    static void name(void) {                                                                   \
        server_start(talks);                                                                   \
        name##_with();                                                                         \
        client_close(&a);                                                                      \
        turn_on();                                                                             \
        server_stop();                                                                         \
        CHECK_SOFT(list_empty(&home.sockets));                                                 \
        CHECK_SOFT(held == 0);                                                                 \
    }                                                                                          \
    static void name##_with(void)

/* ---- what it is like ---- */

WITH(echo, brings_bytes_there_and_back) {
    static char much[300000];
    size_t sent = 0, got = 0;
    CHECK(opens(target()));
    CHECK(tcp_is_secure(a.socket));
    CHECK(held > 0);
    struct tcp_target same = target(), other = target();
    other.any_peer = true;
    CHECK(tcp_is_secure_as(a.socket, &same));
    CHECK(!tcp_is_secure_as(a.socket, &other));
    for (size_t i = 0; i < sizeof(much); i++)
        much[i] = (char)(i * 7);
    while (got < sizeof(much)) {
        ssize_t taken = tcp_write(a.socket, much + sent, sizeof(much) - sent);
        CHECK(taken >= 0);
        sent += (size_t)taken;
        size_t len;
        const char *bytes = tcp_bytes(a.socket, &len);
        CHECK(len <= sizeof(much) - got && memcmp(bytes, much + got, len) == 0);
        got += len;
        tcp_take(a.socket, len);
        uv_run(&tcp_loop, UV_RUN_ONCE);
    }
    UNTIL(tcp_at_rest(a.socket));
    CHECK(tcp_at_rest(a.socket));
}

WITH(echo, ends_in_order_on_both_sides) {
    CHECK(opens(target()));
    CHECK_INT(tcp_write(a.socket, "hello", 5), 5);
    tcp_shutdown(a.socket);
    CHECK_INT(tcp_write(a.socket, "x", 1), LN_ECLOSED);
    UNTIL(tcp_status(a.socket) != LN_OK);
    CHECK_INT(tcp_status(a.socket), UV_EOF);
    CHECK(client_has(&a, "hello"));
}

WITH(end_first, may_still_be_written_to_when_the_other_side_has_ended) {
    memset(heard_after_end, 0, sizeof(heard_after_end));
    CHECK(opens(target()));
    UNTIL(tcp_status(a.socket) != LN_OK);
    CHECK_INT(tcp_status(a.socket), UV_EOF);
    CHECK(client_has(&a, "last"));
    CHECK_INT(tcp_write(a.socket, "answer", 6), 6);
    tcp_close(a.socket, true);
    a.socket = NULL;
    UNTIL(list_empty(&home.sockets));
    server_stop(); /* it has heard all */
    CHECK_STR(heard_after_end, "answer");
    server_start(end_first);
}

/* ---- whom it believes ---- */

WITH(echo, refuses_who_cannot_prove_the_name) {
    struct tcp_target to = target();
    to.server_name = "example.org";
    CHECK(fails(to, LN_ETLS, "mismatch"));
    to.server_name = "127.0.0.2";
    CHECK(fails(to, LN_ETLS, "mismatch"));
    to.server_name = "127.0.0.1";
    CHECK(opens(to));
}

WITH(echo, refuses_who_was_signed_by_somebody_else) {
    struct tcp_target to = target();
    to.ca = cert_path("ca2.pem");
    CHECK(fails(to, LN_ETLS, "unable to get local issuer certificate"));
    to.any_peer = true;
    CHECK(opens(to));
}

WITH(echo, tells_of_files_that_it_cannot_use) {
    struct tcp_target to = target();
    to.ca = "/nowhere/ca.pem";
    CHECK(fails(to, LN_EINVAL, "/nowhere/ca.pem"));
    to = target();
    to.cert = cert_path("cert.pem");
    to.key = cert_path("ca.key"); /* of another certificate */
    CHECK(fails(to, LN_EINVAL, ""));
    CHECK(opens(target())); /* nothing of that is left */
}

/* ---- what breaks ---- */

WITH(hang_up, fails_when_the_other_side_breaks_off_the_handshake) {
    CHECK(fails(target(), LN_ETLS, "broke off during the TLS handshake"));
}

WITH(speak_plainly, fails_when_the_other_side_knows_no_tls) {
    CHECK(fails(target(), LN_ETLS, "wrong version number"));
}

WITH(hold, may_be_closed_during_the_handshake) {
    a = (struct client){0};
    CHECK_INT(client_open(&a, target()), LN_OK);
    UNTIL(a.socket->ssl != NULL);
    turn_on();
    CHECK_INT(tcp_state(a.socket), TCP_CONNECTING);
    tcp_close(a.socket, true);
    a.socket = NULL;
    CHECK(list_empty(&home.sockets));
    turn_on();
    for (int i = 0; i < 20; i++) { /* while files are read, and right after */
        a = (struct client){0};
        CHECK_INT(client_open(&a, target()), LN_OK);
        for (int turn = 0; turn < i; turn++)
            uv_run(&tcp_loop, UV_RUN_NOWAIT);
        client_close(&a);
    }
}

WITH(send_rubbish, tells_that_a_record_is_none) {
    CHECK(opens(target()));
    UNTIL(tcp_status(a.socket) != LN_OK);
    CHECK_INT(tcp_status(a.socket), LN_ETLS);
    CHECK(tcp_reason(a.socket)[0] != '\0');
    CHECK(client_has(&a, "good"));
    CHECK(!tcp_at_rest(a.socket));
}

WITH(break_off, tells_that_nobody_has_said_the_end) {
    CHECK(opens(target()));
    UNTIL(tcp_status(a.socket) != LN_OK);
    CHECK(client_has(&a, "half of i"));
    CHECK_INT(tcp_status(a.socket), UV_EOF);
    CHECK(strstr(tcp_reason(a.socket), "may be cut") != NULL);
}

/* ---- in the middle of a connection ---- */

static bool ask_for_tls(void) {
    a = (struct client){0};
    if (client_dial(&a, server.port) < 0)
        return false;
    UNTIL(is_open(&a));
    return tcp_write(a.socket, "start", 5) == 5;
}

WITH(turn_secure, may_begin_in_the_middle) {
    struct tcp_target to = target();
    CHECK(ask_for_tls());
    UNTIL(client_len(&a) == 3);
    tcp_take(a.socket, 3);
    CHECK(tcp_at_rest(a.socket));
    CHECK_INT(tcp_start_tls(a.socket, &to), LN_OK);
    CHECK_INT(tcp_state(a.socket), TCP_CONNECTING);
    CHECK_INT(tcp_write(a.socket, "x", 1), LN_ECLOSED); /* not in the clear */
    UNTIL(tcp_state(a.socket) != TCP_CONNECTING);
    CHECK(is_open(&a));
    CHECK(tcp_is_secure_as(a.socket, &to));
    CHECK_INT(tcp_write(a.socket, "hello", 5), 5);
    UNTIL(client_len(&a) == 5);
    CHECK(client_has(&a, "hello"));
}

WITH(turn_secure, does_not_take_what_came_in_the_clear) {
    struct tcp_target to = target();
    CHECK(ask_for_tls());
    UNTIL(client_len(&a) == 3); /* which nobody takes */
    CHECK_INT(tcp_start_tls(a.socket, &to), LN_OK);
    UNTIL(tcp_state(a.socket) != TCP_CONNECTING);
    CHECK_INT(tcp_state(a.socket), TCP_FAILED);
    CHECK_INT(tcp_status(a.socket), LN_ETLS);
    CHECK_STR(tcp_reason(a.socket), "the other side has sent something before TLS");
}

WITH(turn_secure, may_end_while_tls_begins) {
    struct tcp_target to = target();
    CHECK(ask_for_tls());
    UNTIL(client_len(&a) == 3);
    tcp_take(a.socket, 3);
    CHECK_INT(tcp_start_tls(a.socket, &to), LN_OK);
    client_close(&a);
    turn_on();
}

int main(int argc, char **argv) {
    tcp_begin(argc, argv);
    make_certificates();
    in_cert_dir("cp key.pem cert.key");
    make_second_authority();
    RUN(brings_bytes_there_and_back);
    RUN(ends_in_order_on_both_sides);
    RUN(may_still_be_written_to_when_the_other_side_has_ended);
    RUN(refuses_who_cannot_prove_the_name);
    RUN(refuses_who_was_signed_by_somebody_else);
    RUN(tells_of_files_that_it_cannot_use);
    RUN(fails_when_the_other_side_breaks_off_the_handshake);
    RUN(fails_when_the_other_side_knows_no_tls);
    RUN(may_be_closed_during_the_handshake);
    RUN(tells_that_a_record_is_none);
    RUN(tells_that_nobody_has_said_the_end);
    RUN(may_begin_in_the_middle);
    RUN(does_not_take_what_came_in_the_clear);
    RUN(may_end_while_tls_begins);
    remove_certificates();
    return tcp_end();
}
