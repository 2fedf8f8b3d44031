/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connecting to a server that does what real ones do rarely: that chooses its nonces, falls
 * silent in the middle of the handshake, or resets a connection with data on its way.
 */
#include "host/dial/dial.h"
#include "host/link/link.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <nats/nats.h>

#include "spec/unit/test.h"

#define SEED "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY"

/* ---- the server ---- */

enum behaviour {
    ACCEPTS_SIGNATURES,
    REFUSES,
    SAYS_NOTHING,
    SAYS_INFO_ONLY,
    RESETS, /* with data on its way */
    FLOODS, /* with more PINGs in one read than a socket pair holds PONGs */
    READS_NO_REPLIES,
};

#define PINGS 300000
#define REQUEST_SIZE 1000

static struct {
    int fd, port;
    enum behaviour behaviour;
    char nonces[4][32]; /* one for each connection */
    int connections;
    atomic_int pongs;
    atomic_bool asked; /* the client has said who it is */
    atomic_bool ends;
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

static bool say_bytes(int fd, const char *bytes, size_t len) {
    while (len > 0) {
        ssize_t said = write(fd, bytes, len);
        if (said <= 0)
            return false;
        bytes += said;
        len -= (size_t)said;
    }
    return true;
}

static bool say(int fd, const char *text) {
    return say_bytes(fd, text, strlen(text));
}

static void wait_for_end(int fd) {
    char scrap[256];
    while (read(fd, scrap, sizeof(scrap)) > 0)
        ;
}

/* Reads until the client has said `word`; false if it never does. */
static bool hear(int fd, const char *word, char *heard, size_t size) {
    size_t len = 0;
    heard[0] = '\0';
    while (strstr(heard, word) == NULL && len < size - 1) {
        ssize_t got = read(fd, heard + len, size - 1 - len);
        if (got <= 0)
            return false;
        len += (size_t)got;
        heard[len] = '\0';
    }
    return true;
}

/* A message for nobody makes the buffer large that the client reads into. */
static void flood(int fd) {
    size_t size = (8u << 20) + 1, head, len = 0;
    char *bytes = calloc(1, size + PINGS * 6 + 64), scrap[65536];
    if (bytes == NULL)
        abort();
    head = (size_t)sprintf(bytes, "MSG x 999 %zu\r\n", size);
    memcpy(bytes + head + size, "\r\n", 2);
    len = head + size + 2;
    for (int i = 0; i < PINGS; i++, len += 6)
        memcpy(bytes + len, "PING\r\n", 6);
    say_bytes(fd, bytes, len);
    free(bytes);
    const char pong[] = "PONG\r\n";
    size_t at = 0;
    for (ssize_t got; (got = read(fd, scrap, sizeof(scrap))) > 0;)
        for (ssize_t i = 0; i < got; i++) {
            at = scrap[i] == pong[at] ? at + 1 : scrap[i] == 'P';
            if (at == sizeof(pong) - 1)
                atomic_fetch_add(&server.pongs, 1), at = 0;
        }
}

/* Requests for the subscription to "echo", as many as the client takes. */
static void ask_on(int fd, const char *heard) {
    static char request[REQUEST_SIZE + 64];
    unsigned long long sid;
    const char *sub = strstr(heard, "SUB echo ");
    if (sub == NULL || sscanf(sub, "SUB echo %llu", &sid) != 1)
        return;
    size_t len = (size_t)sprintf(request, "MSG echo %llu reply %d\r\n", sid, REQUEST_SIZE);
    memset(request + len, 'x', REQUEST_SIZE);
    memcpy(request + len + REQUEST_SIZE, "\r\n", 2);
    while (!server.ends && say_bytes(fd, request, len + REQUEST_SIZE + 2))
        ;
}

static void reset(int fd) {
    struct linger linger = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    usleep(20000); /* in which the client has begun to look elsewhere */
    say(fd, "+OK\r\n");
}

static void serve_one(int fd, const char *nonce) {
    char info[512], heard[4096];
    snprintf(info, sizeof(info),
             "INFO {\"server_id\":\"N\",\"version\":\"2.9.10\",\"proto\":1,\"headers\":true,"
             "\"max_payload\":1048576,\"auth_required\":true,\"nonce\":\"%s\"}\r\n",
             nonce);
    if (server.behaviour == SAYS_NOTHING) {
        wait_for_end(fd);
        return;
    }
    say(fd, info);
    if (!hear(fd, "PING\r\n", heard, sizeof(heard)))
        return;
    server.asked = true;
    if (server.behaviour == SAYS_INFO_ONLY) {
        wait_for_end(fd);
    } else if (server.behaviour == REFUSES || (server.behaviour == ACCEPTS_SIGNATURES &&
                                               strstr(heard, "\"sig\":\"") == NULL)) {
        say(fd, "-ERR 'Authorization Violation'\r\n");
    } else {
        say(fd, "PONG\r\n");
        if (server.behaviour == RESETS)
            reset(fd);
        else if (server.behaviour == FLOODS)
            flood(fd);
        else if (server.behaviour == READS_NO_REPLIES && hear(fd, "SUB echo ", heard, 4096))
            ask_on(fd, heard);
        else
            wait_for_end(fd);
    }
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
    struct link *link;
    int states, status;
    enum link_state state;
    bool closed;
    int messages;
};

static uv_loop_t loop;
static struct clock *real_clock;
static uv_thread_t server_thread;
static char seed_path[32];

static void on_state(void *owner, enum link_state state, int status, const char *text) {
    struct peer *p = owner;
    (void)text;
    p->state = state;
    p->status = status;
    p->states++;
    if (server.behaviour == RESETS && state == LINK_CONNECTED)
        usleep(100000); /* busy: data and reset are found together */
}

static void on_closed(void *owner, size_t unsent) {
    (void)unsent;
    struct peer *p = owner;
    p->closed = true;
}

static void on_request(void *owner, struct message *msg) {
    struct peer *p = owner;
    struct link_out out = {.subject = msg->reply, .data = msg->data, .len = msg->len};
    p->messages++;
    link_publish(p->link, &out);
    message_free(msg);
}

static void on_tick(uv_timer_t *timer) {
    (void)timer;
}

/* Starts server and link. */
static void begin(struct peer *peer, enum behaviour behaviour, struct link_options options) {
    static const struct link_events events = {.on_state = on_state};
    char url[64];
    const char *servers[] = {url};
    strcpy(seed_path, "/tmp/lunats-nkey.XXXXXX");
    int fd = mkstemp(seed_path);
    if (fd < 0 || !say(fd, SEED "\n"))
        abort();
    close(fd);
    server.behaviour = behaviour;
    server.pongs = 0;
    server.asked = server.ends = false;
    server_listen();
    snprintf(url, sizeof(url), "nats://127.0.0.1:%d", server.port);
    uv_loop_init(&loop);
    clock_open(&real_clock, &loop, false);
    uv_thread_create(&server_thread, serve, NULL);
    options.servers = servers;
    options.server_count = 1;
    options.nkey = seed_path;
    memset(peer, 0, sizeof(*peer));
    if (link_open(&peer->link, &loop, real_clock, &options, &events, peer) != LN_OK)
        abort();
}

/* Runs the loop until this holds; false if it does not within 30 s. */
static bool run_until(bool (*holds)(const struct peer *peer), const struct peer *peer) {
    uv_timer_t tick;
    uint64_t end = uv_hrtime() + (uint64_t)30 * 1000000000;
    uv_timer_init(&loop, &tick);
    uv_timer_start(&tick, on_tick, 5, 5);
    while (!holds(peer) && uv_hrtime() < end)
        uv_run(&loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&tick, NULL);
    uv_run(&loop, UV_RUN_NOWAIT);
    return holds(peer);
}

static bool has_told(const struct peer *peer) {
    return peer->states >= 1;
}

static bool is_lost(const struct peer *peer) {
    return peer->state == LINK_DISCONNECTED;
}

static void end(struct peer *peer) {
    server.ends = true;
    link_close(peer->link, 0, on_closed, peer);
    while (!peer->closed)
        uv_run(&loop, UV_RUN_ONCE);
    clock_close(real_clock);
    uv_run(&loop, UV_RUN_DEFAULT);
    shutdown(server.fd, SHUT_RDWR); /* ends accept() */
    uv_thread_join(&server_thread);
    close(server.fd);
    uv_loop_close(&loop);
    unlink(seed_path);
}

/* ---- signatures ---- */

static struct peer sign_in(enum behaviour behaviour) {
    struct peer peer;
    begin(&peer, behaviour, (struct link_options){0});
    run_until(has_told, &peer);
    end(&peer);
    return peer;
}

static void a_signature_is_accepted(void) {
    make_nonce(server.nonces[0], false);
    struct peer peer = sign_in(ACCEPTS_SIGNATURES);
    CHECK_INT(peer.state, LINK_CONNECTED);
    CHECK_INT(server.connections, 1);
}

static void a_signature_that_begins_with_zero_is_asked_for_again(void) {
    make_nonce(server.nonces[0], true);
    make_nonce(server.nonces[1], true);
    make_nonce(server.nonces[2], false);
    struct peer peer = sign_in(ACCEPTS_SIGNATURES);
    CHECK_INT(peer.state, LINK_CONNECTED);
    CHECK_INT(peer.states, 1);
}

static void a_refusal_is_final_all_the_same(void) {
    for (int i = 0; i < 4; i++)
        make_nonce(server.nonces[i], false);
    struct peer peer = sign_in(REFUSES);
    CHECK_INT(peer.state, LINK_CLOSED);
    CHECK_INT(peer.status, LN_EAUTH);
}

/* ---- silence ---- */

static void check_silent(enum behaviour behaviour) {
    struct peer peer;
    begin(&peer, behaviour, (struct link_options){.connect_timeout_ms = 200});
    run_until(has_told, &peer);
    end(&peer);
    CHECK_INT(peer.state, LINK_CLOSED);
    CHECK_INT(peer.status, LN_ENOSERVER);
}

static void a_server_that_says_nothing_is_given_up(void) {
    check_silent(SAYS_NOTHING);
}

static void a_server_that_falls_silent_is_given_up(void) {
    check_silent(SAYS_INFO_ONLY);
}

static bool has_been_asked(const struct peer *peer) {
    return server.asked || peer->states > 0;
}

/* The timeout of connecting is much longer than the test waits. */
static void closing_does_not_wait_for_a_silent_server(void) {
    struct peer peer;
    begin(&peer, SAYS_INFO_ONLY, (struct link_options){.connect_timeout_ms = 60000});
    CHECK_SOFT(run_until(has_been_asked, &peer));
    CHECK_SOFT(peer.states == 0);
    uint64_t start = uv_hrtime();
    end(&peer);
    CHECK((uv_hrtime() - start) / 1000000u < 10000);
    CHECK(peer.closed);
}

/* ---- resets ---- */

/* By itself: no probe is sent so soon. */
static void a_reset_behind_data_is_noticed(void) {
    struct peer peer;
    begin(&peer, RESETS, (struct link_options){.ping_interval_ms = 600000});
    bool lost = run_until(is_lost, &peer);
    end(&peer);
    CHECK(lost);
}

/* ---- floods ---- */

static bool are_all_answered(const struct peer *peer) {
    return server.pongs >= PINGS || is_lost(peer);
}

static void every_ping_is_answered(void) {
    struct peer peer;
    begin(&peer, FLOODS, (struct link_options){0});
    run_until(are_all_answered, &peer);
    end(&peer);
    CHECK_INT(peer.states, 1);
    CHECK_INT(server.pongs, PINGS);
}

/* Nothing is read any more, as nothing can be written. */
static bool is_stuck(const struct peer *peer) {
    static int messages;
    static uint64_t since;
    uint64_t now = uv_hrtime();
    if (peer->messages != messages || !link_congested(peer->link))
        since = now;
    messages = peer->messages;
    return messages > 0 && now - since > 500000000;
}

/* Replies wait in memory for a server that reads none, but not without bound. */
static void replies_that_nobody_reads_are_bounded(void) {
    struct peer peer;
    struct link_sub *sub;
    struct link_stats stats = {0};
    begin(&peer, READS_NO_REPLIES, (struct link_options){.high_water = 1000000});
    run_until(has_told, &peer);
    int rc = link_subscribe(peer.link, "echo", NULL, on_request, NULL, &peer, &sub);
    bool stuck = run_until(is_stuck, &peer);
    link_get_stats(peer.link, &stats);
    end(&peer);
    CHECK_INT(rc, LN_OK);
    CHECK(stuck);
    CHECK(peer.messages > 1000);
    CHECK(stats.buffered > 500000 && stats.buffered < 2000000);
}

/* Each request brings a hundred times as much. */
static void on_large_request(void *owner, struct message *msg) {
    static char body[100 * REQUEST_SIZE];
    struct peer *p = owner;
    struct link_out out = {.subject = msg->reply, .data = body, .len = sizeof(body)};
    p->messages++;
    link_publish(p->link, &out);
    message_free(msg);
}

static struct link_sub *paused_sub;

static bool have_many_waiting(const struct peer *peer) {
    (void)peer;
    return link_sub_pending(paused_sub) >= 2000;
}

static void check_large_replies(bool wait_first) {
    struct peer peer;
    struct link_stats stats = {0};
    begin(&peer, READS_NO_REPLIES, (struct link_options){.high_water = 1000000});
    run_until(has_told, &peer);
    int rc =
        link_subscribe(peer.link, "echo", NULL, on_large_request, NULL, &peer, &paused_sub);
    if (wait_first) {
        link_sub_pause(paused_sub);
        CHECK(run_until(have_many_waiting, &peer));
        link_sub_resume(paused_sub);
    }
    bool stuck = run_until(is_stuck, &peer);
    link_get_stats(peer.link, &stats);
    end(&peer);
    CHECK_INT(rc, LN_OK);
    CHECK(stuck);
    CHECK(stats.buffered > 500000 && stats.buffered < 1300000);
}

static void large_replies_that_nobody_reads_are_bounded(void) {
    check_large_replies(false);
}

/* They have come before, and waited in the queue of a subscription. */
static void replies_to_messages_that_waited_are_bounded(void) {
    check_large_replies(true);
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    test_begin(argc, argv);
    nats_Open(-1);
    RUN(a_signature_is_accepted);
    RUN(a_signature_that_begins_with_zero_is_asked_for_again);
    RUN(a_refusal_is_final_all_the_same);
    RUN(a_server_that_says_nothing_is_given_up);
    RUN(a_server_that_falls_silent_is_given_up);
    RUN(closing_does_not_wait_for_a_silent_server);
    RUN(a_reset_behind_data_is_noticed);
    RUN(every_ping_is_answered);
    RUN(replies_that_nobody_reads_are_bounded);
    RUN(large_replies_that_nobody_reads_are_bounded);
    RUN(replies_to_messages_that_waited_are_bounded);
    dial_close_library();
    return test_end();
}
