/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/poll.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/container_of.h"
#include "host/base/status.h"

struct poll {
    uv_timer_t timer;
    uv_fs_t look;
    bool looking, closed; /* the memory goes when it is closed and does not look any more */
    bool looked;
    unsigned every_ms;
    int status; /* of the last look */
    uv_stat_t found;
    poll_fn on_difference;
    void *owner;
    char path[];
};

static void on_closed(uv_handle_t *handle) {
    free(handle->data);
}

static void close_timer(struct poll *poll) {
    uv_close((uv_handle_t *)&poll->timer, on_closed);
}

/* uv_fs_poll compares the same, but is silent about its first look. */
static bool is_same(const uv_stat_t *a, const uv_stat_t *b) {
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mode == b->st_mode && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec && a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
           a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static void on_time(uv_timer_t *timer);

static void on_look(uv_fs_t *look) {
    struct poll *poll = container_of(look, struct poll, look);
    int status = look->result < 0 ? (int)look->result : 0;
    bool first = !poll->looked;
    bool same = status == poll->status && (status < 0 || is_same(&look->statbuf, &poll->found));
    poll->looked = true;
    poll->looking = false;
    poll->status = status;
    poll->found = look->statbuf;
    uv_fs_req_cleanup(look);
    if (poll->closed) {
        close_timer(poll);
        return;
    }
    uv_timer_start(&poll->timer, on_time, poll->every_ms, 0);
    if (first || !same)
        poll->on_difference(poll->owner, first);
}

static void on_time(uv_timer_t *timer) {
    struct poll *poll = timer->data;
    poll->looking = uv_fs_stat(timer->loop, &poll->look, poll->path, on_look) == 0;
    if (!poll->looking)
        uv_timer_start(timer, on_time, poll->every_ms, 0);
}

int poll_open(struct poll **out, uv_loop_t *loop, const char *path, unsigned every_ms,
              poll_fn on_difference, void *owner) {
    struct poll *poll = calloc(1, sizeof(*poll) + strlen(path) + 1);
    if (poll == NULL)
        return LN_ENOMEM;
    strcpy(poll->path, path);
    poll->every_ms = every_ms;
    poll->on_difference = on_difference;
    poll->owner = owner;
    uv_timer_init(loop, &poll->timer); /* cannot fail */
    poll->timer.data = poll;
    on_time(&poll->timer);
    *out = poll;
    return LN_OK;
}

void poll_close(struct poll *poll) {
    if (poll == NULL)
        return;
    poll->closed = true;
    uv_timer_stop(&poll->timer);
    if (!poll->looking)
        close_timer(poll);
    else
        uv_cancel((uv_req_t *)&poll->look); /* on_look() goes on, whether it worked or not */
}
