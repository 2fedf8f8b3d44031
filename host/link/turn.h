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

#include "host/link/link.h"

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
