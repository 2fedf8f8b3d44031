/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every connection has an inbox of its own: a request that the server still has from before
 * must not find its inbox again, it would double the flow.
 */
#include "host/jetstream/consume_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/container_of.h"
#include "host/jetstream/pull.h"

#define DOUBT_MS 50u    /* last look at the socket before silence is believed */
#define DRAIN_MS 2000u  /* for the server to confirm that nothing more comes */
#define SPARE_MAX 1024u /* message records kept */

/* ---- message records ---- */

static struct consume_msg *take_record(struct consume *consume) {
    struct consume_msg *msg = consume->spare;
    if (msg == NULL)
        return calloc(1, sizeof(*msg));
    consume->spare = msg->behind;
    consume->spare_count--;
    return msg;
}

static void list_add(struct consume *consume, struct consume_msg *msg) {
    msg->next = NULL;
    msg->prev = consume->newest;
    if (msg->prev != NULL)
        msg->prev->next = msg;
    else
        consume->oldest = msg;
    consume->newest = msg;
}

static void list_remove(struct consume *consume, struct consume_msg *msg) {
    if (msg->prev != NULL)
        msg->prev->next = msg->next;
    else
        consume->oldest = msg->next;
    if (msg->next != NULL)
        msg->next->prev = msg->prev;
    else
        consume->newest = msg->prev;
}

static void say(struct consume *consume, struct message *msg, const char *word) {
    link_publish(consume->link, &(struct link_out){
                                    .subject = msg->reply,
                                    .data = word,
                                    .len = strlen(word),
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
        say(consume, msg->msg, JS_GIVE_BACK);
        consume->stats.returned++;
    }
    message_free(msg->msg);
    list_remove(consume, msg);
    consume->count--;
    if (consume->pending > 0)
        consume->pending--;
    if (consume->spare_count >= SPARE_MAX || consume->closed) {
        free(msg);
        return;
    }
    msg->behind = consume->spare;
    consume->spare = msg;
    consume->spare_count++;
}

/* ---- inboxes ---- */

static void watch(struct consume *consume) {
    consume->doubted = false;
    consume->heard = clock_now(consume->clock);
    clock_arm(consume->clock, &consume->heartbeat, 2 * (uint64_t)consume->options.heartbeat_ms);
}

static void on_msg(void *owner, struct message *msg);
static void on_sub_error(void *owner, int status, const char *text);

static void unsubscribe(struct consume *consume) {
    if (consume->sub != NULL)
        link_unsubscribe(consume->sub);
    consume->sub = NULL;
    consume->leaving = false;
    clock_disarm(consume->clock, &consume->heartbeat);
    clock_disarm(consume->clock, &consume->retry);
}

/* A new inbox, and requests on it. Without a connection it is on_link_state() that starts. */
static int subscribe(struct consume *consume) {
    unsubscribe(consume);
    consume->pending = consume->count;
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
    consume_pull(consume);
    return LN_OK;
}

/* ---- the end ---- */

static void free_spare(struct consume *consume) {
    while (consume->spare != NULL) {
        struct consume_msg *msg = consume->spare;
        consume->spare = msg->behind;
        free(msg);
    }
}

/* Last thing in every function that the loop or the owner calls. */
static void leave(struct consume *consume) {
    if (--consume->busy > 0)
        return;
    if (consume->closed) {
        if (consume->count == 0)
            free(consume);
        return;
    }
    bool over = consume->state == STOPPING || consume->state == DRAINING;
    if (over && consume->count == 0 && !consume->leaving)
        clock_arm(consume->clock, &consume->end, 0);
}

static void on_end(struct clock_timer *timer) {
    struct consume *consume = container_of(timer, struct consume, end);
    if (consume->state == ENDED || consume->count > 0)
        return;
    unsubscribe(consume);
    clock_disarm(consume->clock, &consume->progress);
    consume->state = ENDED;
    consume->events.on_end(consume->owner);
}

void consume_lose(struct consume *consume, int status, const char *text, bool silent) {
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

static struct consume_msg *dequeue(struct consume *consume) {
    struct consume_msg *msg = consume->queue;
    consume->queue = msg->behind;
    if (consume->queue == NULL)
        consume->queue_end = &consume->queue;
    consume->queued--;
    return msg;
}

/* Whether a handler may begin; those of the versions before count. */
static bool has_slot(const struct consume *consume) {
    size_t running = 0;
    for (const struct consume *at = consume; at != NULL; at = at->elder)
        running += at->running;
    return running < consume->options.concurrency;
}

/* Starts what there are slots for. */
static void pump(struct consume *consume) {
    if (consume->pumping)
        return; /* the frame that does it goes on */
    consume->pumping = true;
    while (consume->queue != NULL && has_slot(consume)) {
        struct consume_msg *msg = dequeue(consume);
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
    consume_pull(consume);
}

static void return_queue(struct consume *consume) {
    while (consume->queue != NULL)
        finish(consume, dequeue(consume), CONSUME_NAK);
}

void consume_done(struct consume_msg *msg, enum consume_how how) {
    struct consume *consume = msg->consume;
    consume->busy++;
    consume->running--;
    finish(consume, msg, how);
    if (!consume->closed)
        pump(consume);
    for (struct consume *heir = consume->heir; heir != NULL; heir = heir->heir)
        pump(heir);
    leave(consume);
}

/* ---- messages that take long ---- */

static void arm_progress(struct consume *consume) {
    if (consume->options.ack_wait_ms > 0 && consume->oldest != NULL &&
        !clock_armed(&consume->progress)) {
        uint64_t now = clock_now(consume->clock);
        uint64_t due = consume->oldest->touched + consume->options.ack_wait_ms / 2;
        clock_arm(consume->clock, &consume->progress, due > now ? due - now : 1);
    }
}

static void on_progress(struct clock_timer *timer) {
    struct consume *consume = container_of(timer, struct consume, progress);
    uint64_t now = clock_now(consume->clock), half = consume->options.ack_wait_ms / 2;
    bool online = link_is_connected(consume->link);
    for (size_t i = consume->count; i > 0 && now - consume->oldest->touched >= half; i--) {
        struct consume_msg *msg = consume->oldest;
        if (!msg->running && too_old(consume, msg))
            msg->stale = true;
        else if (!online)
            break; /* what was to be said now would be said too late */
        else if (!msg->running || !consume->events.is_settled(msg))
            say(consume, msg->msg, "+WPI");
        list_remove(consume, msg);
        msg->touched = now;
        list_add(consume, msg);
    }
    if (online)
        arm_progress(consume);
    else
        clock_arm(consume->clock, &consume->progress, half / 2 + 1);
}

/* ---- receiving ---- */

static void on_data(struct consume *consume, struct message *msg) {
    if (msg->reply == NULL) { /* somebody else wrote to our inbox */
        message_free(msg);
        return;
    }
    struct consume_msg *record =
        consume->state == STOPPING || consume->state == ENDED ? NULL : take_record(consume);
    if (record == NULL) {
        if (consume->options.ack_wait_ms > 0)
            say(consume, msg, JS_GIVE_BACK);
        consume->stats.returned++;
        message_free(msg);
        return;
    }
    *record = (struct consume_msg){
        .consume = consume, .owner = consume->owner, .msg = msg, .touched = consume->heard};
    list_add(consume, record);
    *consume->queue_end = record;
    consume->queue_end = &record->behind;
    consume->queued++;
    consume->stats.received++;
    if (++consume->count > consume->pending)
        consume->pending = consume->count;
    arm_progress(consume);
    pump(consume);
}

static void on_msg(void *owner, struct message *msg) {
    struct consume *consume = owner;
    consume->busy++;
    consume->heard = clock_now(consume->clock);
    consume->doubted = false;
    enum js_word word = js_classify(msg);
    if (word == JS_DATA) {
        on_data(consume, msg);
    } else {
        consume_on_word(consume, msg, word);
        message_free(msg);
    }
    leave(consume);
}

static void on_sub_error(void *owner, int status, const char *text) {
    struct consume *consume = owner;
    consume->busy++;
    consume_lose(consume, status, text, false);
    leave(consume);
}

static void on_heartbeat_due(struct clock_timer *timer) {
    struct consume *consume = container_of(timer, struct consume, heartbeat);
    uint64_t silence = clock_now(consume->clock) - consume->heard;
    uint64_t allowed = 2 * (uint64_t)consume->options.heartbeat_ms;
    if (silence < allowed) {
        clock_arm(consume->clock, &consume->heartbeat, allowed - silence);
    } else if (!consume->doubted) {
        /* Timers run before sockets are read: after a long handler it may well be there. */
        consume->doubted = true;
        clock_arm(consume->clock, &consume->heartbeat, DOUBT_MS);
    } else if (consume->pending <= consume->count) {
        watch(consume); /* nothing is asked for, so nothing is said */
    } else {
        consume_lose(consume, LN_ECONSUMER_LOST, "no heartbeat from the consumer", true);
    }
}

static void on_link_state(struct link_observer *observer, enum link_state state) {
    struct consume *consume = container_of(observer, struct consume, observer);
    consume->busy++;
    if (consume->state == RUNNING) {
        int rc = subscribe(consume);
        if (state == LINK_CLOSED)
            rc = LN_ECLOSED;
        if (rc < 0)
            consume_lose(consume, rc, NULL, false);
    } else if (!consume->leaving) {
        unsubscribe(consume);
    }
    leave(consume);
}

/* ---- handover ---- */

static struct consume *find_elder(const struct consume *heir) {
    struct link_observer *at = link_observers(heir->link);
    for (; at != NULL; at = at->next) {
        if (at->on_state != on_link_state)
            continue;
        struct consume *consume = container_of(at, struct consume, observer);
        if (consume->state == RUNNING && consume->options.version != heir->options.version &&
            strcmp(consume->subject, heir->subject) == 0)
            return consume;
    }
    return NULL;
}

/* What waits in the elder's queue now waits in the heir's, as old as it is. */
static void take_queue(struct consume *heir, struct consume *elder) {
    for (struct consume_msg *msg = elder->oldest, *next; msg != NULL; msg = next) {
        next = msg->next;
        if (msg->running)
            continue;
        list_remove(elder, msg);
        msg->consume = heir;
        msg->owner = heir->owner;
        list_add(heir, msg);
    }
    if (elder->queue != NULL) {
        heir->queue = elder->queue;
        heir->queue_end = elder->queue_end;
    }
    elder->queue = NULL;
    elder->queue_end = &elder->queue;
    heir->count = heir->queued = elder->queued;
    heir->stats.received = elder->queued;
    elder->stats.received -= elder->queued;
    elder->count -= elder->queued;
    elder->queued = 0;
}

static void take_over(struct consume *heir, struct consume *elder) {
    heir->elder = elder;
    elder->heir = heir;
    take_queue(heir, elder);
    heir->pending = elder->pending - elder->count; /* its own ones are running */
    heir->absent = elder->absent;
    heir->retry_ms = elder->retry_ms;
    memcpy(heir->inbox, elder->inbox, sizeof(heir->inbox));
    heir->sub = elder->sub;
    elder->sub = NULL;
    if (heir->sub != NULL)
        link_sub_retarget(heir->sub, on_msg, on_sub_error, heir);
    if (clock_armed(&elder->retry))
        clock_arm(heir->clock, &heir->retry, heir->retry_ms);
    if (heir->sub != NULL)
        watch(heir);
    arm_progress(heir);
    consume_stop(elder, false);
}

/* The handlers of `consume` do not count any more for those that came after it. */
static void resign(struct consume *consume) {
    if (consume->heir != NULL)
        consume->heir->elder = consume->elder;
    if (consume->elder != NULL)
        consume->elder->heir = consume->heir;
    struct consume *heir = consume->heir;
    consume->heir = consume->elder = NULL;
    if (heir != NULL)
        pump(heir);
}

int consume_begin(struct consume *consume) {
    if (consume->state != HELD)
        return LN_OK;
    consume->busy++;
    consume->state = RUNNING;
    int rc = LN_OK;
    struct consume *elder = find_elder(consume);
    if (elder != NULL) {
        take_over(consume, elder);
        pump(consume);
    } else if ((rc = subscribe(consume)) < 0) {
        consume->state = HELD;
    }
    leave(consume);
    return rc;
}

/* ---- life ---- */

static int prepare(struct consume *consume, struct link *link, uv_loop_t *loop,
                   const struct consume_options *options, const struct consume_events *events,
                   void *owner) {
    consume->link = link;
    consume->options = *options;
    consume->events = *events;
    consume->owner = owner;
    consume->queue_end = &consume->queue;
    consume->heartbeat.fire = on_heartbeat_due;
    consume->progress.fire = on_progress;
    consume->retry.fire = consume_on_retry;
    consume->end.fire = on_end;
    consume->observer.on_state = on_link_state;
    if (!link_subject_ok(consume->subject, strlen(consume->subject)))
        return LN_EINVAL;
    int rc = clock_open(&consume->clock, loop, false);
    if (rc == LN_OK)
        link_observe(link, &consume->observer);
    return rc;
}

int consume_open(struct consume **out, struct link *link, uv_loop_t *loop, const char *prefix,
                 const char *stream, const char *consumer,
                 const struct consume_options *options, const struct consume_events *events,
                 void *owner) {
    static const char format[] = "%s.CONSUMER.MSG.NEXT.%s.%s";
    if (!js_name_ok(stream, strlen(stream)) || !js_name_ok(consumer, strlen(consumer)))
        return LN_EINVAL;
    size_t size = sizeof(format) + strlen(prefix) + strlen(stream) + strlen(consumer);
    struct consume *consume = calloc(1, sizeof(*consume) + size);
    if (consume == NULL)
        return LN_ENOMEM;
    snprintf(consume->subject, size, format, prefix, stream, consumer);
    int rc = prepare(consume, link, loop, options, events, owner);
    if (rc < 0) {
        free(consume);
        return rc;
    }
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
        consume_lose(consume, rc, NULL, false);
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
    clock_disarm(consume->clock, &consume->heartbeat);
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
    out->queued = consume->queued;
}

void consume_close(struct consume *consume) {
    consume->busy++;
    consume->closed = true;
    consume->state = ENDED;
    if (consume->sub != NULL) /* first: what goes back shall not come to us again */
        pull_let_go(consume->link, consume->sub);
    consume->sub = NULL;
    unsubscribe(consume);
    return_queue(consume);
    resign(consume);
    link_unobserve(consume->link, &consume->observer);
    clock_disarm(consume->clock, &consume->progress);
    clock_disarm(consume->clock, &consume->end);
    clock_close(consume->clock);
    free_spare(consume);
    leave(consume);
}
