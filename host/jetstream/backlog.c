/* SPDX-License-Identifier: Apache-2.0 */
#include "host/jetstream/backlog.h"

#include <stdlib.h>

#define SPARE_MAX 1024u /* records kept */

static size_t weight(const struct consume_msg *msg) {
    return msg->msg->len + 128;
}

static struct consume_msg *new_record(struct backlog *backlog) {
    struct list_node *node = list_pop_front(&backlog->spare);
    if (node == NULL)
        return malloc(sizeof(struct consume_msg));
    backlog->spare_count--;
    return list_item(node, struct consume_msg, queue);
}

struct consume_msg *backlog_add(struct backlog *backlog, struct message *msg,
                                uint64_t touched) {
    struct consume_msg *record = new_record(backlog);
    if (record == NULL)
        return NULL;
    *record = (struct consume_msg){.msg = msg, .touched = touched};
    list_push_back(&backlog->all, &record->all);
    list_push_back(&backlog->queue, &record->queue);
    backlog->count++;
    backlog->queued++;
    backlog->bytes += weight(record);
    return record;
}

struct consume_msg *backlog_dequeue(struct backlog *backlog) {
    struct list_node *node = list_pop_front(&backlog->queue);
    if (node == NULL)
        return NULL;
    struct consume_msg *msg = list_item(node, struct consume_msg, queue);
    backlog->queued--;
    backlog->bytes -= weight(msg);
    return msg;
}

void backlog_unqueue(struct backlog *backlog, struct consume_msg *msg) {
    list_remove(&msg->queue);
    backlog->queued--;
    backlog->bytes -= weight(msg);
}

void backlog_requeue(struct backlog *backlog, struct consume_msg *msg) {
    list_push_front(&backlog->queue, &msg->queue);
    backlog->queued++;
    backlog->bytes += weight(msg);
}

struct consume_msg *backlog_oldest(const struct backlog *backlog) {
    return list_item(list_first(&backlog->all), struct consume_msg, all);
}

void backlog_touch(struct backlog *backlog, struct consume_msg *msg, uint64_t now) {
    msg->touched = now;
    list_push_back(&backlog->all, &msg->all);
}

void backlog_remove(struct backlog *backlog, struct consume_msg *msg) {
    message_free(msg->msg);
    list_remove(&msg->all);
    backlog->count--;
    if (backlog->spare_count >= SPARE_MAX || backlog->closed) {
        free(msg);
        return;
    }
    list_push_front(&backlog->spare, &msg->queue);
    backlog->spare_count++;
}

void backlog_hand_over(struct backlog *from, struct backlog *to, struct consume *consume,
                       void *owner) {
    list_each (struct consume_msg, msg, &from->all, all) {
        if (msg->running)
            continue;
        list_push_back(&to->all, &msg->all);
        msg->consume = consume;
        msg->owner = owner;
        to->count++;
        from->count--;
    }
    list_move(&to->queue, &from->queue);
    to->queued = from->queued;
    from->queued = 0;
    to->bytes = from->bytes;
    from->bytes = 0;
}

void backlog_hand_on(struct backlog *from, struct backlog *to, struct consume_msg *msg,
                     uint64_t now) {
    from->count--;
    to->count++;
    backlog_touch(to, msg, now);
}

void backlog_close(struct backlog *backlog) {
    backlog->closed = true;
    for (struct list_node *node; (node = list_pop_front(&backlog->spare)) != NULL;)
        free(list_item(node, struct consume_msg, queue));
    backlog->spare_count = 0;
}
