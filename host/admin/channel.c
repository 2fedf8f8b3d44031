/* SPDX-License-Identifier: Apache-2.0 */
#include "host/admin/channel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/base/list.h"
#include "host/base/status.h"

#define LINE_MAX_SIZE 1024 /* of a question; the parent sends no longer ones */

struct http {
    uv_pipe_t pipe; /* first */
    struct http_options options;
    struct list questions; /* that have no answer yet */
    char line[LINE_MAX_SIZE];
    size_t len;
    void (*on_orphaned)(void *owner);
    void *orphan_owner;
    void (*on_closed)(void *owner);
    void *close_owner;
};

struct question {
    struct http_request shown; /* first */
    struct list_node node;
    struct http *http;
    unsigned long number;
    char text[]; /* what the members of `shown` point into */
};

/* An answer on its way through libuv. */
struct sending {
    uv_write_t request; /* first */
    char head[64];
    char *body; /* owned */
};

/* ---- answers ---- */

static const char *get_header(const struct http_request *request, const char *name,
                              size_t *count) {
    (void)request, (void)name;
    if (count != NULL)
        *count = 0;
    return NULL;
}

static void each_header(const struct http_request *request,
                        void (*fn)(void *owner, const char *name, const char *value),
                        void *owner) {
    (void)request, (void)fn, (void)owner;
}

static void get_remote(const struct http_request *request, char out[HTTP_REMOTE_SIZE]) {
    (void)request;
    out[0] = '\0';
}

static void on_sent(uv_write_t *request, int status) {
    (void)status;
    struct sending *sending = (struct sending *)request;
    free(sending->body);
    free(sending);
}

/* Without memory the parent hears nothing, as of a worker that is stuck. */
static void send_answer(struct http *http, unsigned long number, int status, char *body,
                        size_t len) {
    struct sending *sending = malloc(sizeof(*sending));
    if (sending == NULL) {
        free(body);
        return;
    }
    sending->body = body;
    int head = snprintf(sending->head, sizeof(sending->head), "%lu %d %zu\n", number, status,
                        body != NULL ? len : 0);
    const uv_buf_t parts[] = {{sending->head, (size_t)head}, {body, body != NULL ? len : 0}};
    if (uv_write(&sending->request, (uv_stream_t *)&http->pipe, parts, 2, on_sent) < 0)
        on_sent(&sending->request, 0);
}

static void answer(struct http_request *shown, const struct http_response *response) {
    struct question *question = (struct question *)shown;
    list_remove(&question->node);
    send_answer(question->http, question->number, response->status, response->body,
                response->len);
    free(question);
}

/* No page of the admin port streams. */
static size_t write_more(struct http_request *request, const char *bytes, size_t len) {
    (void)request, (void)bytes, (void)len;
    return SIZE_MAX;
}

static void finish(struct http_request *request, bool complete) {
    (void)request, (void)complete;
}

/* There is one connection, and it stays. */
static void quiesce(struct http *http) {
    (void)http;
}

/* ---- questions ---- */

/* "NUMBER METHOD TARGET"; what is none of this is of no parent of ours. */
static void take_line(struct http *http, const char *line, size_t len) {
    struct question *question = calloc(1, sizeof(*question) + len + 1);
    if (question == NULL)
        return;
    char *end, *method, *target, *mark;
    memcpy(question->text, line, len);
    question->number = strtoul(question->text, &end, 10);
    method = *end == ' ' ? end + 1 : NULL;
    target = method != NULL ? strchr(method, ' ') : NULL;
    if (target == NULL) {
        free(question);
        return;
    }
    *target++ = '\0';
    mark = strchr(target, '?');
    if (mark != NULL)
        *mark++ = '\0';
    question->http = http;
    question->shown.method = method;
    question->shown.path = target;
    question->shown.query = mark != NULL ? mark : "";
    list_push_back(&http->questions, &question->node);
    http->options.on_request(http->options.owner, &question->shown);
}

static void on_alloc(uv_handle_t *handle, size_t wanted, uv_buf_t *out) {
    (void)wanted;
    struct http *http = (struct http *)handle;
    *out = uv_buf_init(http->line + http->len, (unsigned)(LINE_MAX_SIZE - http->len));
}

static void end_reading(struct http *http) {
    uv_read_stop((uv_stream_t *)&http->pipe);
    if (http->on_orphaned != NULL)
        http->on_orphaned(http->orphan_owner);
}

static void on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *bytes) {
    (void)bytes;
    struct http *http = (struct http *)stream;
    const char *at = http->line, *line_end;
    size_t left = http->len + (len > 0 ? (size_t)len : 0);
    while ((line_end = memchr(at, '\n', left)) != NULL) {
        take_line(http, at, (size_t)(line_end - at));
        if (uv_is_closing((uv_handle_t *)stream))
            return;
        left -= (size_t)(line_end - at) + 1;
        at = line_end + 1;
    }
    memmove(http->line, at, left);
    http->len = left;
    if (len < 0 || left == LINE_MAX_SIZE)
        end_reading(http);
}

/* ---- life ---- */

static void on_closed(uv_handle_t *handle) {
    struct http *http = (struct http *)handle;
    if (http->on_closed != NULL)
        http->on_closed(http->close_owner);
    free(http);
}

static int channel_open(struct http **out, uv_loop_t *loop,
                        const struct http_options *options) {
    struct http *http = calloc(1, sizeof(*http));
    if (http == NULL)
        return LN_ENOMEM;
    http->options = *options;
    int rc = uv_pipe_init(loop, &http->pipe, 0);
    if (rc == LN_OK && (rc = uv_pipe_open(&http->pipe, options->fd)) < 0) {
        uv_close((uv_handle_t *)&http->pipe, on_closed);
        return rc;
    }
    uv_read_start((uv_stream_t *)&http->pipe, on_alloc, on_read);
    uv_unref((uv_handle_t *)&http->pipe);
    *out = http;
    return LN_OK;
}

void channel_on_orphaned(struct http *http, void (*fn)(void *owner), void *owner) {
    http->on_orphaned = fn;
    http->orphan_owner = owner;
}

/* What has been written is in the socket, or lost; the parent does not wait for it. */
static void channel_close(struct http *http, uint32_t bound_ms, void (*fn)(void *owner),
                          void *owner) {
    (void)bound_ms;
    http->on_closed = fn;
    http->close_owner = owner;
    while (!list_empty(&http->questions)) {
        struct question *question = list_item(http->questions.ends.next, struct question, node);
        http->options.on_gone(http->options.owner, &question->shown);
        list_remove(&question->node);
        free(question);
    }
    uv_close((uv_handle_t *)&http->pipe, on_closed);
}

const struct http_api channel_api = {
    .open = channel_open,
    .header = get_header,
    .each_header = each_header,
    .remote = get_remote,
    .answer = answer,
    .write = write_more,
    .finish = finish,
    .quiesce = quiesce,
    .close = channel_close,
};
