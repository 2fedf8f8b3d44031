/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether this process is a worker: one of several that a parent has started of the same
 * command line (host/supervisor). What the parent tells it stands in the environment, which is
 * read once and then cleared, so that nothing that a script starts takes itself for a worker.
 */
#ifndef LUNATS_BASE_WORKER_H
#define LUNATS_BASE_WORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define WORKER_VARIABLE "LUNATS_WORKER"
#define WORKER_END_SIZE 80
#define WORKER_STOP_S                                                                          \
    10 /* beyond --drain-timeout: a stop that takes longer is cut by a signal */

struct worker {
    unsigned number, count; /* 1 to count */
    pid_t parent;
    int channel;                 /* connected with the parent */
    int http;                    /* listens for app.http; -1: no worker has a port */
    unsigned restarts;           /* of this number before */
    char ended[WORKER_END_SIZE]; /* how the one before it has ended; "": it is the first */
};

/* Writes what a parent puts into the environment: LUNATS_WORKER=... */
void worker_write(const struct worker *worker, char *out, size_t size);

/* Reads the text behind the '='; false: no parent has written that. */
bool worker_parse(struct worker *out, const char *text);

/*
 * Reads and clears the environment, and makes sure that this process ends with its parent: from
 * now on its end is a SIGTERM. LN_OK; LN_EINVAL: somebody else has set the variable;
 * LN_ECLOSED: the parent is gone already.
 */
int worker_begin(void);

/* NULL: this process is no worker. Borrowed, static. */
const struct worker *worker_self(void);

/* How many processes share the work with this one, itself included: 1 without workers. */
unsigned worker_count(void);

/* Whether the parent has died. From any thread and signal handler. */
bool worker_is_orphan(void);

#endif
