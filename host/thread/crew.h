/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A crew: a few threads that do one job after the other, for what blocks. Jobs wait in a
 * bounded queue; a thread begins when there is more to do than the others can, and ends with
 * the crew. What nobody waits for any more is taken out of the queue, or told to end if it
 * runs. A thread that does not end then is left behind: it has nothing of the loop, and frees
 * what it has when it gets on.
 *
 * All functions belong to the loop thread unless they say otherwise.
 */
#ifndef LUNATS_THREAD_CREW_H
#define LUNATS_THREAD_CREW_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include <uv.h>

#include "host/base/list.h"

struct crew;

#define CREW_QUEUE_MAX 10000 /* jobs that wait for a thread */
#define CREW_THREADS_MAX 256 /* of all crews of the process */

/* Embedded in what is to be done. */
struct crew_job {
    /* The crew's, under its mutex. */
    struct list_node node;
    bool wanted; /* somebody waits for it */
    bool queued, done;
    atomic_bool ended; /* what runs shall come to its end: nobody waits for it any more */
};

struct crew_ops {
    /* In a thread: does it. *state is the thread's own, NULL at first. */
    void (*run)(void *owner, void **state, struct crew_job *job);
    /* In a thread: the end of its *state, which is not NULL. */
    void (*end)(void *owner, void *state);
    /* On the loop: it is done, and still wanted. `owner` still is what it was. */
    void (*done)(void *owner, struct crew_job *job);
    /* In whatever thread: the crew lets go of a job that was submitted; the last call for it.
     */
    void (*release)(struct crew_job *job);
    /* In whatever thread: of the owner, after everything else. */
    void (*free)(void *owner);
    /* What a job is called in the log. In whatever thread. */
    void (*title)(void *owner, const struct crew_job *job, char *out, size_t size);
};

/* `most` threads at once. `ops` is static; `owner` is the crew's on success, which has it
 * freed. */
int crew_open(struct crew **out, uv_loop_t *loop, unsigned most, const struct crew_ops *ops,
              void *owner);

/*
 * Ends it without waiting: what is queued is dropped, what runs is told to end, and nothing is
 * told any more. Returns how many jobs run still.
 */
unsigned crew_close(struct crew *crew);

/* Takes a job, which release() gives back. LN_EFULL: too many wait; or libuv's code when no
 * thread can be had. Then it is the caller's as before. */
int crew_submit(struct crew *crew, struct crew_job *job);

/* Nobody waits for it any more. One that is queued is released before this returns. */
void crew_forget(struct crew *crew, struct crew_job *job);

/*
 * The end of the process: waits until the threads of all closed crews have ended, for so long
 * at most, and logs what still runs. False: there is such, and no exit handler may run beside
 * it.
 */
bool crews_end(unsigned ms);

#endif
