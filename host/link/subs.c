/* SPDX-License-Identifier: Apache-2.0 */
#include "host/link/subs.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/put.h"
#include "host/base/ring.h"
#include "host/base/slots.h"
#include "host/link/turn.h"

#define TURN_BATCH 1024 /* messages of a resumed subscription per turn */
#define PENDING_MSGS 65536
#define PENDING_BYTES ((size_t)64 * 1024 * 1024)
#define TELL_MS 1000 /* between two words about dropped messages */

struct link_sub {
    struct subs *subs;
    struct list_node node;    /* subs->list */
    struct list_node waiting; /* subs->unconfirmed, while its PONG has not come */
    uint64_t sid;             /* 0: not subscribed at the server */
    uint64_t ping;            /* what the server's PONG confirms: the SUB, or its end */
    link_msg_fn on_msg;
    link_sub_error_fn on_error;
    void *owner;
    void (*on_drained)(void *owner);
    struct clock_timer drain_limit;
    struct ring ring; /* messages that wait because the owner paused */
    size_t ring_bytes, max_msgs, max_bytes;
    uint64_t dropped;
    uint64_t untold, untold_bytes; /* of those dropped, since the owner was told */
    bool telling;                  /* it is being told */
    struct clock_timer tell;       /* armed for as long as it is not told again */
    unsigned busy;                 /* frames on the stack that use this sub */
    bool prompt, paused, draining, drained, dead;
    char *queue;    /* NULL, or behind the pattern */
    char pattern[]; /* zero-terminated */
};

struct subs {
    struct clock *clock;
    struct subs_events events;
    void *owner;
    struct stream *stream; /* NULL: not connected */
    struct tally *tally;   /* of messages; NULL: nobody counts them */
    struct list list;
    struct list unconfirmed; /* in the order of their PINGs */
    size_t count, max_line;
    struct slots slots; /* by sid */
    bool resumed;       /* some sub has waiting messages to deliver */
    bool drain_check;   /* some drain may be complete */
    bool stopped;
    uint64_t in_msgs, in_bytes, dropped;
};

static void want_turn(struct subs *subs) {
    subs->events.want_turn(subs->owner);
}

/* ---- sids ---- */

/* A sid is a place and how often it was taken before. Those of the first ones are short, as
 * each message has it. */
#define SID_OF(index, generation)                                                              \
    (((uint64_t)((generation)-1) << SLOTS_INDEX_BITS | (index)) + 1)
#define SID_INDEX(sid) ((uint32_t)((sid)-1) & (SLOTS_MAX - 1))
#define SID_GENERATION(sid) ((((sid)-1) >> SLOTS_INDEX_BITS) + 1)

/* The sid for the next messages of this sub, or 0 when memory is short. */
static uint64_t take_sid(struct subs *subs, struct link_sub *sub) {
    uint32_t index;
    if (!slots_take(&subs->slots, sub, &index))
        return 0;
    return SID_OF(index, slots_generation(&subs->slots, index));
}

static struct link_sub *find_sub(const struct subs *subs, uint64_t sid) {
    uint64_t generation = SID_GENERATION(sid);
    if (sid == 0 || generation >> SLOTS_GENERATION_BITS != 0)
        return NULL;
    return slots_find(&subs->slots, SID_INDEX(sid), (uint32_t)generation);
}

/* ---- at the server ---- */

static size_t line_size(const struct link_sub *sub) {
    return strlen(sub->pattern) + (sub->queue != NULL ? strlen(sub->queue) + 1 : 0) + 1 +
           NUMBER_SIZE;
}

/* Waits for the PONG that confirms what was just sent about this sub. */
static bool confirm(struct link_sub *sub) {
    struct subs *subs = sub->subs;
    sub->ping = subs->events.ping(subs->owner);
    list_push_back(&subs->unconfirmed, &sub->waiting);
    return sub->ping != 0;
}

static bool subscribe(struct link_sub *sub) {
    struct subs *subs = sub->subs;
    char *at = stream_reserve(subs->stream, line_size(sub) + 8);
    sub->sid = at != NULL ? take_sid(subs, sub) : 0;
    if (sub->sid == 0)
        return false;
    at = put_text(put(at, "SUB ", 4), sub->pattern);
    *at++ = ' ';
    if (sub->queue != NULL) {
        at = put_text(at, sub->queue);
        *at++ = ' ';
    }
    at = put_number(at, sub->sid);
    stream_commit(subs->stream, put(at, "\r\n", 2));
    return confirm(sub);
}

static bool send_unsub(struct link_sub *sub) {
    char *at = stream_reserve(sub->subs->stream, NUMBER_SIZE + 16);
    if (at == NULL)
        return false; /* its messages find nobody */
    at = put_number(put(at, "UNSUB ", 6), sub->sid);
    stream_commit(sub->subs->stream, put(at, "\r\n", 2));
    return true;
}

static void forget_sid(struct link_sub *sub) {
    list_remove(&sub->waiting);
    if (sub->sid != 0)
        slots_release(&sub->subs->slots, SID_INDEX(sub->sid));
    sub->sid = 0;
}

/* ---- the end of a subscription ---- */

static struct message *ring_take(struct link_sub *sub) {
    struct message *msg = ring_pop(&sub->ring);
    if (msg != NULL)
        sub->ring_bytes -= msg->size;
    return msg;
}

static void sub_free(struct link_sub *sub) {
    for (struct message *msg; (msg = ring_pop(&sub->ring)) != NULL;)
        message_free(msg);
    ring_free(&sub->ring);
    free(sub);
}

static void tell_error(struct link_sub *sub, int status, const char *text) {
    if (sub->on_error != NULL && !sub->subs->stopped)
        sub->on_error(sub->owner, status, text);
}

/* Not one by one: who is too slow for messages is too slow for words about them, too. */
static void tell_dropped(struct link_sub *sub) {
    if (sub->untold == 0 || sub->telling)
        return;
    sub->telling = true; /* whoever hears of it may end the subscription */
    tell_error(sub, LN_EFULL, "too many messages wait to be handled");
    sub->telling = false;
    sub->untold = sub->untold_bytes = 0;
}

/* Takes it off the link. The memory lives on while a frame on the stack uses it. */
static void sub_end(struct link_sub *sub) {
    struct subs *subs = sub->subs;
    if (sub->dead)
        return;
    sub->dead = true;
    clock_disarm(subs->clock, &sub->drain_limit);
    clock_disarm(subs->clock, &sub->tell);
    tell_dropped(sub);
    if (sub->sid != 0 && subs->stream != NULL && !sub->draining)
        send_unsub(sub);
    forget_sid(sub);
    list_remove(&sub->node);
    subs->count--;
    if (sub->busy == 0)
        sub_free(sub);
}

static void leave(struct link_sub *sub) {
    if (--sub->busy == 0 && sub->dead)
        sub_free(sub);
}

void link_unsubscribe(struct link_sub *sub) {
    sub_end(sub);
}

/* ---- subscribing ---- */

static struct link_sub *sub_new(const char *pattern, const struct link_sub_options *options) {
    const char *queue = options != NULL ? options->queue : NULL;
    size_t size = strlen(pattern) + 1, queue_size = queue != NULL ? strlen(queue) + 1 : 0;
    struct link_sub *sub = calloc(1, sizeof(*sub) + size + queue_size);
    if (sub == NULL)
        return NULL;
    memcpy(sub->pattern, pattern, size);
    if (queue != NULL)
        sub->queue = memcpy(sub->pattern + size, queue, queue_size);
    sub->max_msgs = PENDING_MSGS;
    sub->max_bytes = PENDING_BYTES;
    sub->prompt = options != NULL && options->prompt;
    if (options != NULL && options->pending_msgs > 0)
        sub->max_msgs = (size_t)options->pending_msgs;
    if (options != NULL && options->pending_bytes > 0)
        sub->max_bytes = options->pending_bytes;
    return sub;
}

static void on_drain_limit(struct clock_timer *timer);
static void on_tell(struct clock_timer *timer);

int subs_add(struct subs *subs, const char *pattern, const struct link_sub_options *options,
             link_msg_fn on_msg, link_sub_error_fn on_error, void *owner,
             struct link_sub **out) {
    struct link_sub *sub = sub_new(pattern, options);
    if (sub == NULL)
        return LN_ENOMEM;
    sub->subs = subs;
    sub->on_msg = on_msg;
    sub->on_error = on_error;
    sub->owner = owner;
    sub->drain_limit.fire = on_drain_limit;
    sub->tell.fire = on_tell;
    int rc = line_size(sub) > subs->max_line ? LN_ETOOLARGE : LN_OK;
    if (rc == LN_OK && subs->stream != NULL && !subscribe(sub))
        rc = LN_ENOMEM;
    if (rc != LN_OK) {
        forget_sid(sub);
        free(sub);
        return rc;
    }
    list_push_back(&subs->list, &sub->node);
    subs->count++;
    *out = sub;
    return LN_OK;
}

void subs_set_max_line(struct subs *subs, size_t bytes) {
    subs->max_line = bytes;
}

void link_sub_retarget(struct link_sub *sub, link_msg_fn on_msg, link_sub_error_fn on_error,
                       void *owner) {
    sub->on_msg = on_msg;
    sub->on_error = on_error;
    sub->owner = owner;
}

/* ---- messages ---- */

/* Now, and then once a second for as long as there is something to tell. */
static void tell_drops(struct link_sub *sub) {
    if (sub->untold == 0)
        return;
    clock_arm(sub->subs->clock, &sub->tell, TELL_MS);
    sub->busy++;
    tell_dropped(sub);
    leave(sub);
}

static void on_tell(struct clock_timer *timer) {
    tell_drops(container_of(timer, struct link_sub, tell));
}

static void drop(struct link_sub *sub, struct message *msg) {
    sub->dropped++;
    sub->subs->dropped++;
    sub->untold++;
    sub->untold_bytes += msg->size;
    message_free(msg);
    if (!clock_armed(&sub->tell))
        tell_drops(sub);
}

static void keep(struct link_sub *sub, struct message *msg) {
    size_t bytes = sub->ring_bytes + msg->size;
    bool full = sub->ring.count >= sub->max_msgs || bytes > sub->max_bytes;
    if ((full && sub->ring.count > 0) || tally_full(msg->tally, 0) ||
        !ring_push(&sub->ring, msg))
        drop(sub, msg);
    else
        sub->ring_bytes = bytes;
}

void subs_deliver(struct subs *subs, uint64_t sid, const struct message_parts *parts) {
    struct link_sub *sub = find_sub(subs, sid);
    subs->in_msgs++;
    subs->in_bytes += parts->len;
    if (sub == NULL || subs->stopped)
        return;
    struct message *msg = message_new(parts);
    if (msg == NULL) {
        tell_error(sub, LN_ENOMEM, "out of memory: a message is lost");
        return;
    }
    message_count(msg, subs->tally);
    if (sub->paused || sub->ring.count > 0)
        keep(sub, msg);
    else
        sub->on_msg(sub->owner, msg);
}

bool subs_is_prompt(const struct subs *subs, uint64_t sid) {
    const struct link_sub *sub = find_sub(subs, sid);
    return sub != NULL && sub->prompt;
}

void link_sub_pause(struct link_sub *sub) {
    sub->paused = true;
}

void link_sub_resume(struct link_sub *sub) {
    sub->paused = false;
    if (sub->ring.count == 0)
        return;
    sub->subs->resumed = true;
    want_turn(sub->subs);
}

size_t link_sub_pending(const struct link_sub *sub) {
    return sub->ring.count;
}

void link_sub_get_stats(const struct link_sub *sub, struct link_sub_stats *out) {
    *out = (struct link_sub_stats){
        .waiting = sub->ring.count,
        .bytes = sub->ring_bytes,
        .dropped = sub->dropped,
        .untold = sub->untold,
        .untold_bytes = sub->untold_bytes,
    };
}

/* Handlers make replies, and those would pile up. */
static bool congested(const struct subs *subs) {
    return subs->stream != NULL && stream_congested(subs->stream);
}

/* Delivers what waited while a subscription was paused; true if some is left to deliver. */
static bool deliver_ring(struct link_sub *sub, struct turn_time *time) {
    struct subs *subs = sub->subs;
    sub->busy++;
    for (int i = 0; i < TURN_BATCH; i++) {
        if (sub->dead || sub->paused || sub->ring.count == 0 || subs->stopped)
            break;
        if (congested(subs) || turn_is_over(time))
            break;
        sub->on_msg(sub->owner, ring_take(sub));
    }
    bool more = !sub->dead && !sub->paused && sub->ring.count > 0;
    if (!sub->dead && sub->ring.count == 0)
        subs->drain_check = subs->drain_check || sub->draining;
    leave(sub);
    return more;
}

/* The first one, which is the last one then: whoever goes on later, goes on with the next. */
static struct link_sub *rotate(struct subs *subs) {
    struct list_node *node = list_pop_front(&subs->list);
    list_push_back(&subs->list, node);
    return list_item(node, struct link_sub, node);
}

/* One turn's time for all of them; true if some is left to deliver. */
static bool deliver_rings(struct subs *subs) {
    struct turn_time time;
    bool more = false;
    turn_begin(&time);
    for (size_t left = subs->count; left > 0 && !list_empty(&subs->list); left--) {
        struct link_sub *sub = rotate(subs);
        if (sub->ring.count == 0 || sub->paused)
            continue;
        more = deliver_ring(sub, &time) || more;
        if (turn_is_over(&time))
            return true;
    }
    return more;
}

/* ---- draining ---- */

static void end_drained(struct link_sub *sub) {
    if (!sub->drained || sub->ring.count > 0 || sub->subs->stopped)
        return;
    void (*on_drained)(void *) = sub->on_drained;
    void *owner = sub->owner;
    sub_end(sub);
    if (on_drained != NULL)
        on_drained(owner);
}

/* What has arrived is all there is. */
static void drained(struct link_sub *sub) {
    clock_disarm(sub->subs->clock, &sub->drain_limit);
    sub->drained = true;
    sub->subs->drain_check = true;
    want_turn(sub->subs);
}

static void on_drain_limit(struct clock_timer *timer) {
    drained(container_of(timer, struct link_sub, drain_limit));
}

void link_sub_drain(struct link_sub *sub, uint32_t timeout_ms,
                    void (*on_drained)(void *owner)) {
    struct subs *subs = sub->subs;
    if (subs->stopped)
        return;
    sub->on_drained = on_drained;
    if (sub->draining)
        return;
    sub->draining = true;
    if (sub->sid == 0 || subs->stream == NULL || !send_unsub(sub) || !confirm(sub))
        drained(sub);
    else
        clock_arm(subs->clock, &sub->drain_limit, timeout_ms);
}

/* ---- what the link tells ---- */

void subs_sent(struct subs *subs) {
    if (subs->resumed && !congested(subs))
        want_turn(subs);
}

void subs_turn(struct subs *subs) {
    if (subs->resumed && !subs->stopped && !congested(subs)) {
        subs->resumed = false;
        if (deliver_rings(subs)) {
            subs->resumed = true;
            subs_sent(subs);
        }
    }
    if (subs->drain_check && !subs->stopped) {
        subs->drain_check = false;
        for (size_t left = subs->count; left > 0 && !list_empty(&subs->list); left--)
            end_drained(rotate(subs));
    }
}

bool subs_connected(struct subs *subs, struct stream *stream) {
    subs->stream = stream;
    list_each (struct link_sub, sub, &subs->list, node)
        if (!sub->draining && !subscribe(sub))
            return false;
    return true;
}

void subs_disconnected(struct subs *subs) {
    subs->stream = NULL;
    list_each (struct link_sub, sub, &subs->list, node) {
        forget_sid(sub);
        if (sub->draining && !sub->drained)
            drained(sub);
    }
    if (subs->resumed) /* what waited for the stream to take replies need not any more */
        want_turn(subs);
}

void subs_on_pong(struct subs *subs, uint64_t number) {
    for (struct list_node *node; (node = list_first(&subs->unconfirmed)) != NULL;) {
        struct link_sub *sub = list_item(node, struct link_sub, waiting);
        if (sub->ping > number)
            return;
        list_remove(node);
        if (sub->draining)
            drained(sub);
    }
}

size_t subs_refused(struct subs *subs, const char *subject, const char *queue, int status,
                    const char *text) {
    size_t count = 0;
    struct list left = {0};
    if (subject == NULL) {
        struct list_node *first = list_first(&subs->unconfirmed);
        if (first != NULL)
            tell_error(list_item(first, struct link_sub, waiting), status, text);
        return first != NULL;
    }
    list_move(&left, &subs->list);
    for (struct list_node *node; (node = list_pop_front(&left)) != NULL;) {
        struct link_sub *sub = list_item(node, struct link_sub, node);
        list_push_back(&subs->list, node);
        if (strcmp(sub->pattern, subject) != 0 ||
            (queue != NULL && strcmp(sub->queue != NULL ? sub->queue : "", queue) != 0))
            continue;
        count++;
        tell_error(sub, status, text);
    }
    return count;
}

/* ---- life ---- */

void subs_set_tally(struct subs *subs, struct tally *tally) {
    subs->tally = tally;
}

void subs_stop(struct subs *subs) {
    subs->stopped = true;
}

size_t subs_count(const struct subs *subs) {
    return subs->count;
}

uint64_t subs_dropped(const struct subs *subs) {
    return subs->dropped;
}

void subs_received(const struct subs *subs, uint64_t *messages, uint64_t *bytes) {
    *messages = subs->in_msgs;
    *bytes = subs->in_bytes;
}

struct subs *subs_new(struct clock *clock, const struct subs_events *events, void *owner) {
    struct subs *subs = calloc(1, sizeof(*subs));
    if (subs == NULL)
        return NULL;
    subs->clock = clock;
    subs->events = *events;
    subs->owner = owner;
    subs->max_line = SIZE_MAX;
    return subs;
}

void subs_free(struct subs *subs) {
    if (subs == NULL)
        return;
    subs->stream = NULL;
    list_each (struct link_sub, sub, &subs->list, node)
        sub_end(sub);
    slots_free(&subs->slots);
    free(subs);
}
