/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/container_of.h"
#include "host/jetstream/consume_internal.h"

#include <stdio.h>
#include <stdlib.h>

#define RETRY_FIRST_MS 250u
#define RETRY_BUSY_MS 1000u
#define ABSENT_MAX 3 /* 503 in a row after which the consumer counts as lost */
#define BODY_SIZE 160

/* ---- requests ---- */

static bool connected(const struct consume *consume) {
    return consume->sub != NULL && link_is_connected(consume->link);
}

static int request(struct consume *consume, size_t batch) {
    char body[BODY_SIZE];
    const struct consume_options *o = &consume->options;
    int len =
        snprintf(body, sizeof(body), "{\"batch\":%zu,\"expires\":%llu,\"idle_heartbeat\":%llu}",
                 batch, (unsigned long long)o->expires_ms * 1000000,
                 (unsigned long long)o->heartbeat_ms * 1000000);
    return link_publish(consume->link, &(struct link_out){
                                           .subject = consume->subject,
                                           .reply = consume->inbox,
                                           .data = body,
                                           .len = (size_t)len,
                                           .checked = true,
                                       });
}

/* Keeps at least half of the credit asked for. */
void consume_pull(struct consume *consume) {
    const struct consume_options *o = &consume->options;
    if (consume->state != RUNNING || !connected(consume) || clock_armed(&consume->retry))
        return;
    if (consume->pending == consume->count) /* nobody has had a reason to say anything */
        consume->heard = clock_now(consume->clock);
    while (consume->pending < (o->max_messages + (size_t)1) / 2) {
        size_t batch = o->max_messages - consume->pending;
        if (o->max_batch > 0 && batch > o->max_batch)
            batch = o->max_batch;
        if (request(consume, batch) < 0) {
            clock_arm(consume->clock, &consume->retry, RETRY_BUSY_MS);
            return;
        }
        consume->pending += batch;
    }
}

static void pull_later(struct consume *consume, uint32_t ms) {
    clock_arm(consume->clock, &consume->retry, ms);
}

void consume_on_retry(struct clock_timer *timer) {
    consume_pull(container_of(timer, struct consume, retry));
}

/* ---- answers ---- */

static size_t number(struct message *msg, const char *name, bool *found) {
    const char *value = message_header(msg, name);
    *found = value != NULL;
    return *found ? (size_t)strtoull(value, NULL, 10) : 0;
}

/* A request is over: its rest is not pending any more. */
static void ended(struct consume *consume, struct message *msg, uint32_t wait_ms) {
    bool known;
    size_t rest = number(msg, "Nats-Pending-Messages", &known);
    if (!known || consume->pending < consume->count + rest)
        consume->pending = consume->count;
    else
        consume->pending -= rest;
    if (!known && wait_ms == 0)
        wait_ms = RETRY_FIRST_MS;
    if (wait_ms > 0)
        pull_later(consume, wait_ms);
    else
        consume_pull(consume);
}

static void absent(struct consume *consume, struct message *msg) {
    consume->retry_ms = consume->absent == 0 ? RETRY_FIRST_MS : consume->retry_ms * 2;
    if (++consume->absent >= ABSENT_MAX)
        consume_lose(consume, LN_ECONSUMER_LOST, "no server has this consumer", true);
    else
        ended(consume, msg, consume->retry_ms);
}

void consume_on_word(struct consume *consume, struct message *msg, enum js_word word) {
    const char *text = message_header(msg, "Description");
    if (word != JS_ABSENT)
        consume->absent = 0;
    switch (word) {
    case JS_DATA:
    case JS_HEARTBEAT:
    case JS_FLOW_CONTROL:
        break;
    case JS_EXPIRED:
    case JS_MAX_BYTES:
    case JS_COMPLETED:
        ended(consume, msg, 0);
        break;
    case JS_NO_MESSAGES:
    case JS_MOVED:
        ended(consume, msg, RETRY_FIRST_MS);
        break;
    case JS_BUSY:
        ended(consume, msg, RETRY_BUSY_MS);
        break;
    case JS_ABSENT:
        absent(consume, msg);
        break;
    case JS_GONE:
        consume_lose(consume, LN_ECONSUMER_LOST, text, false);
        break;
    case JS_REFUSED:
        consume_lose(consume, LN_EJETSTREAM, text, false);
        break;
    }
}
