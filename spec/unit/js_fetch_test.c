/* SPDX-License-Identifier: Apache-2.0 */
/* Fetching from a real nats-server. */
#include "host/jetstream/pull.h"

#include "spec/unit/jetstream.h"

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
    CHECK_INT(start(pull, &got, (struct fetch_options){.batch = 5, .timeout_ms = 1500}), LN_OK);
    CHECK(run_until(&got.done, 3000));
    CHECK_INT(fetch_status(got.fetch), LN_OK);
    CHECK_INT(fetch_count(got.fetch), 2);
    CHECK(got.at - begin < 2500);
    acknowledge(&got);
    struct fetch_options patient = {.batch = 5, .timeout_ms = 1200, .heartbeat_ms = 400};
    CHECK_INT(start(pull, &got, patient), LN_OK); /* the server's last word may be late */
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
    CHECK(consumer_has("\"num_waiting\":1"));
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

/* It is the server's life that is watched: on real time, whatever clock the deadline is of. */
static void heartbeats_count_on_real_time(void) {
    CHECK(make("", 0));
    struct clock *manual;
    CHECK_INT(clock_open(&manual, &loop, true), LN_OK);
    struct pull *pull = open_pull();
    struct got got = {0};
    struct fetch_options options = {.batch = 1, .timeout_ms = 20000, .heartbeat_ms = 150};
    CHECK_INT(pull_fetch(pull, manual, &options, on_done, &got, &got.fetch), LN_OK);
    run_for(700);
    CHECK(!got.done);
    clock_step(manual, clock_now(manual) + 10000);
    run_for(50);
    CHECK(!got.done); /* time that passed on the manual clock is no silence */
    broker_pause(broker);
    CHECK_SOFT(run_until(&got.done, 2000));
    broker_resume(broker);
    CHECK_INT(fetch_status(got.fetch), LN_ECONSUMER_LOST);
    CHECK(fetch_silent(got.fetch));
    fetch_free(got.fetch);
    pull_close(pull);
    clock_close(manual);
}

/* Timers run before sockets are read: what has come meanwhile is no silence. */
static void a_busy_loop_is_no_silence(void) {
    CHECK(make("", 0));
    struct pull *pull = open_pull();
    struct got got;
    struct fetch_options options = {.batch = 1, .timeout_ms = 20000, .heartbeat_ms = 100};
    CHECK_INT(start(pull, &got, options), LN_OK);
    run_for(150);
    for (int i = 0; i < 3; i++) {
        uv_sleep(500);
        run_for(30);
        CHECK(!got.done);
    }
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
    CHECK_INT(start(pull, &first, (struct fetch_options){.batch = 1, .timeout_ms = 9000}),
              LN_OK);
    CHECK(consumer_has("\"num_waiting\":1"));
    CHECK_INT(start(pull, &second, (struct fetch_options){.batch = 1, .timeout_ms = 500}),
              LN_OK);
    CHECK_INT(start(pull, &third, (struct fetch_options){.batch = 1, .timeout_ms = 9000}),
              LN_OK);
    CHECK(run_until(&second.done, 5000));
    CHECK_INT(fetch_status(second.fetch), LN_EJETSTREAM);
    CHECK(strstr(fetch_text(second.fetch), "MaxWaiting") != NULL);
    put(1);
    CHECK(run_until(&first.done, 5000));
    CHECK_INT(fetch_count(first.fetch), 1);
    acknowledge(&first);
    CHECK(consumer_has("\"num_waiting\":1")); /* the third has asked again */
    put(1);
    CHECK(run_until(&third.done, 5000));
    CHECK_INT(fetch_count(third.fetch), 1);
    acknowledge(&third);
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
    CHECK(consumer_has("\"num_waiting\":3"));
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
    CHECK(wait_count(&got, 2));
    CHECK(!got.done);
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
    CHECK(wait_count(&got, 1));
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

static void run_all(void) {
    RUN(full_batches_share_an_inbox);
    RUN(partial_batch_ends_by_time);
    RUN(no_wait_ends_at_once);
    RUN(max_bytes_ends_a_fetch);
    RUN(deleted_consumer_is_lost);
    RUN(missing_heartbeats_are_noticed);
    RUN(heartbeats_count_on_real_time);
    RUN(a_busy_loop_is_no_silence);
    RUN(limits_of_the_consumer_are_told);
    RUN(too_many_waiting_requests);
    RUN(concurrent_fetches);
    RUN(cancelled_fetch_gives_back);
    RUN(closing_ends_fetches);
    RUN(server_restart_in_the_middle);
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    return test_with_server(run_all);
}
