/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A consume whose messages are handled in order where they have the same key.
 *
 * What has failed stays here: it rests, its key with it, while the server is told that it is
 * worked on. A delivery by the server would come behind messages of the same key that are here
 * already, or to another process. For the same reason a message whose time has run out keeps
 * its place for a while: mostly it comes again, to the same reader.
 */
#include "host/jetstream/consume_internal.h"

#include <stdio.h>
#include <string.h>

#include "host/base/container_of.h"
#include "host/base/status.h"
#include "host/jetstream/request.h"
#include "host/jetstream/status.h"

#define AGAIN_MS 100   /* until a message that was not handled is tried again */
#define SETTLE_MS 5000 /* for what is left to arrive, and nothing new tells that it has */

static bool has_function(const struct consume *consume) {
    return consume->turns.source.kind == MESSAGE_KEY_FUNCTION;
}

/* ---- back to the server ---- */

static void give_back(struct consume *consume, struct consume_msg *msg, uint64_t ms) {
    char ack[64] = "-NAK";
    if (ms > 0)
        snprintf(ack, sizeof(ack), "-NAK {\"delay\":%llu}", (unsigned long long)ms * 1000000);
    if (consume->options.ack_wait_ms > 0)
        consume_say(consume, msg->msg, ack);
    consume->stats.returned++;
    consume_finish(consume, msg, CONSUME_SETTLED);
}

/* With all that wait for it: none of them may be begun before it. */
static void give_back_key(struct consume *consume, struct consume_msg *msg, uint64_t ms) {
    for (struct consume_msg *behind; (behind = turns_behind(msg)) != NULL;) {
        backlog_unqueue(&behind->consume->backlog, behind);
        give_back(behind->consume, behind, ms);
    }
    give_back(consume, msg, ms);
    consume->returning = true;
}

void consume_keys_return_resting(struct consume *consume, bool followers) {
    if (!turns_used(&consume->turns))
        return;
    for (struct consume_msg *msg; (msg = turns_rested(&consume->turns, false)) != NULL;) {
        if (followers)
            give_back_key(consume, msg, AGAIN_MS);
        else
            give_back(consume, msg, AGAIN_MS);
    }
}

/* ---- messages of readers that are gone ---- */

static void settle(struct consume *consume) {
    consume->settling = 0;
    clock_disarm(consume->clock, &consume->settle);
}

static void on_settle(struct clock_timer *timer) {
    struct consume *consume = container_of(timer, struct consume, settle);
    consume->busy++;
    settle(consume);
    consume_pump(consume);
    consume_leave(consume);
}

/* So many more messages have to come again. */
static void await_left(struct consume *consume, size_t count) {
    consume->settling += count;
    consume->settled_at = clock_now(consume->clock) + consume->options.settle_ms;
    clock_arm(consume->clock, &consume->settle, consume->options.settle_ms + SETTLE_MS);
}

static bool is_redelivered(const struct consume_msg *msg) {
    struct js_meta meta;
    return js_parse_reply(msg->msg->reply, &meta) && meta.num_delivered > 1;
}

void consume_keys_begin(struct consume *consume) {
    if (consume->options.settle_count > 0)
        await_left(consume, consume->options.settle_count);
}

/* The server numbers what it delivers of a consumer: what is missing in front of this one has
 * gone to a reader that should not read any more, and comes again. */
static void look_for_gap(struct consume *consume, const struct consume_msg *msg) {
    struct js_meta meta;
    if (!consume->options.sole || !js_parse_reply(msg->msg->reply, &meta))
        return;
    uint64_t before = consume->delivery;
    consume->delivery = meta.consumer_seq;
    if (before > 0 && meta.consumer_seq > before + 1)
        await_left(consume, (size_t)(meta.consumer_seq - before - 1));
}

static uint64_t sequence_of(const struct consume_msg *msg) {
    struct js_meta meta;
    if (msg->turn != NULL && msg->turn->item.order > 0)
        return msg->turn->item.order;
    return js_parse_reply(msg->msg->reply, &meta) ? meta.stream_seq : 0;
}

/* Whether the same message is here already: servers deliver one twice when a reader has gone
 * while it had a request open. Nothing has been taken out of the queue yet. */
static bool is_here(const struct consume *consume, const struct consume_msg *msg) {
    uint64_t sequence = sequence_of(msg);
    list_each (struct consume_msg, at, &consume->backlog.queue, queue)
        if (at != msg && sequence_of(at) == sequence)
            return true;
    return false;
}

/* One has come while they are waited for. */
static void count_left(struct consume *consume, const struct consume_msg *msg) {
    bool over = false;
    if (!is_redelivered(msg))
        over = clock_now(consume->clock) >= consume->settled_at;
    else if (!is_here(consume, msg))
        over = --consume->settling == 0;
    if (over)
        settle(consume);
}

/* ---- messages that come again although they are handled ---- */

/* For a while after a reader has gone nats-server 2.9 sends messages twice, and may say of one
 * of them that it is the first time. */
static bool doubtful(const struct consume *consume) {
    return consume->settled_at > 0 &&
           clock_now(consume->clock) < consume->settled_at + SETTLE_MS;
}

/* A stream that is made again has the same sequences, at other times. */
static uint64_t identity_of(const struct js_meta *meta) {
    return meta->stream_seq * 0x9e3779b97f4a7c15u ^ (uint64_t)meta->timestamp;
}

/* One that is acknowledged late the server delivers again before it hears of the end, behind
 * others of its key. When it does so is not known of one that it has delivered more than once:
 * it may have waited in the socket. */
void consume_keys_remember(struct consume *consume, const struct consume_msg *msg, bool acked) {
    struct js_meta meta;
    uint64_t late = msg->touched + consume->options.ack_wait_ms * 3 / 4;
    if (consume->options.ack_wait_ms > 0 &&
        (uv_hrtime() / 1000000 >= late ||
         (acked && (msg->again || is_redelivered(msg) || doubtful(consume)))) &&
        js_parse_reply(msg->msg->reply, &meta))
        consume->late[consume->late_count++ % LATE_MAX] = identity_of(&meta);
}

static bool was_late(const struct consume *consume, const struct consume_msg *msg) {
    struct js_meta meta;
    if (consume->late_count == 0 || !(doubtful(consume) || is_redelivered(msg)) ||
        !js_parse_reply(msg->msg->reply, &meta))
        return false;
    for (size_t i = 0; i < LATE_MAX; i++)
        if (consume->late[i] == identity_of(&meta))
            return true;
    return false;
}

/* ---- keys ---- */

/* The server has delivered `first` once more: the new one takes its place, as it is younger. */
static void merge(struct consume *consume, struct consume_msg *first, struct consume_msg *msg) {
    if (!first->running) {
        struct message *old = first->msg;
        first->msg = msg->msg;
        msg->msg = old;
        first->stale = false;
        backlog_touch(&consume->backlog, first, msg->touched);
        if (first->turn->lost) {
            turns_again(&consume->turns, first);
            backlog_requeue(&consume->backlog, first);
        }
    }
    first->again = true;
    backlog_unqueue(&consume->backlog, msg);
    consume_finish(consume, msg, CONSUME_SETTLED);
}

static void put(struct consume *consume, struct consume_msg *msg, const char *key, size_t len) {
    struct consume_msg *same;
    if (turns_put(&consume->turns, msg, key, len, &same) < 0) {
        backlog_unqueue(&consume->backlog, msg);
        consume_finish(consume, msg, CONSUME_NAK);
    } else if (same != NULL) {
        merge(consume, same, msg);
    }
}

static void find_key(struct consume *consume, struct consume_msg *msg) {
    size_t len = 0;
    const char *key = message_key_find(&consume->turns.source, msg->msg, &len);
    put(consume, msg, key, len);
}

bool consume_keys_add(struct consume *consume, struct consume_msg *msg) {
    look_for_gap(consume, msg);
    if (was_late(consume, msg)) {
        backlog_unqueue(&consume->backlog, msg);
        consume_finish(consume, msg, CONSUME_ACK);
        return true;
    }
    if (consume->settling > 0)
        count_left(consume, msg);
    consume->turns.doubtful = doubtful(consume);
    if (!turns_add(&consume->turns, msg))
        return false;
    if (!has_function(consume))
        find_key(consume, msg);
    else
        consume->events.on_unkeyed(consume->owner);
    return true;
}

struct consume_msg *consume_unkeyed(const struct consume *consume) {
    const struct turn *turn = list_item(list_first(&consume->turns.unkeyed), struct turn, node);
    return turn != NULL ? turn->msg : NULL;
}

void consume_set_key(struct consume_msg *msg, const char *key, size_t len, bool failed) {
    msg->turn->failed = failed;
    put(msg->consume, msg, failed ? NULL : key, len);
}

bool consume_key_failed(const struct consume_msg *msg) {
    return msg->turn->failed;
}

void consume_go_on(struct consume *consume) {
    consume->busy++;
    consume_pump(consume);
    consume_leave(consume);
}

/* ---- turns ---- */

struct consume_msg *consume_keys_next(struct consume *consume) {
    if (consume->state == STOPPING || consume->state == ENDED)
        return NULL; /* what waits belongs to the version that follows */
    struct consume_msg *msg = turns_take(&consume->turns);
    if (msg != NULL)
        backlog_unqueue(&consume->backlog, msg);
    return msg;
}

void consume_keys_skip(struct consume *consume, struct consume_msg *msg) {
    if (!msg->turn->has_key) {
        consume->stats.dropped++;
        consume_finish(consume, msg, CONSUME_SETTLED);
        return;
    }
    msg->turn->lost = msg->stale = true;
    turns_rest(&consume->turns, msg, consume->options.ack_wait_ms);
}

void consume_want_again(struct consume_msg *msg, uint64_t ms) {
    msg->turn->again_ms = ms;
}

uint32_t consume_attempts(const struct consume_msg *msg) {
    return msg->turn != NULL ? msg->turn->attempts : 0;
}

/* The version that goes on with the messages: the last one of a row of handovers. */
static struct consume *heir_of(struct consume *consume) {
    while (consume->next != NULL)
        consume = consume->next;
    return consume;
}

static void hand_on(struct consume *consume, struct consume *heir, struct consume_msg *msg) {
    backlog_hand_on(&consume->backlog, &heir->backlog, msg, clock_now(heir->clock));
    demand_finished(&consume->demand);
    msg->consume = heir;
    msg->owner = heir->owner;
    demand_came(&heir->demand);
    consume_say(heir, msg->msg, "+WPI");
}

void consume_keys_fail(struct consume *consume, struct consume_msg *msg, enum consume_how how) {
    struct turn *turn = msg->turn;
    uint64_t ms = how == CONSUME_AGAIN ? turn->again_ms : AGAIN_MS;
    struct consume *heir = heir_of(consume);
    bool goes_on = !heir->closed && (heir->state == RUNNING || heir->state == LOST);
    if (!goes_on || !turns_used(&heir->turns) || consume->options.ack_wait_ms == 0) {
        /* Not later than what a reader that dies has had: see settle_count. */
        uint64_t most = consume->options.ack_wait_ms;
        give_back_key(consume, msg, ms < most ? ms : most);
        return;
    }
    if (heir != consume)
        hand_on(consume, heir, msg);
    msg->running = msg->caught = false;
    msg->data = NULL;
    msg->result = 0;
    turn->attempts++;
    turns_rest(&heir->turns, msg, ms);
}

static void on_rested(struct clock_timer *timer) {
    struct consume *consume = container_of(timer, struct consume, turns.timer);
    consume->busy++;
    for (struct consume_msg *msg; (msg = turns_rested(&consume->turns, true)) != NULL;) {
        if (msg->turn->lost) { /* somebody else has it */
            consume->stats.dropped++;
            consume_finish(consume, msg, CONSUME_SETTLED);
            continue;
        }
        turns_again(&consume->turns, msg);
        backlog_requeue(&consume->backlog, msg);
    }
    consume_pump(consume);
    consume_leave(consume);
}

int consume_keys_open(struct consume *consume) {
    consume->demand.beside = &consume->beside;
    consume->settle.fire = on_settle;
    return turns_open(&consume->turns, &consume->options.key, consume->clock, on_rested);
}

void consume_keys_count(struct consume *consume) {
    const struct consume_options *o = &consume->options;
    const struct backlog *backlog = &consume->backlog;
    const struct tally *tally = link_tally(consume->link);
    size_t blocked =
        consume->settling > 0 ? backlog->queued : keyed_blocked(consume->turns.keyed);
    bool small = backlog->bytes < o->queue_bytes &&
                 !(tally != NULL && tally->most > 0 && tally->bytes > tally->most / 2);
    /* What is left comes behind new ones, so those must not use all up. */
    size_t most = consume->settling > 0 ? SIZE_MAX : o->beside_max;
    consume->beside = !small ? 0 : blocked < most ? blocked : most;
    consume->unserved =
        small && blocked < o->queue_max / 2 ? backlog->queued - blocked : backlog->queued;
}

/* ---- versions ---- */

void consume_keys_before_handover(struct consume *consume, struct consume *previous) {
    if (!turns_used(&previous->turns) || turns_used(&consume->turns))
        return;
    consume_keys_return_resting(previous, false);
    list_each (struct consume_msg, msg, &previous->backlog.queue, queue)
        turns_forget(&previous->turns, msg);
}

static void add_all(struct consume *consume) {
    list_each (struct consume_msg, msg, &consume->backlog.queue, queue) {
        if (turns_add(&consume->turns, msg))
            continue;
        backlog_unqueue(&consume->backlog, msg);
        consume_finish(consume, msg, CONSUME_NAK);
    }
}

void consume_keys_after_handover(struct consume *consume, struct consume *previous) {
    if (!turns_used(&consume->turns))
        return;
    memcpy(consume->late, previous->late, sizeof(consume->late));
    consume->late_count = previous->late_count;
    consume->delivery = previous->delivery;
    if (turns_used(&previous->turns))
        turns_take_over(&consume->turns, &previous->turns);
    else
        add_all(consume);
}

void consume_keys_find(struct consume *consume) {
    struct consume_msg *msg = consume_unkeyed(consume);
    if (msg != NULL && has_function(consume))
        consume->events.on_unkeyed(consume->owner);
    else
        for (; msg != NULL; msg = consume_unkeyed(consume))
            find_key(consume, msg);
}
