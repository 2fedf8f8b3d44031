/* SPDX-License-Identifier: Apache-2.0 */
/* Connecting to a server, and who may. */
#include "spec/unit/link.h"

#include <poll.h>

#include "spec/unit/skip.h"

/* ---- connecting ---- */

WITH_SERVER(connects, NULL) {
    CHECK(peer_open(&a, server.url));
    struct link_info info;
    struct link_stats stats;
    link_get_info(a.link, &info);
    CHECK_INT(info.max_payload, 1048576);
    CHECK_STR(info.url, server.url);
    CHECK(info.server_id[0] == 'N');
    CHECK(info.client_id > 0);
    link_get_stats(a.link, &stats);
    CHECK_INT(stats.subscriptions, 0);
    CHECK_INT(stats.calls, 0);
    CHECK(link_is_connected(a.link));
}

static void refused_without_retry_is_closed(void) {
    memset(&a, 0, sizeof(a));
    struct link_options o = {0};
    CHECK_INT(peer_open_with(&a, &o, "nats://127.0.0.1:1"), LN_OK);
    CHECK(peer_wait(&a, LINK_CLOSED, 2000));
    CHECK_INT(a.status, LN_ENOSERVER);
    CHECK_INT(link_state(a.link), LINK_CLOSED);
    CHECK_INT(publish(a.link, "x", "y"), LN_ECLOSED);
    CHECK(peer_close(&a, 1000));
}

WITH_SERVER(refused_with_retry_connects_later, NULL) {
    server_kill(&server);
    struct link_options o = {.retry = true};
    struct inbox in = {0};
    CHECK_INT(peer_open_with(&a, &o, server.url), LN_OK);
    CHECK_INT(subscribe(&in, a.link, "early", NULL), LN_OK);
    CHECK_INT(publish(a.link, "early", "bird"), LN_OK);
    run_until(NULL, 300);
    CHECK_INT(a.states, 0);
    server_run(&server, NULL);
    CHECK(peer_wait(&a, LINK_CONNECTED, 6000));
    CHECK(run_count(&in.count, 1, 1000));
    CHECK_STR(in.data, "bird");
}

WITH_SERVER(wrong_password_is_auth, "authorization { user: u, password: p }") {
    struct link_options o = {.user = "u", .password = "wrong"};
    CHECK_INT(peer_open_with(&a, &o, server.url), LN_OK);
    CHECK(peer_wait(&a, LINK_CLOSED, 2000));
    CHECK_INT(a.status, LN_EAUTH);
    struct link_options right = {.user = "u", .password = "p"};
    CHECK_INT(peer_open_with(&b, &right, server.url), LN_OK);
    CHECK(peer_wait(&b, LINK_CONNECTED, 2000));
}

/* nats.c gives up a part of a millisecond too early now and then, which is no end of the
 * server's.
 */
static void a_mute_server_is_no_server_that_closes(void) {
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t size = sizeof(at);
    char url[64];
    int fd = socket(AF_INET, SOCK_STREAM, 0), told = 0;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK(bind(fd, (struct sockaddr *)&at, size) == 0 && listen(fd, 64) == 0 &&
          getsockname(fd, (struct sockaddr *)&at, &size) == 0);
    snprintf(url, sizeof(url), "nats://127.0.0.1:%d", ntohs(at.sin_port));
    for (int i = 0; i < 30; i++) {
        struct link_options o = {.connect_timeout_ms = 20};
        CHECK_INT(peer_open_with(&a, &o, url), LN_OK);
        CHECK(peer_wait(&a, LINK_CLOSED, 5000));
        told += strstr(a.text, "does not answer within 0.02 s") != NULL;
        CHECK(peer_close(&a, 0));
    }
    close(fd);
    CHECK_INT(told, 30);
}

/* ---- a loop that is busy ---- */

/* The connection is made in the meantime, and the time for making it is over. */
WITH_SERVER(a_busy_loop_keeps_the_connection, NULL) {
    struct link_options o = {.connect_timeout_ms = 5000, .retry = true};
    CHECK_INT(peer_open_with(&a, &o, server.url), LN_OK);
    uv_run(&loop, UV_RUN_NOWAIT); /* the thread that connects begins */
    CHECK(!link_is_connected(a.link));
    struct pollfd done = {.fd = uv_backend_fd(&loop), .events = POLLIN};
    CHECK_INT(poll(&done, 1, 10000), 1); /* it has told the loop that it has connected */
    skip_ms(6000);
    CHECK(peer_wait(&a, LINK_CONNECTED, 10000));
    CHECK_INT(flush(a.link), LN_OK);
    CHECK_INT(a.retries, 0);
    CHECK_INT(a.states, 1);
}

/* ---- a cut while connecting ---- */

WITH_SERVER(a_cut_ends_what_connects, NULL) {
    struct link_options o = {.retry = true};
    uint64_t start = uv_hrtime();
    CHECK_INT(peer_open_with(&a, &o, server.url), LN_OK);
    uv_run(&loop, UV_RUN_NOWAIT); /* the thread that connects begins */
    link_partition(a.link, 300);
    CHECK(peer_wait(&a, LINK_CONNECTED, 10000));
    CHECK(uv_hrtime() - start >= 300000000u);
    CHECK_INT(flush(a.link), LN_OK);
    CHECK_INT(a.states, 1);
}

static void cut_at_once(void *owner, const char *url, int status, const char *text) {
    struct peer *p = owner;
    on_retry(owner, url, status, text);
    link_partition(p->link, 0);
}

WITH_SERVER(a_cut_may_come_from_inside_of_on_retry, NULL) {
    const char *servers[] = {"nats://127.0.0.1:1", "nats://127.0.0.1:2", server.url};
    struct link_options o = {.servers = servers,
                             .server_count = 3,
                             .retry = true,
                             .tls_ca = with_tls ? ca_path : NULL};
    struct link_events cutting = events;
    cutting.on_retry = cut_at_once;
    for (int retried = 0, i = 0; retried < 3 && i < 50; i++) {
        memset(&a, 0, sizeof(a));
        CHECK_INT(link_open(&a.link, &loop, real_clock, &o, &cutting, &a), LN_OK);
        CHECK(peer_wait(&a, LINK_CONNECTED, 10000));
        CHECK_INT(flush(a.link), LN_OK);
        CHECK_INT(a.states, 1);
        CHECK(peer_close(&a, 0));
        retried += a.retries > 0;
    }
}

/* ---- permissions ---- */

#define USERS                                                                                  \
    "authorization { users = ["                                                                \
    "{ user: u, password: p, permissions: { publish: { deny: [\"no.>\"] },"                    \
    "  subscribe: { deny: [\"no.>\"] } } },"                                                   \
    "{ user: w, password: p, permissions: { publish: { deny: [\"_INBOX.>\"] } } },"            \
    "{ user: x, password: p, permissions: { subscribe: { deny: [\"_INBOX.>\"] } } } ] }"

WITH_SERVER(permission_violations, USERS) {
    struct link_options o = {.user = "u", .password = "p"};
    struct inbox in = {0}, queued = {0}, fine = {0};
    struct caller c, other;
    struct link_sub_options q = {.queue = "qq"};
    CHECK_INT(peer_open_with(&a, &o, server.url), LN_OK);
    CHECK(peer_wait(&a, LINK_CONNECTED, 2000));
    CHECK_INT(subscribe(&in, a.link, "no.sub", NULL), LN_OK);
    CHECK_INT(subscribe(&queued, a.link, "no.queue", &q), LN_OK);
    CHECK_INT(subscribe(&fine, a.link, "yes", NULL), LN_OK);
    CHECK(run_count(&in.errors, 1, 1000));
    CHECK(run_count(&queued.errors, 1, 1000));
    CHECK_INT(in.error_status, LN_EPERMISSION);
    CHECK_INT(fine.errors, 0);
    CHECK_INT(a.errors, 0);
    CHECK_INT(publish(a.link, "no.pub", "x"), LN_OK);
    CHECK(run_count(&a.errors, 1, 1000));
    CHECK_INT(a.error_status, LN_EPERMISSION);
    CHECK_INT(request(&other, a.link, "yes", "x", 300), LN_OK);
    CHECK_INT(request(&c, a.link, "no.req", "x", 5000), LN_OK);
    CHECK(run_count(&c.results, 1, 1000));
    CHECK_INT(c.status, LN_EPERMISSION);
    CHECK_INT(other.results, 0);
    link_call_cancel(&other.call);
    CHECK(link_is_connected(a.link));
}

WITH_SERVER(flush_works_without_permission, USERS) {
    struct link_options o = {.user = "w", .password = "p"};
    struct link_options p = {.user = "x", .password = "p", .ping_interval_ms = 100};
    CHECK_INT(peer_open_with(&a, &o, server.url), LN_OK);
    CHECK_INT(peer_open_with(&b, &p, server.url), LN_OK);
    CHECK(peer_wait(&a, LINK_CONNECTED, 2000));
    CHECK(peer_wait(&b, LINK_CONNECTED, 2000));
    CHECK_INT(flush(a.link), LN_OK);
    CHECK_INT(flush(b.link), LN_OK);
    CHECK_INT(flush(b.link), LN_OK);
    struct caller c;
    CHECK_INT(request(&c, b.link, "x", "y", 100), LN_EINBOX);
    run_until(NULL, 600); /* probing goes on without the inbox */
    CHECK_INT(b.states, 1);
    CHECK(link_is_connected(b.link));
}

#define NKEY_SEED "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY"
#define NKEY_USER                                                                              \
    "authorization { users = [ "                                                               \
    "{ nkey: UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4 } ] }"

WITH_SERVER(nkeys_are_accepted, NKEY_USER) {
    char path[] = "/tmp/lunats-nkey.XXXXXX";
    int fd = mkstemp(path);
    CHECK(fd >= 0 && write(fd, NKEY_SEED "\n", strlen(NKEY_SEED) + 1) > 0);
    close(fd);
    struct link_options with = {.nkey = path}, without = {0};
    CHECK_INT(peer_open_with(&a, &with, server.url), LN_OK);
    CHECK(peer_wait(&a, LINK_CONNECTED, 2000));
    CHECK_INT(flush(a.link), LN_OK);
    CHECK_INT(peer_open_with(&b, &without, server.url), LN_OK);
    CHECK(peer_wait(&b, LINK_CLOSED, 2000));
    unlink(path);
}

static void run_all(void) {
    RUN(connects);
    RUN(refused_without_retry_is_closed);
    RUN(refused_with_retry_connects_later);
    RUN(wrong_password_is_auth);
    RUN(a_mute_server_is_no_server_that_closes);
    RUN(a_busy_loop_keeps_the_connection);
    RUN(a_cut_ends_what_connects);
    RUN(a_cut_may_come_from_inside_of_on_retry);
    RUN(permission_violations);
    RUN(flush_works_without_permission);
    RUN(nkeys_are_accepted);
}

int main(int argc, char **argv) {
    return run_variants(argc, argv, run_all);
}
