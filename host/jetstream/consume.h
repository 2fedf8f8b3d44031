/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Consuming continuously from a consumer, pulled or pushing.
 *
 * A consume keeps overlapping requests open so that messages never run out, and counts credit:
 * the messages that it has asked for and that are not finished yet are never more than asked
 * for in the options. It hands messages to its owner, at most `concurrency` at a time, and
 * keeps the others in a queue; while a message waits or is worked on, the server is told so
 * every ack_wait / 2. What it cannot finish goes back to the server. It survives lost
 * connections. Nothing in here knows Lua.
 *
 * A reload hands a consume over: the next one takes the inbox with its open requests and the
 * messages that nobody has begun to work on, without telling the server. Those need no second
 * delivery, and nats-server 2.9 is spared what it does not do well: redelivering while it still
 * holds requests of an inbox that is gone, it sends one message twice and forgets another one
 * until its ack_wait is over.
 */
#ifndef LUNATS_JETSTREAM_CONSUME_H
#define LUNATS_JETSTREAM_CONSUME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/base/keyed.h"
#include "host/base/list.h"
#include "host/jetstream/group.h"
#include "host/link/key.h"
#include "host/link/link.h"

struct consume;

/* One message, from its arrival to consume_done(). */
struct consume_msg {
    void *owner; /* the one given to consume_open() */
    struct message *msg;
    /* The owner's, 0 at first. */
    void *data;
    int result;
    bool caught;
    /* The consume's. */
    struct consume *consume;
    struct list_node all;   /* by `touched` */
    struct list_node queue; /* waiting for its turn */
    uint64_t touched;       /* when the server's clock for it began, as far as known */
    bool running, stale;
    bool again;        /* it has come once more while it was here */
    struct turn *turn; /* owned; NULL: it is not ordered by a key */
};

struct consume_options {
    uint32_t max_messages; /* asked for and not finished; 1 or more */
    uint32_t concurrency;  /* handed to the owner at once; 1 or more */
    uint32_t expires_ms;   /* of a request */
    uint32_t heartbeat_ms; /* of the server; at most half of the above */
    uint32_t max_batch;    /* of a request, by configuration of the consumer; 0: any */
    uint64_t ack_wait_ms;  /* of the consumer; 0: messages are not acknowledged */
    struct js_group group; /* without a name: none */
    struct js_pin *pin;    /* of that group, which is held; NULL without one */
    const char *deliver;   /* where the consumer pushes to; NULL: it is pulled, see demand.h */
    const char *queue;     /* of a consumer that pushes; may be NULL */
    uint32_t queue_max;    /* messages in the queue, above which they are dropped; 0: any */
    size_t queue_bytes;    /* the same of their bytes; 0: 64 MiB */
    /* With a key, messages that have the same one are handled in order, one at a time. Of a
     * consumer that is pulled, `beside_max` of those that wait for another one of their key, as
     * long as the queue has no more than queue_bytes, count for nothing in max_messages. */
    struct message_key key;
    uint32_t beside_max;
    /* So many messages have been delivered to readers that are gone, and come again within
     * settle_ms: no handler begins before they are here. After that time they would come before
     * any new message. */
    uint32_t settle_count, settle_ms;
    /* With a key: nobody else should read, so what the server has delivered to others after
     * all, or into a connection that was lost, is waited for in the same way. */
    bool sole;
    const void *version; /* of the program that consumes; compared, nothing else */
};

struct consume_stats {
    uint64_t received, acked, returned;
    uint64_t dropped;              /* too old when their turn came, or too many */
    uint64_t untold, untold_bytes; /* of the latter, those since on_full() was called last */
    size_t running, queued, queued_bytes;
    struct keyed_stats keys;
};

/* All of them are called from the loop or from within a call of the owner. */
struct consume_events {
    /* Work on this message; consume_done() follows, possibly from inside this call. */
    void (*on_msg)(void *owner, struct consume_msg *msg);
    /* Whether the message that is being worked on has been acknowledged by other means. */
    bool (*is_settled)(const struct consume_msg *msg);
    /* Whether messages may be asked for at this moment: not any more by who has lost the right
     * to read without having been told, as it was stopped for a while. NULL: always. */
    bool (*may_ask)(const void *owner);
    /* With a key that only the owner can find: there is a consume_unkeyed(). */
    void (*on_unkeyed)(void *owner);
    /*
     * Requests have stopped: LN_ECONSUMER_LOST, LN_EJETSTREAM (refused), LN_EPERMISSION, ...
     * `silent`: the consumer may still be there; nothing was heard, or its limits may be others
     * by now. The owner calls consume_resume() or consume_stop(), later.
     */
    void (*on_lost)(void *owner, int status, const char *text, bool silent);
    /* The queue is full, so messages were dropped: `untold` of the stats. Once a second, and
     * from within consume_close(). */
    void (*on_full)(void *owner, const struct consume_stats *stats);
    /* After a stop: the last message is finished. The owner may close the consume. */
    void (*on_end)(void *owner);
};

/*
 * Makes a consume that does nothing yet. `prefix` is that of the API ("$JS.API"), `clock` a
 * real one, borrowed until consume_close(). On success *out is the caller's, who hands it to
 * consume_close(). Options and events are copied. Returns LN_OK, LN_EINVAL (names) or
 * LN_ENOMEM.
 */
int consume_open(struct consume **out, struct link *link, struct clock *clock,
                 const char *prefix, const char *stream, const char *consumer,
                 const struct consume_options *options, const struct consume_events *events,
                 void *owner);

/*
 * Starts, or fails with what link_subscribe() returns. Where a consume of the same consumer on
 * the same connection with another `version` is running, it takes its place: that one ends as
 * after consume_stop(), and until its handlers are done they count for `concurrency` here.
 */
int consume_begin(struct consume *consume);

/* Whether another `version` consumes from "<stream>.<consumer>" on this connection. */
bool consume_of_other_version(struct link *link, const char *consumer, const void *version);

/* How a message ends. */
enum consume_how {
    CONSUME_ACK,     /* handled */
    CONSUME_NAK,     /* not handled: the server shall deliver it again */
    CONSUME_SETTLED, /* nothing is sent */
    CONSUME_AGAIN,   /* with a key: not handled, see consume_want_again() */
};
void consume_done(struct consume_msg *msg, enum consume_how how);

/*
 * Of a message with a turn, which is worked on: consume_done(CONSUME_AGAIN) shall give it to
 * the owner again, after so many milliseconds in which no other one of its key is begun. It
 * does not go back to the server, which is told that it is worked on: a delivery to another
 * process, or one that comes late, would let others overtake it. A message that ends with
 * CONSUME_NAK is treated the same.
 */
void consume_want_again(struct consume_msg *msg, uint64_t ms);
/* How often that has been done; the server does not count it. */
uint32_t consume_attempts(const struct consume_msg *msg);

/*
 * The first message whose key the owner has to find, with consume_set_key(), or NULL. `key`
 * NULL: it has none, and nothing waits for it. `failed`: it could not be found, which
 * consume_key_failed() tells when the message is given to the owner. After some of them
 * consume_go_on() starts what can be.
 */
struct consume_msg *consume_unkeyed(const struct consume *consume);
void consume_set_key(struct consume_msg *msg, const char *key, size_t len, bool failed);
bool consume_key_failed(const struct consume_msg *msg);
void consume_go_on(struct consume *consume);

/* The limits of its consumer have been changed: takes max_batch, expires_ms, heartbeat_ms and
 * ack_wait_ms of `options`. */
void consume_set_limits(struct consume *consume, const struct consume_options *options);

/* Whether anything has come since the last call: a message, a heartbeat, another status. */
bool consume_heard(struct consume *consume);

/* The consumer is there (again): goes on after on_lost(). */
void consume_resume(struct consume *consume);

/*
 * No more requests. With `drain` the messages that have arrived are handled, else they go back
 * to the server. on_end() follows, never from inside this call. Idempotent.
 */
void consume_stop(struct consume *consume, bool drain);

bool consume_stopped(const struct consume *consume);
void consume_get_stats(const struct consume *consume, struct consume_stats *out);

/* Gives up; queued messages go back, those with the owner may still be ended by consume_done().
 * No event is delivered any more. */
void consume_close(struct consume *consume);

#endif
