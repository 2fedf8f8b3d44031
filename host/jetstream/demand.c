/* SPDX-License-Identifier: Apache-2.0 */
#include "host/jetstream/demand.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/container_of.h"
#include "host/jetstream/request.h"
#include "host/jetstream/status.h"
#include "host/jetstream/verdict.h"

#define DRAIN_MS 2000u /* for the server to confirm that nothing more comes */
#define PENDING_BYTES ((size_t)64 << 20)
#define PENDING_SHARE 2 /* of what messages may have that wait, if that is bounded */
#define FIRST_WEIGHT ((size_t)64 << 10) /* of messages of which none has come yet */
#define LEAST_WEIGHT 128

/* ---- consumers that push ---- */

static bool pushes(const struct demand *demand) {
    return demand->deliver != NULL;
}

static void answer_flow(struct demand *demand) {
    if (demand->flow == NULL || *demand->queued > 0)
        return;
    link_publish(demand->link, &(struct link_out){.subject = demand->flow});
    free(demand->flow);
    demand->flow = NULL;
}

/* Whether a message wants its answer where the consumer does. Anybody may publish to the
 * subject to which one pushes, so that nothing goes to plain subjects from there. */
static bool is_proven(const struct demand *demand, const char *reply) {
    return !(pushes(demand) && answer_ok(reply)) && js_answer_ok(reply, demand->consumer);
}

/* A heartbeat, or the question whether what was sent has been taken. `msg` stays the caller's.
 */
static void on_push_status(struct demand *demand, struct message *msg) {
    const char *to = msg->reply;
    if (to == NULL)
        to = message_header(msg, "Nats-Consumer-Stalled");
    if (to == NULL)
        return;
    if (!is_proven(demand, to)) {
        answer_refused(&demand->refusals, NULL, "consumer", demand->consumer, to);
        return;
    }
    free(demand->flow);
    demand->flow = strdup(to); /* without memory: the next heartbeat asks again */
    answer_flow(demand);
}

/* ---- asking ---- */

static void pull_later(struct demand *demand, uint32_t ms) {
    demand->wait_ms = ms;
    clock_arm(demand->clock, &demand->retry, ms);
}

static int request(struct demand *demand, size_t batch) {
    return js_request_send(demand->link, demand->subject, demand->inbox,
                           &(struct js_request){
                               .batch = batch,
                               .expires_ms = demand->options.expires_ms,
                               .heartbeat_ms = demand->options.heartbeat_ms,
                               .group = &demand->options.group,
                               .pin = demand->options.pin,
                           });
}

/* A large message counts at once, smaller ones by and by: what is asked for comes in any size.
 */
static void weigh(struct demand *demand, const struct message *msg) {
    size_t weight = msg->size + LEAST_WEIGHT;
    if (weight > demand->weight)
        demand->weight = weight;
    else
        demand->weight -= (demand->weight - weight) / 64;
}

/* What the messages of the link may have while they wait; 0: no limit. */
static size_t limit(const struct demand *demand) {
    const struct tally *tally = link_tally(demand->link);
    return tally != NULL ? tally->most : 0;
}

/* Of the first messages nothing is known. Where they must not be too many they are as large as
 * they can be. */
static void expect_weight(struct demand *demand) {
    struct link_info info;
    if (limit(demand) == 0 || demand->weight != FIRST_WEIGHT)
        return;
    link_get_info(demand->link, &info);
    if (info.max_payload > (int64_t)FIRST_WEIGHT)
        demand->weight = (size_t)info.max_payload;
}

/* The bytes of what is asked for are bounded, too: for the sake of a limit there are fewer
 * messages than handlers. */
static size_t most(const struct demand *demand) {
    size_t share = limit(demand) / PENDING_SHARE;
    bool limited = share > 0 && share < PENDING_BYTES;
    size_t fit = (limited ? share : PENDING_BYTES) / demand->weight;
    size_t least = limited ? 1 : demand->options.least;
    if (fit < least)
        fit = least;
    return fit < demand->options.max_messages ? fit : demand->options.max_messages;
}

/* Keeps at least half of what may be asked for. */
void demand_pull(struct demand *demand) {
    const struct demand_options *o = &demand->options;
    if (pushes(demand)) {
        answer_flow(demand);
        return;
    }
    if (demand->sub == NULL || demand->draining || demand->refused ||
        !link_is_connected(demand->link) || clock_armed(&demand->retry))
        return;
    if (demand->pending == *demand->here) /* nobody has had a reason to say anything */
        heartbeat_heard(&demand->heartbeat);
    size_t wanted = most(demand), beside = demand->beside != NULL ? *demand->beside : 0;
    while (demand->pending < beside + (wanted + 1) / 2 && demand->events->may_ask(demand)) {
        size_t batch = beside + wanted - demand->pending;
        if (o->max_batch > 0 && batch > o->max_batch)
            batch = o->max_batch;
        if (request(demand, batch) < 0) {
            pull_later(demand, JS_LONG_PAUSE_MS);
            return;
        }
        demand->pending += batch;
    }
}

static void on_retry(struct clock_timer *timer) {
    demand_pull(container_of(timer, struct demand, retry));
}

void demand_came(struct demand *demand) {
    if (*demand->here > demand->pending)
        demand->pending = *demand->here;
}

void demand_finished(struct demand *demand) {
    if (demand->pending > 0)
        demand->pending--;
}

/* ---- answers ---- */

/* No more requests until the owner has found out what is the matter. */
static void lose(struct demand *demand, int status, const char *text, bool silent) {
    if (demand->draining)
        return;
    demand_stop(demand);
    demand->events->on_lost(demand, status, text, silent);
}

/* A request was refused. What others have asked for still comes, so the inbox stays. */
static void refuse(struct demand *demand, int status, const char *text) {
    if (demand->draining || demand->refused)
        return;
    demand->refused = true;
    demand->pending = *demand->here;
    demand->events->on_lost(demand, status, text, true);
}

/* A request is over: its rest is not pending any more. */
static void on_request_over(struct demand *demand, struct message *msg, uint32_t wait_ms) {
    const char *value = message_header(msg, "Nats-Pending-Messages");
    size_t rest = value != NULL ? (size_t)strtoull(value, NULL, 10) : 0;
    if (value == NULL || demand->pending < *demand->here + rest)
        demand->pending = *demand->here;
    else
        demand->pending -= rest;
    if (value == NULL && wait_ms == 0)
        wait_ms = JS_PAUSE_MS;
    if (wait_ms > 0)
        pull_later(demand, wait_ms);
    else
        demand_pull(demand);
}

/* `msg` stays the caller's. */
static void on_status(struct demand *demand, struct message *msg, enum js_status status) {
    struct verdict verdict =
        verdict_of(status, message_header(msg, "Description"), &demand->absent);
    switch (verdict.action) {
    case VERDICT_GO_ON:
        break;
    case VERDICT_OVER:
    case VERDICT_ASK_AGAIN:
        on_request_over(demand, msg, verdict.wait_ms);
        break;
    case VERDICT_LOST:
        if (status == JS_REFUSED)
            refuse(demand, verdict.status, verdict.text);
        else
            lose(demand, verdict.status, verdict.text, verdict.silent);
        break;
    }
}

static void on_msg(void *owner, struct message *msg) {
    struct demand *demand = owner;
    heartbeat_heard(&demand->heartbeat);
    demand->heard = true;
    enum js_status status = js_classify(msg);
    if (status == JS_DATA && !js_comes_from(msg->reply, demand->consumer)) {
        if (msg->reply != NULL) /* somebody else wrote to our inbox */
            answer_refused(&demand->refusals, NULL, "consumer", demand->consumer, msg->reply);
        message_free(msg);
        return;
    }
    if (demand->options.pin != NULL)
        js_pin_learn(demand->options.pin, msg, status);
    if (status == JS_DATA) {
        demand->absent = 0;
        weigh(demand, msg);
        demand->events->on_msg(demand, msg);
        return;
    }
    if (pushes(demand))
        on_push_status(demand, msg);
    else
        on_status(demand, msg, status);
    message_free(msg);
}

static void on_sub_error(void *owner, int status, const char *text) {
    lose(owner, status, text, false);
}

void demand_denied(struct demand *demand, const char *subject, const char *text) {
    if (demand->sub != NULL && !pushes(demand) && strcmp(subject, demand->subject) == 0)
        lose(demand, LN_EPERMISSION, text, false);
}

static void on_heartbeat_missed(struct heartbeat *heartbeat);

static void watch(struct demand *demand) {
    heartbeat_start(&demand->heartbeat, demand->clock, demand->options.heartbeat_ms,
                    on_heartbeat_missed);
}

static void on_heartbeat_missed(struct heartbeat *heartbeat) {
    struct demand *demand = container_of(heartbeat, struct demand, heartbeat);
    if (pushes(demand)) {
        watch(demand); /* it may be made again, and sends to the same subject then */
        demand->events->on_lost(demand, LN_ECONSUMER_LOST, "no heartbeat from the consumer",
                                true);
    } else if (demand->pending <= *demand->here)
        watch(demand); /* nothing is asked for, so nothing is said */
    else
        lose(demand, LN_ECONSUMER_LOST, "no heartbeat from the consumer", true);
}

/* ---- inboxes ---- */

static void stop_timers(struct demand *demand) {
    heartbeat_stop(&demand->heartbeat);
    clock_disarm(demand->clock, &demand->retry);
}

void demand_stop(struct demand *demand) {
    if (demand->sub != NULL)
        link_unsubscribe(demand->sub);
    demand->sub = NULL;
    demand->draining = false;
    stop_timers(demand);
}

static int subscribe(struct demand *demand) {
    struct link_sub_options options = {
        .queue = demand->queue, .pending_msgs = INT32_MAX, .pending_bytes = SIZE_MAX};
    if (!pushes(demand))
        link_new_inbox(demand->link, demand->inbox);
    return link_subscribe(demand->link, pushes(demand) ? demand->deliver : demand->inbox,
                          &options, on_msg, on_sub_error, demand, &demand->sub);
}

/* The subscription of a consumer that pushes lasts over connections. */
static int start_again(struct demand *demand) {
    if (link_is_connected(demand->link))
        watch(demand);
    else
        heartbeat_stop(&demand->heartbeat);
    return LN_OK;
}

int demand_start(struct demand *demand) {
    if (pushes(demand) && demand->sub != NULL)
        return start_again(demand);
    demand_stop(demand);
    demand->pending = *demand->here;
    demand->absent = 0;
    demand->refused = false;
    if (!link_is_connected(demand->link))
        return LN_OK;
    int rc = subscribe(demand);
    if (rc < 0)
        return rc;
    expect_weight(demand);
    watch(demand);
    demand_pull(demand);
    return LN_OK;
}

int demand_resume(struct demand *demand) {
    if (demand->sub == NULL || !(demand->refused || pushes(demand)))
        return demand_start(demand);
    demand->refused = false;
    demand_pull(demand);
    return LN_OK;
}

void demand_set_limits(struct demand *demand, const struct demand_options *limits) {
    demand->options.max_batch = limits->max_batch;
    demand->options.expires_ms = limits->expires_ms;
    demand->options.heartbeat_ms = limits->heartbeat_ms;
    if (demand->sub != NULL && !demand->draining)
        watch(demand);
}

static void on_drained(void *owner) {
    struct demand *demand = owner;
    demand->sub = NULL;
    demand->draining = false;
    demand->events->on_drained(demand);
}

void demand_drain(struct demand *demand) {
    stop_timers(demand);
    if (demand->sub == NULL || demand->draining)
        return;
    demand->draining = true;
    link_sub_drain(demand->sub, DRAIN_MS, on_drained);
}

void demand_take_over(struct demand *demand, struct demand *from) {
    demand->pending = from->pending - *from->here; /* those are running there */
    demand->absent = from->absent;
    demand->weight = from->weight;
    if (demand->options.pin != NULL && from->options.pin != NULL)
        memcpy(demand->options.pin->id, from->options.pin->id, JS_PIN_SIZE);
    memcpy(demand->inbox, from->inbox, sizeof(demand->inbox));
    demand->sub = from->sub;
    from->sub = NULL;
    demand->flow = from->flow;
    from->flow = NULL;
    if (clock_armed(&from->retry))
        pull_later(demand, from->wait_ms);
    if (demand->sub != NULL) {
        link_sub_retarget(demand->sub, on_msg, on_sub_error, demand);
        watch(demand);
    }
    stop_timers(from);
}

/* ---- life ---- */

static void free_all(struct demand *demand) {
    js_pin_release(demand->options.pin);
    demand->options.pin = NULL;
    free(demand->deliver);
    free(demand->queue);
    free(demand->flow);
    demand->deliver = demand->queue = demand->flow = NULL;
}

int demand_open(struct demand *demand, struct link *link, struct clock *clock, char *subject,
                const struct demand_options *options, const struct demand_events *events,
                const size_t *here, const size_t *queued) {
    *demand = (struct demand){
        .link = link,
        .clock = clock,
        .subject = subject,
        .consumer = js_consumer_of(subject),
        .options = *options,
        .events = events,
        .here = here,
        .queued = queued,
        .weight = FIRST_WEIGHT,
        .retry.fire = on_retry,
    };
    if (options->pin != NULL)
        js_pin_hold(options->pin);
    demand->options.deliver = demand->options.queue = NULL;
    if (options->deliver != NULL)
        demand->deliver = strdup(options->deliver);
    if (options->queue != NULL)
        demand->queue = strdup(options->queue);
    if ((options->deliver == NULL) == (demand->deliver == NULL) &&
        (options->queue == NULL) == (demand->queue == NULL))
        return LN_OK;
    free_all(demand);
    return LN_ENOMEM;
}

void demand_close(struct demand *demand) {
    if (demand->sub != NULL)
        js_drain_inbox(demand->link, demand->sub);
    demand->sub = NULL;
    demand_stop(demand);
    free_all(demand);
    free(demand->subject);
    demand->subject = NULL;
    demand->consumer = NULL;
}
