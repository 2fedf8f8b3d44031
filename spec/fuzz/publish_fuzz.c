/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is published arrives as it was: frames written by the outbox, read again as the server
 * would send them.
 *
 * The input is a line with the subject, one with the reply subject (empty: none), lines
 * "Name: value", an empty line, and the payload.
 */
#include "host/link/outbox.h"

#include <sys/socket.h>
#include <unistd.h>

#include "host/base/status.h"
#include "host/link/wire.h"
#include "spec/fuzz/fuzz.h"

#define HEADERS_MAX 16
#define FRAME_MAX ((size_t)64 * 1024)

static uv_loop_t loop;

static size_t on_bytes(void *owner, const char *bytes, size_t len, size_t *wanted) {
    (void)owner, (void)bytes, (void)wanted;
    return len;
}

static void on_event(void *owner) {
    (void)owner;
}

static void on_lost(void *owner, const char *why) {
    (void)owner, (void)why;
}

static struct stream *open_stream(int fd) {
    static const struct stream_events events = {on_bytes, on_event, on_event, on_event,
                                                on_lost};
    static bool opened;
    struct stream *stream;
    HOLDS(opened || uv_loop_init(&loop) == 0);
    opened = true;
    HOLDS(stream_open(&stream, &loop, fd, NULL, FRAME_MAX, &events, NULL) == LN_OK);
    return stream;
}

/* Publishes before there is a connection (`early`) or on it; returns what the server gets, with
 * PUB turned into MSG, to be freed. */
static char *publish(const struct link_out *out, bool early, size_t *len) {
    static const struct info info = {.headers = true};
    char *bytes = malloc(FRAME_MAX);
    int fds[2];
    HOLDS(bytes != NULL && socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
    struct stream *stream = open_stream(fds[0]);
    struct outbox *outbox = outbox_new(FRAME_MAX);
    HOLDS(!early || outbox_publish(outbox, out, out->reply) == LN_OK);
    HOLDS(outbox_connected(outbox, stream, &info) == 0 && outbox_kept(outbox) == 0);
    HOLDS(early || outbox_publish(outbox, out, out->reply) == LN_OK);
    stream_send(stream);
    ssize_t got = read(fds[1], bytes, FRAME_MAX);
    HOLDS(got > 4 && read(fds[1], bytes + got, 1) == -1);
    outbox_free(outbox);
    stream_close(stream, true);
    uv_run(&loop, UV_RUN_NOWAIT);
    close(fds[1]);
    *len = (size_t)got;
    return bytes;
}

/* The frame with the verb and the number of a subscription that the server would write. */
static char *as_delivered(const char *sent, size_t *len) {
    const char *verb = *sent == 'H' ? "HMSG" : "MSG";
    const char *subject = strchr(sent, ' ') + 1;
    const char *rest = strchr(subject, ' ') + 1;
    HOLDS(strncmp(sent, *sent == 'H' ? "HPUB " : "PUB ", 5 - (*sent != 'H')) == 0);
    char *frame = malloc(*len + 16);
    HOLDS(frame != NULL);
    int head = sprintf(frame, "%s %.*s 7 ", verb, (int)(rest - subject - 1), subject);
    size_t left = *len - (size_t)(rest - sent);
    memcpy(frame + head, rest, left);
    *len = (size_t)head + left;
    return frame;
}

/* A header arrives without the blanks around its value. */
static void check_header(const char *name, const char *value, const struct link_header *sent) {
    const char *from = sent->value + strspn(sent->value, " \t");
    size_t len = strlen(from);
    while (len > 0 && (from[len - 1] == ' ' || from[len - 1] == '\t'))
        len--;
    HOLDS(strcmp(name, sent->name) == 0);
    HOLDS(strlen(value) == len && memcmp(value, from, len) == 0);
}

static void check(const struct link_out *out, bool early) {
    size_t len;
    char *sent = publish(out, early, &len);
    char *frame = as_delivered(sent, &len);
    struct wire_frame read;
    HOLDS(wire_next(frame, len, &read) == WIRE_MSG && read.size == len && read.sid == 7);
    struct message *msg = message_new(&read.parts);
    HOLDS(msg != NULL && strcmp(msg->subject, out->subject) == 0);
    HOLDS(out->reply == NULL ? msg->reply == NULL : strcmp(msg->reply, out->reply) == 0);
    HOLDS(msg->len == out->len && (len == 0 || memcmp(msg->data, out->data, out->len) == 0));
    const char *at = msg->headers;
    for (size_t i = 0; i < out->header_count; i++) {
        const char *value = at + strlen(at) + 1;
        check_header(at, value, &out->headers[i]);
        at = value + strlen(value) + 1;
    }
    HOLDS(at == (msg->headers != NULL ? msg->headers + msg->headers_len : NULL));
    HOLDS(msg->status == 0);
    message_free(msg);
    free(frame);
    free(sent);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    struct fuzz_input input = {(const char *)bytes, size};
    struct link_header headers[HEADERS_MAX];
    char *lines[HEADERS_MAX];
    char *subject = fuzz_line(&input), *reply = fuzz_line(&input);
    size_t count = 0;
    for (char *line; count < HEADERS_MAX; count++) {
        lines[count] = line = fuzz_line(&input);
        char *colon = strchr(line, ':');
        if (colon == NULL)
            break;
        *colon = '\0';
        headers[count] = (struct link_header){line, colon + 1};
    }
    char *data = fuzz_copy(input.at, input.left);
    struct link_out out = {
        .subject = subject,
        .reply = *reply != '\0' ? reply : NULL,
        .data = data,
        .len = input.left,
        .headers = headers,
        .header_count = count,
    };
    bool ok = link_out_ok(&out, out.reply) && size < FRAME_MAX / 4;
    for (int early = 0; early <= 1 && ok; early++)
        check(&out, early == 1);
    for (size_t i = 0; i <= count && i < HEADERS_MAX; i++)
        free(lines[i]);
    free(subject);
    free(reply);
    free(data);
    return ok ? 0 : -1;
}
