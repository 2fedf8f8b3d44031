/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages of a consume, from their arrival to their end. Those that nobody has begun to
 * work on stand in a queue; all of them are in the order in which the server heard of them
 * last, which is the order in which it has to be told again.
 */
#ifndef LUNATS_JETSTREAM_BACKLOG_H
#define LUNATS_JETSTREAM_BACKLOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/base/list.h"
#include "host/jetstream/consume.h"

/* Embedded in its consume. All zero is empty. */
struct backlog {
    struct list all, queue;
    struct list spare; /* records kept for the next messages */
    size_t count, queued, spare_count;
    size_t bytes; /* of those in the queue */
    bool closed;
};

/* A record for a message, which it owns, at the end of the queue. NULL: out of memory. */
struct consume_msg *backlog_add(struct backlog *backlog, struct message *msg, uint64_t touched);

/* Takes the first one out of the queue; NULL when there is none. */
struct consume_msg *backlog_dequeue(struct backlog *backlog);

/* Takes this one out of the queue; puts it back, as the first one. */
void backlog_unqueue(struct backlog *backlog, struct consume_msg *msg);
void backlog_requeue(struct backlog *backlog, struct consume_msg *msg);

/* The one that the server has heard of least recently, or NULL. */
struct consume_msg *backlog_oldest(const struct backlog *backlog);

/* The server has heard of it. */
void backlog_touch(struct backlog *backlog, struct consume_msg *msg, uint64_t now);

/* The end of a message that is not in the queue. The record is gone afterwards. */
void backlog_remove(struct backlog *backlog, struct consume_msg *msg);

/* Moves what nobody works on, as old as it is, to the empty backlog of `consume`. */
void backlog_hand_over(struct backlog *from, struct backlog *to, struct consume *consume,
                       void *owner);

/* One more that nobody works on goes there; the server has heard of it. */
void backlog_hand_on(struct backlog *from, struct backlog *to, struct consume_msg *msg,
                     uint64_t now);

/* Frees what is not in use; no record is kept from now on. */
void backlog_close(struct backlog *backlog);

#endif
