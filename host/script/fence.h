/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fence round some fibers of a script, which may go on only as long as something holds: a
 * lease, say. It is looked at whenever one of them is about to go on, so that not even a
 * process that was stopped for a while runs a line of what it may not do any more.
 */
#ifndef LUNATS_SCRIPT_FENCE_H
#define LUNATS_SCRIPT_FENCE_H

#include <stdbool.h>

#include "host/base/list.h"

struct fiber;

/* Embedded by its owner, who sets the functions; it stays in its place until it is empty. */
struct fence {
    struct list fibers; /* those inside */
    /* Whether they may go on. */
    bool (*holds)(struct fence *fence);
    /* The last one has ended. May free the fence. */
    void (*on_empty)(struct fence *fence);
};

/* Takes a fiber in, until its end. Does nothing to one that is in a fence already. */
void fence_add(struct fence *fence, struct fiber *fiber);

/* Cancels those inside. */
void fence_cancel(struct fence *fence);

/* The one that a fiber is in, or NULL. */
struct fence *fence_of(const struct fiber *fiber);

#endif
