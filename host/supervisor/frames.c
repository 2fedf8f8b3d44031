/* SPDX-License-Identifier: Apache-2.0 */
#include "host/supervisor/frames.h"

#include <stdlib.h>
#include <string.h>

#define DIGITS 15 /* of a number; more are no number of ours */

/* Reads digits up to `end`, and steps over it. */
static bool read_number(const char **at, char end, unsigned long *out) {
    size_t digits = strspn(*at, "0123456789");
    if (digits == 0 || digits > DIGITS || (*at)[digits] != end)
        return false;
    *out = strtoul(*at, NULL, 10);
    *at += digits + (end != '\0');
    return true;
}

static bool begin_frame(struct frames *frames) {
    unsigned long status, len;
    const char *at = frames->line;
    struct frame *frame = &frames->frame;
    frames->line[frames->line_len] = '\0';
    if (!read_number(&at, ' ', &frame->number) || !read_number(&at, ' ', &status) ||
        !read_number(&at, '\0', &len) || status > 999)
        return false;
    frames->line_len = 0;
    frames->in_body = true;
    frames->skips = len > frames->limit;
    frames->left = len;
    frame->status = frames->skips ? 0 : (int)status;
    frame->len = 0;
    frame->body = malloc(frames->skips ? 1 : len + 1);
    return frame->body != NULL;
}

static void end_frame(struct frames *frames, void (*on_frame)(void *owner, struct frame *frame),
                      void *owner) {
    struct frame frame = frames->frame;
    frame.body[frame.len] = '\0';
    frames->frame.body = NULL;
    frames->in_body = false;
    on_frame(owner, &frame);
    free(frame.body);
}

/* Returns how many bytes it has used; 0: they are no head of a frame. */
static size_t take_line(struct frames *frames, const char *bytes, size_t len) {
    size_t used = 0;
    while (used < len && frames->line_len < sizeof(frames->line) - 1) {
        char byte = bytes[used++];
        if (byte == '\n')
            return begin_frame(frames) ? used : 0;
        frames->line[frames->line_len++] = byte;
    }
    return frames->line_len < sizeof(frames->line) - 1 ? used : 0;
}

static size_t take_body(struct frames *frames, const char *bytes, size_t len) {
    struct frame *frame = &frames->frame;
    size_t used = len < frames->left ? len : frames->left;
    if (!frames->skips) {
        memcpy(frame->body + frame->len, bytes, used);
        frame->len += used;
    }
    frames->left -= used;
    return used;
}

bool frames_take(struct frames *frames, const char *bytes, size_t len,
                 void (*on_frame)(void *owner, struct frame *frame), void *owner) {
    while (len > 0 && !frames->broken) {
        size_t used =
            frames->in_body ? take_body(frames, bytes, len) : take_line(frames, bytes, len);
        frames->broken = used == 0;
        bytes += used;
        len -= used;
        if (!frames->broken && frames->in_body && frames->left == 0)
            end_frame(frames, on_frame, owner);
    }
    return !frames->broken;
}

void frames_free(struct frames *frames) {
    free(frames->frame.body);
    frames->frame.body = NULL;
}
