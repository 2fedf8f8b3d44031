/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/errand.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "host/base/container_of.h"
#include "host/base/list.h"
#include "host/base/status.h"

#define RUNNING_MAX 16 /* of those that somebody waits for */

struct errand {
    uv_async_t async;
    uv_thread_t thread;
    struct list_node node; /* of `waiting` */
    const struct errand_kind *kind;
    void *arg, *owner;
    bool started;
    atomic_uint refs; /* the handle and the thread */
    /* Of both threads, under the mutex. */
    uv_mutex_t mutex;
    bool abandoned, done;
};

/* Of the loop thread. */
static struct list waiting;
static unsigned running;

static void release(struct errand *errand) {
    if (atomic_fetch_sub(&errand->refs, 1) > 1)
        return;
    errand->kind->drop(errand->arg);
    uv_mutex_destroy(&errand->mutex);
    free(errand);
}

static void tell(struct errand *errand) {
    uv_mutex_lock(&errand->mutex);
    errand->done = true;
    if (!errand->abandoned)
        uv_async_send(&errand->async);
    uv_mutex_unlock(&errand->mutex);
}

static void run(void *arg) {
    struct errand *errand = arg;
    errand->kind->work(errand->arg);
    tell(errand);
    release(errand);
}

static void start(struct errand *errand) {
    errand->refs = 2;
    errand->started = uv_thread_create(&errand->thread, run, errand) == 0;
    if (errand->started) {
        running++;
        return;
    }
    errand->refs = 1;
    tell(errand);
}

/* One that had its turn is over, or nobody waits for it any more. */
static void end_turn(struct errand *errand) {
    if (!errand->started)
        return;
    running--;
    while (running < RUNNING_MAX) {
        struct list_node *node = list_pop_front(&waiting);
        if (node == NULL)
            break;
        start(list_item(node, struct errand, node));
    }
}

static void on_closed(uv_handle_t *handle) {
    release(container_of(handle, struct errand, async));
}

static void on_async(uv_async_t *async) {
    struct errand *errand = container_of(async, struct errand, async);
    uv_mutex_lock(&errand->mutex);
    bool done = errand->done;
    uv_mutex_unlock(&errand->mutex);
    if (!done)
        return;
    if (errand->started)
        uv_thread_join(&errand->thread);
    end_turn(errand);
    uv_close((uv_handle_t *)async, on_closed);
    errand->kind->on_done(errand->owner, errand->arg);
}

void errand_abandon(struct errand *errand) {
    uv_mutex_lock(&errand->mutex);
    bool done = errand->done;
    errand->abandoned = true;
    uv_mutex_unlock(&errand->mutex);
    list_remove(&errand->node);
    if (errand->started && done)
        uv_thread_join(&errand->thread);
    else if (errand->started)
        pthread_detach(errand->thread);
    end_turn(errand);
    uv_close((uv_handle_t *)&errand->async, on_closed);
}

int errand_start(struct errand **out, uv_loop_t *loop, const struct errand_kind *kind,
                 void *arg, void *owner) {
    struct errand *errand = calloc(1, sizeof(*errand));
    int rc = errand == NULL ? LN_ENOMEM : uv_mutex_init(&errand->mutex);
    if (rc == 0 && (rc = uv_async_init(loop, &errand->async, on_async)) < 0)
        uv_mutex_destroy(&errand->mutex);
    if (rc < 0) {
        kind->drop(arg);
        free(errand);
        return rc;
    }
    errand->kind = kind;
    errand->arg = arg;
    errand->owner = owner;
    errand->refs = 1;
    if (running < RUNNING_MAX)
        start(errand);
    else
        list_push_back(&waiting, &errand->node);
    *out = errand;
    return LN_OK;
}
