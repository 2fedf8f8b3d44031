/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of a consume share. Nobody else includes this.
 *
 *   consume.c        messages from their arrival to their end; inboxes, connections, life
 *   consume_words.c  credit and requests: what the words of the server mean for them
 *
 * Credit: `pending` counts messages asked for and not finished. A request adds its batch, a
 * finished message takes one away, and so does every message that a request ended without
 * (the server says how many). Where the server does not say, `pending` falls back to what is
 * here; other requests may still be open then, so the queue tolerates more than was asked for.
 */
#ifndef LUNATS_JETSTREAM_CONSUME_INTERNAL_H
#define LUNATS_JETSTREAM_CONSUME_INTERNAL_H

#include "host/jetstream/consume.h"
#include "host/jetstream/status.h"

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
    struct link_sub *sub;
    char inbox[LINK_INBOX_SIZE];
    struct consume_options options;
    struct consume_events events;
    void *owner;
    enum consume_state state;
    struct consume *elder, *heir; /* the one before and after a handover */
    bool closed;
    bool leaving; /* the subscription is being drained */
    bool pumping;
    unsigned busy; /* frames on the stack that use it */
    /* Real time: it is the server's clock that runs. */
    struct clock *clock;
    struct clock_timer heartbeat, progress, retry, end;
    uint64_t heard; /* when the server was heard last */
    bool doubted;
    uint32_t absent, retry_ms;
    size_t pending;
    size_t count; /* messages here: queued and running */
    size_t running, queued;
    struct consume_msg *oldest, *newest; /* all of them, by `touched` */
    struct consume_msg *queue, **queue_end;
    struct consume_msg *spare;
    size_t spare_count;
    struct consume_stats stats;
    char subject[]; /* of the requests */
};

/* Asks for messages, if there is credit and nothing speaks against it. */
void consume_pull(struct consume *consume);

/* The timer `retry`: the same after a pause. */
void consume_on_retry(struct clock_timer *timer);

/* Word of the server on the inbox; `msg` stays the caller's. */
void consume_on_word(struct consume *consume, struct message *msg, enum js_word word);

/* No more requests until the owner has found out what is the matter. */
void consume_lose(struct consume *consume, int status, const char *text, bool silent);

#endif
