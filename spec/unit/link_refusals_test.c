/* SPDX-License-Identifier: Apache-2.0 */
/* What the server refuses is told to whom it concerns, in the order of what was sent. */
#include "spec/unit/link.h"

#define USERS                                                                                  \
    "max_control_line: 8192\n"                                                                 \
    "authorization { users = ["                                                                \
    "{ user: u, password: p, permissions: { publish: { deny: [\"no.>\"] },"                    \
    "  subscribe: { deny: [\"no.>\"] } } },"                                                   \
    "{ user: q, password: p, permissions: {"                                                   \
    "  subscribe: { allow: [\"_INBOX.>\", \"work qq\"] } } },"                                 \
    "{ user: x, password: p, permissions: { subscribe: { deny: [\"_INBOX.>\"] } } } ] }"

static bool open_as(struct peer *p, const char *user, uint32_t max_line) {
    struct link_options o = {.user = user, .password = "p", .max_control_line = max_line};
    return peer_open_with(p, &o, server.url) == LN_OK && peer_wait(p, LINK_CONNECTED, 10000);
}

/* "no." and as many bytes as it takes. */
static char *long_subject(size_t len) {
    static char subject[8192];
    memset(subject, 's', len);
    memcpy(subject, "no.", 3);
    subject[len] = '\0';
    return subject;
}

/* ---- in stream order ---- */

struct checked_flush {
    struct caller caller; /* first */
    const struct inbox *sub;
    int sub_errors, pub_errors; /* when the flush ended */
};

static void on_checked_flush(struct link_call *call, int status, struct message *reply) {
    struct checked_flush *f = (struct checked_flush *)call;
    f->sub_errors = f->sub->errors;
    f->pub_errors = a.errors;
    on_result(call, status, reply);
}

/* A SUB and a PUB that are refused, and what is known of it once the flush ends. */
static void check_refused_before_flush(const char *subject, const char *queue, int rounds) {
    struct link_sub_options o = {.queue = queue};
    for (int i = 0; i < rounds; i++) {
        struct inbox in = {0};
        struct checked_flush f = {.sub = &in};
        a.errors = a.error_status = 0;
        CHECK_INT(subscribe(&in, a.link, subject, &o), LN_OK);
        CHECK_INT(publish(a.link, subject, "x"), LN_OK);
        CHECK_INT(link_flush(a.link, &f.caller.call, real_clock, 60000, on_checked_flush),
                  LN_OK);
        CHECK(run_count(&f.caller.results, 1, 60000));
        CHECK_INT(f.caller.status, LN_OK);
        CHECK_INT(f.sub_errors, 1);
        CHECK_INT(in.error_status, LN_EPERMISSION);
        CHECK_INT(f.pub_errors, 1);
        CHECK_INT(a.error_status, LN_EPERMISSION);
        link_unsubscribe(in.sub);
    }
    CHECK_INT(a.states, 1);
}

WITH_SERVER(refusals_are_told_before_a_flush_ends, USERS) {
    CHECK(open_as(&a, "u", 0));
    check_refused_before_flush("no.way", NULL, 1000);
    check_refused_before_flush("no.way", "qq", 1000);
}

WITH_SERVER(refusals_of_long_subjects_are_told_too, USERS) {
    CHECK(open_as(&a, "u", 8192));
    check_refused_before_flush(long_subject(300), NULL, 100);
    check_refused_before_flush(long_subject(4000), NULL, 100);
    check_refused_before_flush(long_subject(4000), "qq", 100);
}

/* Go writes them as \u00a0 and the like. */
WITH_SERVER(refusals_of_subjects_that_are_not_printed_are_told_too, USERS) {
    CHECK(open_as(&a, "u", 0));
    check_refused_before_flush("no.a\xc2\xa0"
                               "b",
                               NULL, 1);
    check_refused_before_flush("no.\xe2\x80\x8d", "q\"\\", 1);
    check_refused_before_flush("no.\xff\xfe\"\\", NULL, 1);
}

WITH_SERVER(a_queue_is_refused_without_the_others, USERS) {
    struct link_sub_options qq = {.queue = "qq"}, other = {.queue = "other"};
    struct inbox plain = {0}, queued = {0}, wrong = {0};
    CHECK(open_as(&a, "q", 0));
    CHECK_INT(subscribe(&queued, a.link, "work", &qq), LN_OK);
    CHECK_INT(subscribe(&wrong, a.link, "work", &other), LN_OK);
    CHECK_INT(subscribe(&plain, a.link, "work", NULL), LN_OK);
    CHECK_INT(flush(a.link), LN_OK);
    CHECK_INT(plain.errors, 1);
    CHECK_INT(wrong.errors, 1);
    CHECK_INT(queued.errors, 0);
    CHECK_INT(publish(a.link, "work", "1"), LN_OK);
    CHECK_INT(flush(a.link), LN_OK);
    CHECK_INT(queued.count, 1);
    CHECK_INT(plain.count + wrong.count, 0);
}

/* The server takes them away from a connection that goes on. */
WITH_SERVER(permissions_that_are_taken_away_are_told,
            "authorization { user: u, password: p }") {
    static const char *const less =
        "authorization { users = [{ user: u, password: p, permissions: {"
        " subscribe: { deny: [\"work\"] } } }] }";
    struct link_sub_options qq = {.queue = "qq"};
    struct inbox in = {0}, queued = {0}, other = {0};
    CHECK(open_as(&a, "u", 0));
    CHECK_INT(subscribe(&in, a.link, "work", NULL), LN_OK);
    CHECK_INT(subscribe(&queued, a.link, "work", &qq), LN_OK);
    CHECK_INT(subscribe(&other, a.link, "play", NULL), LN_OK);
    CHECK_INT(flush(a.link), LN_OK);
    server_configure(&server, less);
    kill(server.pid, SIGHUP);
    CHECK(run_count(&in.errors, 1, 30000));
    CHECK(run_count(&queued.errors, 1, 30000));
    CHECK_INT(in.error_status, LN_EPERMISSION);
    CHECK_INT(other.errors, 0);
}

WITH_SERVER(too_many_tokens_are_refused, "max_subscription_tokens: 3") {
    struct inbox in = {0}, fine = {0};
    struct link_sub_options qq = {.queue = "qq"};
    CHECK(peer_open(&a, server.url));
    CHECK_INT(subscribe(&fine, a.link, "a.b.c", &qq), LN_OK);
    CHECK_INT(subscribe(&in, a.link, "a.b.c.d", &qq), LN_OK);
    CHECK_INT(flush(a.link), LN_OK);
    CHECK_INT(in.errors, 1);
    CHECK_INT(in.error_status, LN_EPERMISSION);
    CHECK_INT(fine.errors, 0);
    CHECK_INT(a.errors, 0);
    CHECK_INT(a.states, 1);
}

/* ---- too long ---- */

static int reply_status;

static void on_asked(void *owner, struct message *msg) {
    struct inbox *in = owner;
    struct link_out out = {
        .subject = msg->reply, .data = msg->data, .len = msg->len, .checked = true};
    reply_status = link_publish(in->link, &out);
    in->count++;
    message_free(msg);
}

/* Another client may send a reply subject that is longer than we may send: the server would
 * close the connection. */
WITH_SERVER(a_reply_subject_may_be_too_long, "max_control_line: 16384") {
    struct inbox in = {0};
    static char reply[6001];
    memset(reply, 'r', sizeof(reply) - 1);
    CHECK(peer_open(&a, server.url));
    struct link_options o = {.max_control_line = 16384};
    CHECK_INT(peer_open_with(&b, &o, server.url), LN_OK);
    CHECK(peer_wait(&b, LINK_CONNECTED, 10000));
    CHECK_INT(subscribe(&in, a.link, "ask", NULL), LN_OK);
    link_sub_retarget(in.sub, on_asked, on_sub_error, &in);
    CHECK_INT(flush(a.link), LN_OK);
    struct link_out out = {.subject = "ask", .reply = reply, .data = "x", .len = 1};
    CHECK_INT(link_publish(b.link, &out), LN_OK);
    CHECK(run_count(&in.count, 1, 10000));
    CHECK_INT(reply_status, LN_ETOOLARGE);
    reply[3000] = '\0';
    CHECK_INT(link_publish(b.link, &out), LN_OK);
    CHECK(run_count(&in.count, 2, 10000));
    CHECK_INT(reply_status, LN_OK);
    CHECK_INT(flush(a.link), LN_OK);
    CHECK_INT(a.states, 1);
}

WITH_SERVER(a_line_may_be_as_long_as_the_server_takes, "max_control_line: 4096") {
    static char subject[4200];
    struct inbox in = {0};
    int longest = 0;
    CHECK(peer_open(&a, server.url));
    memset(subject, 's', sizeof(subject) - 1);
    for (int len = 4000; len < 4150; len++) {
        subject[len] = '\0';
        int rc = publish(a.link, subject, "x");
        subject[len] = 's';
        CHECK(rc == LN_OK || rc == LN_ETOOLARGE);
        CHECK(rc == LN_ETOOLARGE || longest == len - 1 || longest == 0);
        longest = rc == LN_OK ? len : longest;
    }
    CHECK(longest > 4070 && longest < 4096);
    CHECK_INT(flush(a.link), LN_OK);
    subject[4090] = '\0';
    CHECK_INT(subscribe(&in, a.link, subject, NULL), LN_ETOOLARGE);
    subject[4050] = '\0';
    CHECK_INT(subscribe(&in, a.link, subject, NULL), LN_OK);
    CHECK_INT(publish(a.link, subject, "x"), LN_OK);
    CHECK_INT(flush(a.link), LN_OK);
    CHECK_INT(in.count, 1);
    CHECK_INT(a.states, 1);
}

/* ---- replies ---- */

static void on_asked_503(void *owner, struct message *msg) {
    struct inbox *in = owner;
    struct link_header status = {"Status", "503"};
    struct link_out out = {.subject = msg->reply, .headers = &status, .header_count = 1};
    link_publish(in->link, &out);
    in->count++;
    message_free(msg);
}

/* A 503 of the server has it in its first line. */
WITH_SERVER(the_status_503_of_a_user_is_a_reply, NULL) {
    struct inbox in = {0};
    struct caller c, nobody;
    CHECK(peer_open(&a, server.url));
    CHECK_INT(subscribe(&in, a.link, "svc", NULL), LN_OK);
    link_sub_retarget(in.sub, on_asked_503, on_sub_error, &in);
    CHECK_INT(request(&c, a.link, "svc", "x", 10000), LN_OK);
    CHECK_INT(request(&nobody, a.link, "nobody", "x", 10000), LN_OK);
    CHECK(run_count(&c.results, 1, 20000));
    CHECK(run_count(&nobody.results, 1, 20000));
    CHECK_INT(c.status, LN_OK);
    CHECK_INT(c.replies, 1);
    CHECK_STR(c.data, "");
    CHECK_INT(nobody.status, LN_ENORESPONDERS);
    CHECK_INT(nobody.replies, 0);
}

/* Whether the refusal of the inbox is known already or still on its way. */
WITH_SERVER(a_refused_inbox_is_told, USERS) {
    struct caller before, after;
    struct link_options o = {.user = "x", .password = "p"};
    CHECK_INT(peer_open_with(&a, &o, server.url), LN_OK);
    while (!link_is_connected(a.link) && a.status == LN_OK)
        uv_run(&loop, UV_RUN_ONCE);
    CHECK_INT(request(&before, a.link, "svc", "x", 60000), LN_OK);
    CHECK(run_count(&before.results, 1, 20000));
    CHECK_INT(before.status, LN_EINBOX);
    CHECK_INT(request(&after, a.link, "svc", "x", 60000), LN_EINBOX);
    CHECK_INT(after.results, 0);
    CHECK_INT(a.error_status, LN_EINBOX);
    CHECK_INT(a.errors, 1);
    CHECK_INT(publish(a.link, "svc", "x"), LN_OK);
    CHECK_INT(flush(a.link), LN_OK);
    CHECK_INT(a.states, 1);
}

static void run_all(void) {
    RUN(refusals_are_told_before_a_flush_ends);
    RUN(refusals_of_long_subjects_are_told_too);
    RUN(refusals_of_subjects_that_are_not_printed_are_told_too);
    RUN(a_queue_is_refused_without_the_others);
    RUN(permissions_that_are_taken_away_are_told);
    RUN(too_many_tokens_are_refused);
    RUN(a_reply_subject_may_be_too_long);
    RUN(a_line_may_be_as_long_as_the_server_takes);
    RUN(the_status_503_of_a_user_is_a_reply);
    RUN(a_refused_inbox_is_told);
}

int main(int argc, char **argv) {
    return run_variants(argc, argv, run_all);
}
