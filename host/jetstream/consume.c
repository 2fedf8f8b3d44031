/* SPDX-License-Identifier: Apache-2.0 */
#include "host/jetstream/consume.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/container_of.h"
#include "host/jetstream/consume_internal.h"
#include "host/jetstream/request.h"

#define QUEUE_BYTES ((size_t)64 << 20) /* of messages that nobody has asked for */
#define TELL_MS 1000                   /* between two words about dropped ones */

/* ---- the end of a message ---- */

void consume_say(struct consume *consume, const struct message *msg, const char *ack) {
    link_publish(consume->link, &(struct link_out){
                                    .subject = msg->reply,
                                    .data = ack,
                                    .len = strlen(ack),
                                    .checked = true, /* it came from the server */
                                });
}

void consume_finish(struct consume *consume, struct consume_msg *msg, enum consume_how how) {
    bool acked = consume->options.ack_wait_ms > 0;
    if (how == CONSUME_ACK && acked) {
        consume_say(consume, msg->msg, "+ACK");
        consume->stats.acked++;
    } else if (how == CONSUME_NAK && acked) {
        consume_say(consume, msg->msg, JS_NAK_SOON);
        consume->stats.returned++;
    }
    if (msg->turn != NULL)
        turns_forget(&consume->turns, msg);
    backlog_remove(&consume->backlog, msg);
    demand_finished(&consume->demand);
}

/* ---- the end ---- */

void consume_leave(struct consume *consume) {
    if (--consume->busy > 0)
        return;
    if (consume->closed) {
        if (consume->backlog.count == 0) {
            turns_close(&consume->turns);
            free(consume);
        }
        return;
    }
    bool over = consume->state == STOPPING || consume->state == DRAINING;
    if (over && consume->backlog.count == 0 && !consume->demand.draining)
        clock_arm(consume->clock, &consume->end, 0);
}

static void on_end(struct clock_timer *timer) {
    struct consume *consume = container_of(timer, struct consume, end);
    if (consume->state == ENDED || consume->backlog.count > 0)
        return;
    demand_stop(&consume->demand);
    clock_disarm(consume->clock, &consume->progress);
    consume->state = ENDED;
    consume->events.on_end(consume->owner);
}

/* No more requests until the owner has found out what is the matter. */
static void lose(struct consume *consume, int status, const char *text, bool silent) {
    if (consume->state != RUNNING)
        return;
    consume->state = LOST;
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
    if (consume->settling > 0)
        return false;
    for (const struct consume *at = consume; at != NULL; at = at->previous) {
        running += at->running;
        if (at->running > 0 && turns_used(&consume->turns) && !turns_used(&at->turns))
            return false; /* nobody knows the keys of what they work on */
    }
    return running < consume->options.concurrency;
}

static struct consume_msg *next_msg(struct consume *consume) {
    return turns_used(&consume->turns) ? consume_keys_next(consume)
                                       : backlog_dequeue(&consume->backlog);
}

static void skip(struct consume *consume, struct consume_msg *msg) {
    if (msg->turn != NULL) {
        consume_keys_skip(consume, msg);
        return;
    }
    consume->stats.dropped++; /* the server delivers it to somebody else by now */
    consume_finish(consume, msg, CONSUME_SETTLED);
}

void consume_pump(struct consume *consume) {
    if (consume->pumping)
        return; /* the frame that does it goes on */
    consume->pumping = true;
    struct consume_msg *msg;
    while (has_slot(consume) && (msg = next_msg(consume)) != NULL) {
        if (msg->stale || too_old(consume, msg)) {
            skip(consume, msg);
            continue;
        }
        msg->running = true;
        consume->running++;
        consume->events.on_msg(consume->owner, msg);
    }
    consume->pumping = false;
    if (turns_used(&consume->turns))
        consume_keys_count(consume);
    demand_pull(&consume->demand);
}

static void return_queue(struct consume *consume) {
    for (struct consume_msg *msg; (msg = backlog_dequeue(&consume->backlog)) != NULL;)
        consume_finish(consume, msg, too_old(consume, msg) ? CONSUME_SETTLED : CONSUME_NAK);
    consume_keys_return_resting(consume, false);
}

void consume_done(struct consume_msg *msg, enum consume_how how) {
    struct consume *consume = msg->consume;
    consume->busy++;
    consume->running--;
    if (msg->turn != NULL && (how == CONSUME_NAK || how == CONSUME_AGAIN))
        consume_keys_fail(consume, msg, how);
    else {
        if (msg->turn != NULL)
            consume_keys_remember(consume, msg, how == CONSUME_ACK);
        consume_finish(consume, msg, how);
    }
    if (!consume->closed)
        consume_pump(consume);
    for (struct consume *next = consume->next; next != NULL; next = next->next)
        consume_pump(next);
    consume_leave(consume);
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
        if (!msg->running && (msg->stale || too_old(consume, msg)))
            msg->stale = true;
        else if (!online)
            break; /* what was to be said now would be said too late */
        else if (!msg->running || !consume->events.is_settled(msg))
            consume_say(consume, msg->msg, "+WPI");
        backlog_touch(backlog, msg, now);
    }
    if (online)
        arm_progress(consume);
    else
        clock_arm(consume->clock, &consume->progress, half / 2 + 1);
}

/* ---- receiving ---- */

static bool is_full(const struct consume *consume) {
    const struct consume_options *o = &consume->options;
    const struct backlog *backlog = &consume->backlog;
    return o->queue_max > 0 &&
           (backlog->queued >= o->queue_max || backlog->bytes >= o->queue_bytes ||
            (backlog->queued > 0 && tally_full(link_tally(consume->link), 0)));
}

/* Now, and then once a second for as long as there is something to tell. */
static void tell_drops(struct consume *consume) {
    if (consume->stats.untold == 0)
        return;
    struct consume_stats stats;
    consume_get_stats(consume, &stats);
    clock_arm(consume->clock, &consume->tell, TELL_MS);
    consume->busy++;
    consume->events.on_full(consume->owner, &stats);
    consume->stats.untold = consume->stats.untold_bytes = 0;
    consume_leave(consume);
}

static void on_tell(struct clock_timer *timer) {
    tell_drops(container_of(timer, struct consume, tell));
}

/* The server delivers it again after its ack_wait, if it does. */
static void drop(struct consume *consume, struct message *msg) {
    consume->stats.dropped++;
    consume->stats.untold++;
    consume->stats.untold_bytes += msg->size;
    message_free(msg);
    if (!clock_armed(&consume->tell))
        tell_drops(consume);
}

/* More are here than there is memory for, as they are larger than those before. What has to be
 * acknowledged can be had again. */
static bool is_too_much(const struct consume *consume, const struct message *msg) {
    return consume->options.ack_wait_ms > 0 && consume->backlog.count > 0 &&
           !turns_used(&consume->turns) && /* others of its key would overtake it */
           tally_full(msg->tally, 0);
}

static bool takes(const struct consume *consume) {
    return consume->state != STOPPING && consume->state != ENDED &&
           !(consume->state == DRAINING && consume->returning);
}

static void give_back(struct consume *consume, struct consume_msg *msg) {
    backlog_unqueue(&consume->backlog, msg);
    consume_finish(consume, msg, CONSUME_NAK);
}

static void on_msg(struct demand *demand, struct message *msg) {
    struct consume *consume = container_of(demand, struct consume, demand);
    if (is_full(consume)) {
        drop(consume, msg);
        return;
    }
    consume->busy++;
    struct consume_msg *record = NULL;
    if (takes(consume) && !is_too_much(consume, msg))
        record = backlog_add(&consume->backlog, msg, clock_now(consume->clock));
    if (record == NULL) {
        if (consume->options.ack_wait_ms > 0)
            consume_say(consume, msg, JS_NAK_SOON);
        consume->stats.returned++;
        message_free(msg);
        demand_finished(demand);
    } else {
        record->consume = consume;
        record->owner = consume->owner;
        consume->stats.received++;
        demand_came(demand);
        arm_progress(consume);
        if (turns_used(&consume->turns) && !consume_keys_add(consume, record))
            give_back(consume, record);
        consume_pump(consume);
    }
    consume_leave(consume);
}

static void on_lost(struct demand *demand, int status, const char *text, bool silent) {
    struct consume *consume = container_of(demand, struct consume, demand);
    consume->busy++;
    lose(consume, status, text, silent);
    consume_leave(consume);
}

static void on_drained(struct demand *demand) {
    struct consume *consume = container_of(demand, struct consume, demand);
    consume->busy++;
    consume_leave(consume);
}

static bool may_ask(struct demand *demand) {
    const struct consume *consume = container_of(demand, struct consume, demand);
    return consume->events.may_ask == NULL || consume->events.may_ask(consume->owner);
}

static const struct demand_events demand_events = {
    .on_msg = on_msg,
    .on_lost = on_lost,
    .on_drained = on_drained,
    .may_ask = may_ask,
};

static void on_link_state(struct link_observer *observer, enum link_state state) {
    struct consume *consume = container_of(observer, struct consume, observer);
    consume->busy++;
    if (consume->state == RUNNING) {
        int rc = demand_start(&consume->demand);
        if (state == LINK_CLOSED)
            rc = LN_ECLOSED;
        if (rc < 0)
            lose(consume, rc, NULL, false);
    } else if (!consume->demand.draining) {
        demand_stop(&consume->demand);
    }
    consume_leave(consume);
}

static void on_denied(struct link_observer *observer, const char *subject, const char *text) {
    struct consume *consume = container_of(observer, struct consume, observer);
    consume->busy++;
    demand_denied(&consume->demand, subject, text);
    consume_leave(consume);
}

/* ---- handover ---- */

/* The consume of another version; `group` NULL: any. */
static struct consume *find_other(struct link *link, const char *consumer, const char *group,
                                  const void *version) {
    list_each (struct link_observer, at, link_observers(link), node) {
        if (at->on_state != on_link_state)
            continue;
        struct consume *other = container_of(at, struct consume, observer);
        if (other->state == RUNNING && other->options.version != version &&
            strcmp(other->demand.consumer, consumer) == 0 &&
            (group == NULL || strcmp(other->options.group.name, group) == 0))
            return other;
    }
    return NULL;
}

bool consume_of_other_version(struct link *link, const char *consumer, const void *version) {
    return find_other(link, consumer, NULL, version) != NULL;
}

static void take_over(struct consume *consume, struct consume *previous) {
    consume->previous = previous;
    previous->next = consume;
    consume_keys_before_handover(consume, previous);
    backlog_hand_over(&previous->backlog, &consume->backlog, consume, consume->owner);
    consume->stats.received = consume->backlog.count;
    previous->stats.received -= consume->backlog.count;
    consume_keys_after_handover(consume, previous);
    demand_take_over(&consume->demand, &previous->demand);
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
        consume_pump(next);
}

int consume_begin(struct consume *consume) {
    if (consume->state != HELD)
        return LN_OK;
    consume->busy++;
    consume->state = RUNNING;
    int rc = LN_OK;
    struct consume *previous =
        find_other(consume->link, consume->demand.consumer, consume->options.group.name,
                   consume->options.version);
    if (previous != NULL) {
        take_over(consume, previous);
        consume_keys_find(consume);
        consume_pump(consume);
    } else if ((rc = demand_start(&consume->demand)) < 0) {
        consume->state = HELD;
    } else if (turns_used(&consume->turns)) {
        consume_keys_begin(consume);
    }
    consume_leave(consume);
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
    char *subject;
    int rc = js_request_subject(&subject, prefix, stream, consumer);
    if (rc < 0) {
        free(consume);
        return rc;
    }
    struct demand_options demand = {
        .max_messages = options->max_messages,
        .least = options->concurrency,
        .max_batch = options->max_batch,
        .expires_ms = options->expires_ms,
        .heartbeat_ms = options->heartbeat_ms,
        .group = options->group,
        .pin = options->pin,
        .deliver = options->deliver,
        .queue = options->queue,
    };
    rc = demand_open(&consume->demand, link, clock, subject, &demand, &demand_events,
                     &consume->backlog.count,
                     options->key.kind != MESSAGE_KEY_NONE ? &consume->unserved
                                                           : &consume->backlog.queued);
    if (rc < 0) {
        free(subject);
        free(consume);
        return rc;
    }
    consume->link = link;
    consume->clock = clock;
    consume->options = *options;
    consume->options.deliver = consume->options.queue = NULL; /* the demand's */
    consume->events = *events;
    consume->owner = owner;
    consume->progress.fire = on_progress;
    consume->tell.fire = on_tell;
    if (options->queue_bytes == 0)
        consume->options.queue_bytes = QUEUE_BYTES;
    consume->end.fire = on_end;
    consume->observer.on_state = on_link_state;
    consume->observer.on_denied = on_denied;
    if (options->key.kind != MESSAGE_KEY_NONE && (rc = consume_keys_open(consume)) < 0) {
        demand_close(&consume->demand);
        free(consume);
        return rc;
    }
    link_observe(link, &consume->observer);
    *out = consume;
    return LN_OK;
}

void consume_set_limits(struct consume *consume, const struct consume_options *options) {
    bool sooner = options->ack_wait_ms != consume->options.ack_wait_ms;
    consume->options.ack_wait_ms = options->ack_wait_ms;
    demand_set_limits(&consume->demand, &(struct demand_options){
                                            .max_batch = options->max_batch,
                                            .expires_ms = options->expires_ms,
                                            .heartbeat_ms = options->heartbeat_ms,
                                        });
    if (!sooner || !clock_armed(&consume->progress))
        return;
    clock_disarm(consume->clock, &consume->progress);
    arm_progress(consume);
}

bool consume_heard(struct consume *consume) {
    bool heard = consume->demand.heard;
    consume->demand.heard = false;
    return heard;
}

void consume_resume(struct consume *consume) {
    if (consume->state != LOST)
        return;
    consume->busy++;
    consume->state = RUNNING;
    int rc = demand_resume(&consume->demand);
    if (rc < 0)
        lose(consume, rc, NULL, false);
    consume_leave(consume);
}

void consume_stop(struct consume *consume, bool drain) {
    if (consume->state == ENDED || consume->state == STOPPING ||
        (consume->state == DRAINING && drain))
        return;
    consume->busy++;
    consume->state = drain ? DRAINING : STOPPING;
    /* Drained, because what is on its way to us would be missed by everybody until its ack_wait
     * is over; and first, because what goes back shall not come to us again. */
    demand_drain(&consume->demand);
    if (drain)
        consume_keys_return_resting(consume, true);
    else
        return_queue(consume);
    consume_leave(consume);
}

bool consume_stopped(const struct consume *consume) {
    return consume->state >= DRAINING;
}

void consume_get_stats(const struct consume *consume, struct consume_stats *out) {
    *out = consume->stats;
    out->running = consume->running;
    out->queued = consume->backlog.queued;
    out->queued_bytes = consume->backlog.bytes;
    if (turns_used(&consume->turns))
        keyed_get_stats(consume->turns.keyed, &out->keys);
}

void consume_close(struct consume *consume) {
    consume->busy++;
    consume->closed = true;
    tell_drops(consume);
    consume->state = ENDED;
    demand_close(&consume->demand); /* first: what goes back shall not come to us again */
    return_queue(consume);
    resign(consume);
    link_unobserve(&consume->observer);
    clock_disarm(consume->clock, &consume->progress);
    clock_disarm(consume->clock, &consume->end);
    clock_disarm(consume->clock, &consume->tell);
    clock_disarm(consume->clock, &consume->settle);
    backlog_close(&consume->backlog);
    consume_leave(consume);
}
