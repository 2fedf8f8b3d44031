/* SPDX-License-Identifier: Apache-2.0 */
/* A connection whose answers nobody takes, and that ends then. */
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

static struct {
    uv_loop_t loop;
    struct clock *clock;
    struct session *session;
    uv_idle_t writes;
    uv_timer_t limit;
    int peer, lost, messages;
} at;

static void on_write(uv_idle_t *idle) {
    uv_idle_stop(idle);
    stream_send(session_stream(at.session));
}

static void on_pending(void *owner) {
    (void)owner;
    uv_idle_start(&at.writes, on_write);
}

/* Each is answered at length. */
static void on_msg(void *owner, uint64_t sid, const struct message_parts *parts) {
    (void)owner, (void)sid, (void)parts;
    char *out = stream_reserve(session_stream(at.session), ANSWER);
    memset(out, 'x', ANSWER);
    stream_commit(session_stream(at.session), out + ANSWER);
    at.messages++;
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

int main(int argc, char **argv) {
    test_begin(argc, argv);
    RUN(one_that_is_closed_while_answers_wait_is_lost);
    RUN(one_that_is_reset_while_answers_wait_is_lost);
    return test_end();
}
