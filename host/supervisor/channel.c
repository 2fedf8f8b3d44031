/* SPDX-License-Identifier: Apache-2.0 */
#include "host/supervisor/channel.h"

#include <stdio.h>
#include <stdlib.h>

#include "host/base/container_of.h"
#include "host/base/list.h"
#include "host/base/status.h"
#include "host/supervisor/frames.h"

#define CHUNK ((size_t)64 << 10) /* bytes that are read at a time */

struct question {
    struct list_node node;
    struct channel *channel;
    struct clock_timer bound;
    unsigned long number;
    channel_fn *on_answer;
    void *owner;
};

struct channel {
    uv_pipe_t pipe; /* first */
    struct clock *clock;
    struct list questions; /* that have no answer yet */
    unsigned long last;
    struct frames frames;
    bool closed;
    char chunk[CHUNK];
};

/* A question on its way through libuv. */
struct sending {
    uv_write_t request; /* first */
    char line[1024];
};

static void tell(struct question *question, int status, const char *body, size_t len) {
    list_remove(&question->node);
    clock_disarm(question->channel->clock, &question->bound);
    question->on_answer(question->owner, status, body, len);
    free(question);
}

static void on_bound(struct clock_timer *timer) {
    tell(container_of(timer, struct question, bound), 0, NULL, 0);
}

static void on_frame(void *owner, struct frame *frame) {
    struct channel *channel = owner;
    list_each (struct question, at, &channel->questions, node)
        if (at->number == frame->number) {
            tell(at, frame->status, frame->status != 0 ? frame->body : NULL, frame->len);
            return;
        }
}

static void on_alloc(uv_handle_t *handle, size_t wanted, uv_buf_t *out) {
    (void)wanted;
    struct channel *channel = (struct channel *)handle;
    *out = uv_buf_init(channel->chunk, CHUNK);
}

/* At its end, and when it talks nonsense, nothing is read any more: questions run out of time,
 * and the end of the process is told by its parent. */
static void on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *bytes) {
    struct channel *channel = (struct channel *)stream;
    if (len < 0 || (len > 0 && !frames_take(&channel->frames, bytes->base, (size_t)len,
                                            on_frame, channel)))
        uv_read_stop(stream);
}

static void on_sent(uv_write_t *request, int status) {
    (void)status;
    free(request);
}

static bool send_line(struct channel *channel, struct sending *sending, int len) {
    uv_buf_t bytes = uv_buf_init(sending->line, (unsigned)len);
    return uv_write(&sending->request, (uv_stream_t *)&channel->pipe, &bytes, 1, on_sent) ==
           LN_OK;
}

bool channel_ask(struct channel *channel, const char *method, const char *target,
                 uint64_t timeout_ms, channel_fn *on_answer, void *owner) {
    struct question *question = calloc(1, sizeof(*question));
    struct sending *sending = malloc(sizeof(*sending));
    int len = 0;
    if (question != NULL && sending != NULL && !channel->closed)
        len = snprintf(sending->line, sizeof(sending->line), "%lu %s %s\n", channel->last + 1,
                       method, target);
    if (len <= 0 || (size_t)len >= sizeof(sending->line) || !send_line(channel, sending, len)) {
        free(question);
        free(sending);
        return false;
    }
    question->channel = channel;
    question->number = ++channel->last;
    question->on_answer = on_answer;
    question->owner = owner;
    question->bound.fire = on_bound;
    list_push_back(&channel->questions, &question->node);
    clock_arm(channel->clock, &question->bound, timeout_ms);
    return true;
}

static void on_closed(uv_handle_t *handle) {
    struct channel *channel = (struct channel *)handle;
    frames_free(&channel->frames);
    free(channel);
}

int channel_open(struct channel **out, uv_loop_t *loop, struct clock *clock, int fd,
                 size_t limit) {
    struct channel *channel = calloc(1, sizeof(*channel));
    if (channel == NULL)
        return LN_ENOMEM;
    channel->clock = clock;
    channel->frames.limit = limit;
    int rc = uv_pipe_init(loop, &channel->pipe, 0);
    if (rc == LN_OK && (rc = uv_pipe_open(&channel->pipe, fd)) < 0) {
        uv_close((uv_handle_t *)&channel->pipe, on_closed);
        return rc;
    }
    uv_read_start((uv_stream_t *)&channel->pipe, on_alloc, on_read);
    *out = channel;
    return LN_OK;
}

void channel_close(struct channel *channel) {
    channel->closed = true;
    while (!list_empty(&channel->questions))
        tell(list_item(channel->questions.ends.next, struct question, node), 0, NULL, 0);
    uv_close((uv_handle_t *)&channel->pipe, on_closed);
}
