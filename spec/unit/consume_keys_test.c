/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A consume with keys on a real nats-server, which delivers a message a third time while it is
 * handled: the third one is in the socket when the handler ends, so the server has sent it
 * before it can hear of that.
 *
 * A connection of its own sees what is sent to all inboxes. It tells, without the loop being
 * run, that a delivery has been sent.
 */
#include "host/jetstream/consume.h"

#include "spec/unit/jetstream.h"

/* ---- the other connection ---- */

static int eye = -1;
static char seen[65536];
static size_t seen_len;

static void see_more(void) {
    ssize_t got = read(eye, seen + seen_len, sizeof(seen) - 1 - seen_len);
    if (got <= 0)
        abort();
    seen_len += (size_t)got;
    seen[seen_len] = '\0';
}

static void open_eye(void) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    char user[32] = "", password[64] = "";
    sscanf(url, "nats://%31[^:]:%63[^@]@", user, password);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons((uint16_t)atoi(strrchr(url, ':') + 1));
    eye = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(eye, (struct sockaddr *)&address, sizeof(address)) < 0)
        abort();
    dprintf(eye,
            "CONNECT {\"verbose\":false,\"headers\":true,\"user\":\"%s\",\"pass\":\"%s\"}\r\n"
            "SUB _INBOX.> 1\r\nPING\r\n",
            user, password);
    seen_len = 0;
    do
        see_more();
    while (strstr(seen, "PONG") == NULL);
}

/* Waits until the server has sent message 1 for the `nth` time, and returns where that one is
 * acknowledged. */
static const char *await_delivery(int nth) {
    static char reply[256];
    char end[64], *at;
    snprintf(end, sizeof(end), ".%s.c.%d.1.", stream, nth);
    while ((at = strstr(seen, end)) == NULL)
        see_more();
    while (strchr(at, '\r') == NULL)
        see_more();
    while (at > seen && at[-1] != ' ')
        at--;
    snprintf(reply, sizeof(reply), "%.*s", (int)strcspn(at, " \r"), at);
    return reply;
}

/* ---- a consume ---- */

static struct consume_msg *held; /* the message that is worked on */
static int begun;                /* handlers */

static void on_msg(void *owner, struct consume_msg *msg) {
    (void)owner;
    held = msg;
    begun++;
}

static bool is_settled(const struct consume_msg *msg) {
    (void)msg;
    return false;
}

static void on_lost(void *owner, int status, const char *text, bool silent) {
    (void)owner, (void)silent;
    printf("# lost: %s %s\n", status_word(status), text != NULL ? text : "");
}

static void on_end(void *owner) {
    (void)owner;
}

/* Its ack_wait is far longer than any test: nothing here is late. */
static struct consume *begin(void) {
    static const struct consume_events events = {
        .on_msg = on_msg, .is_settled = is_settled, .on_lost = on_lost, .on_end = on_end};
    struct consume_options options = {
        .max_messages = 10,
        .concurrency = 4,
        .expires_ms = 30000,
        .heartbeat_ms = 15000,
        .ack_wait_ms = 600000,
        .key = {.kind = MESSAGE_KEY_SUBJECT},
        .beside_max = 100,
    };
    struct consume *consume;
    held = NULL;
    begun = 0;
    if (consume_open(&consume, link_, real_clock, "$JS.API", stream, "c", &options, &events,
                     NULL) < 0 ||
        consume_begin(consume) < 0)
        abort();
    return consume;
}

static bool received(const struct consume *consume, uint64_t count) {
    struct consume_stats stats;
    for (int i = 0; i < 1000; i++) {
        consume_get_stats(consume, &stats);
        if (stats.received >= count)
            return stats.received == count;
        run_for(10);
    }
    return false;
}

/* The server shall deliver message 1 once more. By the other connection: ours is not written to
 * unless the loop runs, which would read as well. */
static void send_again(const char *reply) {
    dprintf(eye, "PUB %s 4\r\n-NAK\r\n", reply);
}

/* ---- deliveries that are under way when a message is handled ---- */

static void what_came_again_while_it_was_handled_is_not_handled_once_more(void) {
    CHECK(make("", 1));
    open_eye();
    struct consume *consume = begin();
    CHECK(received(consume, 1));
    CHECK_INT(begun, 1);
    send_again(await_delivery(1));
    CHECK(received(consume, 2));
    CHECK_INT(begun, 1);
    send_again(await_delivery(2));
    await_delivery(3);
    consume_done(held, CONSUME_ACK);
    CHECK(received(consume, 3));
    CHECK_INT(begun, 1);
    CHECK(all_acknowledged());
    consume_close(consume);
    close(eye);
}

static void what_somebody_else_had_before_is_not_handled_once_more(void) {
    CHECK(make("", 1));
    open_eye();
    struct pull *pull = open_pull();
    struct got got;
    CHECK_INT(start(pull, &got, (struct fetch_options){.batch = 1, .timeout_ms = 5000}), LN_OK);
    CHECK(run_until(&got.done, 10000));
    CHECK_INT(fetch_count(got.fetch), 1);
    fetch_delivered(got.fetch);
    fetch_free(got.fetch);
    send_again(await_delivery(1));
    struct consume *consume = begin();
    CHECK(received(consume, 1));
    CHECK_INT(begun, 1);
    send_again(await_delivery(2));
    await_delivery(3);
    consume_done(held, CONSUME_ACK);
    CHECK(received(consume, 2));
    CHECK_INT(begun, 1);
    CHECK(all_acknowledged());
    consume_close(consume);
    pull_close(pull);
    close(eye);
}

/* What is not acknowledged shall come again, and is handled then. */
static void what_goes_back_is_handled_when_it_comes_again(void) {
    CHECK(make("", 1));
    open_eye();
    struct consume *consume = begin();
    CHECK(received(consume, 1));
    send_again(await_delivery(1));
    CHECK(received(consume, 2));
    const char *third = await_delivery(2);
    consume_done(held, CONSUME_SETTLED);
    send_again(third);
    CHECK(received(consume, 3));
    CHECK_INT(begun, 2);
    consume_done(held, CONSUME_ACK);
    CHECK(all_acknowledged());
    consume_close(consume);
    close(eye);
}

static void all(void) {
    RUN(what_came_again_while_it_was_handled_is_not_handled_once_more);
    RUN(what_somebody_else_had_before_is_not_handled_once_more);
    RUN(what_goes_back_is_handled_when_it_comes_again);
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    return test_with_server(all);
}
