/* SPDX-License-Identifier: Apache-2.0 */
/* Outages, congestion and closing. */
#include "spec/unit/relay.h"

/* ---- outages ---- */

WITH_SERVER(loss_fails_calls_and_reconnects, NULL) {
    struct inbox in = {0};
    struct caller c[10];
    CHECK(peer_open(&a, server.url));
    CHECK_INT(subscribe(&in, a.link, "s", NULL), LN_OK);
    CHECK_INT(flush(a.link), LN_OK);
    for (int round = 0; round < 3; round++) {
        int before = in.count;
        for (int i = 0; i < 10; i++)
            CHECK_INT(request(&c[i], a.link, "s", "x", 60000), LN_OK);
        CHECK(run_count(&in.count, before + 10, 1000));
        server_kill(&server);
        CHECK(run_count(&c[9].results, 1, 2000));
        for (int i = 0; i < 10; i++)
            CHECK_INT(c[i].status, LN_EDISCONNECTED);
        CHECK(peer_wait(&a, LINK_DISCONNECTED, 1000));
        CHECK_INT(a.status, LN_EDISCONNECTED);
        CHECK_INT(request(&c[0], a.link, "s", "x", 1000), LN_EDISCONNECTED);
        for (int i = 0; i < 100; i++)
            CHECK_INT(publish_number(a.link, "s", i), LN_OK);
        in.count = 0;
        server_run(&server, NULL);
        CHECK(peer_wait(&a, LINK_CONNECTED, 9000));
        CHECK(run_count(&in.count, 100, 1000));
        CHECK(in.ordered);
        CHECK_INT(flush(a.link), LN_OK);
    }
    struct link_stats stats;
    link_get_stats(a.link, &stats);
    CHECK_INT(stats.reconnects, 3);
}

WITH_SERVER(paused_messages_survive_an_outage, NULL) {
    struct inbox in = {0};
    CHECK(peer_open(&a, server.url));
    CHECK_INT(subscribe(&in, a.link, "s", NULL), LN_OK);
    link_sub_pause(in.sub);
    for (int i = 0; i < 10; i++)
        publish_number(a.link, "s", i);
    CHECK_INT(flush(a.link), LN_OK);
    server_kill(&server);
    CHECK(peer_wait(&a, LINK_DISCONNECTED, 1000));
    CHECK_INT(link_sub_pending(in.sub), 10);
    link_sub_resume(in.sub);
    CHECK(run_count(&in.count, 10, 1000));
    CHECK(in.ordered);
}

WITH_SERVER(offline_buffer_is_bounded, NULL) {
    CHECK(peer_open(&a, server.url));
    server_kill(&server);
    CHECK(peer_wait(&a, LINK_DISCONNECTED, 1000));
    char *big = calloc(1, 1000000);
    struct link_header h[] = {{"A", "1"}, {"B", "2"}};
    struct link_out out = {
        .subject = "big", .data = big, .len = 1000000, .headers = h, .header_count = 2};
    int rc = LN_OK, n = 0;
    while ((rc = link_publish(a.link, &out)) == LN_OK && n < 100)
        n++;
    free(big);
    CHECK_INT(rc, LN_EFULL);
    CHECK_INT(n, 8);
    CHECK(link_memory(a.link) >= (size_t)8000000);
    CHECK(link_memory(a.link) < (size_t)8500000);
    server_run(&server, NULL);
    CHECK(peer_wait(&a, LINK_CONNECTED, 9000));
    CHECK_INT(flush(a.link), LN_OK);
    struct link_stats stats;
    link_get_stats(a.link, &stats);
    CHECK(stats.out_msgs >= 8);
}

WITH_SERVER(what_does_not_fit_any_more_is_told, NULL) {
    static char body[50000];
    CHECK(peer_open(&a, server.url));
    server_kill(&server);
    CHECK(peer_wait(&a, LINK_DISCONNECTED, 1000));
    struct link_out out = {.subject = "big", .data = body, .len = sizeof(body)};
    CHECK_INT(link_publish(a.link, &out), LN_OK);
    CHECK_INT(a.errors, 0);
    server_run(&server, "max_payload: 1000");
    CHECK(run_count(&a.errors, 1, 9000));
    CHECK_INT(a.error_status, LN_ETOOLARGE);
    CHECK(strstr(a.error_text, "does not take some of the messages") != NULL);
}

WITH_SERVER(half_open_connection_is_found, NULL) {
    struct link_options o = {.ping_interval_ms = 100};
    CHECK_INT(peer_open_with(&a, &o, server.url), LN_OK);
    CHECK(peer_wait(&a, LINK_CONNECTED, 2000));
    run_until(NULL, 500);
    CHECK_INT(a.states, 1);
    kill(server.pid, SIGSTOP);
    CHECK(peer_wait(&a, LINK_DISCONNECTED, 1000));
    uint64_t start = uv_hrtime();
    publish(a.link, "x", "y"); /* must not block, though a connect is under way */
    run_until(NULL, 200);
    publish(a.link, "x", "y");
    CHECK(uv_hrtime() - start < 400000000u);
    kill(server.pid, SIGCONT);
    CHECK(peer_wait(&a, LINK_CONNECTED, 9000));
}

/* The inbox is one of them. Whether the server says which or not, the right one is told. */
WITH_SERVER(one_subscription_too_many_is_refused, "max_subscriptions: 3") {
    struct inbox in[6] = {{0}};
    CHECK(peer_open(&a, server.url));
    for (int i = 0; i < 4; i++)
        CHECK_INT(subscribe(&in[i], a.link, i < 2 ? "m" : "late", NULL), LN_OK);
    CHECK_INT(flush(a.link), LN_OK);
    for (int i = 0; i < 4; i++)
        CHECK_INT(in[i].errors, i < 2 ? 0 : 1);
    CHECK_INT(in[2].error_status, LN_EPERMISSION);
    link_unsubscribe(in[3].sub);
    CHECK_INT(subscribe(&in[4], a.link, "later", NULL), LN_OK);
    CHECK_INT(flush(a.link), LN_OK);
    CHECK_INT(in[4].errors, 1);
    link_unsubscribe(in[0].sub);
    CHECK_INT(subscribe(&in[5], a.link, "fits", NULL), LN_OK);
    publish(a.link, "m", "1");
    publish(a.link, "fits", "1");
    CHECK_INT(flush(a.link), LN_OK);
    CHECK_INT(in[1].count, 1);
    CHECK_INT(in[5].count, 1);
    CHECK_INT(in[5].errors, 0);
    CHECK_INT(a.states, 1);
    CHECK_INT(a.errors, 0);
}

WITH_SERVER(lame_duck_is_told, NULL) {
    CHECK(peer_open(&a, server.url));
    kill(server.pid, SIGUSR2);
    CHECK(run_count(&a.lame_ducks, 1, 3000));
}

/* ---- slow lines ---- */

#define SLOW_PORTION 10000
#define SLOW_MESSAGES 30

/* The kernel's own choice may be megabytes: their third must leave before one can write on. */
static void shrink_send_buffer(int port) {
    int small = 32768;
    for (int fd = 3; fd < 1024; fd++) {
        struct sockaddr_in to = {0};
        socklen_t size = sizeof(to);
        if (getpeername(fd, (struct sockaddr *)&to, &size) == 0 && ntohs(to.sin_port) == port)
            setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    }
}

/* All that is published at once waits for its way; no PONG comes before it has gone. */
static void publish_slowly(struct inbox *in) {
    struct link_options o = {.ping_interval_ms = 200, .connect_timeout_ms = 10000};
    static char body[40001];
    char url[64];
    memset(body, ' ', sizeof(body) - 1);
    relay_start(&server, SLOW_PORTION, "", url);
    bool ok = peer_open_with(&a, &o, url) == LN_OK && peer_wait(&a, LINK_CONNECTED, 10000);
    shrink_send_buffer(relay.port);
    for (int i = 0; ok && i < SLOW_MESSAGES; i++) {
        body[sprintf(body, "%d", i)] = ' ';
        ok = publish(a.link, "s", body) == LN_OK;
    }
    for (int i = 0; ok && in->count < SLOW_MESSAGES && i < 2000; i++) {
        run_until(NULL, 10);
        ok = a.states == 1;
    }
    peer_close(&a, 0);
    relay_stop();
}

WITH_SERVER(a_line_that_takes_bytes_slowly_is_not_dead, NULL) {
    struct inbox in = {0};
    CHECK(peer_open(&b, server.url));
    CHECK_INT(subscribe(&in, b.link, "s", NULL), LN_OK);
    CHECK_INT(flush(b.link), LN_OK);
    publish_slowly(&in);
    CHECK_INT(in.count, SLOW_MESSAGES);
    CHECK(in.ordered);
    CHECK_INT(a.states, 1);
}

/* Also where nothing is read, because too much waits to be written. */
WITH_SERVER(a_line_that_takes_nothing_is_dead, NULL) {
    struct link_options o = {.ping_interval_ms = 200, .high_water = 1000000};
    static char body[1000000];
    struct link_out out = {.subject = "s", .data = body, .len = sizeof(body)};
    CHECK_INT(peer_open_with(&a, &o, server.url), LN_OK);
    CHECK(peer_wait(&a, LINK_CONNECTED, 3000));
    kill(server.pid, SIGSTOP);
    for (int i = 0; i < 20; i++)
        CHECK_INT(link_publish(a.link, &out), LN_OK);
    run_until(NULL, 50);
    CHECK(link_congested(a.link));
    CHECK(peer_wait(&a, LINK_DISCONNECTED, 5000));
    CHECK_INT(a.status, LN_EDISCONNECTED);
    CHECK(strstr(a.text, "no sign of life") != NULL);
}

/* ---- congestion ---- */

struct waiter {
    struct link_waiter waiter; /* first */
    int calls, status;
};
static void on_ready(struct link_waiter *waiter, int status) {
    struct waiter *w = (struct waiter *)waiter;
    w->calls++;
    w->status = status;
}

WITH_SERVER(congestion_ends, NULL) {
    struct link_options o = {.high_water = 1000000};
    struct waiter w = {.waiter.on_ready = on_ready}, cancelled = w, early = w;
    CHECK_INT(peer_open_with(&a, &o, server.url), LN_OK);
    CHECK(peer_wait(&a, LINK_CONNECTED, 2000));
    link_wait(a.link, &early.waiter);
    CHECK_INT(early.calls, 0);
    CHECK(run_count(&early.calls, 1, 1000));
    kill(server.pid, SIGSTOP);
    char *data = calloc(1, 100000);
    struct link_out out = {.subject = "x", .data = data, .len = 100000};
    for (int i = 0; i < 200; i++) {
        link_publish(a.link, &out);
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    free(data);
    CHECK(link_congested(a.link));
    link_wait(a.link, &w.waiter);
    link_wait(a.link, &cancelled.waiter);
    link_wait_cancel(&cancelled.waiter);
    run_until(NULL, 100);
    CHECK_INT(w.calls, 0);
    kill(server.pid, SIGCONT);
    CHECK(run_count(&w.calls, 1, 5000));
    CHECK_INT(w.status, LN_OK);
    CHECK_INT(cancelled.calls, 0);
    CHECK(!link_congested(a.link));
    CHECK_INT(flush(a.link), LN_OK);
}

/* ---- closing ---- */

WITH_SERVER(close_writes_what_was_published, NULL) {
    struct inbox in = {0};
    CHECK(peer_open(&a, server.url));
    CHECK(peer_open(&b, server.url));
    CHECK_INT(subscribe(&in, b.link, "c", NULL), LN_OK);
    CHECK_INT(flush(b.link), LN_OK);
    for (int i = 0; i < 50000; i++)
        publish_number(a.link, "c", i);
    struct caller c;
    struct waiter w = {.waiter.on_ready = on_ready};
    CHECK_INT(request(&c, a.link, "c", "50000", 60000), LN_OK);
    link_wait(a.link, &w.waiter);
    CHECK(peer_close(&a, 5000));
    CHECK_INT(c.status, LN_ECLOSED);
    CHECK_INT(c.results, 1);
    CHECK_INT(w.status, LN_ECLOSED);
    CHECK(run_count(&in.count, 50001, 30000));
    CHECK(in.ordered);
}

WITH_SERVER(close_gives_up_when_nobody_reads, NULL) {
    CHECK(peer_open(&a, server.url));
    kill(server.pid, SIGSTOP);
    char *data = calloc(1, 1000000);
    struct link_out out = {.subject = "x", .data = data, .len = 1000000};
    for (int i = 0; i < 20; i++)
        link_publish(a.link, &out);
    free(data);
    uint64_t start = uv_hrtime();
    CHECK(peer_close(&a, 200));
    CHECK(uv_hrtime() - start < 10000000000u); /* a deadline for busy machines */
    CHECK(a.unsent > 1000000 && a.unsent <= 20001000);
}

static void closes_while_connecting(void) {
    struct sockaddr_in addr = {.sin_family = AF_INET};
    socklen_t len = sizeof(addr);
    char url[64];
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK_INT(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    CHECK_INT(listen(fd, 5), 0);
    getsockname(fd, (struct sockaddr *)&addr, &len);
    snprintf(url, sizeof(url), "nats://127.0.0.1:%d", ntohs(addr.sin_port));
    struct link_options o = {.connect_timeout_ms = 300, .retry = true};
    for (int i = 0; i < 2; i++) {
        CHECK_INT(peer_open_with(&a, &o, url), LN_OK);
        if (i == 1)
            run_until(NULL, 50);
        CHECK(peer_close(&a, 100));
        CHECK_INT(a.states, 0);
    }
    /* Between two attempts, with something published. */
    CHECK_INT(peer_open_with(&a, &o, "nats://127.0.0.1:1"), LN_OK);
    publish(a.link, "x", "y");
    run_until(NULL, 60);
    CHECK(peer_close(&a, 100));
    close(fd);
}

WITH_SERVER(closes_while_disconnected, NULL) {
    struct inbox in = {0};
    CHECK(peer_open(&a, server.url));
    CHECK(peer_open(&b, server.url));
    CHECK_INT(subscribe(&in, a.link, "x", NULL), LN_OK);
    server_kill(&server);
    CHECK(peer_wait(&a, LINK_DISCONNECTED, 1000));
    CHECK(peer_close(&a, 500));
    CHECK(peer_wait(&b, LINK_DISCONNECTED, 1000));
    publish(b.link, "late", "word");
    link_close(b.link, 8000, on_closed, &b);
    b.link = NULL;
    server_run(&server, NULL);
    CHECK(peer_open(&a, server.url));
    CHECK_INT(subscribe(&in, a.link, "late", NULL), LN_OK);
    CHECK_INT(flush(a.link), LN_OK);
    CHECK(run_until(&b.closed, 9000));
}

WITH_SERVER(opens_and_closes_often, NULL) {
    for (int i = 0; i < 50; i++) {
        struct link_options o = {0};
        CHECK_INT(peer_open_with(&a, &o, server.url), LN_OK);
        for (int j = 0; j < i % 5; j++)
            uv_run(&loop, UV_RUN_NOWAIT);
        CHECK(peer_close(&a, i % 2 == 0 ? 0 : 100));
    }
}

static void run_all(void) {
    RUN(loss_fails_calls_and_reconnects);
    RUN(paused_messages_survive_an_outage);
    RUN(offline_buffer_is_bounded);
    RUN(what_does_not_fit_any_more_is_told);
    RUN(half_open_connection_is_found);
    RUN(one_subscription_too_many_is_refused);
    RUN(lame_duck_is_told);
    RUN(a_line_that_takes_bytes_slowly_is_not_dead);
    RUN(a_line_that_takes_nothing_is_dead);
    RUN(congestion_ends);
    RUN(close_writes_what_was_published);
    RUN(close_gives_up_when_nobody_reads);
    RUN(closes_while_connecting);
    RUN(closes_while_disconnected);
    RUN(opens_and_closes_often);
}

int main(int argc, char **argv) {
    return run_variants(argc, argv, run_all);
}
