/* SPDX-License-Identifier: Apache-2.0 */
#include "host/thread/crew.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "host/base/log.h"
#include "host/base/status.h"

#define TITLE_SIZE 200

struct crew {
    /* Of the loop. */
    uv_loop_t *loop;
    size_t pending; /* jobs that somebody waits for */
    /* Of both, under the mutex. */
    uv_mutex_t mutex;
    uv_cond_t work;
    uv_async_t *async; /* open while jobs are pending, so that an idle crew is no handle */
    struct list queue, running, finished;
    size_t queued;
    unsigned threads, idle;
    unsigned refs; /* of crew_close(), and of each thread */
    bool ending;
    /* Constant. */
    unsigned most;
    const struct crew_ops *ops;
    void *owner;
    struct list_node node; /* in `crews` */
};

/* All that have threads or may get some, for crews_end(). Whoever holds this mutex may take
 * that of a crew, never the other way round. */
static pthread_mutex_t crews_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t thread_ended = PTHREAD_COND_INITIALIZER;
static struct list crews;
static unsigned threads; /* of all */

int crew_open(struct crew **out, uv_loop_t *loop, unsigned most, const struct crew_ops *ops,
              void *owner) {
    struct crew *crew = calloc(1, sizeof(*crew));
    if (crew == NULL)
        return LN_ENOMEM;
    if (uv_mutex_init(&crew->mutex) != 0) {
        free(crew);
        return LN_ENOMEM;
    }
    if (uv_cond_init(&crew->work) != 0) {
        uv_mutex_destroy(&crew->mutex);
        free(crew);
        return LN_ENOMEM;
    }
    crew->loop = loop;
    crew->most = most;
    crew->ops = ops;
    crew->owner = owner;
    crew->refs = 1;
    pthread_mutex_lock(&crews_mutex);
    list_push_back(&crews, &crew->node);
    pthread_mutex_unlock(&crews_mutex);
    *out = crew;
    return LN_OK;
}

/* The mutex is held, and is not afterwards. */
static void unref(struct crew *crew) {
    bool last = --crew->refs == 0;
    uv_mutex_unlock(&crew->mutex);
    if (!last)
        return;
    pthread_mutex_lock(&crews_mutex);
    list_remove(&crew->node);
    pthread_mutex_unlock(&crews_mutex);
    crew->ops->free(crew->owner);
    uv_cond_destroy(&crew->work);
    uv_mutex_destroy(&crew->mutex);
    free(crew);
}

/* ---- a thread ---- */

/* Runs one of the queue; the mutex is held but while it runs. */
static void run_next(struct crew *crew, void **state) {
    struct crew_job *job = list_item(list_pop_front(&crew->queue), struct crew_job, node);
    crew->queued--;
    job->queued = false;
    list_push_back(&crew->running, &job->node);
    uv_mutex_unlock(&crew->mutex);
    crew->ops->run(crew->owner, state, job);
    uv_mutex_lock(&crew->mutex);
    list_remove(&job->node);
    if (job->wanted) {
        job->done = true;
        list_push_back(&crew->finished, &job->node);
        uv_async_send(crew->async);
    } else {
        crew->ops->release(job);
    }
}

static void *work(void *arg) {
    struct crew *crew = arg;
    void *state = NULL;
    uv_mutex_lock(&crew->mutex);
    while (!crew->ending) {
        if (!list_empty(&crew->queue)) {
            run_next(crew, &state);
            continue;
        }
        crew->idle++;
        uv_cond_wait(&crew->work, &crew->mutex);
        crew->idle--;
    }
    uv_mutex_unlock(&crew->mutex);
    if (state != NULL)
        crew->ops->end(crew->owner, state);
    uv_mutex_lock(&crew->mutex);
    crew->threads--;
    unref(crew);
    pthread_mutex_lock(&crews_mutex);
    threads--;
    pthread_cond_broadcast(&thread_ended);
    pthread_mutex_unlock(&crews_mutex);
    return NULL;
}

/* Nobody joins it. */
static int start_thread(struct crew *crew) {
    pthread_t thread;
    pthread_mutex_lock(&crews_mutex);
    int rc = threads < CREW_THREADS_MAX ? LN_OK : UV_EAGAIN;
    threads += rc == LN_OK;
    pthread_mutex_unlock(&crews_mutex);
    if (rc < 0)
        return rc;
    uv_mutex_lock(&crew->mutex);
    crew->threads++;
    crew->refs++;
    uv_mutex_unlock(&crew->mutex);
    rc = uv_translate_sys_error(pthread_create(&thread, NULL, work, crew));
    if (rc == 0) {
        pthread_detach(thread);
        return LN_OK;
    }
    uv_mutex_lock(&crew->mutex);
    crew->threads--;
    crew->refs--;
    uv_mutex_unlock(&crew->mutex);
    pthread_mutex_lock(&crews_mutex);
    threads--;
    pthread_mutex_unlock(&crews_mutex);
    return rc;
}

/* ---- the loop ---- */

static void free_async(uv_handle_t *handle) {
    free(handle);
}

/* One job less that somebody waits for. The mutex is held. */
static void settle(struct crew *crew) {
    if (--crew->pending > 0)
        return;
    uv_close((uv_handle_t *)crew->async, free_async);
    crew->async = NULL;
}

static void on_finished(uv_async_t *async) {
    struct crew *crew = async->data;
    struct list_node *node;
    uv_mutex_lock(&crew->mutex);
    crew->refs++; /* done() may close it */
    while ((node = list_pop_front(&crew->finished)) != NULL) {
        struct crew_job *job = list_item(node, struct crew_job, node);
        job->wanted = false;
        settle(crew);
        uv_mutex_unlock(&crew->mutex);
        crew->ops->done(crew->owner, job);
        crew->ops->release(job);
        uv_mutex_lock(&crew->mutex);
    }
    unref(crew);
}

static int open_async(struct crew *crew) {
    uv_async_t *async = malloc(sizeof(*async));
    int rc = async == NULL ? LN_ENOMEM : uv_async_init(crew->loop, async, on_finished);
    if (rc < 0) {
        free(async);
        return rc;
    }
    async->data = crew;
    uv_mutex_lock(&crew->mutex);
    crew->async = async;
    uv_mutex_unlock(&crew->mutex);
    return LN_OK;
}

int crew_submit(struct crew *crew, struct crew_job *job) {
    uv_mutex_lock(&crew->mutex);
    bool full = crew->queued >= CREW_QUEUE_MAX, ending = crew->ending;
    unsigned have = crew->threads;
    bool start = crew->idle <= crew->queued && have < crew->most;
    uv_mutex_unlock(&crew->mutex);
    if (full || ending)
        return full ? LN_EFULL : LN_ECLOSED;
    int rc = start ? start_thread(crew) : LN_OK;
    if (rc < 0 && have == 0)
        return rc;
    rc = crew->pending == 0 ? open_async(crew) : LN_OK;
    if (rc < 0)
        return rc;
    crew->pending++;
    uv_mutex_lock(&crew->mutex);
    job->wanted = job->queued = true;
    job->done = false;
    atomic_init(&job->ended, false);
    list_push_back(&crew->queue, &job->node);
    crew->queued++;
    uv_cond_signal(&crew->work);
    uv_mutex_unlock(&crew->mutex);
    return LN_OK;
}

/* The mutex is held. */
static void forget(struct crew *crew, struct crew_job *job, bool runs) {
    job->wanted = false;
    settle(crew);
    atomic_store(&job->ended, true);
    if (runs)
        return; /* its thread releases it */
    list_remove(&job->node);
    crew->ops->release(job);
}

void crew_forget(struct crew *crew, struct crew_job *job) {
    uv_mutex_lock(&crew->mutex);
    if (job->wanted) {
        crew->queued -= job->queued;
        forget(crew, job, !job->queued && !job->done);
    }
    uv_mutex_unlock(&crew->mutex);
}

unsigned crew_close(struct crew *crew) {
    unsigned runs = 0;
    uv_mutex_lock(&crew->mutex);
    list_move(&crew->queue, &crew->finished);
    crew->queued = 0;
    crew->ending = true;
    list_each (struct crew_job, job, &crew->queue, node)
        forget(crew, job, false);
    list_each (struct crew_job, job, &crew->running, node) {
        if (job->wanted)
            forget(crew, job, true);
        runs++;
    }
    uv_cond_broadcast(&crew->work);
    unref(crew);
    return runs;
}

/* ---- the end of the process ---- */

static void log_left(struct crew *crew) {
    char title[TITLE_SIZE];
    uv_mutex_lock(&crew->mutex);
    list_each (struct crew_job, job, &crew->running, node) {
        crew->ops->title(crew->owner, job, title, sizeof(title));
        log_warn(NULL, "%s does not end: its thread is left behind", title);
    }
    uv_mutex_unlock(&crew->mutex);
}

bool crews_end(unsigned ms) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += ms / 1000;
    int rc = 0;
    pthread_mutex_lock(&crews_mutex);
    while (threads > 0 && rc == 0)
        rc = pthread_cond_timedwait(&thread_ended, &crews_mutex, &until);
    list_each (struct crew, crew, &crews, node)
        log_left(crew);
    bool all = threads == 0;
    pthread_mutex_unlock(&crews_mutex);
    return all;
}
