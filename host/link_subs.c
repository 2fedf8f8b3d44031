/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Subscriptions of a link.
 *
 * Only synchronous subscriptions of nats.c are used. After each read event their queues are
 * emptied at once: into on_msg, or into the ring of a subscription that is paused. So the loss
 * of a connection, which empties nats.c's queues, takes nothing away, and the count of messages
 * that a read brought tells when all of them are found. The list is kept most recently used
 * first, so that finding them rarely looks at an idle subscription.
 */
#include "host/link_internal.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define GARBAGE_MS 100
#define TURN_BATCH 1024 /* messages of a resumed subscription per turn */

#define OF(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

/* ---- messages given back ---- */

static size_t weight(natsMsg *msg) {
    int len = natsMsg_GetDataLength(msg);
    return len > 0 ? (size_t)len : 0;
}

void link_empty_garbage(struct link *link) {
    for (size_t i = 0; i < link->garbage_count; i++)
        natsMsg_Destroy(link->garbage[i]);
    link->garbage_count = 0;
    link->garbage_bytes = 0;
}

static void on_garbage(struct clock_timer *timer) {
    link_empty_garbage(OF(timer, struct link, garbage_timer));
}

void link_release(struct link *link, natsMsg *msg) {
    link->garbage[link->garbage_count++] = msg;
    link->garbage_bytes += weight(msg);
    if (link->garbage_count == LINK_GARBAGE || link->garbage_bytes > LINK_GARBAGE_BYTES) {
        link_empty_garbage(link);
    } else if (!clock_armed(&link->garbage_timer) && !link->close_ended) {
        link->garbage_timer.fire = on_garbage;
        clock_arm(link->clock, &link->garbage_timer, GARBAGE_MS);
    }
}

/* ---- the list ---- */

static void list_remove(struct link_sub *sub) {
    struct link *link = sub->link;
    if (link->cursor == sub)
        link->cursor = sub->next;
    if (sub->prev != NULL)
        sub->prev->next = sub->next;
    else
        link->subs = sub->next;
    if (sub->next != NULL)
        sub->next->prev = sub->prev;
    sub->next = sub->prev = NULL;
}

static void list_push_front(struct link_sub *sub) {
    struct link *link = sub->link;
    sub->prev = NULL;
    sub->next = link->subs;
    if (link->subs != NULL)
        link->subs->prev = sub;
    link->subs = sub;
}

/* ---- the ring of a paused subscription ---- */

static bool ring_grow(struct link_sub *sub) {
    size_t size = sub->ring_size == 0 ? 16 : sub->ring_size * 2;
    natsMsg **ring = malloc(size * sizeof(natsMsg *));
    if (ring == NULL)
        return false;
    for (size_t i = 0; i < sub->ring_count; i++)
        ring[i] = sub->ring[(sub->ring_head + i) & (sub->ring_size - 1)];
    free(sub->ring);
    sub->ring = ring;
    sub->ring_size = size;
    sub->ring_head = 0;
    return true;
}

static void ring_push(struct link_sub *sub, natsMsg *msg) {
    size_t bytes = weight(msg);
    if (sub->ring_count >= sub->max_msgs || sub->ring_bytes + bytes > sub->max_bytes ||
        (sub->ring_count == sub->ring_size && !ring_grow(sub))) {
        link_release(sub->link, msg);
        sub->dropped++;
        sub->link->closed_stats.dropped++;
        if (!sub->overflowing) {
            sub->overflowing = true;
            if (sub->on_error != NULL && !sub->link->closing)
                sub->on_error(sub->owner, LN_EFULL, "too many messages wait to be handled");
        }
        return;
    }
    sub->overflowing = false;
    sub->ring[(sub->ring_head + sub->ring_count) & (sub->ring_size - 1)] = msg;
    sub->ring_count++;
    sub->ring_bytes += bytes;
}

static natsMsg *ring_pop(struct link_sub *sub) {
    natsMsg *msg = sub->ring[sub->ring_head];
    sub->ring_head = (sub->ring_head + 1) & (sub->ring_size - 1);
    sub->ring_count--;
    sub->ring_bytes -= weight(msg);
    return msg;
}

/* ---- the end of a subscription ---- */

static void detach_nats(struct link_sub *sub) {
    if (sub->nats == NULL)
        return;
    natsSubscription_Destroy(sub->nats);
    sub->nats = NULL;
}

static void sub_free(struct link_sub *sub) {
    while (sub->ring_count > 0)
        link_release(sub->link, ring_pop(sub));
    free(sub->ring);
    free(sub);
}

/* Takes it off the link. The memory lives on while a frame on the stack uses it. */
static void sub_end(struct link_sub *sub) {
    if (sub->dead)
        return;
    sub->dead = true;
    link_call_cancel(&sub->drain_call);
    detach_nats(sub);
    list_remove(sub);
    sub->link->sub_count--;
    if (sub->busy == 0)
        sub_free(sub);
}

static void leave(struct link_sub *sub) {
    if (--sub->busy == 0 && sub->dead)
        sub_free(sub);
}

/* ---- subscribing ---- */

static natsStatus attach_nats(struct link_sub *sub) {
    natsConnection *nats = sub->link->conn->nats;
    natsStatus s;
    if (sub->queue != NULL)
        s = natsConnection_QueueSubscribeSync(&sub->nats, nats, sub->pattern, sub->queue);
    else
        s = natsConnection_SubscribeSync(&sub->nats, nats, sub->pattern);
    if (s != NATS_OK) {
        sub->nats = NULL;
        return s;
    }
    /* Emptied after each read, so one read is the bound; the ring has the limits. */
    return natsSubscription_SetPendingLimits(sub->nats, -1, -1);
}

static bool queue_ok(const char *queue) {
    size_t len = strlen(queue);
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)queue[i] <= 0x20 || queue[i] == 0x7f)
            return false;
    return len > 0;
}

static struct link_sub *sub_new(struct link *link, const char *pattern, const char *queue) {
    size_t size = strlen(pattern) + 1;
    struct link_sub *sub =
        calloc(1, sizeof(*sub) + size + (queue != NULL ? strlen(queue) + 1 : 0));
    if (sub == NULL)
        return NULL;
    sub->link = link;
    memcpy(sub->pattern, pattern, size);
    if (queue != NULL)
        sub->queue = strcpy(sub->pattern + size, queue);
    return sub;
}

/* Takes the sub: into the list, or back to the heap. */
static int sub_begin(struct link_sub *sub, struct link_sub **out) {
    struct link *link = sub->link;
    natsStatus s = link->conn != NULL ? attach_nats(sub) : NATS_OK;
    if (s != NATS_OK) {
        int rc = link_failed(link, s);
        detach_nats(sub);
        free(sub);
        return rc;
    }
    list_push_front(sub);
    link->sub_count++;
    *out = sub;
    return LN_OK;
}

int link_subscribe(struct link *link, const char *pattern,
                   const struct link_sub_options *options, link_msg_fn on_msg,
                   link_sub_error_fn on_error, void *owner, struct link_sub **out) {
    const char *queue = options != NULL ? options->queue : NULL;
    if (link->state == LINK_CLOSED)
        return LN_ECLOSED;
    if (pattern == NULL || on_msg == NULL || !link_pattern_ok(pattern, strlen(pattern)) ||
        (queue != NULL && !queue_ok(queue)))
        return LN_EINVAL;
    struct link_sub *sub = sub_new(link, pattern, queue);
    if (sub == NULL)
        return LN_ENOMEM;
    sub->on_msg = on_msg;
    sub->on_error = on_error;
    sub->owner = owner;
    sub->max_msgs = 65536;
    sub->max_bytes = (size_t)64 * 1024 * 1024;
    if (options != NULL && options->pending_msgs > 0)
        sub->max_msgs = (size_t)options->pending_msgs;
    if (options != NULL && options->pending_bytes > 0)
        sub->max_bytes = (size_t)options->pending_bytes;
    return sub_begin(sub, out);
}

/* For the link itself, in any state: the round trip of link_close() needs the inbox. */
int link_subscribe_any(struct link *link, const char *pattern, link_msg_fn on_msg, void *owner,
                       struct link_sub **out) {
    struct link_sub *sub = sub_new(link, pattern, NULL);
    if (sub == NULL)
        return LN_ENOMEM;
    sub->on_msg = on_msg;
    sub->owner = owner;
    return sub_begin(sub, out);
}

void link_sub_retarget(struct link_sub *sub, link_msg_fn on_msg, link_sub_error_fn on_error,
                       void *owner) {
    sub->on_msg = on_msg;
    sub->on_error = on_error;
    sub->owner = owner;
}

void link_sub_pause(struct link_sub *sub) {
    sub->paused = true;
}

void link_sub_resume(struct link_sub *sub) {
    sub->paused = false;
    if (sub->ring_count == 0)
        return;
    sub->link->resumed = true;
    link_want_turn(sub->link);
}

size_t link_sub_pending(const struct link_sub *sub) {
    return sub->ring_count;
}

uint64_t link_sub_dropped(const struct link_sub *sub) {
    return sub->dropped;
}

void link_unsubscribe(struct link_sub *sub) {
    sub_end(sub);
}

/* ---- taking messages ---- */

static void dispatch(struct link_sub *sub, natsMsg *msg) {
    if (sub->dead || (sub->link->closing && sub != sub->link->inbox_sub))
        link_release(sub->link, msg);
    else if (sub->paused || sub->ring_count > 0)
        ring_push(sub, msg);
    else
        sub->on_msg(sub->owner, msg);
}

/* Empties nats.c's queue of one subscription; returns how many messages it held. */
static uint64_t take_from(struct link_sub *sub) {
    int count = 0;
    if (sub->nats == NULL || natsSubscription_GetPending(sub->nats, &count, NULL) != NATS_OK ||
        count <= 0)
        return 0;
    if (sub->link->subs != sub) {
        list_remove(sub);
        list_push_front(sub);
    }
    sub->busy++;
    for (int i = 0; i < count && !sub->dead && sub->nats != NULL; i++) {
        natsMsg *msg = NULL;
        link_taking = true;
        natsStatus s = natsSubscription_NextMsg(&msg, sub->nats, 0);
        link_taking = false;
        if (s == NATS_OK)
            dispatch(sub, msg);
        else if (s != NATS_SLOW_CONSUMER && s != NATS_NO_RESPONDERS)
            break;
    }
    leave(sub);
    return (uint64_t)count;
}

static void finish_drains(struct link *link);

void subs_take(struct link *link) {
    struct conn *conn = link->conn;
    if (conn == NULL)
        return;
    uint64_t in_msgs = conn_in_msgs(conn);
    uint64_t fresh = in_msgs - link->seen_msgs;
    link->seen_msgs = in_msgs;
    if (fresh == 0)
        return;
    for (struct link_sub *sub = link->subs; sub != NULL && fresh > 0; sub = link->cursor) {
        link->cursor = sub->next;
        uint64_t took = take_from(sub);
        fresh -= took < fresh ? took : fresh;
    }
    link->cursor = NULL;
    calls_deliver_flushed(link);
    if (link->drain_check)
        finish_drains(link);
}

/* Delivers what waited while a subscription was paused; true if some is left to deliver. */
static bool deliver_ring(struct link_sub *sub) {
    sub->busy++;
    for (int i = 0; i < TURN_BATCH; i++) {
        if (sub->dead || sub->paused || sub->ring_count == 0 || sub->link->closing)
            break;
        sub->on_msg(sub->owner, ring_pop(sub));
    }
    bool more = !sub->dead && !sub->paused && sub->ring_count > 0;
    if (!sub->dead && sub->ring_count == 0) {
        sub->overflowing = false;
        if (sub->draining)
            sub->link->drain_check = true;
    }
    leave(sub);
    return more;
}

void subs_turn(struct link *link) {
    if (link->resumed && !link->closing) {
        link->resumed = false;
        bool more = false;
        for (struct link_sub *sub = link->subs; sub != NULL; sub = link->cursor) {
            link->cursor = sub->next;
            if (sub->ring_count > 0 && !sub->paused)
                more = deliver_ring(sub) || more;
        }
        link->cursor = NULL;
        if (more) {
            link->resumed = true;
            link_want_turn(link);
        }
    }
    if (link->drain_check)
        finish_drains(link);
}

/* ---- draining ---- */

static void finish_drains(struct link *link) {
    link->drain_check = false;
    for (struct link_sub *sub = link->subs; sub != NULL && !link->closing; sub = link->cursor) {
        link->cursor = sub->next;
        if (!sub->draining || !sub->confirmed || sub->ring_count > 0)
            continue;
        void (*on_drained)(void *) = sub->on_drained;
        void *owner = sub->owner;
        sub_end(sub);
        if (on_drained != NULL)
            on_drained(owner);
    }
    link->cursor = NULL;
}

static void confirm(struct link_sub *sub) {
    sub->confirmed = true;
    sub->link->drain_check = true;
    link_want_turn(sub->link);
}

static void on_drain_flushed(struct link_call *call, int status, natsMsg *reply) {
    (void)status; /* time-out or loss: then what has arrived is all there is */
    (void)reply;
    confirm(OF(call, struct link_sub, drain_call));
}

void link_sub_drain(struct link_sub *sub, uint32_t timeout_ms,
                    void (*on_drained)(void *owner)) {
    struct link *link = sub->link;
    if (link->closing)
        return;
    sub->on_drained = on_drained;
    if (sub->draining)
        return;
    sub->draining = true;
    /* Sends the UNSUB and, unlike Unsubscribe(), lets messages on their way in. The time-out
     * of nats.c is not used. */
    if (link->conn == NULL || sub->nats == NULL ||
        natsSubscription_DrainTimeout(sub->nats, 0) != NATS_OK ||
        calls_flush(link, &sub->drain_call, link->clock, timeout_ms, on_drain_flushed) != LN_OK)
        confirm(sub);
}

/* ---- connections come and go ---- */

void subs_connected(struct link *link) {
    for (struct link_sub *sub = link->subs; sub != NULL; sub = sub->next)
        if (sub->nats == NULL && !sub->draining && !(link->closing && sub != link->inbox_sub)) {
            natsStatus s = attach_nats(sub);
            if (s != NATS_OK) {
                int rc = link_failed(link, s);
                if (link->events.on_error != NULL && !link->closing)
                    link->events.on_error(link->owner, rc, link->error);
            }
        }
}

void subs_disconnected(struct link *link) {
    for (struct link_sub *sub = link->subs; sub != NULL; sub = sub->next)
        detach_nats(sub);
    if (link->inbox_nats != NULL)
        natsSubscription_Destroy(link->inbox_nats);
    link->inbox_nats = NULL;
}

/* Ends all but the inbox, over which the close makes its round trip. */
void subs_close(struct link *link) {
    for (struct link_sub *sub = link->subs, *next; sub != NULL; sub = next) {
        next = sub->next;
        link_call_cancel(&sub->drain_call);
        if (sub != link->inbox_sub)
            detach_nats(sub);
    }
}

void subs_free(struct link *link) {
    while (link->subs != NULL)
        sub_end(link->subs);
}

void subs_denied(struct link *link, const char *subject, size_t len, const char *queue,
                 size_t queue_len, const char *text) {
    for (struct link_sub *sub = link->subs; sub != NULL; sub = link->cursor) {
        link->cursor = sub->next;
        if (strlen(sub->pattern) != len || memcmp(sub->pattern, subject, len) != 0)
            continue;
        if (queue != NULL && (sub->queue == NULL || strlen(sub->queue) != queue_len ||
                              memcmp(sub->queue, queue, queue_len) != 0))
            continue;
        if (sub->on_error != NULL && !link->closing)
            sub->on_error(sub->owner, LN_EPERMISSION, text);
    }
    link->cursor = NULL;
}
