/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a fetch:
 *
 * - WAITING: no request is open; there is no connection, or the server asked to come back later
 * - ASKING: a request is open
 * - OVER: on_done was called; waits for fetch_free()
 * - IDLE: in pull->idle with its subscription, for the next fetch
 *
 * Each request has a reply subject of its own, "<inbox>.<number>", below the one subscription.
 * Statuses carry that subject, so those of an earlier request are told apart. Messages do not
 * (they carry the subject of the stream), which is why a subscription is given up unless the
 * server has surely finished its last request.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/container_of.h"
#include "host/jetstream/internal.h"
#include "host/jetstream/request.h"
#include "host/jetstream/status.h"

#define HEARTBEAT_MS 5000u
#define LONG_FETCH_MS 10000u /* from here on the server's life is watched */

/* ---- the end ---- */

void fetch_stop_timers(struct fetch *fetch) {
    if (fetch->clock == NULL)
        return;
    clock_disarm(fetch->clock, &fetch->deadline);
    clock_disarm(fetch->server_clock, &fetch->retry);
    heartbeat_stop(&fetch->heartbeat);
}

void fetch_unsubscribe(struct fetch *fetch) {
    if (fetch->sub != NULL && fetch->clean)
        link_unsubscribe(fetch->sub);
    else if (fetch->sub != NULL)
        js_drain_inbox(fetch->link, fetch->sub);
    fetch->sub = NULL;
}

void fetch_finish(struct fetch *fetch, int status, const char *text) {
    fetch_stop_timers(fetch);
    fetch->state = OVER;
    fetch->status = fetch->count > 0 ? LN_OK : status;
    snprintf(fetch->text, sizeof(fetch->text), "%s", text != NULL ? text : "");
    if (!fetch->clean)
        fetch_unsubscribe(fetch); /* the server drops the request, if it still has one */
    fetch->on_done(fetch, fetch->owner);
}

/* Ends as lost, because the server said nothing. */
static void finish_silent(struct fetch *fetch, const char *text) {
    fetch->silent = true;
    fetch_finish(fetch, LN_ECONSUMER_LOST, text);
}

/* The time is up. */
static void on_deadline(struct clock_timer *timer) {
    struct fetch *fetch = container_of(timer, struct fetch, deadline);
    const struct verdict *last = &fetch->last;
    if (!link_is_connected(fetch->link)) {
        fetch_finish(fetch, LN_EDISCONNECTED, NULL);
    } else if (last->action == VERDICT_ASK_AGAIN) {
        fetch->silent = last->silent;
        fetch_finish(fetch, last->status, last->text);
    } else if (fetch->heard || fetch->state == WAITING) {
        fetch_finish(fetch, LN_OK, NULL);
    } else {
        finish_silent(fetch, "no answer from the consumer");
    }
}

static void on_heartbeat_missed(struct heartbeat *heartbeat) {
    finish_silent(container_of(heartbeat, struct fetch, heartbeat),
                  "no heartbeat from the consumer");
}

/* ---- asking ---- */

static uint64_t time_left(const struct fetch *fetch) {
    uint64_t now = clock_now(fetch->clock);
    return fetch->due > now ? fetch->due - now : 0;
}

/* Of what one fetch brings at most, as part of what messages may have that wait. */
#define FETCH_SHARE 2

/* Bytes of the next request; 0: any. A single message is taken, or refused, as it is. */
static uint64_t max_bytes(const struct fetch *fetch) {
    const struct fetch_options *o = &fetch->options;
    const struct tally *tally = link_tally(fetch->link);
    if (tally == NULL || tally->most == 0 || o->batch == 1)
        return o->max_bytes;
    uint64_t share = tally->most / FETCH_SHARE;
    if (o->most_bytes > 0 && share > o->most_bytes)
        share = o->most_bytes;
    return o->max_bytes == 0 || o->max_bytes > share ? share : o->max_bytes;
}

/* The server's own limit ends before ours, so that its answer still reaches us. */
static uint64_t expires_ms(const struct fetch *fetch, uint64_t left) {
    uint64_t margin = left / 10 < 100 ? left / 10 : 100;
    uint64_t expires = left - margin;
    if (fetch->options.max_expires_ms > 0 && expires > fetch->options.max_expires_ms)
        expires = fetch->options.max_expires_ms;
    return expires > 0 ? expires : 1;
}

static int send_request(struct fetch *fetch) {
    const struct fetch_options *o = &fetch->options;
    uint64_t expires = expires_ms(fetch, time_left(fetch));
    uint64_t heartbeat = o->heartbeat_ms < expires / 2 ? o->heartbeat_ms : expires / 2;
    struct js_request request = {
        .batch = o->batch - fetch->count,
        .expires_ms = expires,
        .heartbeat_ms = o->no_wait ? 0 : heartbeat,
        .max_bytes = max_bytes(fetch),
        .no_wait = o->no_wait,
        .group = &o->group,
        .pin = fetch->pin,
    };
    char reply[LINK_INBOX_SIZE + 12];
    snprintf(reply, sizeof(reply), "%s.%u", fetch->inbox, (unsigned)++fetch->number);
    return js_request_send(fetch->link, fetch->subject, reply, &request);
}

static void on_msg(void *owner, struct message *msg);
static void on_sub_error(void *owner, int status, const char *text);

static int subscribe(struct fetch *fetch) {
    struct link *link = fetch->link;
    char pattern[LINK_INBOX_SIZE + 2];
    link_new_inbox(link, fetch->inbox);
    snprintf(pattern, sizeof(pattern), "%s.*", fetch->inbox);
    fetch->number = 0;
    struct link_sub_options options = {.pending_msgs = FETCH_BATCH_MAX,
                                       .pending_bytes = SIZE_MAX};
    return link_subscribe(link, pattern, &options, on_msg, on_sub_error, fetch, &fetch->sub);
}

int fetch_ask(struct fetch *fetch) {
    fetch->state = WAITING;
    fetch->clean = fetch->heard = false;
    if (!link_is_connected(fetch->link))
        return link_state(fetch->link) == LINK_CLOSED ? LN_ECLOSED : LN_OK;
    int rc = fetch->sub == NULL ? subscribe(fetch) : LN_OK;
    if (rc == LN_OK)
        rc = send_request(fetch);
    if (rc < 0)
        return rc;
    fetch->state = ASKING;
    heartbeat_start(&fetch->heartbeat, fetch->server_clock, fetch->options.heartbeat_ms,
                    on_heartbeat_missed);
    return LN_OK;
}

void fetch_ask_again(struct fetch *fetch) {
    int rc = fetch_ask(fetch);
    if (rc < 0)
        fetch_finish(fetch, rc, rc == LN_ENATS ? link_last_error(fetch->link) : NULL);
}

static void on_retry(struct clock_timer *timer) {
    fetch_ask_again(container_of(timer, struct fetch, retry));
}

/* The request is over, the fetch is not. What has come is delivered rather than waited with. */
static void ask_later(struct fetch *fetch, struct verdict verdict) {
    fetch->last = verdict;
    fetch->clean = true; /* of the request that is over */
    if (fetch->count > 0) {
        fetch_finish(fetch, LN_OK, NULL);
        return;
    }
    fetch->state = WAITING;
    heartbeat_stop(&fetch->heartbeat);
    uint64_t left = time_left(fetch);
    if (verdict.wait_ms == 0)
        fetch_ask_again(fetch);
    else if (left > verdict.wait_ms)
        clock_arm(fetch->server_clock, &fetch->retry, verdict.wait_ms);
    else /* no time for another one */
        clock_arm(fetch->clock, &fetch->deadline, left);
}

/* ---- answers ---- */

/* The consumer allows shorter requests than the fetch has time for. */
static bool has_time_for_another(const struct fetch *fetch) {
    const struct fetch_options *o = &fetch->options;
    return o->max_expires_ms > 0 && !o->no_wait && fetch->count == 0 &&
           time_left(fetch) > o->max_expires_ms / 10 + 100;
}

static void on_request_over(struct fetch *fetch, enum js_status status) {
    if (status == JS_EXPIRED && has_time_for_another(fetch)) {
        ask_later(fetch, (struct verdict){.action = VERDICT_ASK_AGAIN});
        return;
    }
    fetch->clean = true;
    if (status == JS_MAX_BYTES && fetch->count == 0 &&
        max_bytes(fetch) != fetch->options.max_bytes) {
        fetch->options.batch = 1; /* nobody has asked for a bound that it does not fit into */
        fetch_ask_again(fetch);
    } else if (status == JS_MAX_BYTES)
        fetch_finish(fetch, LN_EJETSTREAM, "the next message is larger than max_bytes");
    else
        fetch_finish(fetch, LN_OK, NULL);
}

static void on_status(struct fetch *fetch, enum js_status status, const char *text) {
    struct verdict verdict = verdict_of(status, text, &fetch->absent);
    fetch->heard = true;
    switch (verdict.action) {
    case VERDICT_GO_ON:
        fetch->last = verdict;
        heartbeat_heard(&fetch->heartbeat);
        break;
    case VERDICT_OVER:
        on_request_over(fetch, status);
        break;
    case VERDICT_ASK_AGAIN:
        ask_later(fetch, verdict);
        break;
    case VERDICT_LOST:
        fetch->silent = verdict.silent;
        fetch_finish(fetch, verdict.status, verdict.text);
        break;
    }
}

static bool keep(struct fetch *fetch, struct message *msg) {
    if (fetch->count == fetch->size) {
        size_t size = fetch->size == 0 ? 16 : fetch->size * 2;
        struct message **msgs = realloc(fetch->msgs, size * sizeof(struct message *));
        if (msgs == NULL)
            return false;
        fetch->msgs = msgs;
        fetch->size = size;
    }
    fetch->msgs[fetch->count++] = msg;
    return true;
}

/* A status of an earlier request on the same inbox. */
static bool outdated(const struct fetch *fetch, struct message *msg) {
    const char *dot = strrchr(msg->subject, '.');
    return dot == NULL || strtoul(dot + 1, NULL, 10) != fetch->number;
}

static void on_data(struct fetch *fetch, struct message *msg) {
    if (!js_comes_from(msg->reply, fetch->consumer)) { /* somebody else wrote to our inbox */
        if (msg->reply != NULL)
            answer_refused(&fetch->refusals, NULL, "consumer", fetch->consumer, msg->reply);
        message_free(msg);
    } else if (fetch->state == OVER || fetch->state == IDLE) {
        js_return_message(fetch->link, msg);
    } else if (fetch->count > 0 && tally_full(msg->tally, 0)) {
        js_return_message(fetch->link, msg);
        fetch_finish(fetch, LN_OK, NULL);
    } else if (!keep(fetch, msg)) {
        js_return_message(fetch->link, msg);
        fetch_finish(fetch, LN_ENOMEM, NULL);
    } else if (fetch->count < fetch->options.batch) {
        on_status(fetch, JS_DATA, NULL);
    } else {
        /* With max_bytes some servers add a status after the last message. */
        fetch->clean = max_bytes(fetch) == 0;
        fetch_finish(fetch, LN_OK, NULL);
    }
}

static void on_msg(void *owner, struct message *msg) {
    struct fetch *fetch = owner;
    enum js_status status = js_classify(msg);
    if (fetch->options.group.name[0] != '\0')
        js_pin_learn(fetch->pin, msg, status);
    if (status == JS_DATA) {
        on_data(fetch, msg);
        return;
    }
    char text[FETCH_TEXT_SIZE] = "";
    const char *description = message_header(msg, "Description");
    bool ignore = fetch->state != ASKING || outdated(fetch, msg);
    if (!ignore && description != NULL)
        snprintf(text, sizeof(text), "%s", description);
    message_free(msg);
    if (!ignore)
        on_status(fetch, status, text);
}

static void on_sub_error(void *owner, int status, const char *text) {
    struct fetch *fetch = owner;
    if (fetch->state == WAITING || fetch->state == ASKING)
        fetch_finish(fetch, status, text);
}

/* ---- the beginning ---- */

static void reset(struct fetch *fetch, struct clock *clock,
                  const struct fetch_options *options) {
    uint32_t timeout = options->timeout_ms;
    fetch->options = *options;
    if (options->no_wait)
        fetch->options.heartbeat_ms = 0;
    else if (options->heartbeat_ms == 0 && timeout >= LONG_FETCH_MS)
        fetch->options.heartbeat_ms = HEARTBEAT_MS;
    else if (options->heartbeat_ms > timeout / 2)
        fetch->options.heartbeat_ms = timeout / 2;
    fetch->clock = clock;
    fetch->due = clock_now(clock) + timeout;
    fetch->clean = fetch->heard = fetch->delivered = fetch->silent = fetch->resume = false;
    fetch->absent = 0;
    fetch->last = (struct verdict){.action = VERDICT_GO_ON};
    fetch->count = 0;
    fetch->status = LN_OK;
    fetch->text[0] = '\0';
    fetch->deadline.fire = on_deadline;
    fetch->retry.fire = on_retry;
}

void fetch_begin(struct fetch *fetch, struct clock *clock,
                 const struct fetch_options *options) {
    reset(fetch, clock, options);
    /* The server's answer at the end is given a moment to arrive. */
    uint32_t timeout = options->timeout_ms;
    uint64_t grace = timeout / 10 < 500 ? timeout / 10 : 500;
    clock_arm(clock, &fetch->deadline, timeout + (grace < 50 ? 50 : grace));
}
