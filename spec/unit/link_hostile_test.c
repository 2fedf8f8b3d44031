/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Servers that say what no real one says, and somebody on the way who changes what is in clear
 * text.
 */
#include <sys/resource.h>

#include "spec/unit/relay.h"
#include "spec/unit/tls.h"

/* Runs a test body with such a server, and ends both however it ends. */
#define WITH_FAKE(name, info, talk)                                                            \
    static void name##_body(void);                                                             \
    static void name(void) {                                                                   \
        memset(&a, 0, sizeof(a));                                                              \
        memset(&b, 0, sizeof(b));                                                              \
        fake_start_with(info, talk);                                                           \
        name##_body();                                                                         \
        CHECK_SOFT(peer_close(&b, 0));                                                         \
        CHECK_SOFT(peer_close(&a, 0));                                                         \
        fake_stop();                                                                           \
    }                                                                                          \
    static void name##_body(void)

static bool open_to_fake(struct peer *p, struct link_options o, const char *host) {
    char url[64];
    snprintf(url, sizeof(url), "%s://%s:%d", o.tls_ca != NULL ? "tls" : "nats", host,
             fake.port);
    return open_as_is(p, o, url);
}

/* ---- what such servers say ---- */

static void say(int fd, const char *text) {
    if (write(fd, text, strlen(text)) < 0)
        return; /* the client has gone, as the next read finds */
}

static bool hear(int fd, const char *word) {
    size_t len = strlen(word), at = 0;
    for (char c; at < len && read(fd, &c, 1) == 1;)
        at = c == word[at] ? at + 1 : c == word[0];
    return at == len;
}

/* Answers until the client goes. */
static void answer_pings(int fd) {
    while (hear(fd, "PING\r\n"))
        say(fd, "PONG\r\n");
}

/* As nats-server does when the subscriptions of the account are used up. */
static void refuse_the_first_subscription(int fd) {
    hear(fd, "PING\r\n");
    say(fd, "PONG\r\n");
    hear(fd, "PING\r\n");
    say(fd, "-ERR 'maximum subscriptions exceeded'\r\nPONG\r\n");
    answer_pings(fd);
}

/* Nothing but a message comes behind it. */
static void complain_twice(int fd) {
    hear(fd, "PING\r\n");
    say(fd, "PONG\r\n-ERR 'first thing'\r\n-ERR 'second thing'\r\nMSG nobody 99 1\r\nx\r\n");
    while (hear(fd, "PING\r\n"))
        ;
}

static atomic_bool flood_ends;

static void complain_for_ever(int fd) {
    hear(fd, "PING\r\n");
    say(fd, "PONG\r\n");
    for (; !flood_ends; sleep_ms(1))
        say(fd, "-ERR 'same thing'\r\n-ERR 'same thing'\r\n-ERR 'same thing'\r\n");
    answer_pings(fd);
}

/* ---- refusals ---- */

WITH_FAKE(an_inbox_that_is_refused_without_its_name_is_told, PLAIN_INFO,
          refuse_the_first_subscription) {
    static struct caller before, after;
    CHECK(open_to_fake(&a, (struct link_options){0}, "127.0.0.1"));
    while (!link_is_connected(a.link) && a.states == 0)
        uv_run(&loop, UV_RUN_ONCE);
    CHECK_INT(request(&before, a.link, "svc", "x", 60000), LN_OK);
    CHECK(run_count(&before.results, 1, 20000));
    CHECK_INT(before.status, LN_EINBOX);
    CHECK_INT(request(&after, a.link, "svc", "x", 60000), LN_EINBOX);
    CHECK_INT(a.errors, 1);
    CHECK_INT(a.error_status, LN_EINBOX);
    CHECK_INT(a.states, 1);
}

WITH_FAKE(two_complaints_are_both_told, PLAIN_INFO, complain_twice) {
    CHECK(open_to_fake(&a, (struct link_options){0}, "127.0.0.1"));
    CHECK(run_count(&a.errors, 2, 20000));
    CHECK(strstr(a.error_text, "second thing") != NULL);
    CHECK_INT(a.states, 1);
}

/* The same complaint is told once a second. */
WITH_FAKE(a_flood_of_complaints_is_not_passed_on, PLAIN_INFO, complain_for_ever) {
    flood_ends = false;
    uint64_t start = uv_hrtime();
    bool ok = open_to_fake(&a, (struct link_options){0}, "127.0.0.1") &&
              run_count(&a.errors, 2, 20000);
    run_until(NULL, 200);
    int seconds = (int)((uv_hrtime() - start) / 1000000000);
    int errors = a.errors;
    flood_ends = true;
    CHECK(ok);
    CHECK(seconds >= 1 && errors <= 1 + seconds);
    CHECK_INT(a.states, 1);
}

/* ---- records that are none ---- */

/* Keeps what it hears; true at a PING. */
static bool hear_ping(SSL *ssl) {
    size_t got = 0, len = fake.heard_len;
    while (len < sizeof(fake.heard) - 1 &&
           SSL_read_ex(ssl, fake.heard + len, sizeof(fake.heard) - 1 - len, &got) == 1) {
        fake.heard_len = len += got;
        if (memcmp(fake.heard + len - 6, "PING\r\n", 6) == 0)
            return true;
    }
    return false;
}

static void say_garbage(int fd) {
    char record[5 + 64] = "\x17\x03\x03\x00\x40", scrap[1024];
    memset(record + 5, 'x', 64);
    if (write(fd, record, sizeof(record)) < 0)
        return;
    while (read(fd, scrap, sizeof(scrap)) > 0)
        ; /* until the client goes */
}

static void say_garbage_in_the_handshake(int fd) {
    char hello[4096];
    if (read(fd, hello, sizeof(hello)) > 0)
        say_garbage(fd);
}

static void say_garbage_behind_the_handshake(int fd) {
    SSL *ssl = accept_tls(fd, "server");
    fake.heard_len = 0;
    if (ssl != NULL && hear_ping(ssl))
        say_garbage(fd);
    SSL_free(ssl);
}

static void say_garbage_once_connected(int fd) {
    SSL *ssl = accept_tls(fd, "server");
    fake.heard_len = 0;
    if (ssl != NULL && hear_ping(ssl) && SSL_write(ssl, "PONG\r\n", 6) == 6)
        say_garbage(fd);
    SSL_free(ssl);
}

static bool wait_for_connections(int want) {
    for (int i = 0; i < 3000 && fake.connections < want; i++)
        run_until(NULL, 10);
    return fake.connections >= want;
}

/* Milliseconds of all threads. */
static uint64_t cpu_time(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000 +
           (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000;
}

static void check_garbage(void) {
    struct link_options o = {.tls_ca = ca_path, .retry = true, .connect_timeout_ms = 2000};
    uint64_t start = uv_hrtime();
    CHECK(open_to_fake(&a, o, "127.0.0.1"));
    CHECK(wait_for_connections(6));
    CHECK(uv_hrtime() - start >= 775000000u); /* 25 + 50 + 100 + 200 + 400 ms */
    link_partition(a.link, 600000);           /* no further attempt */
    for (int i = 0; i < 1000 && dial_left_behind() > 0; i++)
        run_until(NULL, 5);
    CHECK_INT(dial_left_behind(), 0);
    uint64_t used = cpu_time();
    run_until(NULL, 300);
    CHECK(cpu_time() - used < 150); /* nothing spins */
    start = uv_hrtime();
    CHECK(peer_close(&a, 0));
    CHECK(uv_hrtime() - start < 1000000000u);
}

WITH_FAKE(garbage_in_the_handshake_ends_the_attempt, TLS_INFO, say_garbage_in_the_handshake) {
    check_garbage();
    CHECK_INT(a.states, 0);
    CHECK_INT(a.retry_status, LN_ENATS);
    CHECK(strstr(a.retry_text, "TLS failed") != NULL);
}

WITH_FAKE(garbage_behind_the_handshake_ends_the_attempt, TLS_INFO,
          say_garbage_behind_the_handshake) {
    check_garbage();
    CHECK_INT(a.states, 0);
    CHECK_INT(a.retry_status, LN_ENATS);
    CHECK(strstr(a.retry_text, "TLS failed") != NULL);
}

WITH_FAKE(garbage_ends_a_connection, TLS_INFO, say_garbage_once_connected) {
    check_garbage();
    CHECK_INT(a.retries, 0);
    CHECK(a.states >= 10); /* five times connected and lost */
}

/* ---- somebody on the way ---- */

/* With a certificate of a name of his own, which the same authority has signed. */
static void serve_as_localhost(int fd) {
    SSL *ssl = accept_tls(fd, "localhost");
    while (ssl != NULL && hear_ping(ssl) && SSL_write(ssl, "PONG\r\n", 6) == 6)
        ;
    SSL_free(ssl);
}

/* The client is told of him in clear text, and then its connection is cut. */
WITH_FAKE(who_is_announced_in_clear_text_gets_no_credentials, TLS_INFO, serve_as_localhost) {
    struct link_options o = {
        .tls_ca = ca_path, .user = "u", .password = "s3cret", .retry = true};
    char url[64], announce[64];
    issue("localhost", "ca", "DNS:localhost");
    CHECK(open_to_fake(&b, o, "localhost")); /* his certificate is in order */
    CHECK(peer_wait(&b, LINK_CONNECTED, 20000));
    CHECK(peer_close(&b, 0));
    CHECK(strstr(fake.heard, "s3cret") != NULL);
    for (int i = 0; i < 3000 && fake.ended < fake.connections; i++)
        run_until(NULL, 10);
    int connections = fake.connections;
    fake.heard_len = 0;
    server_start(&server, tls_config("server", ""));
    snprintf(announce, sizeof(announce), "\"connect_urls\":[\"localhost:%d\"],", fake.port);
    relay_start(&server, 0, announce, url);
    bool connected = connects_to(&a, o, url); /* by an address; an authority demands TLS */
    relay_stop();
    server_stop(&server);
    for (int i = 0; i < 3000 && fake.connections < connections + 2 && fake.heard_len == 0; i++)
        run_until(NULL, 10);
    CHECK(connected);
    CHECK_INT(fake.heard_len, 0);
    CHECK(fake.connections >= connections + 2); /* he was tried */
    CHECK_INT(a.state, LINK_DISCONNECTED);
}

static void run_all(void) {
    RUN(an_inbox_that_is_refused_without_its_name_is_told);
    RUN(two_complaints_are_both_told);
    RUN(a_flood_of_complaints_is_not_passed_on);
    RUN(garbage_in_the_handshake_ends_the_attempt);
    RUN(garbage_behind_the_handshake_ends_the_attempt);
    RUN(garbage_ends_a_connection);
    RUN(who_is_announced_in_clear_text_gets_no_credentials);
}

int main(int argc, char **argv) {
    return run_once(argc, argv, run_all);
}
