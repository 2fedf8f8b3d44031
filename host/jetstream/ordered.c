/* SPDX-License-Identifier: Apache-2.0 */
#include "host/jetstream/ordered.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/container_of.h"
#include "host/base/ring.h"
#include "host/jetstream/heartbeat.h"
#include "host/jetstream/status.h"
#include "host/link/answer.h"

/* More than a server sends before it waits for flow control (32 MiB). */
#define QUEUE_MSGS 65536
#define QUEUE_BYTES ((size_t)64 << 20)

struct ordered {
    struct link *link;
    struct link_observer observer;
    struct link_sub *sub;
    /* Real time: heartbeats come from a server that knows nothing of a spec's clock. */
    struct clock *clock;
    struct clock_timer later;
    struct heartbeat heartbeat;
    uint64_t expected; /* consumer sequence of the next message */
    uint64_t sequence; /* stream sequence of the last one read */
    struct ring queue; /* messages that have arrived and were not read */
    size_t bytes;      /* of the queue */
    bool lost, closed;
    char reason[160];
    char *delete_subject; /* of the consumer; NULL: none */
    struct answer_log refusals;
    void (*on_ready)(void *owner);
    void *owner;
};

/* ---- the queue ---- */

static size_t weight(struct message *msg) {
    return msg->len + 128;
}

/* The first message, or NULL. */
static struct message *dequeue(struct ordered *ordered) {
    struct message *msg = ring_pop(&ordered->queue);
    if (msg != NULL)
        ordered->bytes -= weight(msg);
    return msg;
}

static void drop_queue(struct ordered *ordered) {
    for (struct message *msg; (msg = dequeue(ordered)) != NULL;)
        message_free(msg);
}

/* ---- giving up an inbox ---- */

static void leave(struct ordered *ordered) {
    if (ordered->sub != NULL)
        link_unsubscribe(ordered->sub);
    ordered->sub = NULL;
    heartbeat_stop(&ordered->heartbeat);
}

/* No more comes from this inbox; what is queued is in order and stays. */
static void lose(struct ordered *ordered, const char *reason) {
    leave(ordered);
    if (ordered->lost)
        return;
    ordered->lost = true;
    snprintf(ordered->reason, sizeof(ordered->reason), "%s", reason);
}

static void on_heartbeat_missed(struct heartbeat *heartbeat) {
    struct ordered *ordered = container_of(heartbeat, struct ordered, heartbeat);
    lose(ordered, "no heartbeat from the consumer");
    ordered->on_ready(ordered->owner);
}

static void on_later(struct clock_timer *timer) {
    struct ordered *ordered = container_of(timer, struct ordered, later);
    ordered->on_ready(ordered->owner);
}

static void on_link_state(struct link_observer *observer, enum link_state state) {
    struct ordered *ordered = container_of(observer, struct ordered, observer);
    if (state == LINK_CLOSED) {
        leave(ordered);
        ordered->closed = true;
        ordered->on_ready(ordered->owner);
    } else if (ordered->sub != NULL) {
        /* What the server sent meanwhile is gone, and the consumer may be as well. */
        lose(ordered, "the connection was lost");
        ordered->on_ready(ordered->owner);
    }
}

/* ---- receiving ---- */

static void on_msg(void *owner, struct message *msg) {
    struct ordered *ordered = owner;
    heartbeat_heard(&ordered->heartbeat);
    if (ordered->queue.count >= QUEUE_MSGS || ordered->bytes >= QUEUE_BYTES ||
        !ring_push(&ordered->queue, msg)) {
        message_free(msg);
        lose(ordered, "the messages were not read fast enough");
        return; /* there are others to read */
    }
    ordered->bytes += weight(msg);
    if (ordered->queue.count == 1)
        ordered->on_ready(ordered->owner);
}

static void on_sub_error(void *owner, int status, const char *text) {
    struct ordered *ordered = owner;
    lose(ordered, text != NULL ? text : status_text(status));
    ordered->on_ready(ordered->owner);
}

/* "<stream>.<consumer>"; NULL while there is none. */
static const char *consumer_of(const struct ordered *ordered) {
    return ordered->delete_subject != NULL ? js_consumer_of(ordered->delete_subject) : NULL;
}

/* Tells the server that everything up to here has been read. */
static void answer(struct ordered *ordered, const char *subject) {
    const char *consumer = consumer_of(ordered);
    if (subject == NULL)
        return;
    if (js_answer_ok(subject, consumer))
        link_publish(ordered->link, &(struct link_out){.subject = subject});
    else
        answer_refused(&ordered->refusals, NULL, "ordered consumer", consumer ? consumer : "",
                       subject);
}

static void on_status(struct ordered *ordered, struct message *msg, enum js_status status) {
    if (status == JS_FLOW_CONTROL) {
        answer(ordered, msg->reply);
    } else if (status == JS_HEARTBEAT) {
        const char *last = message_header(msg, "Nats-Last-Consumer");
        answer(ordered, message_header(msg, "Nats-Consumer-Stalled"));
        if (last != NULL && strtoull(last, NULL, 10) != ordered->expected - 1) {
            drop_queue(ordered);
            lose(ordered, "messages were lost on the way");
        }
    }
    message_free(msg);
}

enum ordered_result ordered_next(struct ordered *ordered, struct message **out) {
    struct message *msg;
    while (!ordered->closed && (msg = dequeue(ordered)) != NULL) {
        enum js_status status = js_classify(msg);
        if (status != JS_DATA) {
            on_status(ordered, msg, status);
            continue;
        }
        struct js_meta meta;
        if (!js_parse_reply(msg->reply, &meta) ||
            !js_answer_ok(msg->reply, consumer_of(ordered))) {
            message_free(msg); /* somebody else wrote to our inbox */
            continue;
        }
        if (meta.consumer_seq != ordered->expected) {
            message_free(msg);
            drop_queue(ordered);
            lose(ordered, "messages were lost on the way");
            break;
        }
        ordered->expected++;
        ordered->sequence = meta.stream_seq;
        *out = msg;
        return ORDERED_MSG;
    }
    if (ordered->closed)
        return ORDERED_CLOSED;
    return ordered->lost ? ORDERED_LOST : ORDERED_EMPTY;
}

/* ---- life ---- */

int ordered_open(struct ordered **out, struct link *link, struct clock *clock,
                 void (*on_ready)(void *owner), void *owner) {
    struct ordered *ordered = calloc(1, sizeof(*ordered));
    if (ordered == NULL)
        return LN_ENOMEM;
    ordered->link = link;
    ordered->clock = clock;
    ordered->on_ready = on_ready;
    ordered->owner = owner;
    ordered->later.fire = on_later;
    heartbeat_start(&ordered->heartbeat, ordered->clock, 0, on_heartbeat_missed); /* not yet */
    ordered->observer.on_state = on_link_state;
    link_observe(link, &ordered->observer);
    *out = ordered;
    return LN_OK;
}

static void delete_consumer(struct ordered *ordered) {
    if (ordered->delete_subject == NULL)
        return;
    if (link_is_connected(ordered->link)) /* else the server forgets it by itself */
        link_publish(ordered->link, &(struct link_out){.subject = ordered->delete_subject});
    free(ordered->delete_subject);
    ordered->delete_subject = NULL;
}

void ordered_close(struct ordered *ordered) {
    leave(ordered);
    drop_queue(ordered);
    delete_consumer(ordered);
    link_unobserve(&ordered->observer);
    clock_disarm(ordered->clock, &ordered->later);
    heartbeat_stop(&ordered->heartbeat);
    ring_free(&ordered->queue);
    free(ordered);
}

int ordered_subscribe(struct ordered *ordered, char inbox[LINK_INBOX_SIZE]) {
    leave(ordered);
    drop_queue(ordered);
    delete_consumer(ordered);
    ordered->lost = false;
    ordered->reason[0] = '\0';
    ordered->expected = 1;
    link_new_inbox(ordered->link, inbox);
    struct link_sub_options options = {.pending_msgs = QUEUE_MSGS,
                                       .pending_bytes = QUEUE_BYTES};
    return link_subscribe(ordered->link, inbox, &options, on_msg, on_sub_error, ordered,
                          &ordered->sub);
}

int ordered_created(struct ordered *ordered, uint32_t heartbeat_ms,
                    const char *delete_subject) {
    free(ordered->delete_subject);
    ordered->delete_subject = strdup(delete_subject);
    if (ordered->delete_subject == NULL)
        return LN_ENOMEM;
    if (ordered->sub != NULL)
        heartbeat_start(&ordered->heartbeat, ordered->clock, heartbeat_ms, on_heartbeat_missed);
    return LN_OK;
}

const char *ordered_reason(const struct ordered *ordered) {
    return ordered->reason;
}

uint64_t ordered_sequence(const struct ordered *ordered) {
    return ordered->sequence;
}

void ordered_forget(struct ordered *ordered) {
    ordered->sequence = 0;
}

void ordered_later(struct ordered *ordered) {
    clock_arm(ordered->clock, &ordered->later, 0);
}
