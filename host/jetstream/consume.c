/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every connection has an inbox of its own: a request that the server still has from before
 * must not find its inbox again, it would double the flow.
 */
#include "host/jetstream/consume.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/container_of.h"
#include "host/jetstream/backlog.h"
#include "host/jetstream/heartbeat.h"
#include "host/jetstream/request.h"
#include "host/jetstream/status.h"
#include "host/jetstream/verdict.h"

#define DRAIN_MS 2000u /* for the server to confirm that nothing more comes */

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
    char *subject; /* of the requests */
    struct consume_options options;
    struct consume_events events;
    void *owner;
    enum consume_state state;
    struct consume *previous, *next; /* before and after a handover */
    bool closed;
    bool leaving; /* the subscription is being drained */
    bool pumping;
    unsigned busy;       /* frames on the stack that use it */
    struct clock *clock; /* real: it is the server's time that runs */
    struct clock_timer progress, retry, end;
    struct heartbeat heartbeat;
    unsigned absent;  /* see verdict_of() */
    uint32_t wait_ms; /* of the last pause before a request */
    size_t pending;   /* credit, see below */
    size_t running;   /* messages that the owner works on */
    struct backlog backlog;
    struct consume_stats stats;
};

static void pull(struct consume *consume);
static void on_msg(void *owner, struct message *msg);
static void on_sub_error(void *owner, int status, const char *text);
static void on_heartbeat_missed(struct heartbeat *heartbeat);

/* ---- the end of a message ---- */

static void say(struct consume *consume, struct message *msg, const char *ack) {
    link_publish(consume->link, &(struct link_out){
                                    .subject = msg->reply,
                                    .data = ack,
                                    .len = strlen(ack),
                                    .checked = true, /* it came from the server */
                                });
}

/* The message is finished in this or that way. Does not look for new ones. */
static void finish(struct consume *consume, struct consume_msg *msg, enum consume_how how) {
    bool acked = consume->options.ack_wait_ms > 0;
    if (how == CONSUME_ACK && acked) {
        say(consume, msg->msg, "+ACK");
        consume->stats.acked++;
    } else if (how == CONSUME_NAK && acked) {
        say(consume, msg->msg, JS_NAK_SOON);
        consume->stats.returned++;
    }
    backlog_remove(&consume->backlog, msg);
    if (consume->pending > 0)
        consume->pending--;
}

/* ---- inboxes ---- */

static void watch(struct consume *consume) {
    heartbeat_start(&consume->heartbeat, consume->clock, consume->options.heartbeat_ms,
                    on_heartbeat_missed);
}

static void unsubscribe(struct consume *consume) {
    if (consume->sub != NULL)
        link_unsubscribe(consume->sub);
    consume->sub = NULL;
    consume->leaving = false;
    heartbeat_stop(&consume->heartbeat);
    clock_disarm(consume->clock, &consume->retry);
}

/* A new inbox, and requests on it. Without a connection it is on_link_state() that starts. */
static int subscribe(struct consume *consume) {
    unsubscribe(consume);
    consume->pending = consume->backlog.count;
    consume->absent = 0;
    if (!link_is_connected(consume->link))
        return LN_OK;
    link_new_inbox(consume->link, consume->inbox);
    struct link_sub_options options = {.pending_msgs = INT32_MAX, .pending_bytes = INT32_MAX};
    int rc = link_subscribe(consume->link, consume->inbox, &options, on_msg, on_sub_error,
                            consume, &consume->sub);
    if (rc < 0)
        return rc;
    watch(consume);
    pull(consume);
    return LN_OK;
}

/* ---- the end ---- */

/* Last thing in every function that the loop or the owner calls. */
static void leave(struct consume *consume) {
    if (--consume->busy > 0)
        return;
    if (consume->closed) {
        if (consume->backlog.count == 0)
            free(consume);
        return;
    }
    bool over = consume->state == STOPPING || consume->state == DRAINING;
    if (over && consume->backlog.count == 0 && !consume->leaving)
        clock_arm(consume->clock, &consume->end, 0);
}

static void on_end(struct clock_timer *timer) {
    struct consume *consume = container_of(timer, struct consume, end);
    if (consume->state == ENDED || consume->backlog.count > 0)
        return;
    unsubscribe(consume);
    clock_disarm(consume->clock, &consume->progress);
    consume->state = ENDED;
    consume->events.on_end(consume->owner);
}

/* No more requests until the owner has found out what is the matter. */
static void lose(struct consume *consume, int status, const char *text, bool silent) {
    if (consume->state != RUNNING)
        return;
    consume->state = LOST;
    unsubscribe(consume);
    consume->events.on_lost(consume->owner, status, text, silent);
}

/* ---- the queue ---- */

/* The loop's own time stands still while a handler keeps it busy. */
static uint64_t present(void) {
    return uv_hrtime() / 1000000;
}

static bool too_old(const struct consume *consume, const struct consume_msg *msg) {
    return consume->options.ack_wait_ms > 0 &&
           present() >= msg->touched + consume->options.ack_wait_ms;
}

/* Whether a handler may begin; those of the versions before count. */
static bool has_slot(const struct consume *consume) {
    size_t running = 0;
    for (const struct consume *at = consume; at != NULL; at = at->previous)
        running += at->running;
    return running < consume->options.concurrency;
}

/* Starts what there are slots for. */
static void pump(struct consume *consume) {
    if (consume->pumping)
        return; /* the frame that does it goes on */
    consume->pumping = true;
    struct consume_msg *msg;
    while (has_slot(consume) && (msg = backlog_dequeue(&consume->backlog)) != NULL) {
        if (msg->stale || too_old(consume, msg)) {
            consume->stats.dropped++; /* the server delivers it to somebody else by now */
            finish(consume, msg, CONSUME_SETTLED);
            continue;
        }
        msg->running = true;
        consume->running++;
        consume->events.on_msg(consume->owner, msg);
    }
    consume->pumping = false;
    pull(consume);
}

static void return_queue(struct consume *consume) {
    for (struct consume_msg *msg; (msg = backlog_dequeue(&consume->backlog)) != NULL;)
        finish(consume, msg, CONSUME_NAK);
}

void consume_done(struct consume_msg *msg, enum consume_how how) {
    struct consume *consume = msg->consume;
    consume->busy++;
    consume->running--;
    finish(consume, msg, how);
    if (!consume->closed)
        pump(consume);
    for (struct consume *next = consume->next; next != NULL; next = next->next)
        pump(next);
    leave(consume);
}

/* ---- messages that take long ---- */

static void arm_progress(struct consume *consume) {
    const struct consume_msg *oldest = backlog_oldest(&consume->backlog);
    if (consume->options.ack_wait_ms == 0 || oldest == NULL || clock_armed(&consume->progress))
        return;
    uint64_t now = clock_now(consume->clock);
    uint64_t due = oldest->touched + consume->options.ack_wait_ms / 2;
    clock_arm(consume->clock, &consume->progress, due > now ? due - now : 1);
}

static void on_progress(struct clock_timer *timer) {
    struct consume *consume = container_of(timer, struct consume, progress);
    struct backlog *backlog = &consume->backlog;
    uint64_t now = clock_now(consume->clock), half = consume->options.ack_wait_ms / 2;
    bool online = link_is_connected(consume->link);
    for (size_t i = backlog->count; i > 0; i--) {
        struct consume_msg *msg = backlog_oldest(backlog);
        if (now - msg->touched < half)
            break;
        if (!msg->running && too_old(consume, msg))
            msg->stale = true;
        else if (!online)
            break; /* what was to be said now would be said too late */
        else if (!msg->running || !consume->events.is_settled(msg))
            say(consume, msg->msg, "+WPI");
        backlog_touch(backlog, msg, now);
    }
    if (online)
        arm_progress(consume);
    else
        clock_arm(consume->clock, &consume->progress, half / 2 + 1);
}

/* ---- credit ----
 *
 * `pending` counts messages asked for and not finished. A request adds its batch, a finished
 * message takes one away, and so does every message that a request ended without (the server
 * says how many). Where the server does not say, `pending` falls back to what is here; other
 * requests may still be open then, so the queue tolerates more than was asked for.
 */

static int request(struct consume *consume, size_t batch) {
    return js_request_send(consume->link, consume->subject, consume->inbox,
                           &(struct js_request){
                               .batch = batch,
                               .expires_ms = consume->options.expires_ms,
                               .heartbeat_ms = consume->options.heartbeat_ms,
                           });
}

static void pull_later(struct consume *consume, uint32_t ms) {
    consume->wait_ms = ms;
    clock_arm(consume->clock, &consume->retry, ms);
}

/* Keeps at least half of the credit asked for. */
static void pull(struct consume *consume) {
    const struct consume_options *o = &consume->options;
    if (consume->state != RUNNING || consume->sub == NULL ||
        !link_is_connected(consume->link) || clock_armed(&consume->retry))
        return;
    if (consume->pending ==
        consume->backlog.count) /* nobody has had a reason to say anything */
        heartbeat_heard(&consume->heartbeat);
    while (consume->pending < (o->max_messages + (size_t)1) / 2) {
        size_t batch = o->max_messages - consume->pending;
        if (o->max_batch > 0 && batch > o->max_batch)
            batch = o->max_batch;
        if (request(consume, batch) < 0) {
            pull_later(consume, JS_LONG_PAUSE_MS);
            return;
        }
        consume->pending += batch;
    }
}

static void on_retry(struct clock_timer *timer) {
    pull(container_of(timer, struct consume, retry));
}

/* A request is over: its rest is not pending any more. */
static void on_request_over(struct consume *consume, struct message *msg, uint32_t wait_ms) {
    const char *value = message_header(msg, "Nats-Pending-Messages");
    size_t rest = value != NULL ? (size_t)strtoull(value, NULL, 10) : 0;
    if (value == NULL || consume->pending < consume->backlog.count + rest)
        consume->pending = consume->backlog.count;
    else
        consume->pending -= rest;
    if (value == NULL && wait_ms == 0)
        wait_ms = JS_PAUSE_MS;
    if (wait_ms > 0)
        pull_later(consume, wait_ms);
    else
        pull(consume);
}

/* A status of the server; `msg` stays the caller's. */
static void on_status(struct consume *consume, struct message *msg, enum js_status status) {
    struct verdict verdict =
        verdict_of(status, message_header(msg, "Description"), &consume->absent);
    switch (verdict.action) {
    case VERDICT_GO_ON:
        break;
    case VERDICT_OVER:
    case VERDICT_ASK_AGAIN:
        on_request_over(consume, msg, verdict.wait_ms);
        break;
    case VERDICT_LOST:
        lose(consume, verdict.status, verdict.text, verdict.silent);
        break;
    }
}

/* ---- receiving ---- */

static void on_data(struct consume *consume, struct message *msg) {
    if (msg->reply == NULL) { /* somebody else wrote to our inbox */
        message_free(msg);
        return;
    }
    struct consume_msg *record = NULL;
    if (consume->state != STOPPING && consume->state != ENDED)
        record = backlog_add(&consume->backlog, msg, consume->heartbeat.heard);
    if (record == NULL) {
        if (consume->options.ack_wait_ms > 0)
            say(consume, msg, JS_NAK_SOON);
        consume->stats.returned++;
        message_free(msg);
        return;
    }
    record->consume = consume;
    record->owner = consume->owner;
    consume->stats.received++;
    if (consume->backlog.count > consume->pending)
        consume->pending = consume->backlog.count;
    arm_progress(consume);
    pump(consume);
}

static void on_msg(void *owner, struct message *msg) {
    struct consume *consume = owner;
    consume->busy++;
    heartbeat_heard(&consume->heartbeat);
    enum js_status status = js_classify(msg);
    if (status == JS_DATA) {
        consume->absent = 0;
        on_data(consume, msg);
    } else {
        on_status(consume, msg, status);
        message_free(msg);
    }
    leave(consume);
}

static void on_sub_error(void *owner, int status, const char *text) {
    struct consume *consume = owner;
    consume->busy++;
    lose(consume, status, text, false);
    leave(consume);
}

static void on_heartbeat_missed(struct heartbeat *heartbeat) {
    struct consume *consume = container_of(heartbeat, struct consume, heartbeat);
    if (consume->pending <= consume->backlog.count)
        watch(consume); /* nothing is asked for, so nothing is said */
    else
        lose(consume, LN_ECONSUMER_LOST, "no heartbeat from the consumer", true);
}

static void on_link_state(struct link_observer *observer, enum link_state state) {
    struct consume *consume = container_of(observer, struct consume, observer);
    consume->busy++;
    if (consume->state == RUNNING) {
        int rc = subscribe(consume);
        if (state == LINK_CLOSED)
            rc = LN_ECLOSED;
        if (rc < 0)
            lose(consume, rc, NULL, false);
    } else if (!consume->leaving) {
        unsubscribe(consume);
    }
    leave(consume);
}

/* ---- handover ---- */

/* The consume of another version, whose place this one takes. */
static struct consume *find_previous(const struct consume *consume) {
    struct link_observer *at = link_observers(consume->link);
    for (; at != NULL; at = at->next) {
        if (at->on_state != on_link_state)
            continue;
        struct consume *other = container_of(at, struct consume, observer);
        if (other->state == RUNNING && other->options.version != consume->options.version &&
            strcmp(other->subject, consume->subject) == 0)
            return other;
    }
    return NULL;
}

static void take_over(struct consume *consume, struct consume *previous) {
    consume->previous = previous;
    previous->next = consume;
    backlog_hand_over(&previous->backlog, &consume->backlog, consume, consume->owner);
    consume->stats.received = consume->backlog.queued;
    previous->stats.received -= consume->backlog.queued;
    consume->pending = previous->pending - previous->backlog.count; /* those are running */
    consume->absent = previous->absent;
    memcpy(consume->inbox, previous->inbox, sizeof(consume->inbox));
    consume->sub = previous->sub;
    previous->sub = NULL;
    if (clock_armed(&previous->retry))
        pull_later(consume, previous->wait_ms);
    if (consume->sub != NULL) {
        link_sub_retarget(consume->sub, on_msg, on_sub_error, consume);
        watch(consume);
    }
    arm_progress(consume);
    consume_stop(previous, false);
}

/* The handlers of `consume` do not count any more for those that came after it. */
static void resign(struct consume *consume) {
    struct consume *next = consume->next;
    if (next != NULL)
        next->previous = consume->previous;
    if (consume->previous != NULL)
        consume->previous->next = next;
    consume->next = consume->previous = NULL;
    if (next != NULL)
        pump(next);
}

int consume_begin(struct consume *consume) {
    if (consume->state != HELD)
        return LN_OK;
    consume->busy++;
    consume->state = RUNNING;
    int rc = LN_OK;
    struct consume *previous = find_previous(consume);
    if (previous != NULL) {
        take_over(consume, previous);
        pump(consume);
    } else if ((rc = subscribe(consume)) < 0) {
        consume->state = HELD;
    }
    leave(consume);
    return rc;
}

/* ---- life ---- */

int consume_open(struct consume **out, struct link *link, struct clock *clock,
                 const char *prefix, const char *stream, const char *consumer,
                 const struct consume_options *options, const struct consume_events *events,
                 void *owner) {
    struct consume *consume = calloc(1, sizeof(*consume));
    if (consume == NULL)
        return LN_ENOMEM;
    int rc = js_request_subject(&consume->subject, prefix, stream, consumer);
    if (rc < 0) {
        free(consume);
        return rc;
    }
    consume->link = link;
    consume->clock = clock;
    consume->options = *options;
    consume->events = *events;
    consume->owner = owner;
    consume->progress.fire = on_progress;
    consume->retry.fire = on_retry;
    consume->end.fire = on_end;
    consume->observer.on_state = on_link_state;
    link_observe(link, &consume->observer);
    *out = consume;
    return LN_OK;
}

void consume_resume(struct consume *consume) {
    if (consume->state != LOST)
        return;
    consume->busy++;
    consume->state = RUNNING;
    int rc = subscribe(consume);
    if (rc < 0)
        lose(consume, rc, NULL, false);
    leave(consume);
}

static void on_drained(void *owner) {
    struct consume *consume = owner;
    consume->busy++;
    consume->sub = NULL;
    consume->leaving = false;
    leave(consume);
}

void consume_stop(struct consume *consume, bool drain) {
    if (consume->state == ENDED || consume->state == STOPPING ||
        (consume->state == DRAINING && drain))
        return;
    consume->busy++;
    consume->state = drain ? DRAINING : STOPPING;
    heartbeat_stop(&consume->heartbeat);
    clock_disarm(consume->clock, &consume->retry);
    /* Drained, because what is on its way to us would be missed by everybody until its ack_wait
     * is over; and first, because what goes back shall not come to us again. */
    if (consume->sub != NULL && !consume->leaving) {
        consume->leaving = true;
        link_sub_drain(consume->sub, DRAIN_MS, on_drained);
    }
    if (!drain)
        return_queue(consume);
    leave(consume);
}

bool consume_stopped(const struct consume *consume) {
    return consume->state >= DRAINING;
}

void consume_get_stats(const struct consume *consume, struct consume_stats *out) {
    *out = consume->stats;
    out->running = consume->running;
    out->queued = consume->backlog.queued;
}

void consume_close(struct consume *consume) {
    consume->busy++;
    consume->closed = true;
    consume->state = ENDED;
    if (consume->sub != NULL) /* first: what goes back shall not come to us again */
        js_drain_inbox(consume->link, consume->sub);
    consume->sub = NULL;
    unsubscribe(consume);
    return_queue(consume);
    resign(consume);
    link_unobserve(consume->link, &consume->observer);
    clock_disarm(consume->clock, &consume->progress);
    clock_disarm(consume->clock, &consume->end);
    clock_disarm(consume->clock, &consume->retry);
    heartbeat_stop(&consume->heartbeat);
    free(consume->subject);
    backlog_close(&consume->backlog);
    leave(consume);
}
