/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes of a server, cut into frames, and what is made of the messages among them. */
#include "host/link/wire.h"

#include "spec/fuzz/fuzz.h"

#define FRAMES_MAX 200
#define WHOLE_MAX 300 /* bytes of a frame that is looked at in every length */

static enum wire_kind next_copy(const char *bytes, size_t len, struct wire_frame *out) {
    char *copy = fuzz_copy(bytes, len);
    enum wire_kind kind = wire_next(copy, len, out);
    free(copy); /* the frame points nowhere; its numbers are what counts */
    return kind;
}

/* A frame is the same whatever follows it, and no part of it is one. */
static void check_lengths(const char *bytes, enum wire_kind kind, size_t size) {
    struct wire_frame frame;
    HOLDS(next_copy(bytes, size, &frame) == kind && frame.size == size);
    for (size_t len = 0; len < size && size <= WHOLE_MAX; len++) {
        HOLDS(next_copy(bytes, len, &frame) == WIRE_PART);
        HOLDS(frame.size == 0 || frame.size == size);
    }
}

static void check_inside(const struct message_parts *parts, const char *bytes, size_t size) {
    HOLDS(parts->subject_len > 0 &&
          fuzz_inside(parts->subject, parts->subject_len, bytes, size));
    HOLDS(parts->reply == NULL ||
          (parts->reply_len > 0 && fuzz_inside(parts->reply, parts->reply_len, bytes, size)));
    HOLDS(parts->headers == NULL ||
          fuzz_inside(parts->headers, parts->headers_len, bytes, size));
    HOLDS(fuzz_inside(parts->data, parts->len, bytes, size));
}

static bool same(const char *bytes, size_t len, const char *others, size_t others_len) {
    return len == others_len && (len == 0 || memcmp(bytes, others, len) == 0);
}

/* Written as servers write it, it is read as the same message. */
static void check_rewritten(const struct wire_frame *frame) {
    const struct message_parts *parts = &frame->parts;
    size_t total = parts->headers_len + parts->len, size = frame->size + 128;
    char *line = malloc(size);
    HOLDS(line != NULL);
    int head = snprintf(line, size, "%s %.*s %llu %.*s%s", parts->headers ? "HMSG" : "MSG",
                        (int)parts->subject_len, parts->subject, (unsigned long long)frame->sid,
                        (int)parts->reply_len, parts->reply_len > 0 ? parts->reply : "",
                        parts->reply_len > 0 ? " " : "");
    if (parts->headers != NULL)
        head += snprintf(line + head, size - (size_t)head, "%zu ", parts->headers_len);
    head += snprintf(line + head, size - (size_t)head, "%zu\r\n", total);
    memcpy(line + head, parts->headers != NULL ? parts->headers : parts->data, total);
    memcpy(line + head + total, "\r\n", 2);
    struct wire_frame again;
    HOLDS(wire_next(line, (size_t)head + total + 2, &again) == WIRE_MSG);
    HOLDS(again.size == (size_t)head + total + 2 && again.sid == frame->sid);
    HOLDS(
        same(again.parts.subject, again.parts.subject_len, parts->subject, parts->subject_len));
    HOLDS(same(again.parts.reply, again.parts.reply_len, parts->reply, parts->reply_len));
    HOLDS(again.parts.headers_len == parts->headers_len);
    HOLDS(same(again.parts.data, again.parts.len, parts->data, parts->len));
    free(line);
}

static void check_message(const struct message_parts *parts) {
    struct message *msg = message_new(parts);
    HOLDS(msg != NULL && strlen(msg->subject) <= parts->subject_len);
    HOLDS((msg->reply == NULL) == (parts->reply == NULL));
    HOLDS(same(msg->data, msg->len, parts->data, parts->len) && msg->data[msg->len] == '\0');
    HOLDS(msg->status >= 0 && msg->status <= 999 && (msg->status == 0 || msg->len == 0));
    message_free(msg);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    size_t at = 0;
    for (int frames = 0; at < size && frames < FRAMES_MAX; frames++) {
        struct wire_frame frame;
        size_t left = size - at;
        char *copy = fuzz_copy(bytes + at, left);
        enum wire_kind kind = wire_next(copy, left, &frame);
        bool whole = kind != WIRE_PART && kind != WIRE_BAD;
        if (whole) {
            HOLDS(frame.size > 0 && frame.size <= left);
            check_lengths(copy, kind, frame.size);
        }
        if (kind == WIRE_MSG) {
            check_inside(&frame.parts, copy, frame.size);
            check_rewritten(&frame);
            check_message(&frame.parts);
        } else if (kind == WIRE_INFO || kind == WIRE_ERR) {
            HOLDS(fuzz_inside(frame.text, frame.text_len, copy, frame.size));
        }
        free(copy);
        if (!whole)
            break;
        at += frame.size;
    }
    return 0;
}
