/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A consume, for its two files.
 *
 *   consume.c       messages come, are handled, and end; handovers and stops
 *   consume_keys.c  what is different where messages of one key are handled in order
 */
#ifndef LUNATS_JETSTREAM_CONSUME_INTERNAL_H
#define LUNATS_JETSTREAM_CONSUME_INTERNAL_H

#include "host/jetstream/backlog.h"
#include "host/jetstream/consume.h"
#include "host/jetstream/demand.h"
#include "host/jetstream/turns.h"

#define LATE_MAX 128 /* messages that may be under way once more */

enum consume_state {
    HELD, /* has not begun */
    RUNNING,
    LOST,     /* the owner finds out whether the consumer is still there */
    DRAINING, /* no requests; the queue is handled */
    STOPPING, /* no requests; the queue has gone back */
    ENDED,
};

struct consume {
    struct link *link;
    struct link_observer observer;
    struct consume_options options;
    struct consume_events events;
    void *owner;
    enum consume_state state;
    struct consume *previous, *next; /* before and after a handover */
    bool closed;
    bool pumping;
    unsigned busy;       /* frames on the stack that use it */
    struct clock *clock; /* real: it is the server's time that runs */
    struct clock_timer progress, end;
    struct clock_timer tell; /* armed for as long as dropped messages are not told again */
    struct demand demand;
    size_t running; /* messages that the owner works on */
    struct backlog backlog;
    struct turns turns; /* unused without keys */
    /* With keys, for the demand: messages that count for nobody, as they wait for others of
     * their keys, and those that keep a consumer from being told that its messages are taken.
     */
    size_t beside, unserved;
    uint64_t late[LATE_MAX]; /* see consume_keys_remember() */
    size_t late_count;
    size_t settling;     /* messages that have to come before anything is begun */
    uint64_t settled_at; /* when they would come before any new one; 0: none ever had to */
    uint64_t delivery;   /* number of the last one that came; 0: not known */
    struct clock_timer settle;
    bool returning; /* with keys: what comes now may be behind what has gone back */
    struct consume_stats stats;
};

/* ---- consume.c ---- */

/* The message is finished in this or that way. Does not look for new ones. */
void consume_finish(struct consume *consume, struct consume_msg *msg, enum consume_how how);
/* The server is told something about it. */
void consume_say(struct consume *consume, const struct message *msg, const char *ack);
/* Starts what there are slots for. */
void consume_pump(struct consume *consume);
/* Last thing in every function that the loop or the owner calls; the first is `busy`++. */
void consume_leave(struct consume *consume);

/* ---- consume_keys.c: of a consume whose turns are used ---- */

int consume_keys_open(struct consume *consume);
/* It begins by itself, not with what another version has. */
void consume_keys_begin(struct consume *consume);

/* A message has come, or has to wait once more: its key is found, or asked for. False: no
 * memory; it has no turn. */
bool consume_keys_add(struct consume *consume, struct consume_msg *msg);

/* The message whose turn it is, which leaves the queue, or NULL. */
struct consume_msg *consume_keys_next(struct consume *consume);

/* Its time has run out before its turn: the server delivers it to somebody. */
void consume_keys_skip(struct consume *consume, struct consume_msg *msg);

/* Ends a message that was not handled: it stays here and is tried again, so that no other one
 * of its key overtakes it, or it goes back to the server with all that wait for it. */
void consume_keys_fail(struct consume *consume, struct consume_msg *msg, enum consume_how how);

/* A message is handled; `acked`: and the server hears of it. */
void consume_keys_remember(struct consume *consume, const struct consume_msg *msg, bool acked);

/* Those that rest go back to the server, with `followers` all that wait for them, too. */
void consume_keys_return_resting(struct consume *consume, bool followers);

/* What may be asked for besides, and whether the consumer may send on. */
void consume_keys_count(struct consume *consume);

/* Around backlog_hand_over(): with keys on one side or on both. */
void consume_keys_before_handover(struct consume *consume, struct consume *previous);
void consume_keys_after_handover(struct consume *consume, struct consume *previous);
/* Those that have none yet get their keys. */
void consume_keys_find(struct consume *consume);

#endif
