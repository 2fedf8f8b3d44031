/* SPDX-License-Identifier: Apache-2.0 */
/* Fetches and the answers that a healthy server does not give: somebody else gives them. */
#include "host/jetstream/pull.h"

#include "spec/unit/jetstream.h"

/* Answers requests for messages in place of a server. The messages are those of a stream, which
 * it asks the server for: nobody else may use the reply subjects of JetStream. */
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

static bool wait_asked(int times) {
    for (int i = 0; i < 300 && fake.asked < times; i++)
        run_for(10);
    return fake.asked == times;
}

static struct pull *open_fake(void (*do_answer)(struct fake *)) {
    struct pull *pull = NULL;
    char subject[64];
    if (!make("", 6))
        abort();
    memset(&fake, 0, sizeof(fake));
    fake.answer = do_answer;
    snprintf(subject, sizeof(subject), "FAKE.CONSUMER.MSG.NEXT.%s.c", stream);
    link_subscribe(link_, subject, NULL, on_fake_request, NULL, &fake, &fake.requests);
    if (pull_open(&pull, link_, real_clock, "FAKE", stream, "c") < 0)
        abort();
    return pull;
}

static void close_fake(struct pull *pull) {
    pull_close(pull);
    link_unsubscribe(fake.requests);
}

static void say(const char *to, const char *status, const char *text) {
    say_status(to, status, text);
}

static void deliver(const char *to) {
    char subject[64];
    snprintf(subject, sizeof(subject), "$JS.API.CONSUMER.MSG.NEXT.%s.c", stream);
    link_publish(link_,
                 &(struct link_out){.subject = subject, .reply = to, .data = "1", .len = 1});
}

/* What any client could send, if it knew where to. */
static void stray(const char *to, const char *reply) {
    link_publish(link_,
                 &(struct link_out){.subject = to, .reply = reply, .data = "x", .len = 1});
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

static void a_status_of_an_earlier_request_is_ignored(void) {
    struct pull *pull = open_fake(answer_outdated);
    struct got got;
    CHECK_INT(start(pull, &got, (struct fetch_options){.batch = 1, .timeout_ms = 3000}), LN_OK);
    CHECK(run_until(&got.done, 2000));
    CHECK_INT(fetch_status(got.fetch), LN_OK);
    CHECK_INT(fetch_count(got.fetch), 1);
    acknowledge(&got);
    close_fake(pull);
}

static void answer_with_strays(struct fake *f) {
    stray(f->replies[0], NULL);
    stray(f->replies[0], "elsewhere");
    deliver(f->replies[0]);
}

static void what_comes_from_no_consumer_is_not_kept(void) {
    struct pull *pull = open_fake(answer_with_strays);
    struct got got;
    CHECK_INT(start(pull, &got, (struct fetch_options){.batch = 1, .timeout_ms = 3000}), LN_OK);
    CHECK(run_until(&got.done, 2000));
    CHECK_INT(fetch_status(got.fetch), LN_OK);
    CHECK_INT(fetch_count(got.fetch), 1);
    struct js_meta meta;
    CHECK(js_parse_reply(fetch_msg(got.fetch, 0)->reply, &meta));
    CHECK_INT(meta.stream_seq, 1);
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
    fetch_delivered(got.fetch);
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
    CHECK(wait_asked(1));
    fetch_free(got.fetch);
    CHECK(strstr(fake.bodies[0], "\"batch\":3,\"expires\":19") != NULL);
    CHECK(strstr(fake.bodies[0], "\"idle_heartbeat\":5000000000,\"max_bytes\":1000}") != NULL);
    options = (struct fetch_options){.batch = 1, .timeout_ms = 2000, .no_wait = true};
    CHECK_INT(start(pull, &got, options), LN_OK);
    CHECK(wait_asked(2));
    fetch_free(got.fetch);
    CHECK_STR(fake.bodies[1], "{\"batch\":1,\"no_wait\":true}");
    options = (struct fetch_options){.batch = 1, .timeout_ms = 100, .heartbeat_ms = 5000};
    CHECK_INT(start(pull, &got, options), LN_OK);
    CHECK(run_until(&got.done, 1000));
    CHECK_INT(fetch_status(got.fetch), LN_ECONSUMER_LOST);
    const char *expires = strstr(fake.bodies[2], "\"expires\":");
    long long ends = 0, heartbeat = 0; /* nanoseconds; the start may have been slow */
    CHECK(expires != NULL &&
          sscanf(expires, "\"expires\":%lld,\"idle_heartbeat\":%lld}", &ends, &heartbeat) == 2);
    CHECK(ends > 0 && ends <= 90000000);
    CHECK(heartbeat <= ends / 2 && heartbeat > ends / 2 - 1000000);
    fetch_free(got.fetch);
    close_fake(pull);
}

/* Newer servers say 503 for a consumer that is not there. */
static void absent_for_long_is_lost(void) {
    struct pull *pull = NULL;
    struct got got;
    CHECK_INT(pull_open(&pull, link_, real_clock, "NOBODY", "S", "c"), LN_OK);
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
    CHECK_INT(pull_open(&pull, link_, real_clock, "$JS.API", "a.b", "c"), LN_EINVAL);
    CHECK_INT(pull_open(&pull, link_, real_clock, "$JS.API", "a", ""), LN_EINVAL);
    CHECK_INT(pull_open(&pull, link_, real_clock, "$JS API", "a", "c"), LN_EINVAL);
    CHECK_INT(pull_open(&pull, link_, real_clock, "$JS.API", "a", "c"), LN_OK);
    CHECK_INT(start(pull, &got, (struct fetch_options){.batch = 0, .timeout_ms = 1}),
              LN_EINVAL);
    pull_close(pull);
}

static void run_all(void) {
    RUN(asks_again_after_a_leadership_change);
    RUN(a_status_of_an_earlier_request_is_ignored);
    RUN(what_comes_from_no_consumer_is_not_kept);
    RUN(a_message_too_many_is_not_kept);
    RUN(a_refusal_ends_a_fetch);
    RUN(requests_say_what_was_asked);
    RUN(absent_for_long_is_lost);
    RUN(refuses_what_cannot_be_asked);
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    return test_with_server(run_all);
}
