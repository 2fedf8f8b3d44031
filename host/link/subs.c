/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Subscriptions of a link. What a read brings goes to their owners at once, or into the ring of
 * a subscription that is paused.
 */
#include "host/base/container_of.h"
#include "host/link/internal.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define TURN_BATCH 1024 /* messages of a resumed subscription per turn */

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

void subs_touch(struct link_sub *sub) {
    if (sub->link->subs == sub)
        return;
    list_remove(sub);
    list_push_front(sub);
}

/* ---- the ring of a paused subscription ---- */

static bool ring_grow(struct link_sub *sub) {
    size_t size = sub->ring_size == 0 ? 16 : sub->ring_size * 2;
    struct message **ring = malloc(size * sizeof(struct message *));
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

static void ring_push(struct link_sub *sub, struct message *msg) {
    size_t bytes = msg->size;
    if (sub->ring_count >= sub->max_msgs || sub->ring_bytes + bytes > sub->max_bytes ||
        (sub->ring_count == sub->ring_size && !ring_grow(sub))) {
        message_free(msg);
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

static struct message *ring_pop(struct link_sub *sub) {
    struct message *msg = sub->ring[sub->ring_head];
    sub->ring_head = (sub->ring_head + 1) & (sub->ring_size - 1);
    sub->ring_count--;
    sub->ring_bytes -= msg->size;
    return msg;
}

/* ---- the end of a subscription ---- */

static void detach(struct link_sub *sub) {
    struct conn *conn = sub->conn;
    sub->conn = NULL;
    if (conn != NULL)
        conn->transport->unsubscribe(conn, sub);
}

static void sub_free(struct link_sub *sub) {
    while (sub->ring_count > 0)
        message_free(ring_pop(sub));
    free(sub->ring);
    free(sub);
}

/* Takes it off the link. The memory lives on while a frame on the stack uses it. */
static void sub_end(struct link_sub *sub) {
    if (sub->dead)
        return;
    sub->dead = true;
    link_call_cancel(&sub->drain_call);
    detach(sub);
    list_remove(sub);
    sub->link->sub_count--;
    if (sub->busy == 0)
        sub_free(sub);
}

void subs_leave(struct link_sub *sub) {
    if (--sub->busy == 0 && sub->dead)
        sub_free(sub);
}

/* ---- subscribing ---- */

static int attach(struct link_sub *sub) {
    struct conn *conn = sub->link->conn;
    int rc = conn->transport->subscribe(conn, sub);
    sub->conn = rc == LN_OK ? conn : NULL;
    return rc;
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
    int rc = link->conn != NULL ? attach(sub) : LN_OK;
    if (rc != LN_OK) {
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

/* In any state: the round trip of link_close() needs it. */
int subs_open_inbox(struct link *link, const char *pattern, link_msg_fn on_msg, void *owner,
                    struct link_sub **out) {
    struct link_sub *sub = sub_new(link, pattern, NULL);
    if (sub == NULL)
        return LN_ENOMEM;
    sub->inbox = true;
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

void subs_dispatch(struct link_sub *sub, struct message *msg) {
    if (sub->dead || (sub->link->closing && !sub->inbox))
        message_free(msg);
    else if (sub->paused || sub->ring_count > 0)
        ring_push(sub, msg);
    else
        sub->on_msg(sub->owner, msg);
}

static void finish_drains(struct link *link);

void subs_after_read(struct link *link) {
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
    subs_leave(sub);
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

static void on_drain_flushed(struct link_call *call, int status, struct message *reply) {
    (void)status; /* time-out or loss: then what has arrived is all there is */
    (void)reply;
    confirm(container_of(call, struct link_sub, drain_call));
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
    if (sub->conn == NULL || !sub->conn->transport->drain(sub->conn, sub) ||
        calls_flush(link, &sub->drain_call, link->clock, timeout_ms, on_drain_flushed) != LN_OK)
        confirm(sub);
}

/* ---- connections come and go ---- */

void subs_connected(struct link *link) {
    for (struct link_sub *sub = link->subs; sub != NULL; sub = sub->next)
        if (sub->conn == NULL && !sub->draining && !(link->closing && !sub->inbox)) {
            int rc = attach(sub);
            if (rc != LN_OK && link->events.on_error != NULL && !link->closing)
                link->events.on_error(link->owner, rc, link_error_text(link, rc));
        }
}

void subs_disconnected(struct link *link) {
    for (struct link_sub *sub = link->subs; sub != NULL; sub = sub->next)
        detach(sub);
}

/* Ends all but the inbox, over which the close makes its round trip. */
void subs_close(struct link *link) {
    for (struct link_sub *sub = link->subs, *next; sub != NULL; sub = next) {
        next = sub->next;
        link_call_cancel(&sub->drain_call);
        if (!sub->inbox)
            detach(sub);
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
