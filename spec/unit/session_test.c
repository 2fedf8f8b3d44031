/* SPDX-License-Identifier: Apache-2.0 */
/* A connection whose messages come faster than they are handled, or whose answers nobody takes.
 */
#include "host/link/session.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/base/clock.h"
#include "host/base/status.h"
#include "host/link/stream.h"
#include "spec/unit/test.h"

#define HIGH_WATER ((size_t)1 << 20)
#define ANSWER ((size_t)64 << 10)
#define MESSAGE "MSG a.b 1 3\r\nabc\r\n"
#define MESSAGES 3000
#define PROMPT 2 /* its sid */

static struct {
    uv_loop_t loop;
    struct clock *clock;
    struct session *session;
    uv_idle_t writes;
    uv_timer_t limit;
    int peer, lost, messages;
    bool slow;     /* it answers nothing and takes its time */
    int prompt;    /* the number of messages handled before the prompt one, + 1; 0: not yet */
    uint64_t last; /* received */
} at;

#define SLOW_NS 2000000u

static void on_write(uv_idle_t *idle) {
    uv_idle_stop(idle);
    stream_send(session_stream(at.session));
}

static void on_pending(void *owner) {
    (void)owner;
    uv_idle_start(&at.writes, on_write);
}

static void take_time(uint64_t sid, const struct message_parts *parts) {
    if (sid == PROMPT) {
        CHECK_INT(at.prompt, 0);
        at.prompt = at.messages + 1;
        return;
    }
    CHECK(parts->received >= at.last && parts->received <= clock_precise());
    CHECK_INT(atoi(parts->data), at.messages); /* in order */
    at.last = parts->received;
    at.messages++;
    for (uint64_t end = clock_precise() + SLOW_NS; clock_precise() < end;)
        ;
}

/* Each is answered at length. */
static void on_msg(void *owner, uint64_t sid, const struct message_parts *parts) {
    (void)owner;
    if (at.slow) {
        take_time(sid, parts);
        return;
    }
    char *out = stream_reserve(session_stream(at.session), ANSWER);
    memset(out, 'x', ANSWER);
    stream_commit(session_stream(at.session), out + ANSWER);
    at.messages++;
}

static bool is_prompt(void *owner, uint64_t sid) {
    (void)owner;
    return sid == PROMPT;
}

static void on_lost(void *owner, int status, const char *text) {
    (void)owner, (void)status;
    CHECK(text != NULL);
    at.lost++;
    uv_stop(&at.loop);
}

static void on_info(void *owner, struct info *info) {
    (void)owner, (void)info;
}

static void on_pong(void *owner, uint64_t number) {
    (void)owner, (void)number;
}

static void on_refusal(void *owner, const struct refusal *refusal, const char *text) {
    (void)owner, (void)refusal, (void)text;
}

static void on_error(void *owner, int status, const char *text) {
    (void)owner, (void)status, (void)text;
}

static void on_sent(void *owner) {
    (void)owner;
}

static void on_limit(uv_timer_t *timer) {
    (void)timer;
    uv_stop(&at.loop);
}

static void run_for(uint64_t ms) {
    uv_timer_start(&at.limit, on_limit, ms, 0);
    uv_run(&at.loop, UV_RUN_DEFAULT);
    uv_timer_stop(&at.limit);
}

static int connected_socket(void) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof(address);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    bool bound = bind(listener, (struct sockaddr *)&address, sizeof(address)) == 0 &&
                 listen(listener, 1) == 0;
    getsockname(listener, (struct sockaddr *)&address, &len);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    bool connected = bound && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
    at.peer = connected ? accept(listener, NULL, NULL) : -1;
    close(listener);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

static void open_session(void) {
    static const struct session_events events = {
        .on_msg = on_msg,
        .is_prompt = is_prompt,
        .on_info = on_info,
        .on_pong = on_pong,
        .on_refusal = on_refusal,
        .on_error = on_error,
        .on_pending = on_pending,
        .on_sent = on_sent,
        .on_lost = on_lost,
    };
    static const struct info info;
    memset(&at, 0, sizeof(at));
    uv_loop_init(&at.loop);
    CHECK(clock_open(&at.clock, &at.loop, false) == LN_OK);
    uv_idle_init(&at.loop, &at.writes);
    uv_timer_init(&at.loop, &at.limit);
    int fd = connected_socket();
    CHECK(at.peer >= 0);
    CHECK(session_open(&at.session, &at.loop, at.clock, fd, NULL, &info, HIGH_WATER, 2000,
                       &events, NULL) == LN_OK);
}

static void close_all(void) {
    session_close(at.session, false);
    uv_close((uv_handle_t *)&at.writes, NULL);
    uv_close((uv_handle_t *)&at.limit, NULL);
    clock_close(at.clock);
    uv_run(&at.loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&at.loop) == 0);
}

/* More requests than there is room for answers; then the peer goes. */
static void is_lost(bool reset) {
    open_session();
    char *requests = malloc(MESSAGES * sizeof(MESSAGE));
    for (int i = 0; i < MESSAGES; i++)
        memcpy(requests + (size_t)i * (sizeof(MESSAGE) - 1), MESSAGE, sizeof(MESSAGE));
    size_t len = MESSAGES * (sizeof(MESSAGE) - 1);
    CHECK(write(at.peer, requests, len) == (ssize_t)len);
    free(requests);
    run_for(300);
    CHECK(at.lost == 0 && at.messages > 0 && at.messages < MESSAGES);
    CHECK(stream_unsent(session_stream(at.session)) <= HIGH_WATER + ANSWER);
    const struct linger linger = {.l_onoff = 1};
    if (reset)
        setsockopt(at.peer, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    close(at.peer);
    run_for(10000);
    CHECK_INT(at.lost, 1);
    CHECK(at.messages < MESSAGES); /* nobody would take the answers */
    close_all();
}

static void one_that_is_closed_while_answers_wait_is_lost(void) {
    is_lost(false);
}

static void one_that_is_reset_while_answers_wait_is_lost(void) {
    is_lost(true);
}

#define SLOW_MESSAGES 200

static void send_slow_ones(int first) {
    for (int i = first; i < first + SLOW_MESSAGES; i++) {
        char text[64];
        int len = snprintf(text, sizeof(text), "MSG a.b 1 4\r\n%04d\r\n", i);
        CHECK(write(at.peer, text, (size_t)len) == len);
    }
}

static void say(const char *text) {
    CHECK(write(at.peer, text, strlen(text)) == (ssize_t)strlen(text));
}

static bool peer_reads(const char *text) {
    char buffer[64] = "";
    ssize_t n = recv(at.peer, buffer, sizeof(buffer) - 1, MSG_DONTWAIT);
    return n > 0 && strcmp(buffer, text) == 0;
}

static void what_is_prompt_overtakes_what_waits(void) {
    open_session();
    at.slow = true;
    send_slow_ones(0);
    say("PING\r\nMSG c 2 1\r\nx\r\n");
    send_slow_ones(SLOW_MESSAGES);
    run_for(50);
    CHECK(at.prompt > 0 && at.prompt < SLOW_MESSAGES);
    CHECK(peer_reads("PONG\r\n"));
    while (at.messages < 2 * SLOW_MESSAGES)
        run_for(10);
    CHECK(!peer_reads("PONG\r\n"));
    say("PING\r\n");
    run_for(50);
    CHECK(peer_reads("PONG\r\n"));
    close_all();
}

static void what_waits_is_handled_before_the_connection_is_lost(void) {
    open_session();
    at.slow = true;
    send_slow_ones(0);
    close(at.peer);
    run_for(60000);
    CHECK_INT(at.lost, 1);
    CHECK_INT(at.messages, SLOW_MESSAGES);
    close_all();
}

#define BIG ((size_t)4 << 10) /* so that more of it is read than handled in a turn */

/* Sends what the socket takes; returns the number of messages begun. */
static int send_big_ones(char *text, size_t *left, int sent) {
    for (;; sent++) {
        if (*left == 0) {
            int head = snprintf(text, 64, "MSG a.b 1 %d\r\n%04d", (int)BIG, sent);
            memset(text + head, ' ', BIG - 4);
            memcpy(text + head + BIG - 4, "\r\n", 2);
            *left = (size_t)head + BIG - 2;
        }
        size_t len = strcspn(text, "\r") + 2 + BIG + 2;
        ssize_t n = send(at.peer, text + len - *left, *left, MSG_DONTWAIT);
        *left -= n > 0 ? (size_t)n : 0;
        if (*left > 0)
            return sent;
    }
}

/* More waits than there is room for: the rest stays with the peer. */
static void what_waits_is_bounded(void) {
    char *text = malloc(BIG + 64);
    size_t most = 0, left = 0;
    int sent = 0;
    open_session();
    at.slow = true;
    for (int i = 0; i < 60; i++) {
        sent = send_big_ones(text, &left, sent);
        run_for(1);
        size_t memory = stream_memory(session_stream(at.session));
        most = memory > most ? memory : most;
    }
    free(text);
    CHECK(most >= HIGH_WATER);
    CHECK(most <= 4 * HIGH_WATER);
    CHECK((size_t)sent * BIG > most);
    close_all();
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    RUN(one_that_is_closed_while_answers_wait_is_lost);
    RUN(one_that_is_reset_while_answers_wait_is_lost);
    RUN(what_is_prompt_overtakes_what_waits);
    RUN(what_waits_is_handled_before_the_connection_is_lost);
    RUN(what_waits_is_bounded);
    return test_end();
}
