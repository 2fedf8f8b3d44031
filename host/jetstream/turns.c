/* SPDX-License-Identifier: Apache-2.0 */
#include "host/jetstream/turns.h"

#include <stdlib.h>

#include "host/base/container_of.h"
#include "host/base/status.h"
#include "host/jetstream/consume.h"
#include "host/jetstream/status.h"
#include "host/link/message.h"

int turns_open(struct turns *turns, const struct message_key *source, struct clock *clock,
               void (*on_rested)(struct clock_timer *timer)) {
    int rc = keyed_open(&turns->keyed, 0);
    turns->source = *source;
    turns->clock = clock;
    turns->timer.fire = on_rested;
    return rc;
}

void turns_close(struct turns *turns) {
    keyed_release(turns->keyed);
    turns->keyed = NULL;
}

bool turns_add(struct turns *turns, struct consume_msg *msg) {
    struct turn *turn = calloc(1, sizeof(*turn));
    if (turn == NULL)
        return false;
    turn->msg = msg;
    msg->turn = turn;
    list_push_back(&turns->unkeyed, &turn->node);
    return true;
}

static struct consume_msg *msg_of(struct keyed_item *item) {
    return item != NULL ? container_of(item, struct turn, item)->msg : NULL;
}

/* A stream that is made again has the same sequences, at other times. */
static bool same_time(const struct consume_msg *msg, int64_t timestamp) {
    struct js_meta meta;
    return js_parse_reply(msg->msg->reply, &meta) && meta.timestamp == timestamp;
}

int turns_put(struct turns *turns, struct consume_msg *msg, const char *key, size_t len,
              struct consume_msg **same) {
    struct turn *turn = msg->turn;
    struct js_meta meta = {0};
    *same = NULL;
    list_remove(&turn->node);
    turn->has_key = key != NULL;
    turn->item.weight = msg->msg->size;
    if (js_parse_reply(msg->msg->reply, &meta)) {
        turn->item.order = meta.stream_seq;
        if (meta.num_delivered > 1 || turns->doubtful)
            *same = msg_of(keyed_find(turns->keyed, key, len, meta.stream_seq));
        if (meta.num_delivered == 1 && *same != NULL && !same_time(*same, meta.timestamp))
            *same = NULL;
    }
    return *same != NULL ? LN_OK : keyed_put(turns->keyed, &turn->item, key, len);
}

struct consume_msg *turns_take(struct turns *turns) {
    return msg_of(keyed_take(turns->keyed));
}

struct consume_msg *turns_behind(const struct consume_msg *msg) {
    return msg_of(keyed_behind(&msg->turn->item));
}

/* ---- rest ---- */

static void arm(struct turns *turns) {
    const struct turn *first = list_item(list_first(&turns->resting), struct turn, node);
    clock_disarm(turns->clock, &turns->timer);
    if (first == NULL)
        return;
    uint64_t now = clock_now(turns->clock);
    clock_arm(turns->clock, &turns->timer, first->due > now ? first->due - now : 0);
}

static void rest(struct turns *turns, struct turn *turn) {
    struct list_node *at = list_ends(&turns->resting)->prev;
    while (at != &turns->resting.ends && list_item(at, struct turn, node)->due > turn->due)
        at = at->prev;
    list_insert_after(at, &turn->node);
}

void turns_rest(struct turns *turns, struct consume_msg *msg, uint64_t ms) {
    msg->turn->due = clock_now(turns->clock) + ms;
    rest(turns, msg->turn);
    arm(turns);
}

struct consume_msg *turns_rested(struct turns *turns, bool due) {
    struct turn *first = list_item(list_first(&turns->resting), struct turn, node);
    if (first == NULL || (due && first->due > clock_now(turns->clock)))
        return NULL;
    list_remove(&first->node);
    arm(turns);
    return first->msg;
}

void turns_again(struct turns *turns, struct consume_msg *msg) {
    list_remove(&msg->turn->node);
    msg->turn->lost = false;
    keyed_again(turns->keyed, &msg->turn->item);
    arm(turns);
}

void turns_forget(struct turns *turns, struct consume_msg *msg) {
    struct turn *turn = msg->turn;
    msg->turn = NULL;
    list_remove(&turn->node);
    if (list_linked(&turn->item.node))
        keyed_remove(turns->keyed, &turn->item);
    else if (turn->item.lane != NULL)
        keyed_done(turns->keyed, &turn->item);
    free(turn);
}

void turns_take_over(struct turns *turns, struct turns *from) {
    keyed_release(turns->keyed);
    turns->keyed = keyed_hold(from->keyed);
    list_move(&turns->unkeyed, &from->unkeyed);
    list_move(&turns->resting, &from->resting);
    clock_disarm(from->clock, &from->timer);
    arm(turns);
}
