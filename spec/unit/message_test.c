/* SPDX-License-Identifier: Apache-2.0 */
/* Messages and their headers. */
#include "host/link/message.h"

#include "spec/unit/test.h"

static struct message *make(const char *headers, size_t headers_len, const char *data,
                            size_t len) {
    return message_new(&(struct message_parts){
        .subject = "a.b.c",
        .subject_len = 3, /* not zero-terminated */
        .reply = "_INBOX.1 12",
        .reply_len = 8,
        .headers = headers,
        .headers_len = headers_len,
        .data = data,
        .len = len,
    });
}

/* "name=value;" of all headers, to compare with. */
static const char *headers_of(const char *wire) {
    static char text[512];
    struct message *msg = make(wire, strlen(wire), NULL, 0);
    text[0] = '\0';
    for (size_t at = 0; msg != NULL && at < msg->headers_len;) {
        const char *name = msg->headers + at, *value = name + strlen(name) + 1;
        strcat(strcat(strcat(strcat(text, name), "="), value), ";");
        at += strlen(name) + strlen(value) + 2;
    }
    message_free(msg);
    return text;
}

static int status_of(const char *wire, const char *data) {
    struct message *msg = make(wire, strlen(wire), data, strlen(data));
    int status = msg != NULL ? msg->status : -1;
    message_free(msg);
    return status;
}

static void holds_what_it_was_made_from(void) {
    struct message *msg = make("NATS/1.0\r\nA: b\r\n\r\n", 18, "x\0y", 3);
    CHECK_STR(msg->subject, "a.b");
    CHECK_STR(msg->reply, "_INBOX.1");
    CHECK_MEM(msg->data, msg->len, "x\0y", 3);
    CHECK_INT(msg->data[3], 0);
    CHECK_STR(message_header(msg, "a"), "b");
    CHECK_STR(message_header(msg, "c"), NULL);
    CHECK(msg->subject == msg->bytes);
    CHECK(msg->data + msg->len + 1 == msg->bytes + msg->size);
    message_free(msg);
}

static void reply_headers_and_data_may_be_missing(void) {
    struct message *msg =
        message_new(&(struct message_parts){.subject = "x", .subject_len = 1});
    CHECK(msg->reply == NULL);
    CHECK(msg->headers == NULL);
    CHECK_INT(msg->headers_len, 0);
    CHECK_MEM(msg->data, msg->len, "", 0);
    CHECK_STR(msg->data, "");
    message_free(msg);
    message_free(NULL);
}

static void headers_are_read(void) {
    CHECK_STR(headers_of("NATS/1.0\r\nA: b\r\nC: d e\r\n\r\n"), "A=b;C=d e;");
    CHECK_STR(headers_of("NATS/1.0\r\nA: 1\r\na:2\r\nA:   3 \r\n\r\n"), "A=1;a=2;A=3;");
    CHECK_STR(headers_of("NATS/1.0\r\nEmpty:\r\nBlank: \r\nNext: x\r\n\r\n"),
              "Empty=;Blank=;Next=x;");
    CHECK_STR(headers_of("NATS/1.0\r\nUrl: http://x:1/\r\n\r\n"), "Url=http://x:1/;");
    CHECK_STR(headers_of("NATS/1.0\r\n\r\n"), "");
}

static void malformed_headers_are_left_out(void) {
    CHECK_STR(headers_of("NATS/1.0\r\nno colon\r\n: no name\r\nA: b\r\n\r\n"), "A=b;");
    CHECK_STR(headers_of("NATS/1.0\nA: b\nC: d"), "A=b;C=d;");
    CHECK_STR(headers_of("A: b\r\n"), "A=b;");
    CHECK_STR(headers_of(""), "");
    CHECK_STR(headers_of("\n\n\n"), "");
    static const char zero[] = "NATS/1.0\r\nA\0: b\r\nB: c\0d\r\nE: f\r\n\r\n";
    struct message *msg = make(zero, sizeof(zero) - 1, NULL, 0);
    CHECK_MEM(msg->headers, msg->headers_len, "E\0f", 4);
    message_free(msg);
    static const char zero_in_status[] = "NATS/1.0 1 a\0b\r\nE: f\r\n\r\n";
    msg = make(zero_in_status, sizeof(zero_in_status) - 1, NULL, 0);
    CHECK_MEM(msg->headers, msg->headers_len, "E\0f", 4);
    message_free(msg);
}

static void status_lines_become_headers(void) {
    CHECK_STR(headers_of("NATS/1.0 503\r\n\r\n"), "Status=503;");
    CHECK_STR(headers_of("NATS/1.0 404 No Messages\r\nA: b\r\n\r\n"),
              "Status=404;Description=No Messages;A=b;");
    CHECK_STR(headers_of("NATS/1.0 1 x"), "Status=1;Description=x;");
}

static void status_is_word_from_the_server(void) {
    CHECK_INT(status_of("NATS/1.0 503\r\n\r\n", ""), 503);
    CHECK_INT(status_of("NATS/1.0 100 Idle Heartbeat\r\n\r\n", ""), 100);
    CHECK_INT(status_of("NATS/1.0 503\r\n\r\n", "data"), 0);
    CHECK_INT(status_of("NATS/1.0\r\nA: b\r\nStatus: 503\r\n\r\n", ""), 0); /* a user's */
    CHECK_INT(status_of("NATS/1.0 5x3\r\n\r\n", ""), 0);
    CHECK_INT(status_of("NATS/1.0 5\r\n\r\n", ""), 0);
    CHECK_INT(status_of("NATS/1.0\r\nA: b\r\n\r\n", ""), 0);
}

/* Whatever the bytes are: the sanitizers watch. */
static void random_headers_stay_in_bounds(void) {
    static const char alphabet[] = "A: \r\n\tN/S1.0\0x5";
    uint32_t random = 1;
    for (int round = 0; round < 20000; round++) {
        char wire[64];
        size_t len = 0;
        if (round % 2 == 0) {
            memcpy(wire, "NATS/1.0", 8);
            len = 8;
        }
        for (; len < (size_t)round % sizeof(wire); len++) {
            random = random * 1664525 + 1013904223;
            wire[len] = alphabet[(random >> 16) % sizeof(alphabet)];
        }
        struct message *msg = make(wire, len, "d", 1);
        CHECK(msg != NULL);
        CHECK(msg->headers == NULL || msg->headers[msg->headers_len - 1] == '\0');
        message_header(msg, "missing");
        CHECK_STR(msg->data, "d");
        message_free(msg);
    }
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    RUN(holds_what_it_was_made_from);
    RUN(reply_headers_and_data_may_be_missing);
    RUN(headers_are_read);
    RUN(malformed_headers_are_left_out);
    RUN(status_lines_become_headers);
    RUN(status_is_word_from_the_server);
    RUN(random_headers_stay_in_bounds);
    return test_end();
}
