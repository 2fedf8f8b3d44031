/* SPDX-License-Identifier: Apache-2.0 */
/* A loop, a server and a link for the unit tests of JetStream, and fetches on them. */
#ifndef LUNATS_TEST_JETSTREAM_H
#define LUNATS_TEST_JETSTREAM_H

#include <arpa/inet.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <nats/nats.h>

#include "host/broker/broker.h"
#include "host/jetstream/pull.h"
#include "host/jetstream/status.h"
#include "spec/unit/test.h"

/* ---- a loop, a server, a link ---- */

static uv_loop_t loop;
static struct clock *real_clock;
static struct broker *broker;
static struct link *link_;
static char url[128];
static bool broker_up, broker_gone, link_gone;

static inline void on_tick(uv_timer_t *timer) {
    (void)timer;
}

/* Runs the loop until *flag or for `ms` at most. */
static inline bool run_until(const bool *flag, uint64_t ms) {
    static uv_timer_t tick;
    uv_timer_init(&loop, &tick);
    uv_timer_start(&tick, on_tick, 5, 5);
    for (uint64_t end = uv_now(&loop) + ms; !*flag && uv_now(&loop) < end;)
        uv_run(&loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&tick, NULL);
    uv_run(&loop, UV_RUN_NOWAIT);
    return *flag;
}

static inline void run_for(uint64_t ms) {
    bool never = false;
    run_until(&never, ms);
}

static inline void on_ready(void *owner, int status, const char *at, const char *text) {
    (void)owner;
    broker_up = true;
    if (status < 0)
        printf("# no server: %s\n", text);
    else
        snprintf(url, sizeof(url), "%s", at);
}

static inline void on_flag(void *flag) {
    *(bool *)flag = true;
}

static inline void on_link_closed(void *flag, size_t unsent) {
    (void)unsent;
    *(bool *)flag = true;
}

static inline bool wait_connected(bool wanted) {
    for (int i = 0; i < 500 && link_is_connected(link_) != wanted; i++)
        run_for(10);
    return link_is_connected(link_) == wanted;
}

static inline bool open_all(void) {
    uv_loop_init(&loop);
    clock_open(&real_clock, &loop, false);
    struct broker_options options = {0};
    if (broker_open(&broker, &loop, &options, on_ready, NULL, NULL) < 0 ||
        !run_until(&broker_up, 15000) || url[0] == '\0')
        return false;
    const char *servers[] = {url};
    struct link_options to = {.servers = servers, .server_count = 1, .retry = true};
    return link_open(&link_, &loop, real_clock, &to, &(struct link_events){0}, NULL) == LN_OK &&
           wait_connected(true);
}

/*
 * A message as only servers send it, with a status in its first line. The link cannot do that,
 * so it goes by a socket of its own; it is at the server when this returns.
 */
static inline void say_status(const char *to, const char *status, const char *text) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    char head[128], heard[4096], *at = strrchr(url, ':');
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons((uint16_t)atoi(at + 1));
    int len = snprintf(head, sizeof(head), "NATS/1.0 %s %s\r\n\r\n", status, text);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        abort();
    char user[32] = "", password[64] = "";
    sscanf(url, "nats://%31[^:]:%63[^@]@", user, password);
    dprintf(fd,
            "CONNECT {\"verbose\":false,\"headers\":true,\"user\":\"%s\",\"pass\":\"%s\"}\r\n",
            user, password);
    dprintf(fd, "HPUB %s %d %d\r\n%s\r\nPING\r\n", to, len, len, head);
    size_t have = 0;
    for (ssize_t got = 1; got > 0 && have < sizeof(heard) - 1; have += (size_t)got) {
        heard[have] = '\0';
        if (strstr(heard, "PONG") != NULL)
            break;
        got = read(fd, heard + have, sizeof(heard) - 1 - have);
    }
    close(fd);
}

static inline void close_all(void) {
    link_close(link_, 1000, on_link_closed, &link_gone);
    run_until(&link_gone, 5000);
    broker_stop(broker, on_flag, &broker_gone);
    run_until(&broker_gone, 5000);
    clock_close(real_clock);
    uv_run(&loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&loop) != 0)
        printf("# handles are left open\n");
}

/* ---- requests ---- */

static char answer[4096];
static bool answered;

static inline void on_answer(struct link_call *call, int status, struct message *reply) {
    (void)call;
    snprintf(answer, sizeof(answer), "%s", status < 0 ? status_word(status) : "");
    if (reply != NULL) {
        snprintf(answer, sizeof(answer), "%.*s", (int)reply->len, reply->data);
        message_free(reply);
    }
    answered = true;
}

static inline const char *request(const char *subject, const char *body) {
    static struct link_call call;
    answered = false;
    struct link_out out = {.subject = subject, .data = body, .len = strlen(body)};
    if (link_request(link_, &call, real_clock, &out, 3000, on_answer) < 0)
        return "not sent";
    run_until(&answered, 4000);
    return answer;
}

/* A stream of its own for each test, with a consumer "c", and `messages` in it. */
static char stream[32];

static inline bool make(const char *consumer, int messages) {
    static int number;
    char subject[128], body[256];
    snprintf(stream, sizeof(stream), "S%d", ++number);
    snprintf(subject, sizeof(subject), "$JS.API.STREAM.CREATE.%s", stream);
    snprintf(body, sizeof(body), "{\"name\":\"%s\",\"subjects\":[\"%s.>\"]}", stream, stream);
    if (strstr(request(subject, body), "error") != NULL)
        return false;
    snprintf(subject, sizeof(subject), "$JS.API.CONSUMER.DURABLE.CREATE.%s.c", stream);
    snprintf(body, sizeof(body),
             "{\"stream_name\":\"%s\",\"config\":{\"durable_name\":\"c\","
             "\"ack_policy\":\"explicit\",\"ack_wait\":30000000000%s}}",
             stream, consumer);
    if (strstr(request(subject, body), "error") != NULL)
        return false;
    snprintf(subject, sizeof(subject), "%s.x", stream);
    for (int i = 0; i < messages; i++)
        if (strstr(request(subject, "hello"), "seq") == NULL)
            return false;
    return true;
}

static inline void put(int messages) {
    char subject[64];
    snprintf(subject, sizeof(subject), "%s.x", stream);
    for (int i = 0; i < messages; i++)
        request(subject, "hello");
}

/* Waits until the server tells this about the consumer: it handles acknowledgements, and
 * requests, in its own time. */
static inline bool consumer_has(const char *text) {
    char subject[128];
    snprintf(subject, sizeof(subject), "$JS.API.CONSUMER.INFO.%s.c", stream);
    for (int i = 0; i < 300; i++) {
        if (strstr(request(subject, ""), text) != NULL)
            return true;
        run_for(10);
    }
    return false;
}

static inline bool all_acknowledged(void) {
    return consumer_has("\"num_ack_pending\":0");
}

/* ---- fetching ---- */

struct got {
    struct fetch *fetch;
    bool done;
    uint64_t at; /* when it ended */
};

static inline void on_done(struct fetch *fetch, void *owner) {
    struct got *got = owner;
    got->fetch = fetch;
    got->done = true;
    got->at = uv_now(&loop);
}

static inline struct pull *open_pull(void) {
    struct pull *pull = NULL;
    if (pull_open(&pull, link_, real_clock, "$JS.API", stream, "c") < 0)
        abort();
    return pull;
}

static inline int start(struct pull *pull, struct got *got, struct fetch_options options) {
    memset(got, 0, sizeof(*got));
    return pull_fetch(pull, real_clock, &options, on_done, got, &got->fetch);
}

static inline bool wait_count(const struct got *got, size_t count) {
    for (int i = 0; i < 300 && fetch_count(got->fetch) < count; i++)
        run_for(10);
    return fetch_count(got->fetch) == count;
}

static inline void acknowledge(struct got *got) {
    for (size_t i = 0; i < fetch_count(got->fetch); i++) {
        struct message *msg = fetch_msg(got->fetch, i);
        if (msg->reply != NULL)
            link_publish(link_, &(struct link_out){.subject = msg->reply, .data = ""});
    }
    fetch_delivered(got->fetch);
    fetch_free(got->fetch);
}

static inline size_t subscriptions(void) {
    struct link_stats stats;
    link_get_stats(link_, &stats);
    return stats.subscriptions;
}

/* Runs the tests with a server; the exit status of the program. */
static inline int test_with_server(void (*run_all)(void)) {
    nats_Open(-1);
    if (!open_all()) {
        printf("# skipped: no nats-server\n");
        return test_failed_count == 0 ? 1 : test_end();
    }
    run_all();
    close_all();
    return test_end();
}

#endif
