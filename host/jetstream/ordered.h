/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The receiving side of an ordered consumer: messages of a stream in order and without gaps.
 *
 * The server pushes to an inbox of ours. Every message is checked against the one before it;
 * heartbeats are watched, flow control is answered when what came before has been read, so
 * that a slow reader slows the server down. As soon as something is missing the inbox is given
 * up and the reader is told, after the messages that are in order: it makes a new consumer on a
 * new inbox, from the message after ordered_sequence() on. Nothing in here knows Lua.
 */
#ifndef LUNATS_JETSTREAM_ORDERED_H
#define LUNATS_JETSTREAM_ORDERED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/base/clock.h"
#include "host/link/link.h"

struct ordered;

enum ordered_result {
    ORDERED_MSG,    /* a message, which is the caller's */
    ORDERED_EMPTY,  /* nothing now: on_ready() will be called */
    ORDERED_LOST,   /* no more from this inbox: subscribe anew; see ordered_reason() */
    ORDERED_CLOSED, /* the link is closed for good */
};

/*
 * Opens a reader. `on_ready` is called, from the loop and never from inside a call of the
 * owner, when there is something to read. On success *out is the caller's, who hands it to
 * ordered_close(); until then `clock`, a real one, is borrowed. Returns LN_OK or LN_ENOMEM.
 */
int ordered_open(struct ordered **out, struct link *link, struct clock *clock,
                 void (*on_ready)(void *owner), void *owner);

/* Ends it; the consumer is deleted without waiting for the answer. */
void ordered_close(struct ordered *ordered);

/*
 * Starts anew: forgets the old inbox with what it holds, deletes the old consumer, subscribes
 * to a new inbox, whose subject is written to `inbox`. Create the consumer afterwards. Returns
 * LN_OK, or what link_subscribe() does.
 */
int ordered_subscribe(struct ordered *ordered, char inbox[LINK_INBOX_SIZE]);

/*
 * The consumer has been created and sends heartbeats so often. `delete_subject` is where its
 * end is asked for; copied. Returns LN_OK or LN_ENOMEM.
 */
int ordered_created(struct ordered *ordered, uint32_t heartbeat_ms, const char *delete_subject);

/* Reads the next message. */
enum ordered_result ordered_next(struct ordered *ordered, struct message **out);

/* Why the inbox was given up. Borrowed until ordered_subscribe(). */
const char *ordered_reason(const struct ordered *ordered);

/* The stream sequence of the last message read, over all inboxes; 0: none yet. */
uint64_t ordered_sequence(const struct ordered *ordered);

/* The stream is another one: its sequences begin anew. */
void ordered_forget(struct ordered *ordered);

/* on_ready() will be called in the next turn of the loop, whatever happens. */
void ordered_later(struct ordered *ordered);

#endif
