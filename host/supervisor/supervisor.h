/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When workers are started, restarted, reloaded and stopped: the decisions of the parent,
 * without processes, signals and pipes, which are its hooks.
 *
 * A worker that ends is started again after 0.1 s, after 0.2 s when it ends again, and so on up
 * to 30 s, for ever; one that has been ready for ten seconds begins anew. Reloads go from
 * worker to worker, and each must be ready before the next one's turn.
 *
 * Everything belongs to the loop thread; nothing fails.
 */
#ifndef LUNATS_SUPERVISOR_H
#define LUNATS_SUPERVISOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/base/clock.h"
#include "host/base/worker.h"

#define SUPERVISOR_DELAY_MS 100       /* before the first restart */
#define SUPERVISOR_DELAY_MAX_MS 30000 /* before any other */
#define SUPERVISOR_STEADY_MS 10000    /* ready for so long: the delays begin anew */
#define SUPERVISOR_LOOP 5             /* so many ends in between are called a crash loop */
#define SUPERVISOR_POLL_MS 50         /* between two questions whether a worker is ready */
#define SUPERVISOR_SLOW_MS 5000       /* after which it is asked less often: */
#define SUPERVISOR_SLOW_POLL_MS 500
#define SUPERVISOR_TURN_MS 120000 /* for the reload of one worker, until it is ready */

struct supervisor;

enum worker_state {
    WORKER_WAITING, /* no process; one is started when its delay is over */
    WORKER_STARTING,
    WORKER_READY, /* it has been, at least */
    WORKER_GONE,  /* no process, and none to come */
};

/* How a process has ended. */
struct worker_end {
    int status; /* that it has exited with */
    int signal; /* that has killed it, or 0 */
};

struct supervisor_hooks {
    /* Starts a process; LN_OK or a code. Its end is told to supervisor_ended(). */
    int (*spawn)(void *owner, unsigned number);
    void (*stop)(void *owner, unsigned number); /* asks it to end in order */
    void (*kill)(void *owner, unsigned number); /* ends it at once */
    /* Asks whether it is ready; the answer may come never, or late: supervisor_ready(). */
    void (*ask)(void *owner, unsigned number);
    /* Lets it reload; the answer: supervisor_reloaded(). */
    void (*reload)(void *owner, unsigned number);
    /* A round of reloads is over; `why` says what has stopped it at which worker, or is NULL.
     * May be NULL. */
    void (*on_round)(void *owner, unsigned number, const char *why);
    /* A worker has changed its state, or a round of reloads has begun or is over. */
    void (*on_change)(void *owner);
    /* Nothing runs any more, and nothing will; the exit status of the whole. */
    void (*on_ended)(void *owner, int status);
    void *owner;
    uint64_t stop_ms; /* of a stop: workers that have not ended after it are killed */
};

struct supervisor_worker {
    enum worker_state state;
    unsigned restarts;
    unsigned quick;              /* ends since it was ready for long */
    uint64_t since_ms;           /* clock_now() of its last change of state */
    char ended[WORKER_END_SIZE]; /* how it has ended the last time; "": never */
};

/* LN_OK or LN_ENOMEM. The clock is borrowed until supervisor_free(). */
int supervisor_open(struct supervisor **out, struct clock *clock, unsigned count,
                    const struct supervisor_hooks *hooks);
void supervisor_free(struct supervisor *supervisor);

void supervisor_start(struct supervisor *supervisor);

/* Workers have the numbers 1 to count. */
void supervisor_ended(struct supervisor *supervisor, unsigned number, struct worker_end end);
void supervisor_ready(struct supervisor *supervisor, unsigned number, bool ready);
void supervisor_reloaded(struct supervisor *supervisor, unsigned number, bool ok,
                         const char *text);

/* A round of reloads, or one more after that which is under way. */
void supervisor_reload(struct supervisor *supervisor);

/* A round is under way. */
bool supervisor_reloads(const struct supervisor *supervisor);

/* Stops them all; on_ended() follows, from inside if there is none. `status` is the exit status
 * unless a worker has failed. Those left after hooks.stop_ms are killed. */
void supervisor_stop(struct supervisor *supervisor, int status);
bool supervisor_stops(const struct supervisor *supervisor);

/* All have been ready at least once. */
bool supervisor_complete(const struct supervisor *supervisor);

unsigned supervisor_count(const struct supervisor *supervisor);
/* Borrowed. */
const struct supervisor_worker *supervisor_worker(const struct supervisor *supervisor,
                                                  unsigned number);
/* "waiting", "starting", "ready" or "gone". */
const char *worker_state_name(enum worker_state state);

#endif
