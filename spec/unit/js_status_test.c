/* SPDX-License-Identifier: Apache-2.0 */
/* JetStream on the wire: names, reply subjects, statuses and what they mean, PubAcks. */
#include "host/jetstream/status.h"

#include "host/base/status.h"
#include "host/jetstream/verdict.h"
#include "spec/unit/test.h"

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
    CHECK(js_parse_reply("$JS.ACK.hub.Xh4sh.ORDERS.work.3.9223372036854775807.2.1.0.rnd", &m));
    CHECK_MEM(m.domain.at, m.domain.len, "hub", 3);
    CHECK_MEM(m.stream.at, m.stream.len, "ORDERS", 6);
    CHECK_MEM(m.consumer.at, m.consumer.len, "work", 4);
    CHECK_INT(m.num_delivered, 3);
    CHECK_INT(m.stream_seq, INT64_MAX);
    CHECK(js_parse_reply("$JS.ACK._.h.S.c.1.2.3.4.5", &m));
    CHECK_INT(m.domain.len, 0);
}

static void reply_garbage(void) {
    static const char *const bad[] = {
        "",
        "$JS.ACK.",
        "$JS.ACK",
        "_INBOX.a.b.1.2.3.4.5.6",
        "$JS.ACK.P.w.1.4.5.6",                      /* 8 tokens */
        "$JS.ACK.a.P.w.1.4.5.6.7",                  /* 10 */
        "$JS.ACK.P.w.1.4.x.6.7",                    /* not a number */
        "$JS.ACK.P.w.1.4..6.7",                     /* empty */
        "$JS.ACK..w.1.4.5.6.7",                     /* no stream */
        "$JS.ACK.P.w.1.18446744073709551615.5.6.7", /* no integer of Lua */
        "$JS.ACK.P.w.9223372036854775808.4.5.6.7",
        "$JS.ACK.P.w.1.4.5.6.99999999999999999999999",
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

static void messages_of_consumers(void) {
    static const char ack[] = "$JS.ACK.S.c.1.2.3.4.5";
    CHECK(js_delivered("my.inbox", "orders.a", ack));
    CHECK(js_delivered("my.*", "orders.a", ack));
    CHECK(!js_delivered("my.inbox", "my.inbox", ack)); /* anybody may have published it */
    CHECK(!js_delivered("orders.>", "orders.a", ack));
    CHECK(!js_delivered("my.inbox", "orders.a", "$JS.API.STREAM.DELETE.S"));
}

static void answers(void) {
    static const struct {
        const char *subject;
        bool ok;
    } cases[] = {
        {"_INBOX.x", true},
        {"_R_.x", true},
        {"orders", true},
        {"$JS.ACK.S.c.1.2.3.4.5", true},
        {"$JS.ACK.hub.h4sh.S.c.1.2.3.4.5.rnd", true},
        {"$JS.FC.S.c.x7", true},
        {"$JS.ACK.S.other.1.2.3.4.5", false},
        {"$JS.ACK.S.cc.1.2.3.4.5", false},
        {"$JS.ACK.S.c", false},
        {"$JS.ACK.hub.h4sh.S.other.1.2.3.4.5.rnd", false},
        {"$JS.ACK.hub.S.c.1.2.3.4.5", false},
        {"$JS.FC.S.other.x7", false},
        {"$JS.API.STREAM.DELETE.S", false},
        {"$JS.API.CONSUMER.DELETE.S.c", false},
        {"$KV.S.c", false},
        {"$", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        if (js_answer_ok(cases[i].subject, "S.c") != cases[i].ok)
            test_fail(__FILE__, __LINE__, "%s", cases[i].subject);
    CHECK(js_comes_from("$JS.ACK.S.c.1.2.3.4.5", "S.c"));
    CHECK(!js_comes_from("$JS.ACK.S.other.1.2.3.4.5", "S.c"));
    CHECK(!js_comes_from("$JS.ACK.S.c.1.2.x.4.5", "S.c")); /* nobody knows which one it is */
    CHECK(js_comes_from("$JS.ACK.S.c.1.2.3.1700000000000000000.9223372036854775807", "S.c"));
    CHECK(!js_comes_from("$JS.ACK.S.c.1.9223372036854775808.3.4.5", "S.c"));
    CHECK(!js_comes_from("$JS.ACK.S.c.1.2.3.4", "S.c"));
    CHECK(!js_comes_from("$JS.ACK.S.c.1.2.3.4.", "S.c"));
    CHECK(!js_comes_from("$JS.ACK.S.c.1.2.3.4.5.6", "S.c"));
    CHECK(js_comes_from("$JS.ACK.hub.hash.S.c.1.2.3.4.5.random", "S.c")); /* version 2 */
    CHECK(!js_comes_from("_INBOX.x", "S.c"));
    CHECK(!js_comes_from(NULL, "S.c"));
    CHECK(!js_answer_ok("$JS.ACK.S.c.1.2.3.4.5", NULL));
    CHECK(js_answer_ok("_INBOX.x", NULL));
    CHECK(!js_answer_ok("lunats.control.orders.id.reload", "S.c")); /* an order to a service */
    CHECK(js_answer_ok("lunatsx", "S.c"));
    CHECK_STR(js_consumer_of("$JS.API.CONSUMER.MSG.NEXT.S.c"), "S.c");
    CHECK_STR(js_consumer_of("S.c"), "S.c");
}

static void statuses(void) {
    static const struct {
        int status;
        const char *text;
        enum js_status meaning;
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
        {423, "Nats-Wrong-Pin-Id", JS_UNPINNED},
        {503, NULL, JS_ABSENT},
        {503, "", JS_ABSENT},
        {400, "Bad Request - heartbeat value too large", JS_REFUSED},
        {409, NULL, JS_REFUSED},
        {999, "whatever", JS_REFUSED},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        CHECK_INT(js_classify_status(cases[i].status, cases[i].text), cases[i].meaning);
}

/* A stored message may look like a status of the server. */
static enum js_status classify_409(const char *reply) {
    static const char headers[] = "NATS/1.0 409 Consumer Deleted\r\n\r\n";
    struct message *msg = message_new(&(struct message_parts){
        .subject = "x",
        .subject_len = 1,
        .reply = reply,
        .reply_len = reply != NULL ? strlen(reply) : 0,
        .headers = headers,
        .headers_len = sizeof(headers) - 1,
    });
    enum js_status status = js_classify(msg);
    message_free(msg);
    return status;
}

static void data_that_looks_like_a_status(void) {
    CHECK(classify_409("$JS.ACK.P.w.1.4.5.6.7") == JS_DATA);
    CHECK(classify_409(NULL) == JS_GONE);
}

/* ---- what a status means for the one who asked ---- */

static void verdicts(void) {
    static const struct {
        enum js_status status;
        enum verdict_action action;
        uint32_t wait_ms;
        int result;
    } cases[] = {
        {JS_DATA, VERDICT_GO_ON, 0, LN_OK},
        {JS_HEARTBEAT, VERDICT_GO_ON, 0, LN_OK},
        {JS_EXPIRED, VERDICT_OVER, 0, LN_OK},
        {JS_COMPLETED, VERDICT_OVER, 0, LN_OK},
        {JS_MAX_BYTES, VERDICT_OVER, 0, LN_OK},
        {JS_NO_MESSAGES, VERDICT_OVER, 250, LN_OK},
        {JS_MOVED, VERDICT_ASK_AGAIN, 250, LN_OK},
        {JS_UNPINNED, VERDICT_ASK_AGAIN, 250, LN_OK},
        {JS_BUSY, VERDICT_ASK_AGAIN, 1000, LN_EJETSTREAM},
        {JS_GONE, VERDICT_LOST, 0, LN_ECONSUMER_LOST},
        {JS_REFUSED, VERDICT_LOST, 0, LN_EJETSTREAM},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        unsigned absent = 1;
        struct verdict verdict = verdict_of(cases[i].status, "why", &absent);
        CHECK_INT(verdict.action, cases[i].action);
        CHECK_INT(verdict.wait_ms, cases[i].wait_ms);
        CHECK_INT(verdict.status, cases[i].result);
        CHECK_INT(verdict.silent, cases[i].status == JS_REFUSED);
        CHECK_INT(absent, 0);
        if (verdict.action == VERDICT_LOST)
            CHECK_STR(verdict.text, "why");
    }
}

static void absent_three_times_is_lost(void) {
    unsigned absent = 0;
    struct verdict verdict = verdict_of(JS_ABSENT, NULL, &absent);
    CHECK_INT(verdict.action, VERDICT_ASK_AGAIN);
    CHECK_INT(verdict.wait_ms, 250);
    verdict = verdict_of(JS_ABSENT, NULL, &absent);
    CHECK_INT(verdict.action, VERDICT_ASK_AGAIN);
    CHECK_INT(verdict.wait_ms, 500);
    verdict_of(JS_HEARTBEAT, NULL, &absent); /* it is there: they are counted anew */
    for (int i = 0; i < 2; i++)
        CHECK_INT(verdict_of(JS_ABSENT, NULL, &absent).action, VERDICT_ASK_AGAIN);
    verdict = verdict_of(JS_ABSENT, NULL, &absent);
    CHECK_INT(verdict.action, VERDICT_LOST);
    CHECK_INT(verdict.status, LN_ECONSUMER_LOST);
    CHECK(verdict.silent);
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
        "{\"stream\":\"S\",\"seq\":01}",
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

static int refusal(const char *json) {
    return js_refusal_code(json, strlen(json));
}

static void reads_why_something_was_refused(void) {
    CHECK_INT(
        refusal("{\"error\":{\"code\":400,\"err_code\":10071,\"description\":\"wrong last "
                "sequence: 5\"},\"stream\":\"S\",\"seq\":0}"),
        10071);
    CHECK_INT(refusal("{\"stream\":\"S\",\"error\":{\"err_code\":10164}}"), 10164);
    CHECK_INT(refusal("{\"stream\":\"S\",\"seq\":7}"), 0);
    CHECK_INT(refusal("{\"error\":{\"err_code\":123456789012}}"), 0);
    CHECK_INT(refusal("{\"error\":{\"err_code\":{}}}"), 0);
    CHECK_INT(refusal("{\"error\":7}"), 0);
    CHECK_INT(refusal("{\"error\":{\"err_code\":1"), 0);
    CHECK_INT(refusal("text"), 0);
    CHECK_INT(refusal(""), 0);
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    RUN(names);
    RUN(reply_version_1);
    RUN(reply_version_2);
    RUN(reply_garbage);
    RUN(answers);
    RUN(messages_of_consumers);
    RUN(statuses);
    RUN(data_that_looks_like_a_status);
    RUN(verdicts);
    RUN(absent_three_times_is_lost);
    RUN(pub_acks_are_scanned);
    RUN(reads_why_something_was_refused);
    return test_end();
}
