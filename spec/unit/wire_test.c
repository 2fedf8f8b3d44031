/* SPDX-License-Identifier: Apache-2.0 */
/* The protocol, from bytes to frames. */
#include "host/link/wire.h"

#include <stdlib.h>

#include "spec/unit/test.h"

static struct wire_frame frame;
static char *copy; /* of the bytes that the frame is in */

/* The bytes in memory of exactly their size, so that the sanitizer sees who reads on. */
static enum wire_kind next(const char *bytes, size_t len) {
    free(copy);
    copy = malloc(len > 0 ? len : 1);
    memcpy(copy, bytes, len);
    return wire_next(copy, len, &frame);
}

static enum wire_kind next_text(const char *text) {
    return next(text, strlen(text));
}

static void messages(void) {
    CHECK(next_text("MSG a.b 7 5\r\nhello\r\nPING\r\n") == WIRE_MSG);
    CHECK_INT(frame.size, 20);
    CHECK_INT(frame.sid, 7);
    CHECK_MEM(frame.parts.subject, frame.parts.subject_len, "a.b", 3);
    CHECK(frame.parts.reply == NULL);
    CHECK(frame.parts.headers == NULL);
    CHECK_MEM(frame.parts.data, frame.parts.len, "hello", 5);

    CHECK(next_text("msg x 18446744073709551 _INBOX.1.2 0\r\n\r\n") == WIRE_MSG);
    CHECK(frame.sid == 18446744073709551u);
    CHECK_MEM(frame.parts.reply, frame.parts.reply_len, "_INBOX.1.2", 10);
    CHECK_INT(frame.parts.len, 0);

    CHECK(next_text("MSG  x\t1  2 \r\nab\r\n") == WIRE_MSG);
    CHECK_MEM(frame.parts.subject, frame.parts.subject_len, "x", 1);
    CHECK(next("MSG x 1 3\r\n\r\n\0\r\n", 16) == WIRE_MSG);
    CHECK_MEM(frame.parts.data, frame.parts.len, "\r\n\0", 3);
}

static void messages_with_headers(void) {
    CHECK(next_text("HMSG x 1 r 12 15\r\nNATS/1.0\r\n\r\nabc\r\n") == WIRE_MSG);
    CHECK_MEM(frame.parts.headers, frame.parts.headers_len, "NATS/1.0\r\n\r\n", 12);
    CHECK_MEM(frame.parts.data, frame.parts.len, "abc", 3);
    CHECK_MEM(frame.parts.reply, frame.parts.reply_len, "r", 1);
    CHECK(next_text("hmsg x 1 12 12\r\nNATS/1.0\r\n\r\n\r\n") == WIRE_MSG);
    CHECK(frame.parts.reply == NULL);
    CHECK_INT(frame.parts.len, 0);
}

/* Whatever is between the fields, and whatever they look like, they stay the same. */
static void blanks_and_numbers_in_every_place(void) {
    static const char *const lines[] = {
        "HMSG 5 6 77 12 15\r\n",   "HMSG 5\t6 77 12 15\r\n", "HMSG 5 6\t77 12 15\r\n",
        "HMSG 5 6 77\t12 15\r\n",  "HMSG 5 6 77 12\t15\r\n", "HMSG 5 6  77 12 15\r\n",
        "HMSG\t5 6 77 12 15 \r\n", "HMSG  5 6 77  12  15\n",
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        char bytes[64];
        snprintf(bytes, sizeof(bytes), "%sNATS/1.0\r\n\r\nabc\r\n", lines[i]);
        if (next_text(bytes) != WIRE_MSG)
            test_fail(__FILE__, __LINE__, "refused: %s", lines[i]);
        CHECK_MEM(frame.parts.subject, frame.parts.subject_len, "5", 1);
        CHECK_INT(frame.sid, 6);
        CHECK_MEM(frame.parts.reply, frame.parts.reply_len, "77", 2);
        CHECK_INT(frame.parts.headers_len, 12);
        CHECK_INT(frame.parts.len, 3);
    }
    CHECK(next_text("MSG 5 6 77 1\r\na\r\n") == WIRE_MSG);
    CHECK_MEM(frame.parts.reply, frame.parts.reply_len, "77", 2);
    CHECK(next_text("MSG 5 6 1\r\na\r\n") == WIRE_MSG);
    CHECK(frame.parts.reply == NULL);
}

static void lines_of_other_kinds(void) {
    static const struct {
        const char *line;
        enum wire_kind kind;
        const char *text;
    } lines[] = {
        {"PING\r\n", WIRE_PING, NULL},
        {"pong\r\n", WIRE_PONG, NULL},
        {"+OK\r\n", WIRE_OK, NULL},
        {"-ERR 'Stale Connection'\r\n", WIRE_ERR, "Stale Connection"},
        {"-ERR oops \r\n", WIRE_ERR, "oops"},
        {"-ERR\r\n", WIRE_ERR, ""},
        {"INFO {}\n", WIRE_INFO, "{}"},
        {"INFO  {\"a\":1} \r\n", WIRE_INFO, "{\"a\":1}"},
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        char bytes[64];
        snprintf(bytes, sizeof(bytes), "%sMSG x 1 0\r\n\r\n", lines[i].line);
        if (next_text(bytes) != lines[i].kind || frame.size != strlen(lines[i].line))
            test_fail(__FILE__, __LINE__, "%s", lines[i].line);
        else if (lines[i].text != NULL)
            CHECK_MEM(frame.text, frame.text_len, lines[i].text, strlen(lines[i].text));
    }
}

static void nonsense_is_refused(void) {
    static const char *const bad[] = {
        "MSG x\r\n",
        "MSG x 1\r\n",
        "MSG x 1 r 2 3\r\n",
        "MSG x y 1\r\na\r\n",
        "MSG x 1 -1\r\n\r\n",
        "MSG x 1 1x\r\na\r\n",
        "MSG x 1 99999999999999999999\r\n",
        "MSG x 1 999999999999\r\n",
        "MSG x 1 2\r\nabcd\r\n",
        "HMSG x 1 1\r\n",
        "HMSG x 1 5 4\r\nNATS\r\n",
        "HMSG x 1 r s 5 4\r\nNATS\r\n",
        "HELLO\r\n",
        "\r\n",
        "MSG\r\n",
        "HTTP/1.1 400 Bad Request\r\n",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (next_text(bad[i]) != WIRE_BAD)
            test_fail(__FILE__, __LINE__, "accepted: %s", bad[i]);
}

static const char stream[] = "INFO {\"max_payload\":1024}\r\n"
                             "MSG a.b 7 5\r\nhello\r\n"
                             "PING\r\n"
                             "HMSG x 1 r 12 15\r\nNATS/1.0\r\n\r\nabc\r\n"
                             "MSG x 1 0\r\n\r\n";

/* Cut anywhere, a frame is either whole or not there yet, and says what it wants. */
static void parts_are_waited_for(void) {
    for (size_t at = 0; at < sizeof(stream) - 1; at += frame.size) {
        size_t left = sizeof(stream) - 1 - at, size;
        CHECK(next(stream + at, left) >= WIRE_MSG);
        size = frame.size;
        for (size_t len = 0; len < size; len++) {
            CHECK_INT(next(stream + at, len), WIRE_PART);
            CHECK(frame.size == 0 || frame.size == size);
        }
        CHECK(next(stream + at, size) == WIRE_MSG || stream[at] == 'I' || stream[at] == 'P');
        CHECK_INT(frame.size, size);
    }
}

static void endless_lines_are_refused(void) {
    char *bytes = malloc(WIRE_LINE_MAX + 1);
    memset(bytes, 'x', WIRE_LINE_MAX + 1);
    CHECK_SOFT(wire_next(bytes, WIRE_LINE_MAX, &frame) == WIRE_PART);
    CHECK_SOFT(wire_next(bytes, WIRE_LINE_MAX + 1, &frame) == WIRE_BAD);
    free(bytes);
}

/* A frame never reaches beyond what is there, whatever is there. */
static void random_bytes_stay_in_bounds(void) {
    uint32_t random = 7;
    for (int round = 0; round < 50000; round++) {
        char bytes[sizeof(stream)];
        memcpy(bytes, stream, sizeof(stream));
        size_t start = 0, len;
        for (int i = 0; i <= round % 4; i++) {
            random = random * 1664525 + 1013904223;
            bytes[(random >> 8) % (sizeof(stream) - 1)] = " \r\n0159MHx\0"[(random >> 4) % 11];
        }
        for (len = sizeof(stream) - 1; start < len; start += frame.size) {
            enum wire_kind kind = next(bytes + start, len - start);
            if (kind == WIRE_PART || kind == WIRE_BAD)
                break;
            if (kind == WIRE_ERR || kind == WIRE_INFO)
                CHECK(frame.text + frame.text_len <= copy + (len - start));
            CHECK(frame.size > 0 && frame.size <= len - start);
            struct message *msg = kind == WIRE_MSG ? message_new(&frame.parts) : NULL;
            message_free(msg);
        }
    }
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    RUN(messages);
    RUN(messages_with_headers);
    RUN(blanks_and_numbers_in_every_place);
    RUN(lines_of_other_kinds);
    RUN(nonsense_is_refused);
    RUN(parts_are_waited_for);
    RUN(endless_lines_are_refused);
    RUN(random_bytes_stay_in_bounds);
    return test_end();
}
