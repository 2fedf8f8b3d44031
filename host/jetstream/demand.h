/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The demand of a consume: requests that overlap, so that messages never run out, on an inbox.
 *
 * `pending` counts messages asked for and not finished. A request adds its batch, a finished
 * message takes one away, and so does every message that a request ended without (the server
 * says how many). Where the server does not say, `pending` falls back to what is here; other
 * requests may still be open then, so more may come than was asked for.
 *
 * A consumer that pushes sends without being asked, to a subject that is always the same. There
 * are no requests then; instead, the server is told when what it has sent has left the queue
 * (flow control).
 *
 * Every connection has an inbox of its own: a request that the server still has from before
 * must not find its inbox again, it would double the flow.
 */
#ifndef LUNATS_JETSTREAM_DEMAND_H
#define LUNATS_JETSTREAM_DEMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/base/clock.h"
#include "host/jetstream/group.h"
#include "host/jetstream/heartbeat.h"
#include "host/link/answer.h"
#include "host/link/link.h"

struct demand;

struct demand_options {
    uint32_t max_messages; /* `pending` at most; 1 or more. Fewer while messages are large, */
    uint32_t least;        /* but not fewer than this, 1 or more, where no limit is near */
    uint32_t max_batch;    /* of a request; 0: any */
    uint32_t expires_ms;   /* of a request */
    uint32_t heartbeat_ms; /* of the server; at most half of the above */
    struct js_group group; /* without a name: none */
    struct js_pin *pin;    /* of that group, which is held; may be NULL without one */
    const char *deliver;   /* where a consumer pushes to, copied; NULL: it is pulled */
    const char *queue;     /* of a consumer that pushes, copied; may be NULL */
};

/* Called from the loop, or from within a call of the owner; the callee may do anything. */
struct demand_events {
    /* A message that came with a reply subject; it is the callee's. demand_came() follows. */
    void (*on_msg)(struct demand *demand, struct message *msg);
    /* Requests have stopped, see struct consume_events. */
    void (*on_lost)(struct demand *demand, int status, const char *text, bool silent);
    /* After demand_drain(): nothing comes any more. */
    void (*on_drained)(struct demand *demand);
    /* Whether messages may be asked for just now; else nothing is until the next demand_pull().
     */
    bool (*may_ask)(struct demand *demand);
};

/* Embedded in its consume, which reads nothing of it but `subject` and `draining`. */
struct demand {
    struct link *link;
    struct clock *clock; /* real time */
    const struct demand_events *events;
    struct demand_options options;
    const size_t *here;    /* messages that have come and are not finished */
    const size_t *queued;  /* those of them that nobody works on */
    const size_t *beside;  /* those of them that do not count in max_messages; NULL: none */
    char *deliver, *queue; /* owned; NULL as in the options */
    char *flow;            /* owned; where the server waits for an answer; NULL: it does not */
    char *subject;         /* of the requests */
    const char *consumer;  /* "<stream>.<consumer>", in subject */
    struct link_sub *sub;
    char inbox[LINK_INBOX_SIZE];
    bool heard; /* something has come; cleared by whoever wants to know of more */
    bool draining;
    bool refused; /* no requests until the owner has looked at the limits of the consumer */
    struct heartbeat heartbeat;
    struct clock_timer retry;
    uint32_t wait_ms; /* of the last pause before a request */
    unsigned absent;  /* see verdict_of() */
    struct answer_log refusals;
    size_t pending;
    size_t weight; /* bytes of a message, as far as those that came tell */
};

/* Makes one that asks for nothing yet. Takes `subject`, from malloc(), unless it fails; copies
 * the options; all else is borrowed until demand_close(). Returns LN_OK or LN_ENOMEM. */
int demand_open(struct demand *demand, struct link *link, struct clock *clock, char *subject,
                const struct demand_options *options, const struct demand_events *events,
                const size_t *here, const size_t *queued);

/* Begins anew: a new inbox, and requests on it. Without a connection it does nothing. Returns
 * LN_OK or what link_subscribe() does. */
int demand_start(struct demand *demand);

/* After on_lost(): goes on with the inbox if there is one, else begins anew. */
int demand_resume(struct demand *demand);

/* The server does not permit to publish to `subject`: if that is where requests go, they have
 * stopped. */
void demand_denied(struct demand *demand, const char *subject, const char *text);

/* Requests are made with max_batch, expires_ms and heartbeat_ms of `limits` from here on. */
void demand_set_limits(struct demand *demand, const struct demand_options *limits);

/* Gives the inbox up. */
void demand_stop(struct demand *demand);

/* No more requests; what is on its way still comes, then on_drained(), if there is an inbox. */
void demand_drain(struct demand *demand);

/* Takes over the inbox of another one, with the open requests; its messages that are not
 * running have been handed over. */
void demand_take_over(struct demand *demand, struct demand *from);

/* One more is here; one of them is finished. */
void demand_came(struct demand *demand);
void demand_finished(struct demand *demand);

/* Asks for messages, if there is need and nothing speaks against it; answers flow control. */
void demand_pull(struct demand *demand);

/* Gives up; what is on its way goes back to the server. */
void demand_close(struct demand *demand);

#endif
