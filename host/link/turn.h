/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work of a link before the loop blocks: asked for any number of times, done once.
 *
 * An idle handle and not a prepare handle, because an active one also keeps the loop from
 * blocking when somebody's prepare callback publishes after ours has run.
 */
#ifndef LUNATS_LINK_TURN_H
#define LUNATS_LINK_TURN_H

#include <uv.h>

#include "host/base/clock.h"
#include "host/link/link.h"

/* Messages are handled for so long before timers, other connections and the admin port have
 * their turn: handlers that compute must not keep them waiting as long as messages come. */
#define TURN_NS 10000000u

/* The time of one run of messages. */
struct turn_time {
    uint64_t began; /* clock_precise() */
    unsigned count; /* messages until the next look at the clock */
    unsigned left;  /* of them */
};

void turn_begin(struct turn_time *time);

/* turn_is_over()'s. A look costs as much as a twentieth of a message, so there are few while
 * messages are short. */
bool turn_look(struct turn_time *time);

/* Before each message: whether there is no time for it. */
static inline bool turn_is_over(struct turn_time *time) {
    if (time->left == 0 && turn_look(time))
        return true;
    time->left--;
    return false;
}

/* Embedded by the link. */
struct turn {
    uv_idle_t idle; /* active only while there is something to do */
    bool wanted;
    struct list deferred;
    void (*run)(void *owner);
    void (*on_closed)(void *owner);
    void *owner;
};

void turn_open(struct turn *turn, uv_loop_t *loop, void (*run)(void *owner), void *owner);

/* run() comes, or what is deferred. */
void turn_want(struct turn *turn);

/* See link_defer(). */
void turn_defer(struct turn *turn, struct link_deferred *deferred);
void turn_run_deferred(struct turn *turn);

/* Nothing runs any more; on_closed() comes from the loop. */
void turn_close(struct turn *turn, void (*on_closed)(void *owner));

#endif
