/* SPDX-License-Identifier: Apache-2.0 */
/* Messages, subscriptions and requests. */
#include "spec/unit/link.h"

/* ---- messages ---- */

WITH_SERVER(echoes_with_headers, NULL) {
    struct inbox in = {0};
    CHECK(peer_open(&a, server.url));
    CHECK_INT(subscribe(&in, a.link, "e.*", NULL), LN_OK);
    struct link_header h[] = {{"X-Test", "one"}, {"X-Test", "two"}, {"B", "x"}};
    struct link_out out = {.subject = "e.x",
                           .reply = "r.s",
                           .data = "hello",
                           .len = 5,
                           .headers = h,
                           .header_count = 3};
    CHECK_INT(link_publish(a.link, &out), LN_OK);
    CHECK(run_count(&in.count, 1, 1000));
    CHECK_STR(in.subject, "e.x");
    CHECK_STR(in.reply, "r.s");
    CHECK_STR(in.data, "hello");
    CHECK_STR(in.header, "one");
}

WITH_SERVER(refuses_what_must_not_go_out, "max_payload: 1000") {
    CHECK(peer_open(&a, server.url));
    char big[2000];
    memset(big, 'x', sizeof(big));
    struct link_out out = {.subject = "a", .data = big, .len = 1001};
    CHECK_INT(link_publish(a.link, &out), LN_ETOOLARGE);
    out.len = 1000;
    CHECK_INT(link_publish(a.link, &out), LN_OK);
    out.len = 10;
    out.subject = "a b";
    CHECK_INT(link_publish(a.link, &out), LN_EINVAL);
    out.subject = "a.*";
    CHECK_INT(link_publish(a.link, &out), LN_EINVAL);
    out.subject = "a";
    out.reply = "x\r\nPUB y";
    CHECK_INT(link_publish(a.link, &out), LN_EINVAL);
    out.reply = NULL;
    struct link_header bad_value = {"A", "x\r\ny"}, bad_name = {"A:", "x"};
    out.headers = &bad_value;
    out.header_count = 1;
    CHECK_INT(link_publish(a.link, &out), LN_EINVAL);
    out.headers = &bad_name;
    CHECK_INT(link_publish(a.link, &out), LN_EINVAL);
    struct link_sub *sub;
    CHECK_INT(link_subscribe(a.link, "a..b", NULL, on_msg, NULL, NULL, &sub), LN_EINVAL);
    CHECK_INT(flush(a.link), LN_OK);
}

WITH_SERVER(queue_group_shares, NULL) {
    struct inbox one = {0}, two = {0};
    struct link_sub_options q = {.queue = "q"};
    CHECK(peer_open(&a, server.url));
    CHECK(peer_open(&b, server.url));
    CHECK_INT(subscribe(&one, a.link, "work", &q), LN_OK);
    CHECK_INT(subscribe(&two, b.link, "work", &q), LN_OK);
    CHECK_INT(flush(b.link), LN_OK);
    CHECK_INT(flush(a.link), LN_OK);
    for (int i = 0; i < 1000; i++)
        publish(a.link, "work", "x");
    for (int i = 0; i < 200 && one.count + two.count < 1000; i++)
        run_until(NULL, 5);
    CHECK_INT(one.count + two.count, 1000);
    CHECK(one.count > 100 && two.count > 100);
}

WITH_SERVER(loses_nothing_of_100k, NULL) {
    struct inbox in = {0};
    CHECK(peer_open(&a, server.url));
    CHECK_INT(subscribe(&in, a.link, "n", NULL), LN_OK);
    for (int i = 0; i < 100000; i++) {
        CHECK_INT(publish_number(a.link, "n", i), LN_OK);
        if (i % 1000 == 0)
            uv_run(&loop, UV_RUN_NOWAIT);
    }
    CHECK(run_count(&in.count, 100000, 20000));
    CHECK(in.ordered);
}

/* ---- pause, overflow, unsubscribe, drain ---- */

WITH_SERVER(pauses_and_resumes, NULL) {
    struct inbox in = {0};
    CHECK(peer_open(&a, server.url));
    CHECK_INT(subscribe(&in, a.link, "p", NULL), LN_OK);
    link_sub_pause(in.sub);
    for (int i = 0; i < 5000; i++)
        publish_number(a.link, "p", i);
    CHECK_INT(flush(a.link), LN_OK);
    CHECK_INT(in.count, 0);
    CHECK_INT(link_sub_pending(in.sub), 5000);
    link_sub_resume(in.sub);
    CHECK_INT(in.count, 0);
    publish_number(a.link, "p", 5000);
    CHECK(run_count(&in.count, 5001, 1000));
    CHECK(in.ordered);
    CHECK_INT(link_sub_pending(in.sub), 0);
}

static void pause_self(struct inbox *in) {
    link_sub_pause(in->sub);
}

WITH_SERVER(pauses_inside_a_message, NULL) {
    struct inbox in = {.then = pause_self};
    CHECK(peer_open(&a, server.url));
    CHECK_INT(subscribe(&in, a.link, "p", NULL), LN_OK);
    for (int i = 0; i < 5; i++)
        publish_number(a.link, "p", i);
    CHECK_INT(flush(a.link), LN_OK);
    for (int i = 1; i < 5; i++) {
        CHECK_INT(in.count, i);
        CHECK_INT(link_sub_pending(in.sub), 5 - i);
        link_sub_resume(in.sub);
        run_until(NULL, 10);
    }
    CHECK_INT(in.count, 5);
    CHECK(in.ordered);
}

static void publish_many(struct link *link, const char *subject, int count) {
    for (int i = 0; i < count; i++)
        publish_number(link, subject, i);
    CHECK_INT(flush(link), LN_OK);
}

/* The first one at once, those of the next second together. */
WITH_SERVER(drops_are_told_once_a_second, NULL) {
    struct inbox in = {0};
    struct link_sub_options o = {.pending_msgs = 100};
    struct link_sub_stats queue;
    struct link_stats stats;
    CHECK(peer_open(&a, server.url));
    CHECK_INT(subscribe(&in, a.link, "p", &o), LN_OK);
    link_sub_pause(in.sub);
    uint64_t begun = uv_hrtime();
    publish_many(a.link, "p", 150);
    CHECK_INT(in.errors, 1);
    CHECK_INT(in.error_status, LN_EFULL);
    publish_many(a.link, "p", 50);
    link_sub_get_stats(in.sub, &queue);
    CHECK_INT(queue.waiting, 100);
    CHECK_INT(queue.dropped, 100);
    if (uv_hrtime() - begun < 900000000) { /* on a busy machine the second may be over */
        CHECK_INT(in.errors, 1);
        CHECK_INT(queue.untold, 99);
        CHECK(queue.untold_bytes > 99);
    }
    CHECK(run_count(&in.errors, 2, 3000));
    link_sub_get_stats(in.sub, &queue);
    CHECK_INT(queue.untold, 0);
    link_get_stats(a.link, &stats);
    CHECK_INT(stats.dropped, 100);
    link_sub_resume(in.sub);
    CHECK(run_count(&in.count, 100, 1000));
    CHECK_INT(link_sub_pending(in.sub), 0);
}

WITH_SERVER(what_waits_is_bounded_in_bytes, NULL) {
    struct inbox in = {0};
    struct link_sub_options o = {.pending_bytes = 1000};
    struct link_sub_stats queue;
    static char big[3000];
    memset(big, 'x', sizeof(big) - 1);
    CHECK(peer_open(&a, server.url));
    CHECK_INT(subscribe(&in, a.link, "p", &o), LN_OK);
    link_sub_pause(in.sub);
    publish_many(a.link, "p", 1000);
    link_sub_get_stats(in.sub, &queue);
    CHECK(queue.waiting > 100 && queue.waiting < 500);
    CHECK(queue.bytes > 900 && queue.bytes <= 1000);
    CHECK_INT(queue.dropped + queue.waiting, 1000);
    int waiting = (int)queue.waiting;
    link_sub_resume(in.sub);
    CHECK(run_count(&in.count, waiting, 1000));
    /* One that is larger than all of that may wait alone. */
    link_sub_pause(in.sub);
    publish(a.link, "p", big);
    publish(a.link, "p", big);
    CHECK_INT(flush(a.link), LN_OK);
    CHECK_INT(link_sub_pending(in.sub), 1);
}

static void unsubscribe_self(struct inbox *in) {
    if (in->sub != NULL)
        link_unsubscribe(in->sub);
    in->sub = NULL;
}
static struct inbox *victims;
static void unsubscribe_others(struct inbox *in) {
    for (int i = 0; i < 3; i++)
        if (&victims[i] != in && victims[i].sub != NULL) {
            link_unsubscribe(victims[i].sub);
            victims[i].sub = NULL;
        }
    in->then = NULL;
}

WITH_SERVER(unsubscribes_inside_a_message, NULL) {
    struct inbox in = {.then = unsubscribe_self};
    CHECK(peer_open(&a, server.url));
    CHECK_INT(subscribe(&in, a.link, "u", NULL), LN_OK);
    for (int i = 0; i < 10; i++)
        publish(a.link, "u", "x");
    CHECK_INT(flush(a.link), LN_OK);
    CHECK_INT(in.count, 1);
    struct inbox three[3] = {{.then = unsubscribe_others},
                             {.then = unsubscribe_others},
                             {.then = unsubscribe_others}};
    victims = three;
    for (int i = 0; i < 3; i++)
        CHECK_INT(subscribe(&three[i], a.link, "v", NULL), LN_OK);
    for (int i = 0; i < 10; i++)
        publish(a.link, "v", "x");
    CHECK_INT(flush(a.link), LN_OK);
    CHECK_INT(three[0].count + three[1].count + three[2].count, 10);
    struct link_stats stats;
    link_get_stats(a.link, &stats);
    CHECK_INT(stats.subscriptions, 1);
}

static void close_link(struct inbox *in) {
    (void)in;
    if (a.link != NULL)
        link_close(a.link, 100, on_closed, &a);
    a.link = NULL;
}

WITH_SERVER(closes_inside_a_message, NULL) {
    struct inbox in = {.then = close_link};
    CHECK(peer_open(&a, server.url));
    CHECK_INT(subscribe(&in, a.link, "u", NULL), LN_OK);
    for (int i = 0; i < 10; i++)
        publish(a.link, "u", "x");
    CHECK(run_until(&a.closed, 2000));
    CHECK_INT(in.count, 1);
}

WITH_SERVER(drain_delivers_everything, NULL) {
    struct inbox in = {0};
    CHECK(peer_open(&a, server.url));
    CHECK(peer_open(&b, server.url));
    CHECK_INT(subscribe(&in, a.link, "d", NULL), LN_OK);
    CHECK_INT(flush(a.link), LN_OK);
    for (int i = 0; i < 20000; i++)
        publish_number(b.link, "d", i);
    CHECK_INT(flush(b.link), LN_OK);
    int before = in.count;
    link_sub_drain(in.sub, 2000, on_drained);
    publish_number(b.link, "d", -1);
    CHECK(run_count(&in.drained, 1, 3000));
    CHECK_INT(in.drained, 1);
    if (in.count != 20000)
        CHECK_INT(in.count, 20001); /* the last one raced with the UNSUB */
    (void)before;
    int after = in.count;
    publish(b.link, "d", "late");
    CHECK_INT(flush(b.link), LN_OK);
    run_until(NULL, 20);
    CHECK_INT(in.count, after);
}

WITH_SERVER(drain_of_a_paused_subscription_waits, NULL) {
    struct inbox in = {0};
    CHECK(peer_open(&a, server.url));
    CHECK_INT(subscribe(&in, a.link, "d", NULL), LN_OK);
    link_sub_pause(in.sub);
    for (int i = 0; i < 3000; i++)
        publish_number(a.link, "d", i);
    link_sub_drain(in.sub, 2000, on_drained);
    CHECK_INT(flush(a.link), LN_OK);
    CHECK_INT(in.drained, 0);
    CHECK_INT(link_sub_pending(in.sub), 3000);
    link_sub_resume(in.sub);
    CHECK(run_count(&in.drained, 1, 2000));
    CHECK_INT(in.count, 3000);
    CHECK(in.ordered);
}

/* ---- calls ---- */

WITH_SERVER(requests, NULL) {
    struct inbox in = {.then = echo};
    struct caller c;
    CHECK(peer_open(&a, server.url));
    CHECK_INT(subscribe(&in, a.link, "svc", NULL), LN_OK);
    CHECK_INT(request(&c, a.link, "svc", "ping", 1000), LN_OK);
    CHECK(run_count(&c.results, 1, 0) == false);
    CHECK(run_count(&c.replies, 1, 1000));
    CHECK_STR(c.data, "ping");
    CHECK_INT(c.status, LN_OK);
    CHECK_INT(c.results, 1);
}

WITH_SERVER(no_responders_find_their_call, NULL) {
    struct inbox in = {.then = echo};
    struct caller c[20];
    CHECK(peer_open(&a, server.url));
    CHECK_INT(subscribe(&in, a.link, "svc", NULL), LN_OK);
    for (int i = 0; i < 20; i++)
        CHECK_INT(request(&c[i], a.link, i % 3 == 0 ? "svc" : "nobody", "x", 1000), LN_OK);
    CHECK_INT(flush(a.link), LN_OK);
    run_until(NULL, 20);
    for (int i = 0; i < 20; i++) {
        CHECK_INT(c[i].results, 1);
        CHECK_INT(c[i].status, i % 3 == 0 ? LN_OK : LN_ENORESPONDERS);
    }
}

WITH_SERVER(requests_time_out_on_their_clock, NULL) {
    struct inbox in = {0};
    struct caller c, m;
    struct clock *manual;
    CHECK(peer_open(&a, server.url));
    CHECK_INT(subscribe(&in, a.link, "mute", NULL), LN_OK);
    CHECK_INT(clock_open(&manual, &loop, true), LN_OK);
    struct link_out out = {.subject = "mute"};
    memset(&m, 0, sizeof(m));
    CHECK_INT(link_request(a.link, &m.call, manual, &out, 5000, on_result), LN_OK);
    CHECK_INT(request(&c, a.link, "mute", "x", 50), LN_OK);
    CHECK(run_count(&c.results, 1, 1000));
    CHECK_INT(c.status, LN_ETIMEOUT);
    CHECK_INT(m.results, 0);
    while (clock_step(manual, clock_now(manual) + 4999))
        ;
    CHECK_INT(m.results, 0);
    clock_step(manual, clock_now(manual) + 1);
    CHECK_INT(m.results, 1);
    CHECK_INT(m.status, LN_ETIMEOUT);
    clock_close(manual);
}

WITH_SERVER(cancelled_calls_hear_nothing, NULL) {
    struct inbox in = {.then = echo};
    struct caller c;
    CHECK(peer_open(&a, server.url));
    CHECK_INT(subscribe(&in, a.link, "svc", NULL), LN_OK);
    CHECK_INT(request(&c, a.link, "svc", "x", 1000), LN_OK);
    link_call_cancel(&c.call);
    link_call_cancel(&c.call);
    CHECK_INT(flush(a.link), LN_OK);
    run_until(NULL, 20);
    CHECK_INT(in.count, 1);
    CHECK_INT(c.results + c.replies, 0);
}

WITH_SERVER(many_replies, NULL) {
    struct inbox in[3] = {{.then = echo}, {.then = echo}, {.then = echo}};
    struct caller c = {0};
    CHECK(peer_open(&a, server.url));
    for (int i = 0; i < 3; i++)
        CHECK_INT(subscribe(&in[i], a.link, "svc", NULL), LN_OK);
    struct link_out out = {.subject = "svc", .data = "x", .len = 1};
    c.link = a.link;
    CHECK_INT(link_request_many(a.link, &c.call, real_clock, &out, 100, on_result), LN_OK);
    CHECK(run_count(&c.results, 1, 1000));
    CHECK_INT(c.replies, 3);
    CHECK_INT(c.status, LN_ETIMEOUT);
    out.subject = "nobody";
    memset(&c, 0, sizeof(c));
    c.link = a.link;
    CHECK_INT(link_request_many(a.link, &c.call, real_clock, &out, 1000, on_result), LN_OK);
    CHECK(run_count(&c.results, 1, 500));
    CHECK_INT(c.status, LN_ENORESPONDERS);
}

WITH_SERVER(thousands_of_calls_in_flight, NULL) {
    enum { N = 5000 };
    struct inbox in = {.then = echo};
    struct caller *c = calloc(N, sizeof(*c));
    CHECK(peer_open(&a, server.url));
    CHECK_INT(subscribe(&in, a.link, "svc", NULL), LN_OK);
    char text[16];
    for (int i = 0; i < N; i++) {
        snprintf(text, sizeof(text), "%d", i);
        CHECK_INT(request(&c[i], a.link, "svc", text, 10000), LN_OK);
    }
    CHECK(run_count(&c[N - 1].replies, 1, 10000));
    for (int i = 0; i < N; i++) {
        snprintf(text, sizeof(text), "%d", i);
        CHECK_STR(c[i].data, text);
        CHECK_INT(c[i].results, 1);
    }
    free(c);
}

static void run_all(void) {
    RUN(echoes_with_headers);
    RUN(refuses_what_must_not_go_out);
    RUN(queue_group_shares);
    RUN(loses_nothing_of_100k);
    RUN(pauses_and_resumes);
    RUN(pauses_inside_a_message);
    RUN(drops_are_told_once_a_second);
    RUN(what_waits_is_bounded_in_bytes);
    RUN(unsubscribes_inside_a_message);
    RUN(closes_inside_a_message);
    RUN(drain_delivers_everything);
    RUN(drain_of_a_paused_subscription_waits);
    RUN(requests);
    RUN(no_responders_find_their_call);
    RUN(requests_time_out_on_their_clock);
    RUN(cancelled_calls_hear_nothing);
    RUN(many_replies);
    RUN(thousands_of_calls_in_flight);
}

int main(int argc, char **argv) {
    return run_variants(argc, argv, run_all);
}
