/* SPDX-License-Identifier: Apache-2.0 */
/* JetStream on the wire, and fetching from a real nats-server. */
#include "host/jetstream/status.h"

#include <stdlib.h>

#include "host/broker/broker.h"
#include "host/jetstream/pull.h"
#include "spec/unit/test.h"

/* ---- a loop, a server, a link ---- */

static uv_loop_t loop;
static struct clock *real_clock;
static struct broker *broker;
static struct link *link_;
static char url[128];
static bool broker_up, broker_gone, link_gone;

static void on_tick(uv_timer_t *timer) {
    (void)timer;
}

/* Runs the loop until *flag or for `ms` at most. */
static bool run_until(const bool *flag, uint64_t ms) {
    static uv_timer_t tick;
    uv_timer_init(&loop, &tick);
    uv_timer_start(&tick, on_tick, 5, 5);
    for (uint64_t end = uv_now(&loop) + ms; !*flag && uv_now(&loop) < end;)
        uv_run(&loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&tick, NULL);
    uv_run(&loop, UV_RUN_NOWAIT);
    return *flag;
}

static void run_for(uint64_t ms) {
    bool never = false;
    run_until(&never, ms);
}

static void on_ready(void *owner, int status, const char *at, const char *text) {
    (void)owner;
    broker_up = true;
    if (status < 0)
        printf("# no server: %s\n", text);
    else
        snprintf(url, sizeof(url), "%s", at);
}

static void on_flag(void *flag) {
    *(bool *)flag = true;
}

static void on_link_closed(void *flag, size_t unsent) {
    (void)unsent;
    *(bool *)flag = true;
}

static bool wait_connected(bool wanted) {
    for (int i = 0; i < 500 && link_is_connected(link_) != wanted; i++)
        run_for(10);
    return link_is_connected(link_) == wanted;
}

static bool open_all(void) {
    uv_loop_init(&loop);
    clock_open(&real_clock, &loop, false);
    struct broker_options options = {0};
    if (broker_open(&broker, &loop, &options, on_ready, NULL, NULL) < 0 ||
        !run_until(&broker_up, 15000) || url[0] == '\0')
        return false;
    const char *servers[] = {url};
    struct link_options to = {.servers = servers, .server_count = 1, .retry = true};
    return link_open(&link_, &loop, &to, &(struct link_events){0}, NULL) == LN_OK &&
           wait_connected(true);
}

static void close_all(void) {
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

static void on_answer(struct link_call *call, int status, struct message *reply) {
    (void)call;
    snprintf(answer, sizeof(answer), "%s", status < 0 ? status_word(status) : "");
    if (reply != NULL) {
        snprintf(answer, sizeof(answer), "%.*s", (int)reply->len, reply->data);
        message_free(reply);
    }
    answered = true;
}

static const char *request(const char *subject, const char *body) {
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

static bool make(const char *consumer, int messages) {
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

static void put(int messages) {
    char subject[64];
    snprintf(subject, sizeof(subject), "%s.x", stream);
    for (int i = 0; i < messages; i++)
        request(subject, "hello");
}

/* The server handles acknowledgements in its own time. */
static bool all_acknowledged(void) {
    char subject[128];
    snprintf(subject, sizeof(subject), "$JS.API.CONSUMER.INFO.%s.c", stream);
    for (int i = 0; i < 100; i++) {
        if (strstr(request(subject, ""), "\"num_ack_pending\":0") != NULL)
            return true;
        run_for(10);
    }
    return false;
}

/* ---- fetching ---- */

struct got {
    struct fetch *fetch;
    bool done;
    uint64_t at; /* when it ended */
};

static void on_done(struct fetch *fetch, void *owner) {
    struct got *got = owner;
    got->fetch = fetch;
    got->done = true;
    got->at = uv_now(&loop);
}

static struct pull *open_pull(void) {
    struct pull *pull = NULL;
    if (pull_open(&pull, link_, "$JS.API", stream, "c") < 0)
        abort();
    return pull;
}

static int start(struct pull *pull, struct got *got, struct fetch_options options) {
    memset(got, 0, sizeof(*got));
    return pull_fetch(pull, real_clock, &options, on_done, got, &got->fetch);
}

static void acknowledge(struct got *got) {
    for (size_t i = 0; i < fetch_count(got->fetch); i++) {
        struct message *msg = fetch_msg(got->fetch, i);
        if (msg->reply != NULL)
            link_publish(link_, &(struct link_out){.subject = msg->reply, .data = ""});
    }
    fetch_taken(got->fetch);
    fetch_free(got->fetch);
}

static size_t subscriptions(void) {
    struct link_stats stats;
    link_get_stats(link_, &stats);
    return stats.subscriptions;
}

/* ---- tests: the wire ---- */

static void names(void) {
    static const char *const bad[] = {"",    "a b",  "a.b",   "a*", ">",
                                      "a/b", "a\\b", "a\x7f", "a\n"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        CHECK(!js_name_ok(bad[i], strlen(bad[i])));
    CHECK(js_name_ok("ORDERS-1_x$", 11));
    char longest[256];
    memset(longest, 'a', sizeof(longest));
    CHECK(js_name_ok(longest, 255));
    CHECK(!js_name_ok(longest, 256));
}

static void reply_version_1(void) {
    struct js_meta m;
    CHECK(js_parse_reply("$JS.ACK.P.w.1.4.5.1795425368128310931.2", &m));
    CHECK_MEM(m.stream.at, m.stream.len, "P", 1);
    CHECK_MEM(m.consumer.at, m.consumer.len, "w", 1);
    CHECK_INT(m.domain.len, 0);
    CHECK_INT(m.num_delivered, 1);
    CHECK_INT(m.stream_seq, 4);
    CHECK_INT(m.consumer_seq, 5);
    CHECK_INT(m.timestamp, 1795425368128310931);
    CHECK_INT(m.num_pending, 2);
}

static void reply_version_2(void) {
    struct js_meta m;
    CHECK(js_parse_reply("$JS.ACK.hub.Xh4sh.ORDERS.work.3.18446744073709551615.2.1.0.rnd", &m));
    CHECK_MEM(m.domain.at, m.domain.len, "hub", 3);
    CHECK_MEM(m.stream.at, m.stream.len, "ORDERS", 6);
    CHECK_MEM(m.consumer.at, m.consumer.len, "work", 4);
    CHECK_INT(m.num_delivered, 3);
    CHECK(m.stream_seq == UINT64_MAX);
    CHECK(js_parse_reply("$JS.ACK._.h.S.c.1.2.3.4.5", &m));
    CHECK_INT(m.domain.len, 0);
}

static void reply_garbage(void) {
    static const char *const bad[] = {
        "",
        "$JS.ACK.",
        "$JS.ACK",
        "_INBOX.a.b.1.2.3.4.5.6",
        "$JS.ACK.P.w.1.4.5.6",     /* 8 tokens */
        "$JS.ACK.a.P.w.1.4.5.6.7", /* 10 */
        "$JS.ACK.P.w.1.4.x.6.7",   /* not a number */
        "$JS.ACK.P.w.1.4..6.7",    /* empty */
        "$JS.ACK..w.1.4.5.6.7",    /* no stream */
        "$JS.ACK.P.w.1.18446744073709551616.5.6.7",
        "$JS.ACK.P.w.1.4.5.9223372036854775808.7",
        "$JS.ACK.P.w.-1.4.5.6.7",
    };
    struct js_meta m;
    CHECK(!js_parse_reply(NULL, &m));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (js_parse_reply(bad[i], &m))
            test_fail(__FILE__, __LINE__, "accepted: %s", bad[i]);
    CHECK(js_parse_reply("$JS.ACK.P.w.1.4.5.6.7", &m));
    CHECK(js_parse_reply("$JS.ACK._.h.S.c.1.2.3.4.5.a.b.c.d.e.f.g.h", &m));
}

static void words(void) {
    static const struct {
        int status;
        const char *text;
        enum js_word word;
    } cases[] = {
        {0, NULL, JS_DATA},
        {100, "Idle Heartbeat", JS_HEARTBEAT},
        {100, "FlowControl Request", JS_FLOW_CONTROL},
        {404, "No Messages", JS_NO_MESSAGES},
        {408, "Request Timeout", JS_EXPIRED},
        {408, "Interest Expired", JS_EXPIRED},
        {408, "Requests Pending", JS_NO_MESSAGES},
        {409, "Message Size Exceeds MaxBytes", JS_MAX_BYTES},
        {409, "Batch Completed", JS_COMPLETED},
        {409, "Consumer Deleted", JS_GONE},
        {409, "Consumer is push based", JS_GONE},
        {409, "Exceeded MaxWaiting", JS_BUSY},
        {409, "Exceeded MaxRequestBatch of 2", JS_REFUSED},
        {409, "Exceeded MaxRequestExpires of 1s", JS_REFUSED},
        {409, "Exceeded MaxRequestMaxBytes of 100", JS_REFUSED},
        {409, "Leadership Change", JS_MOVED},
        {409, "Server Shutdown", JS_MOVED},
        {423, "Nats-Wrong-Pin-Id", JS_MOVED},
        {503, NULL, JS_ABSENT},
        {503, "", JS_ABSENT},
        {400, "Bad Request - heartbeat value too large", JS_REFUSED},
        {409, NULL, JS_REFUSED},
        {999, "whatever", JS_REFUSED},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        CHECK_INT(js_classify_status(cases[i].status, cases[i].text), cases[i].word);
}

/* A stored message may look like word from the server. */
static enum js_word classify_409(const char *reply) {
    static const char headers[] = "NATS/1.0 409 Consumer Deleted\r\n\r\n";
    struct message *msg = message_new(&(struct message_parts){
        .subject = "x",
        .subject_len = 1,
        .reply = reply,
        .reply_len = reply != NULL ? strlen(reply) : 0,
        .headers = headers,
        .headers_len = sizeof(headers) - 1,
    });
    enum js_word word = js_classify(msg);
    message_free(msg);
    return word;
}

static void data_that_looks_like_a_word(void) {
    CHECK(classify_409("$JS.ACK.P.w.1.4.5.6.7") == JS_DATA);
    CHECK(classify_409(NULL) == JS_GONE);
}

/* ---- tests: fetching ---- */

static void full_batches_share_an_inbox(void) {
    CHECK(make("", 6));
    struct pull *pull = open_pull();
    struct got got;
    size_t before = subscriptions();
    for (int i = 0; i < 3; i++) {
        CHECK_INT(start(pull, &got, (struct fetch_options){.batch = 2, .timeout_ms = 2000}),
                  LN_OK);
        CHECK(run_until(&got.done, 3000));
        CHECK_INT(fetch_status(got.fetch), LN_OK);
        CHECK_INT(fetch_count(got.fetch), 2);
        struct js_meta meta;
        CHECK(js_parse_reply(fetch_msg(got.fetch, 1)->reply, &meta));
        CHECK_INT(meta.stream_seq, 2 * i + 2);
        acknowledge(&got);
    }
    CHECK_INT(subscriptions(), before + 1);
    CHECK(all_acknowledged());
    pull_close(pull);
    CHECK_INT(subscriptions(), before);
}

static void partial_batch_ends_by_time(void) {
    CHECK(make("", 2));
    struct pull *pull = open_pull();
    struct got got;
    uint64_t begin = uv_now(&loop);
    CHECK_INT(start(pull, &got, (struct fetch_options){.batch = 5, .timeout_ms = 400}), LN_OK);
    CHECK(run_until(&got.done, 3000));
    CHECK_INT(fetch_status(got.fetch), LN_OK);
    CHECK_INT(fetch_count(got.fetch), 2);
    CHECK(got.at - begin < 900);
    acknowledge(&got);
    CHECK_INT(start(pull, &got, (struct fetch_options){.batch = 5, .timeout_ms = 300}), LN_OK);
    CHECK(run_until(&got.done, 3000));
    CHECK_INT(fetch_status(got.fetch), LN_OK);
    CHECK_INT(fetch_count(got.fetch), 0);
    fetch_free(got.fetch);
    /* the inbox that served two fetches serves a third */
    CHECK_INT(start(pull, &got, (struct fetch_options){.batch = 2, .timeout_ms = 2000}), LN_OK);
    put(2);
    CHECK(run_until(&got.done, 3000));
    CHECK_INT(fetch_count(got.fetch), 2);
    acknowledge(&got);
    pull_close(pull);
}

static void no_wait_ends_at_once(void) {
    CHECK(make("", 3));
    struct pull *pull = open_pull();
    struct got got;
    static const size_t expected[] = {3, 0};
    for (size_t i = 0; i < 2; i++) {
        uint64_t begin = uv_now(&loop);
        struct fetch_options options = {.batch = 10, .timeout_ms = 2000, .no_wait = true};
        CHECK_INT(start(pull, &got, options), LN_OK);
        CHECK(run_until(&got.done, 3000));
        CHECK_INT(fetch_status(got.fetch), LN_OK);
        CHECK_INT(fetch_count(got.fetch), expected[i]);
        CHECK(got.at - begin < 500);
        acknowledge(&got);
    }
    pull_close(pull);
}

static void max_bytes_ends_a_fetch(void) {
    CHECK(make("", 6));
    struct pull *pull = open_pull();
    struct got got;
    struct fetch_options options = {.batch = 6, .timeout_ms = 2000, .max_bytes = 200};
    CHECK_INT(start(pull, &got, options), LN_OK);
    CHECK(run_until(&got.done, 3000));
    CHECK_INT(fetch_status(got.fetch), LN_OK);
    CHECK(fetch_count(got.fetch) > 0 && fetch_count(got.fetch) < 6);
    acknowledge(&got);
    options.max_bytes = 10;
    CHECK_INT(start(pull, &got, options), LN_OK);
    CHECK(run_until(&got.done, 3000));
    CHECK_INT(fetch_status(got.fetch), LN_EJETSTREAM);
    CHECK_STR(fetch_text(got.fetch), "the next message is larger than max_bytes");
    fetch_free(got.fetch);
    pull_close(pull);
}

static void deleted_consumer_is_lost(void) {
    CHECK(make("", 0));
    struct pull *pull = open_pull();
    struct got got;
    CHECK_INT(start(pull, &got, (struct fetch_options){.batch = 1, .timeout_ms = 5000}), LN_OK);
    run_for(50);
    char subject[64];
    snprintf(subject, sizeof(subject), "$JS.API.CONSUMER.DELETE.%s.c", stream);
    CHECK(strstr(request(subject, ""), "success") != NULL);
    CHECK(run_until(&got.done, 1000));
    CHECK_INT(fetch_status(got.fetch), LN_ECONSUMER_LOST);
    CHECK_STR(fetch_text(got.fetch), "Consumer Deleted");
    CHECK(!fetch_silent(got.fetch));
    fetch_free(got.fetch);
    /* and from now on there is silence, or 503 from newer servers */
    CHECK_INT(start(pull, &got, (struct fetch_options){.batch = 1, .timeout_ms = 300}), LN_OK);
    CHECK(run_until(&got.done, 3000));
    CHECK_INT(fetch_status(got.fetch), LN_ECONSUMER_LOST);
    CHECK(fetch_silent(got.fetch));
    fetch_free(got.fetch);
    pull_close(pull);
}

static void missing_heartbeats_are_noticed(void) {
    CHECK(make("", 0));
    struct pull *pull = open_pull();
    struct got got;
    struct fetch_options options = {.batch = 1, .timeout_ms = 20000, .heartbeat_ms = 150};
    CHECK_INT(start(pull, &got, options), LN_OK);
    run_for(700);
    CHECK(!got.done); /* the heartbeats kept it going */
    broker_pause(broker);
    CHECK(run_until(&got.done, 2000));
    broker_resume(broker);
    CHECK_INT(fetch_status(got.fetch), LN_ECONSUMER_LOST);
    CHECK(fetch_silent(got.fetch));
    fetch_free(got.fetch);
    pull_close(pull);
}

static void limits_of_the_consumer_are_told(void) {
    CHECK(make(",\"max_batch\":2,\"max_expires\":200000000", 1));
    struct pull *pull = open_pull();
    struct got got;
    struct fetch_options options = {.batch = 3, .timeout_ms = 100};
    CHECK_INT(start(pull, &got, options), LN_OK);
    CHECK(run_until(&got.done, 1000));
    CHECK_INT(fetch_status(got.fetch), LN_EJETSTREAM);
    CHECK(strstr(fetch_text(got.fetch), "MaxRequestBatch") != NULL);
    fetch_free(got.fetch);
    /* a fetch may take longer than one request */
    options = (struct fetch_options){.batch = 2, .timeout_ms = 3000, .max_expires_ms = 200};
    CHECK_INT(start(pull, &got, options), LN_OK);
    CHECK(run_until(&got.done, 1000)); /* the first request brought one message */
    CHECK_INT(fetch_count(got.fetch), 1);
    acknowledge(&got);
    CHECK_INT(start(pull, &got, options), LN_OK);
    run_for(700);
    CHECK(!got.done);
    put(2);
    CHECK(run_until(&got.done, 1000));
    CHECK(fetch_count(got.fetch) > 0);
    acknowledge(&got);
    pull_close(pull);
}

static void too_many_waiting_requests(void) {
    CHECK(make(",\"max_waiting\":1", 0));
    struct pull *pull = open_pull();
    struct got first, second, third;
    CHECK_INT(start(pull, &first, (struct fetch_options){.batch = 1, .timeout_ms = 900}),
              LN_OK);
    run_for(50);
    CHECK_INT(start(pull, &second, (struct fetch_options){.batch = 1, .timeout_ms = 500}),
              LN_OK);
    CHECK_INT(start(pull, &third, (struct fetch_options){.batch = 1, .timeout_ms = 4000}),
              LN_OK);
    CHECK(run_until(&second.done, 2000));
    CHECK_INT(fetch_status(second.fetch), LN_EJETSTREAM);
    CHECK(strstr(fetch_text(second.fetch), "MaxWaiting") != NULL);
    CHECK(run_until(&first.done, 2000));
    CHECK_INT(fetch_status(first.fetch), LN_OK);
    run_for(400); /* the third asks again after a second and gets its place */
    put(1);
    CHECK(run_until(&third.done, 3000));
    CHECK_INT(fetch_count(third.fetch), 1);
    acknowledge(&third);
    fetch_free(first.fetch);
    fetch_free(second.fetch);
    pull_close(pull);
}

static void concurrent_fetches(void) {
    CHECK(make("", 0));
    struct pull *pull = open_pull();
    struct got got[3];
    size_t before = subscriptions();
    for (int i = 0; i < 3; i++)
        CHECK_INT(start(pull, &got[i], (struct fetch_options){.batch = 2, .timeout_ms = 3000}),
                  LN_OK);
    run_for(50);
    CHECK_INT(subscriptions(), before + 3);
    put(6);
    for (int i = 0; i < 3; i++) {
        CHECK(run_until(&got[i].done, 3000));
        CHECK_INT(fetch_count(got[i].fetch), 2);
    }
    for (int i = 0; i < 3; i++)
        acknowledge(&got[i]);
    CHECK(all_acknowledged());
    pull_close(pull);
    CHECK_INT(subscriptions(), before);
}

/* What a cancelled fetch had received comes again at once, not after ack_wait. */
static void cancelled_fetch_gives_back(void) {
    CHECK(make("", 2));
    struct pull *pull = open_pull();
    struct got got;
    CHECK_INT(start(pull, &got, (struct fetch_options){.batch = 5, .timeout_ms = 3000}), LN_OK);
    run_for(100);
    CHECK(!got.done);
    CHECK_INT(fetch_count(got.fetch), 2);
    fetch_free(got.fetch);
    CHECK_INT(start(pull, &got, (struct fetch_options){.batch = 2, .timeout_ms = 2000}), LN_OK);
    CHECK(run_until(&got.done, 3000));
    CHECK_INT(fetch_count(got.fetch), 2);
    struct js_meta meta;
    CHECK(js_parse_reply(fetch_msg(got.fetch, 0)->reply, &meta));
    CHECK_INT(meta.num_delivered, 2);
    acknowledge(&got);
    pull_close(pull);
}

static void closing_ends_fetches(void) {
    CHECK(make("", 0));
    struct pull *pull = open_pull();
    struct got one, two;
    CHECK_INT(start(pull, &one, (struct fetch_options){.batch = 1, .timeout_ms = 3000}), LN_OK);
    CHECK_INT(start(pull, &two, (struct fetch_options){.batch = 1, .timeout_ms = 3000}), LN_OK);
    pull_close(pull);
    CHECK(one.done && two.done);
    CHECK_INT(fetch_status(one.fetch), LN_ECLOSED);
    fetch_free(one.fetch);
    fetch_free(two.fetch);
}

static void server_restart_in_the_middle(void) {
    CHECK(make("", 1));
    struct pull *pull = open_pull();
    struct got got;
    CHECK_INT(start(pull, &got, (struct fetch_options){.batch = 2, .timeout_ms = 15000}),
              LN_OK);
    run_for(100);
    CHECK_INT(fetch_count(got.fetch), 1);
    bool killed = false;
    CHECK_INT(broker_kill(broker, on_flag, &killed), LN_OK);
    CHECK(run_until(&killed, 3000));
    CHECK(wait_connected(false));
    struct got during; /* one that starts without a connection, one that ends without */
    struct got hopeless;
    CHECK_INT(start(pull, &during, (struct fetch_options){.batch = 1, .timeout_ms = 15000}),
              LN_OK);
    CHECK_INT(start(pull, &hopeless, (struct fetch_options){.batch = 1, .timeout_ms = 200}),
              LN_OK);
    CHECK(run_until(&hopeless.done, 2000));
    CHECK_INT(fetch_status(hopeless.fetch), LN_EDISCONNECTED);
    fetch_free(hopeless.fetch);
    broker_up = false;
    CHECK_INT(broker_restart(broker, on_ready, NULL), LN_OK);
    CHECK(run_until(&broker_up, 10000));
    CHECK(wait_connected(true));
    put(2);
    CHECK(run_until(&got.done, 5000));
    CHECK(run_until(&during.done, 5000));
    CHECK_INT(fetch_count(got.fetch), 2);
    CHECK_INT(fetch_count(during.fetch), 1);
    acknowledge(&got);
    acknowledge(&during);
    pull_close(pull);
}

/* ---- tests: what this server does not say ---- */

/* Answers requests for messages in place of a server. Its messages have no reply subject: the
 * server lets nobody else use those of JetStream. */
static struct fake {
    struct link_sub *requests;
    int asked;
    char replies[8][LINK_INBOX_SIZE];
    char bodies[8][192];
    void (*answer)(struct fake *fake);
} fake;

static void on_fake_request(void *owner, struct message *msg) {
    struct fake *f = owner;
    int at = f->asked++ % 8;
    snprintf(f->replies[at], sizeof(f->replies[at]), "%s", msg->reply);
    snprintf(f->bodies[at], sizeof(f->bodies[at]), "%.*s", (int)msg->len, msg->data);
    message_free(msg);
    f->answer(f);
}

static struct pull *open_fake(void (*do_answer)(struct fake *)) {
    struct pull *pull = NULL;
    memset(&fake, 0, sizeof(fake));
    fake.answer = do_answer;
    link_subscribe(link_, "FAKE.CONSUMER.MSG.NEXT.S.c", NULL, on_fake_request, NULL, &fake,
                   &fake.requests);
    if (pull_open(&pull, link_, "FAKE", "S", "c") < 0)
        abort();
    return pull;
}

static void close_fake(struct pull *pull) {
    pull_close(pull);
    link_unsubscribe(fake.requests);
}

static void say(const char *to, const char *status, const char *text) {
    const struct link_header headers[] = {{"Status", status}, {"Description", text}};
    link_publish(link_, &(struct link_out){
                            .subject = to, .data = "", .headers = headers, .header_count = 2});
}

static void deliver(const char *to) {
    link_publish(link_, &(struct link_out){.subject = to, .data = "x", .len = 1});
}

static void answer_moved_then_data(struct fake *f) {
    if (f->asked == 1)
        say(f->replies[0], "409", "Leadership Change");
    else
        deliver(f->replies[1]);
}

static void asks_again_after_a_leadership_change(void) {
    struct pull *pull = open_fake(answer_moved_then_data);
    struct got got;
    CHECK_INT(start(pull, &got, (struct fetch_options){.batch = 1, .timeout_ms = 3000}), LN_OK);
    CHECK(run_until(&got.done, 2000));
    CHECK_INT(fetch_status(got.fetch), LN_OK);
    CHECK_INT(fetch_count(got.fetch), 1);
    CHECK_INT(fake.asked, 2);
    CHECK(strcmp(fake.replies[0], fake.replies[1]) != 0);
    acknowledge(&got);
    close_fake(pull);
}

static void answer_outdated(struct fake *f) {
    if (f->asked == 1) {
        say(f->replies[0], "409", "Server Shutdown");
        return;
    }
    say(f->replies[0], "409", "Consumer Deleted");
    deliver(f->replies[1]);
}

static void word_about_an_earlier_request_is_ignored(void) {
    struct pull *pull = open_fake(answer_outdated);
    struct got got;
    CHECK_INT(start(pull, &got, (struct fetch_options){.batch = 1, .timeout_ms = 3000}), LN_OK);
    CHECK(run_until(&got.done, 2000));
    CHECK_INT(fetch_status(got.fetch), LN_OK);
    CHECK_INT(fetch_count(got.fetch), 1);
    acknowledge(&got);
    close_fake(pull);
}

static void answer_refused(struct fake *f) {
    say(f->replies[f->asked - 1], "400", "Bad Request - heartbeat value too large");
}

static void answer_too_much(struct fake *f) {
    for (int i = 0; i < 3; i++)
        deliver(f->replies[0]);
}

static void a_message_too_many_is_not_kept(void) {
    struct pull *pull = open_fake(answer_too_much);
    struct got got;
    CHECK_INT(start(pull, &got, (struct fetch_options){.batch = 2, .timeout_ms = 3000}), LN_OK);
    CHECK(run_until(&got.done, 2000));
    run_for(50);
    CHECK_INT(fetch_count(got.fetch), 2);
    fetch_taken(got.fetch);
    fetch_free(got.fetch);
    deliver(fake.replies[0]); /* on an inbox that nobody uses at the moment */
    run_for(50);
    fake.answer = answer_refused;
    CHECK_INT(start(pull, &got, (struct fetch_options){.batch = 2, .timeout_ms = 3000}), LN_OK);
    CHECK(run_until(&got.done, 2000));
    CHECK_INT(fetch_count(got.fetch), 0);
    fetch_free(got.fetch);
    close_fake(pull);
}

static void a_refusal_ends_a_fetch(void) {
    struct pull *pull = open_fake(answer_refused);
    struct got got;
    CHECK_INT(start(pull, &got, (struct fetch_options){.batch = 2, .timeout_ms = 3000}), LN_OK);
    CHECK(run_until(&got.done, 2000));
    CHECK_INT(fetch_status(got.fetch), LN_EJETSTREAM);
    CHECK_STR(fetch_text(got.fetch), "Bad Request - heartbeat value too large");
    fetch_free(got.fetch);
    close_fake(pull);
}

static void answer_nothing(struct fake *f) {
    (void)f;
}

static void requests_say_what_was_asked(void) {
    struct pull *pull = open_fake(answer_nothing);
    struct got got;
    struct fetch_options options = {.batch = 3, .timeout_ms = 20000, .max_bytes = 1000};
    CHECK_INT(start(pull, &got, options), LN_OK);
    run_for(50);
    fetch_free(got.fetch);
    CHECK(strstr(fake.bodies[0], "\"batch\":3,\"expires\":19") != NULL);
    CHECK(strstr(fake.bodies[0], "\"idle_heartbeat\":5000000000,\"max_bytes\":1000}") != NULL);
    options = (struct fetch_options){.batch = 1, .timeout_ms = 2000, .no_wait = true};
    CHECK_INT(start(pull, &got, options), LN_OK);
    run_for(50);
    fetch_free(got.fetch);
    CHECK_STR(fake.bodies[1], "{\"batch\":1,\"no_wait\":true}");
    options = (struct fetch_options){.batch = 1, .timeout_ms = 100, .heartbeat_ms = 5000};
    CHECK_INT(start(pull, &got, options), LN_OK);
    CHECK(run_until(&got.done, 1000));
    CHECK_INT(fetch_status(got.fetch), LN_ECONSUMER_LOST);
    CHECK(strstr(fake.bodies[2], "\"expires\":90000000,\"idle_heartbeat\":45000000}") != NULL);
    fetch_free(got.fetch);
    close_fake(pull);
}

/* Newer servers say 503 for a consumer that is not there. */
static void absent_for_long_is_lost(void) {
    struct pull *pull = NULL;
    struct got got;
    CHECK_INT(pull_open(&pull, link_, "NOBODY", "S", "c"), LN_OK);
    CHECK_INT(start(pull, &got, (struct fetch_options){.batch = 1, .timeout_ms = 5000}), LN_OK);
    CHECK(run_until(&got.done, 3000));
    CHECK_INT(fetch_status(got.fetch), LN_ECONSUMER_LOST);
    CHECK(fetch_silent(got.fetch));
    fetch_free(got.fetch);
    pull_close(pull);
}

static void refuses_what_cannot_be_asked(void) {
    struct pull *pull = NULL;
    struct got got;
    CHECK_INT(pull_open(&pull, link_, "$JS.API", "a.b", "c"), LN_EINVAL);
    CHECK_INT(pull_open(&pull, link_, "$JS.API", "a", ""), LN_EINVAL);
    CHECK_INT(pull_open(&pull, link_, "$JS API", "a", "c"), LN_EINVAL);
    CHECK_INT(pull_open(&pull, link_, "$JS.API", "a", "c"), LN_OK);
    CHECK_INT(start(pull, &got, (struct fetch_options){.batch = 0, .timeout_ms = 1}),
              LN_EINVAL);
    pull_close(pull);
}

static void pub_acks_are_scanned(void) {
    struct js_pub_ack ack;
    const char *text = "{\"stream\":\"ORDERS\", \"seq\":6,\"duplicate\": true}";
    CHECK(js_scan_pub_ack(text, strlen(text), &ack));
    CHECK(ack.stream_len == 6 && memcmp(ack.stream, "ORDERS", 6) == 0);
    CHECK(ack.seq == 6 && ack.duplicate && ack.domain == NULL);
    text = "{\"seq\":1,\"domain\":\"hub\",\"stream\":\"S\"}";
    CHECK(js_scan_pub_ack(text, strlen(text), &ack));
    CHECK(ack.domain_len == 3 && !ack.duplicate);
    static const char *const others[] = {
        "",
        "{}",
        "{",
        "[]",
        "{\"stream\":\"S\"}",
        "{\"stream\":\"S\",\"seq\":1",
        "{\"stream\":\"\",\"seq\":1}",
        "{\"stream\":\"S\",\"seq\":0}",
        "{\"stream\":\"S\",\"seq\":-1}",
        "{\"stream\":\"S\",\"seq\":1.5}",
        "{\"stream\":\"S\",\"seq\":1}x",
        "{\"stream\":\"S\\u0041\",\"seq\":1}",
        "{\"stream\":\"S\",\"seq\":1234567890123456789}",
        "{\"stream\":\"S\",\"seq\":99999999999999999999999999999999999999}",
        "{\"error\":{\"code\":400},\"stream\":\"S\",\"seq\":1}",
        "{\"stream\":\"S\",\"seq\":1,\"duplicate\":false}",
    };
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        CHECK(!js_scan_pub_ack(others[i], strlen(others[i]), &ack));
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    RUN(names);
    RUN(reply_version_1);
    RUN(reply_version_2);
    RUN(reply_garbage);
    RUN(words);
    RUN(pub_acks_are_scanned);
    nats_Open(-1);
    RUN(data_that_looks_like_a_word);
    if (!open_all()) {
        printf("# skipped: no nats-server\n");
        return test_failed_count == 0 ? 1 : test_end();
    }
    RUN(full_batches_share_an_inbox);
    RUN(partial_batch_ends_by_time);
    RUN(no_wait_ends_at_once);
    RUN(max_bytes_ends_a_fetch);
    RUN(deleted_consumer_is_lost);
    RUN(missing_heartbeats_are_noticed);
    RUN(limits_of_the_consumer_are_told);
    RUN(too_many_waiting_requests);
    RUN(concurrent_fetches);
    RUN(cancelled_fetch_gives_back);
    RUN(closing_ends_fetches);
    RUN(asks_again_after_a_leadership_change);
    RUN(word_about_an_earlier_request_is_ignored);
    RUN(a_message_too_many_is_not_kept);
    RUN(a_refusal_ends_a_fetch);
    RUN(requests_say_what_was_asked);
    RUN(absent_for_long_is_lost);
    RUN(refuses_what_cannot_be_asked);
    RUN(server_restart_in_the_middle);
    close_all();
    return test_end();
}
