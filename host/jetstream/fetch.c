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
 * Word from the server carries that subject, so word about an earlier request is told apart.
 * Messages do not (they carry the subject of the stream), which is why a subscription is given
 * up unless the server has surely finished its last request.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/container_of.h"
#include "host/jetstream/pull_internal.h"

#define HEARTBEAT_MS 5000u
#define LONG_FETCH_MS 10000u /* from here on the server's life is watched */
#define RETRY_FIRST_MS 250u
#define RETRY_BUSY_MS 1000u
#define ABSENT_MAX 3 /* 503 in a row after which the consumer counts as lost */
#define BODY_SIZE 192
#define LATE_MS 2000 /* for the server's word that a given up request brings no more */

/* ---- the end ---- */

void fetch_stop_timers(struct fetch *fetch) {
    if (fetch->clock == NULL)
        return;
    clock_disarm(fetch->clock, &fetch->deadline);
    clock_disarm(fetch->clock, &fetch->heartbeat);
    clock_disarm(fetch->clock, &fetch->retry);
}

static void on_late_msg(void *owner, struct message *msg) {
    fetch_give_back(owner, msg);
}

static void on_late_end(void *owner) {
    (void)owner;
}

void pull_let_go(struct link *link, struct link_sub *sub) {
    if (!link_is_connected(link)) {
        link_unsubscribe(sub);
        return;
    }
    link_sub_retarget(sub, on_late_msg, NULL, link);
    link_sub_resume(sub);
    link_sub_drain(sub, LATE_MS, on_late_end);
}

void fetch_unsubscribe(struct fetch *fetch) {
    if (fetch->sub != NULL && fetch->clean)
        link_unsubscribe(fetch->sub);
    else if (fetch->sub != NULL)
        pull_let_go(fetch->pull->link, fetch->sub);
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

void fetch_give_back(struct link *link, struct message *msg) {
    if (js_classify(msg) == JS_DATA && msg->reply != NULL)
        link_publish(link, &(struct link_out){
                               .subject = msg->reply,
                               .data = JS_GIVE_BACK,
                               .len = sizeof(JS_GIVE_BACK) - 1,
                           });
    message_free(msg);
}

/* The time is up. */
static void on_deadline(struct clock_timer *timer) {
    struct fetch *fetch = container_of(timer, struct fetch, deadline);
    if (!link_is_connected(fetch->pull->link))
        fetch_finish(fetch, LN_EDISCONNECTED, NULL);
    else if (fetch->last == JS_BUSY)
        fetch_finish(fetch, LN_EJETSTREAM,
                     "Exceeded MaxWaiting: too many requests wait already");
    else if (fetch->last == JS_ABSENT)
        finish_silent(fetch, "no server has this consumer");
    else if (fetch->heard || fetch->last != JS_DATA || fetch->state == WAITING)
        fetch_finish(fetch, LN_OK, NULL);
    else
        finish_silent(fetch, "no answer from the consumer");
}

static void on_heartbeat_missed(struct clock_timer *timer) {
    finish_silent(container_of(timer, struct fetch, heartbeat),
                  "no heartbeat from the consumer");
}

/* ---- asking ---- */

static uint64_t time_left(const struct fetch *fetch) {
    uint64_t now = clock_now(fetch->clock);
    return fetch->due > now ? fetch->due - now : 0;
}

static void arm_heartbeat(struct fetch *fetch) {
    if (fetch->options.heartbeat_ms > 0)
        clock_arm(fetch->clock, &fetch->heartbeat, 2 * (uint64_t)fetch->options.heartbeat_ms);
}

/* The server's own limit ends before ours, so that its word about the end still reaches us. */
static uint64_t expires_ms(const struct fetch *fetch, uint64_t left) {
    uint64_t margin = left / 10 < 100 ? left / 10 : 100;
    uint64_t expires = left - margin;
    if (fetch->options.max_expires_ms > 0 && expires > fetch->options.max_expires_ms)
        expires = fetch->options.max_expires_ms;
    return expires > 0 ? expires : 1;
}

__attribute__((format(printf, 3, 4))) static size_t append(char *out, size_t at,
                                                           const char *format, ...) {
    va_list args;
    va_start(args, format);
    int n = vsnprintf(out + at, BODY_SIZE - at, format, args);
    va_end(args);
    return at + (size_t)n;
}

static size_t write_request(struct fetch *fetch, char out[BODY_SIZE]) {
    const struct fetch_options *o = &fetch->options;
    size_t len = append(out, 0, "{\"batch\":%u", o->batch - (uint32_t)fetch->count);
    if (o->no_wait) {
        len = append(out, len, ",\"no_wait\":true");
    } else {
        uint64_t expires = expires_ms(fetch, time_left(fetch));
        uint64_t heartbeat = o->heartbeat_ms;
        if (heartbeat > expires / 2) /* the server refuses more */
            heartbeat = expires / 2;
        len = append(out, len, ",\"expires\":%llu", (unsigned long long)expires * 1000000);
        if (heartbeat > 0)
            len = append(out, len, ",\"idle_heartbeat\":%llu",
                         (unsigned long long)heartbeat * 1000000);
    }
    if (o->max_bytes > 0)
        len = append(out, len, ",\"max_bytes\":%llu", (unsigned long long)o->max_bytes);
    return append(out, len, "}");
}

static void on_msg(void *owner, struct message *msg);
static void on_sub_error(void *owner, int status, const char *text);

static int subscribe(struct fetch *fetch) {
    struct link *link = fetch->pull->link;
    char pattern[LINK_INBOX_SIZE + 2];
    link_new_inbox(link, fetch->inbox);
    snprintf(pattern, sizeof(pattern), "%s.*", fetch->inbox);
    fetch->number = 0;
    struct link_sub_options options = {.pending_msgs = FETCH_BATCH_MAX,
                                       .pending_bytes = INT32_MAX};
    return link_subscribe(link, pattern, &options, on_msg, on_sub_error, fetch, &fetch->sub);
}

int fetch_ask(struct fetch *fetch) {
    struct link *link = fetch->pull->link;
    fetch->state = WAITING;
    fetch->clean = fetch->heard = false;
    if (!link_is_connected(link))
        return link_state(link) == LINK_CLOSED ? LN_ECLOSED : LN_OK;
    if (fetch->sub == NULL) {
        int rc = subscribe(fetch);
        if (rc < 0)
            return rc;
    }
    char reply[LINK_INBOX_SIZE + 12], body[BODY_SIZE];
    snprintf(reply, sizeof(reply), "%s.%u", fetch->inbox, (unsigned)++fetch->number);
    size_t len = write_request(fetch, body);
    int rc = link_publish(link, &(struct link_out){
                                    .subject = fetch->pull->subject,
                                    .reply = reply,
                                    .data = body,
                                    .len = len,
                                });
    if (rc < 0)
        return rc;
    fetch->state = ASKING;
    arm_heartbeat(fetch);
    return LN_OK;
}

void fetch_ask_again(struct fetch *fetch) {
    int rc = fetch_ask(fetch);
    if (rc < 0)
        fetch_finish(fetch, rc, rc == LN_ENATS ? link_last_error(fetch->pull->link) : NULL);
}

static void on_retry(struct clock_timer *timer) {
    fetch_ask_again(container_of(timer, struct fetch, retry));
}

/* The request is over, the fetch is not. What has come is delivered rather than waited with. */
static void ask_later(struct fetch *fetch, enum js_word why, uint32_t ms) {
    fetch->last = why;
    fetch->clean = true; /* of the request that is over */
    if (fetch->count > 0) {
        fetch_finish(fetch, LN_OK, NULL);
        return;
    }
    fetch->state = WAITING;
    clock_disarm(fetch->clock, &fetch->heartbeat);
    if (ms == 0) {
        fetch_ask_again(fetch);
        return;
    }
    if (time_left(fetch) > ms)
        clock_arm(fetch->clock, &fetch->retry, ms);
    else /* no time for another one */
        clock_arm(fetch->clock, &fetch->deadline, time_left(fetch));
}

/* ---- answers ---- */

static void on_word(struct fetch *fetch, enum js_word word, const char *text) {
    fetch->heard = true;
    if (word != JS_ABSENT)
        fetch->absent = 0;
    switch (word) {
    case JS_DATA:
    case JS_HEARTBEAT:
    case JS_FLOW_CONTROL:
        fetch->last = JS_DATA;
        arm_heartbeat(fetch);
        return;
    case JS_EXPIRED:
        if (fetch->options.max_expires_ms > 0 && !fetch->options.no_wait && fetch->count == 0 &&
            time_left(fetch) > fetch->options.max_expires_ms / 10 + 100) {
            ask_later(fetch, JS_EXPIRED, 0);
            return;
        }
        break;
    case JS_MAX_BYTES:
        fetch->clean = true;
        fetch_finish(fetch, LN_EJETSTREAM, "the next message is larger than max_bytes");
        return;
    case JS_NO_MESSAGES:
    case JS_COMPLETED:
        break;
    case JS_BUSY:
        ask_later(fetch, word, RETRY_BUSY_MS);
        return;
    case JS_MOVED:
        ask_later(fetch, word, RETRY_FIRST_MS);
        return;
    case JS_ABSENT:
        fetch->retry_ms = fetch->absent == 0 ? RETRY_FIRST_MS : fetch->retry_ms * 2;
        if (++fetch->absent >= ABSENT_MAX)
            finish_silent(fetch, "no server has this consumer");
        else
            ask_later(fetch, word, fetch->retry_ms);
        return;
    case JS_GONE:
        fetch_finish(fetch, LN_ECONSUMER_LOST, text);
        return;
    case JS_REFUSED:
        fetch_finish(fetch, LN_EJETSTREAM, text);
        return;
    }
    fetch->clean = true;
    fetch_finish(fetch, LN_OK, NULL);
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

/* Word about an earlier request on the same inbox. */
static bool outdated(const struct fetch *fetch, struct message *msg) {
    const char *dot = strrchr(msg->subject, '.');
    return dot == NULL || strtoul(dot + 1, NULL, 10) != fetch->number;
}

static void on_msg(void *owner, struct message *msg) {
    struct fetch *fetch = owner;
    struct link *link = fetch->pull->link;
    enum js_word word = js_classify(msg);
    if (word == JS_DATA) {
        if (fetch->state == OVER || fetch->state == IDLE) {
            fetch_give_back(link, msg);
            return;
        }
        if (!keep(fetch, msg)) {
            fetch_give_back(link, msg);
            fetch_finish(fetch, LN_ENOMEM, NULL);
        } else if (fetch->count < fetch->options.batch) {
            on_word(fetch, word, NULL);
        } else {
            /* With max_bytes some servers add a word after the last message. */
            fetch->clean = fetch->options.max_bytes == 0;
            fetch_finish(fetch, LN_OK, NULL);
        }
        return;
    }
    char text[FETCH_TEXT_SIZE] = "";
    const char *description = message_header(msg, "Description");
    bool ignore = fetch->state != ASKING || outdated(fetch, msg);
    if (!ignore && description != NULL)
        snprintf(text, sizeof(text), "%s", description);
    message_free(msg);
    if (!ignore)
        on_word(fetch, word, text);
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
    fetch->clean = fetch->heard = fetch->taken = fetch->silent = fetch->resume = false;
    fetch->absent = fetch->retry_ms = 0;
    fetch->last = JS_DATA;
    fetch->count = 0;
    fetch->status = LN_OK;
    fetch->text[0] = '\0';
    fetch->deadline.fire = on_deadline;
    fetch->heartbeat.fire = on_heartbeat_missed;
    fetch->retry.fire = on_retry;
}

void fetch_begin(struct fetch *fetch, struct clock *clock,
                 const struct fetch_options *options) {
    reset(fetch, clock, options);
    /* The server's word about the end is given a moment to arrive. */
    uint32_t timeout = options->timeout_ms;
    uint64_t grace = timeout / 10 < 500 ? timeout / 10 : 500;
    clock_arm(clock, &fetch->deadline, timeout + (grace < 50 ? 50 : grace));
}
