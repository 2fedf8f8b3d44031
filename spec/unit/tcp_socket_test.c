/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets of scripts: what comes and goes, how a connection ends, what is told of it. */
#include "spec/unit/tcp.h"

#include "host/tcp/internal.h"

/* What each test has. */
static struct client a;
static int server, port, peer;

/* A connection between `a` and `peer`. */
static bool meet(void) {
    a = (struct client){0};
    server = listen_at(&port, 8);
    if (client_dial(&a, port) < 0)
        return false;
    UNTIL(is_open(&a));
    peer = accept(server, NULL, NULL);
    return is_open(&a) && peer >= 0;
}

static void part(void) {
    client_close(&a);
    if (peer >= 0)
        close(peer);
    if (server >= 0)
        close(server);
    peer = server = -1;
    turn_on();
    CHECK_SOFT(list_empty(&home.sockets));
    CHECK_SOFT(held == 0);
}

/* Runs with a connection. */
#define MET(name)                                                                              \
    static void name##_met(void);                                                              \
    static void name(void) {                                                                   \
        if (meet())                                                                            \
            name##_met();                                                                      \
        else                                                                                   \
            test_fail(__FILE__, __LINE__, "no connection");                                    \
        part();                                                                                \
    }                                                                                          \
    static void name##_met(void)

/* Writes until nothing is taken any more; returns how much was. */
static size_t fill(struct client *client) {
    static char bytes[100000];
    size_t sum = 0;
    for (int idle = 0; idle < 20;) {
        ssize_t taken = tcp_write(client->socket, bytes, sizeof(bytes));
        idle = taken > 0 ? 0 : idle + 1;
        sum += taken > 0 ? (size_t)taken : 0;
        uv_run(&tcp_loop, UV_RUN_NOWAIT);
    }
    return sum;
}

/* ---- what comes ---- */

MET(tells_when_it_is_connected) {
    CHECK_INT(a.events, 1);
    CHECK_INT(tcp_status(a.socket), LN_OK);
    CHECK(tcp_at_rest(a.socket));
    CHECK(!tcp_is_secure(a.socket));
    CHECK(!tcp_is_secure_as(a.socket, &(struct tcp_target){0}));
}

MET(keeps_what_comes_until_it_is_taken) {
    say(peer, "hello");
    UNTIL(client_len(&a) == 5);
    CHECK(client_has(&a, "hello"));
    CHECK(!tcp_at_rest(a.socket));
    tcp_take(a.socket, 3);
    CHECK(client_has(&a, "lo"));
    say(peer, " there");
    UNTIL(client_len(&a) == 8);
    CHECK(client_has(&a, "lo there"));
    tcp_take(a.socket, 8);
    CHECK(tcp_at_rest(a.socket));
}

MET(reads_no_more_than_somebody_wants) {
    static char bytes[1 << 20];
    size_t sent = 0;
    ssize_t some;
    fcntl(peer, F_SETFL, O_NONBLOCK);
    for (int idle = 0; idle < 20; uv_run(&tcp_loop, UV_RUN_NOWAIT)) {
        some = send(peer, bytes, sizeof(bytes), MSG_NOSIGNAL);
        idle = some > 0 ? 0 : idle + 1;
        sent += some > 0 ? (size_t)some : 0;
    }
    CHECK(sent > 2 * TCP_BUFFER);
    CHECK(client_len(&a) >= TCP_BUFFER && client_len(&a) < 2 * TCP_BUFFER);
    CHECK(held >= client_len(&a));
    tcp_want(a.socket, 3 * TCP_BUFFER);
    UNTIL(client_len(&a) >= 3 * TCP_BUFFER);
    CHECK(client_len(&a) >= 3 * TCP_BUFFER && client_len(&a) < 4 * TCP_BUFFER);
    tcp_want(a.socket, 0);
    for (size_t got = 0; got < sent;) {
        UNTIL(client_len(&a) > 0);
        CHECK(client_len(&a) > 0);
        got += client_len(&a);
        tcp_take(a.socket, client_len(&a));
    }
    CHECK_INT(tcp_status(a.socket), LN_OK);
}

/* ---- what goes ---- */

MET(accepts_no_more_than_the_other_side_takes) {
    static char heard[100000];
    size_t sent = fill(&a), got = 0;
    CHECK(buffer_left(&a.socket->out) <= TCP_BUFFER);
    CHECK(!tcp_at_rest(a.socket));
    CHECK_INT(tcp_write(a.socket, "x", 1), 0);
    int before = a.events;
    while (got < sent) {
        ssize_t some = recv(peer, heard, sizeof(heard), MSG_DONTWAIT);
        got += some > 0 ? (size_t)some : 0;
        uv_run(&tcp_loop, UV_RUN_NOWAIT);
    }
    UNTIL(tcp_at_rest(a.socket));
    CHECK_INT(got, sent);
    CHECK(a.events > before);
    CHECK_INT(tcp_write(a.socket, "x", 1), 1);
    CHECK_INT(recv(peer, heard, 1, 0), 1);
}

MET(keeps_the_order_of_what_it_sends) {
    enum { COUNT = 200000 };
    static uint32_t numbers[COUNT], heard[COUNT];
    const char *at = (const char *)numbers;
    size_t sent = 0, got = 0;
    for (uint32_t i = 0; i < COUNT; i++)
        numbers[i] = i;
    while (got < sizeof(heard)) {
        size_t some = sizeof(numbers) - sent;
        ssize_t taken = tcp_write(a.socket, at + sent, some > 99999 ? 99999 : some);
        CHECK(taken >= 0);
        sent += (size_t)taken;
        taken = recv(peer, (char *)heard + got, sizeof(heard) - got, MSG_DONTWAIT);
        got += taken > 0 ? (size_t)taken : 0;
        uv_run(&tcp_loop, UV_RUN_NOWAIT);
    }
    CHECK_MEM(heard, sizeof(heard), numbers, sizeof(numbers));
}

/* ---- half of a connection ---- */

MET(may_still_be_written_to_when_the_other_side_has_ended) {
    char heard[16];
    say(peer, "last");
    shutdown(peer, SHUT_WR);
    UNTIL(tcp_status(a.socket) != LN_OK);
    CHECK_INT(tcp_status(a.socket), UV_EOF);
    CHECK_STR(tcp_reason(a.socket), "the other side has closed the connection");
    CHECK(client_has(&a, "last"));
    CHECK(is_open(&a));
    CHECK(!tcp_at_rest(a.socket));
    CHECK_INT(tcp_write(a.socket, "answer", 6), 6);
    tcp_shutdown(a.socket);
    turn_on();
    CHECK_INT(hear_all(peer, heard, sizeof(heard)), 6);
    tcp_take(a.socket, 4);
    CHECK_INT(tcp_status(a.socket), UV_EOF); /* it stays so */
}

MET(still_hears_when_it_has_ended) {
    char heard[16];
    CHECK_INT(tcp_write(a.socket, "bye", 3), 3);
    tcp_shutdown(a.socket);
    tcp_shutdown(a.socket);
    CHECK_INT(tcp_write(a.socket, "more", 4), LN_ECLOSED);
    turn_on();
    CHECK_INT(hear_all(peer, heard, sizeof(heard)), 3);
    say(peer, "so long");
    UNTIL(client_len(&a) == 7);
    CHECK(client_has(&a, "so long"));
    CHECK(!tcp_at_rest(a.socket));
}

MET(ends_behind_what_it_was_given) {
    size_t sent = fill(&a), got = 0;
    tcp_shutdown(a.socket);
    CHECK_INT(tcp_write(a.socket, "x", 1), LN_ECLOSED);
    char heard[65536];
    for (;;) {
        ssize_t some = recv(peer, heard, sizeof(heard), MSG_DONTWAIT);
        if (some == 0)
            break;
        got += some > 0 ? (size_t)some : 0;
        uv_run(&tcp_loop, UV_RUN_NOWAIT);
    }
    CHECK_INT(got, sent);
}

/* ---- a connection that breaks ---- */

static void reset_peer(void) {
    const struct linger now = {1, 0};
    setsockopt(peer, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    close(peer);
    peer = -1;
}

MET(tells_a_reset_from_an_end) {
    reset_peer();
    UNTIL(tcp_status(a.socket) != LN_OK);
    CHECK_INT(tcp_status(a.socket), UV_ECONNRESET);
    CHECK(is_open(&a)); /* it was one */
    ssize_t taken = 0;
    for (int i = 0; i < 3 && taken >= 0; i++)
        taken = tcp_write(a.socket, "x", 1);
    CHECK(taken == UV_EPIPE || taken == UV_ECONNRESET);
    CHECK_INT(tcp_write(a.socket, "x", 1), taken); /* from then on */
}

MET(drops_what_it_cannot_send_when_it_breaks) {
    fill(&a);
    reset_peer();
    UNTIL(tcp_write(a.socket, "x", 1) < 0);
    CHECK(tcp_write(a.socket, "x", 1) < 0);
    tcp_shutdown(a.socket); /* no use, no harm */
    tcp_close(a.socket, true);
    a.socket = NULL;
    CHECK(list_empty(&home.sockets)); /* there is nothing to wait for */
}

/* ---- closing ---- */

MET(sends_what_it_was_given_when_it_is_closed_in_order) {
    size_t sent = fill(&a), got = 0;
    tcp_close(a.socket, true);
    a.socket = NULL;
    CHECK(!list_empty(&home.sockets));
    CHECK_INT(held, 0); /* it is no matter of its home any more */
    while (!list_empty(&home.sockets)) {
        got += drain(peer);
        uv_run(&tcp_loop, UV_RUN_NOWAIT);
    }
    CHECK_INT(got + count_rest(peer), sent);
}

MET(gives_up_after_five_seconds) {
    fill(&a);
    tcp_close(a.socket, true);
    a.socket = NULL;
    turn_on();
    pass_ms(4900);
    turn_on();
    CHECK(!list_empty(&home.sockets));
    pass_ms(200);
    UNTIL(list_empty(&home.sockets));
    CHECK(list_empty(&home.sockets));
}

MET(waits_for_nothing_when_it_is_closed_at_once) {
    fill(&a);
    client_close(&a);
    CHECK(list_empty(&home.sockets));
}

MET(hurries_when_it_is_closed_once_more) {
    struct tcp_socket *socket = a.socket;
    fill(&a);
    tcp_close(socket, true);
    a.socket = NULL;
    CHECK(!list_empty(&home.sockets));
    tcp_close_all(&home);
    CHECK(list_empty(&home.sockets));
}

static void close_it(struct client *client) {
    client_close(client);
}

MET(may_be_closed_by_who_hears_of_bytes) {
    a.then = close_it;
    say(peer, "hello");
    UNTIL(a.socket == NULL);
    CHECK(a.socket == NULL);
}

MET(may_be_closed_by_who_hears_of_room) {
    fill(&a);
    a.then = close_it;
    while (a.socket != NULL) {
        drain(peer);
        uv_run(&tcp_loop, UV_RUN_NOWAIT);
    }
    CHECK(list_empty(&home.sockets));
}

MET(tells_nothing_any_more_when_it_is_closed) {
    fill(&a);
    int before = a.events;
    tcp_close(a.socket, true);
    a.socket = NULL;
    say(peer, "hello");
    while (!list_empty(&home.sockets)) {
        drain(peer);
        uv_run(&tcp_loop, UV_RUN_NOWAIT);
    }
    CHECK_INT(a.events, before);
}

MET(tells_whoever_it_was_handed_to) {
    struct client other = {.socket = a.socket};
    int before = a.events;
    tcp_hand_over(a.socket, on_client, &other);
    say(peer, "hello");
    UNTIL(other.events > 0);
    CHECK(other.events > 0);
    CHECK_INT(a.events, before);
}

/* ---- a pool ---- */

static struct tcp_pool pool;

static struct tcp_socket *take(const char *key) {
    unsigned uses = 0;
    return tcp_pool_take(&pool, key, strlen(key), &uses);
}

static int keep(struct client *client, const char *key, size_t most) {
    struct tcp_socket *socket = client->socket;
    client->socket = NULL;
    return tcp_pool_keep(&pool, socket, key, strlen(key), 1, 60000, most);
}

/* Another connection to the same port. */
static bool another(struct client *client) {
    *client = (struct client){0};
    if (client_dial(client, port) < 0)
        return false;
    UNTIL(is_open(client));
    return is_open(client);
}

MET(a_pool_gives_back_the_latest_of_a_kind) {
    struct client b, c;
    unsigned uses = 0;
    pool = (struct tcp_pool){.clock = home.clock};
    CHECK(another(&b) && another(&c));
    struct tcp_socket *first = a.socket, *second = b.socket, *third = c.socket;
    CHECK_INT(tcp_pool_keep(&pool, first, "x", 1, 7, 60000, 30), LN_OK);
    CHECK_INT(tcp_pool_keep(&pool, second, "x", 1, 8, 60000, 30), LN_OK);
    CHECK_INT(tcp_pool_keep(&pool, third, "y", 1, 9, 60000, 30), LN_OK);
    a.socket = NULL;
    CHECK(take("z") == NULL);
    CHECK(take("xy") == NULL);
    CHECK(tcp_pool_take(&pool, "x", 1, &uses) == second);
    CHECK_INT(uses, 8);
    CHECK(take("x") == first);
    CHECK(take("x") == NULL);
    tcp_close(first, false);
    tcp_close(second, false);
    tcp_pool_close(&pool);
    CHECK(take("y") == NULL);
}

MET(a_pool_has_a_bound_for_each_kind) {
    struct client b, c, d;
    pool = (struct tcp_pool){.clock = home.clock};
    CHECK(another(&b) && another(&c) && another(&d));
    struct tcp_socket *last = d.socket;
    CHECK_INT(keep(&a, "x", 2), LN_OK);
    CHECK_INT(keep(&b, "y", 2), LN_OK);
    CHECK_INT(keep(&c, "x", 2), LN_OK);
    CHECK_INT(keep(&d, "x", 2), LN_OK); /* pushes out what has waited longest */
    struct tcp_socket *taken = take("x");
    CHECK(taken == last);
    tcp_close(taken, false);
    taken = take("x");
    CHECK(taken != NULL);
    tcp_close(taken, false);
    CHECK(take("x") == NULL);
    taken = take("y");
    CHECK(taken != NULL);
    tcp_close(taken, false);
}

MET(a_pool_drops_what_is_of_no_use) {
    pool = (struct tcp_pool){.clock = home.clock};
    CHECK_INT(keep(&a, "x", 30), LN_OK);
    say(peer, "unasked");
    UNTIL(list_empty(&pool.idle));
    CHECK(take("x") == NULL);
    CHECK(another(&a));
    close(accept(server, NULL, NULL));
    CHECK_INT(keep(&a, "x", 30), LN_OK);
    UNTIL(list_empty(&pool.idle)); /* the other side has ended it */
    CHECK(take("x") == NULL);
    CHECK(another(&a));
    CHECK_INT(keep(&a, "x", 30), LN_OK);
    turn_on();
    CHECK(!list_empty(&pool.idle));
    pass_ms(61000);
    UNTIL(list_empty(&pool.idle)); /* it is too old */
    CHECK(take("x") == NULL);
}

int main(int argc, char **argv) {
    tcp_begin(argc, argv);
    RUN(tells_when_it_is_connected);
    RUN(keeps_what_comes_until_it_is_taken);
    RUN(reads_no_more_than_somebody_wants);
    RUN(accepts_no_more_than_the_other_side_takes);
    RUN(keeps_the_order_of_what_it_sends);
    RUN(may_still_be_written_to_when_the_other_side_has_ended);
    RUN(still_hears_when_it_has_ended);
    RUN(ends_behind_what_it_was_given);
    RUN(tells_a_reset_from_an_end);
    RUN(drops_what_it_cannot_send_when_it_breaks);
    RUN(sends_what_it_was_given_when_it_is_closed_in_order);
    RUN(gives_up_after_five_seconds);
    RUN(waits_for_nothing_when_it_is_closed_at_once);
    RUN(hurries_when_it_is_closed_once_more);
    RUN(may_be_closed_by_who_hears_of_bytes);
    RUN(may_be_closed_by_who_hears_of_room);
    RUN(tells_nothing_any_more_when_it_is_closed);
    RUN(tells_whoever_it_was_handed_to);
    RUN(a_pool_gives_back_the_latest_of_a_kind);
    RUN(a_pool_has_a_bound_for_each_kind);
    RUN(a_pool_drops_what_is_of_no_use);
    return tcp_end();
}
