/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One NATS connection on the loop.
 *
 * nats.c connects (dial.c, in a thread); then the connection, plain or TLS, is ours: read,
 * written once per turn of the loop, and made anew for ever when it is lost. Nothing in here
 * blocks, nothing knows Lua, and everything runs on the loop thread.
 *
 * What the server says is handled in stream order. So when a round trip (link_flush()) has come
 * back, every refusal of what was sent before it has been told.
 */
#ifndef LUNATS_LINK_H
#define LUNATS_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

#include "host/base/clock.h"
#include "host/base/list.h"
#include "host/base/status.h"
#include "host/link/message.h"

struct link;
struct link_sub;

enum link_state {
    LINK_CONNECTING, /* first connection under way */
    LINK_CONNECTED,
    LINK_DISCONNECTED, /* lost; reconnecting for ever, with jitter and a cap */
    LINK_CLOSED, /* closed by link_close(), or the first connection failed without retry */
};

/* What a connection needs. Strings are copied by link_open(); NULL or 0 means the default. */
struct link_options {
    const char *const *servers; /* [nats|tls://][user[:password]@]host[:port]; at least one */
    size_t server_count;
    const char *name; /* client name shown by the server */
    const char *user, *password, *token;
    const char *creds;                       /* path of a .creds file (JWT and seed) */
    const char *nkey;                        /* path of a file with an NKey seed */
    const char *tls_ca, *tls_cert, *tls_key; /* paths of PEM files */
    const char *tls_name;     /* the name that the server's certificate must show; default: the
                               * host of its URL */
    bool tls_first;           /* the TLS handshake comes before the server's INFO */
    const char *inbox_prefix; /* default "_INBOX" */
    const char *api_prefix; /* subjects below it are the server's own, as those with a "$" are:
                             * the JetStream API under another name; NULL: none */
    bool no_replies;        /* requests fail: no inbox is subscribed to */
    bool retry;             /* keep trying when the first connection fails */
    uint32_t connect_timeout_ms; /* default 2000 */
    uint32_t ping_interval_ms;   /* silence after which the peer is probed; default 5000 */
    uint32_t
        max_control_line; /* bytes of a protocol line that the server takes; default 4096 */
    size_t high_water;    /* bytes not yet written, see link_full(); default 8 MiB */
    struct tally *tally; /* where its messages are counted, and whose limit bounds what waits to
                          * be handled, and to be sent; borrowed. NULL: nowhere */
};

/*
 * What the owner is told, always on the loop thread, never from inside a call of the owner.
 * Every member may be NULL. `owner` is the pointer given to link_open().
 */
struct link_events {
    /* The state changed. status and text say why: LN_OK, or the reason of a loss or failure.
     * Texts are borrowed for the call; here and below none has a password in it. */
    void (*on_state)(void *owner, enum link_state state, int status, const char *text);
    /* A server could not be connected to, and it is tried again. Told once for each reason. */
    void (*on_retry)(void *owner, const char *url, int status, const char *text);
    /* An asynchronous error that no single call owns: a permission violation for a publish, a
     * slow consumer, a server error. */
    void (*on_error)(void *owner, int status, const char *text);
    /* The server announced that it will go away ("lame duck"). */
    void (*on_lame_duck)(void *owner);
};

/* ---- life ---- */

/*
 * Starts connecting, off the loop thread. on_state() follows: LINK_CONNECTED, or LINK_CLOSED
 * with the reason when the first connection failed and `retry` is off. On success *out is the
 * caller's, who must hand it to link_close() in any state. `events` is copied; `clock`, a real
 * one, is borrowed until on_closed().
 */
int link_open(struct link **out, uv_loop_t *loop, struct clock *clock,
              const struct link_options *options, const struct link_events *events,
              void *owner);

/*
 * Closes for good: subscriptions end without delivering what they hold, pending calls finish
 * with LN_ECLOSED, bytes already published are written within `flush_ms`, then the connection
 * is destroyed off the loop thread and on_closed(owner, unsent) is called, after which the
 * memory is gone; `unsent` is the number of bytes that were published and could not be written.
 * No event is delivered once this was called. Works in any state, also while connecting or
 * reconnecting. on_closed may be NULL.
 */
void link_close(struct link *link, uint32_t flush_ms,
                void (*on_closed)(void *owner, size_t unsent), void *owner);

/*
 * Keeps the memory of a link after its end, until link_free(), for who goes on asking it: what
 * can fail answers LN_ECLOSED then. link_free() before that leaves the memory to the end.
 */
void link_keep(struct link *link);
void link_free(struct link *link);

/*
 * Loses the connection now and does not try again before `ms` milliseconds have passed: what a
 * cut cable looks like, for specs. Does nothing to a link that is closing.
 */
void link_partition(struct link *link, uint32_t ms);

enum link_state link_state(const struct link *link);
bool link_is_connected(const struct link *link);

/* Whether anybody's message may have its answer at this subject: answer_ok(), and not the API
 * that the link was told of. */
bool link_may_answer(const struct link *link, const char *subject);

/*
 * Tells others than the owner about changes of the state: those that keep something open on the
 * server. Embedded by the observer, who may call anything from inside on_state(), also stop
 * observing. Called after the owner; not called any more once link_close() was called.
 */
struct link_observer {
    struct list_node node; /* the link's */
    void (*on_state)(struct link_observer *observer, enum link_state state);
    /* The server did not permit to publish to `subject`; `text` is its own. May be NULL. */
    void (*on_denied)(struct link_observer *observer, const char *subject, const char *text);
};
void link_observe(struct link *link, struct link_observer *observer);
/* Those that observe, latest first, by link_observer.node. */
const struct list *link_observers(const struct link *link);
/* Before link_close() at the latest. Does nothing to one that does not observe. */
void link_unobserve(struct link_observer *observer);

/* ---- facts about the connection ---- */

struct link_info {
    char url[256];      /* of the connected server, without credentials; "" if none */
    char server_id[64]; /* "" if none */
    char version[32];   /* of the server; "" if none */
    char client_ip[64];
    uint64_t client_id;
    int64_t max_payload; /* bytes; 0 before the first connection */
};
struct link_stats {
    uint64_t in_msgs, in_bytes, out_msgs, out_bytes, reconnects;
    uint64_t dropped; /* messages dropped because a subscription's queue was full */
    size_t buffered;  /* bytes published and not yet written to the socket */
    size_t subscriptions, calls;
};
void link_get_info(const struct link *link, struct link_info *out);
void link_get_stats(const struct link *link, struct link_stats *out);
/* Bytes that it takes, with its buffers. */
size_t link_memory(const struct link *link);
/* Where its messages are counted, of the options; NULL: nowhere. */
const struct tally *link_tally(const struct link *link);
/* Writes at once what was published; what is buffered after it, the socket does not take. */
void link_send(struct link *link);
/* Bytes that were published and not written when the connection was lost; 0 while connected. */
size_t link_unsent(const struct link *link);

/* The text that belongs to the last LN_ENATS. Borrowed until the next call on the link. */
const char *link_last_error(const struct link *link);

/* ---- validation ---- */

/* A subject to publish to: no blanks, control bytes, empty tokens or wildcards. */
bool link_subject_ok(const char *subject, size_t len);
/* A subject to subscribe to: the same, with `*` tokens and a final `>` allowed. */
bool link_pattern_ok(const char *subject, size_t len);
/* Whether a subscription to `pattern` gets what is published to `subject`. */
bool link_pattern_covers(const char *pattern, const char *subject);
/* A queue group: no blanks or control bytes. */
bool link_queue_ok(const char *queue);
/* One or more of the bytes !..~ without the colon. */
bool link_header_name_ok(const char *name, size_t len);
/* No CR, LF or NUL. */
bool link_header_value_ok(const char *value, size_t len);

/* ---- publishing ---- */

struct link_header {
    const char *name;  /* zero-terminated */
    const char *value; /* zero-terminated */
};

/* A message to send. Everything is borrowed for the call. */
struct link_out {
    const char *subject; /* zero-terminated */
    const char *reply;   /* zero-terminated, or NULL */
    const char *data;
    size_t len;
    const struct link_header *headers;
    size_t header_count;
    /* The caller has validated subject, reply and headers with the functions above, or took the
     * subject from a received message: not looked at again (6 % of an echo). */
    bool checked;
};

/* Subject, reply subject (NULL: none) and headers of a message. */
bool link_out_ok(const struct link_out *out, const char *reply);

/*
 * Queues a message; it is written at the end of this turn of the loop. While disconnected
 * the link keeps up to 8 MiB and sends them after the reconnect. Returns LN_OK, LN_EINVAL
 * (subject or header), LN_ETOOLARGE (payload, or subject and reply subject, are more than the
 * server takes: it would close the connection), LN_EFULL (buffer of the outage is full),
 * LN_ECLOSED, LN_ENOMEM, LN_ENATS.
 */
int link_publish(struct link *link, const struct link_out *out);

/* Shows every message and request that is about to be sent, for specs; NULL ends it. */
void link_set_tap(struct link *link, void (*tap)(void *owner, const struct link_out *out),
                  void *owner);

/* More than an eighth of the high-water mark is not written: a well-behaved publisher waits, so
 * that it neither fills the memory nor keeps the loop for long. */
bool link_congested(const struct link *link);
/* More than the high-water mark is not written: no message is delivered, and so no reply made,
 * until the socket has taken some; whoever cannot wait fails. */
bool link_full(const struct link *link);

/* Another high-water mark than that of its options, from here on; 0: the default. */
void link_set_high_water(struct link *link, size_t bytes);

/* Waits for the end of congestion. Embedded by the caller; all zero is idle. */
struct link_waiter {
    struct list_node node;                                    /* the link's */
    void (*on_ready)(struct link_waiter *waiter, int status); /* LN_OK or LN_ECLOSED; once */
};
void link_wait(struct link *link, struct link_waiter *waiter);
void link_wait_cancel(struct link_waiter *waiter);

/*
 * Something to do once all that a read brought is delivered, and before what was published
 * meanwhile is written: so that many messages cost one wake-up. Embedded by the caller; all
 * zero is idle.
 */
struct link_deferred {
    struct list_node node; /* the link's */
    void (*fn)(struct link_deferred *deferred);
};
/* Calls fn once, soon. Does nothing to one that is waiting already. */
void link_defer(struct link *link, struct link_deferred *deferred);
/* Does nothing to an idle one. Needed only if its memory goes before it was called. */
void link_defer_cancel(struct link_deferred *deferred);

/* ---- subscribing ---- */

struct link_sub_options {
    const char *queue;    /* queue group, or NULL */
    int pending_msgs;     /* bound of messages waiting here; 0 = 65536 */
    size_t pending_bytes; /* bound of their bytes; 0 = 64 MiB */
    bool prompt;          /* messages go ahead of others that wait, and take little time */
};

/*
 * Receives one message on the loop thread. `msg` is the callee's. It may call anything of the
 * link, also unsubscribe itself.
 */
typedef void (*link_msg_fn)(void *owner, struct message *msg);

/* The server refused the subscription (LN_EPERMISSION; the text is its own), or messages were
 * dropped because its queue was full (LN_EFULL, once a second; see link_sub_get_stats()). */
typedef void (*link_sub_error_fn)(void *owner, int status, const char *text);

/*
 * Subscribes. *out is borrowed: valid until link_unsubscribe(), the end of its drain, or
 * link_close(). The subscription survives reconnects. on_error may be NULL.
 * Returns LN_OK, LN_EINVAL, LN_ETOOLARGE (more than the server takes in a line), LN_ECLOSED,
 * LN_ENOMEM.
 */
int link_subscribe(struct link *link, const char *pattern,
                   const struct link_sub_options *options, link_msg_fn on_msg,
                   link_sub_error_fn on_error, void *owner, struct link_sub **out);

/* Changes who receives, between two messages; nothing is sent to the server. */
void link_sub_retarget(struct link_sub *sub, link_msg_fn on_msg, link_sub_error_fn on_error,
                       void *owner);

/* Stops and continues delivery; meanwhile messages wait in the queue of the subscription.
 * Resuming delivers in a later turn, never from inside the call. */
void link_sub_pause(struct link_sub *sub);
void link_sub_resume(struct link_sub *sub);

/* Messages waiting in the queue of the subscription. */
size_t link_sub_pending(const struct link_sub *sub);
struct link_sub_stats {
    size_t waiting, bytes;         /* in the queue */
    uint64_t dropped;              /* messages, because it was full */
    uint64_t untold, untold_bytes; /* of them, those since its owner was told of it last */
};
void link_sub_get_stats(const struct link_sub *sub, struct link_sub_stats *out);

/* Ends at once; what waits in the queue is dropped. The sub is gone after the call. */
void link_unsubscribe(struct link_sub *sub);

/*
 * Ends without losing anything: tells the server, waits until its confirmation came (or
 * `timeout_ms` passed or the connection is lost), delivers what is left in the queue (a paused
 * subscription keeps it until resumed), then calls on_drained(owner of the subscription) and
 * the sub is gone. Called again it only changes whom it will tell.
 */
void link_sub_drain(struct link_sub *sub, uint32_t timeout_ms, void (*on_drained)(void *owner));

/* ---- calls: requests with replies ---- */

/*
 * One request waiting for its reply, embedded by the caller; all zero is idle. It must stay at
 * its place in memory until it finished or was cancelled.
 */
struct link_call {
    /* The link's. */
    struct calls *calls; /* NULL when idle */
    struct list_node node;
    struct clock *clock;
    struct clock_timer deadline;
    uint64_t number;       /* of the PING of a round trip; 0: a request */
    uint64_t subject_hash; /* of a request */
    uint32_t slot;
    bool many; /* more than one reply; set by link_request_many() */
    /*
     * The result, once: status LN_OK with the reply (the callee takes it and releases it), or a
     * failure with reply == NULL. The call is idle again before this is called. With `many` it
     * is called for each reply (call still active) and once with a failure status at the end.
     */
    void (*on_reply)(struct link_call *call, int status, struct message *reply);
};

/*
 * Sends a request and waits for one reply until `timeout_ms` on `clock`. With out->reply the
 * reply goes to an inbox of the caller, who ends the call himself when it has come. A 503 of
 * the server arrives as LN_ENORESPONDERS, the loss of the connection as LN_EDISCONNECTED at
 * once. Returns LN_OK, or a failure after which the call is idle and on_reply is not called:
 * those of link_publish(), LN_EINBOX (the server does not let us listen to replies), or
 * LN_EDISCONNECTED when there is no connection.
 */
int link_request(struct link *link, struct link_call *call, struct clock *clock,
                 const struct link_out *out, uint32_t timeout_ms,
                 void (*on_reply)(struct link_call *, int, struct message *));

/* The same for any number of replies; ends by link_call_cancel(), deadline, 503 or loss. */
int link_request_many(struct link *link, struct link_call *call, struct clock *clock,
                      const struct link_out *out, uint32_t timeout_ms,
                      void (*on_reply)(struct link_call *, int, struct message *));

/*
 * A round trip to the server: everything sent before has been processed when it finishes with
 * LN_OK (on_reply's reply is NULL).
 */
int link_flush(struct link *link, struct link_call *call, struct clock *clock,
               uint32_t timeout_ms,
               void (*on_reply)(struct link_call *, int, struct message *));

/* Ends a call without a result. Does nothing to an idle one. */
void link_call_cancel(struct link_call *call);
static inline bool link_call_waits(const struct link_call *call) {
    return call->calls != NULL;
}

/* Writes a new unique inbox subject "<prefix>.<nuid>" for a subscription of one's own. */
#define LINK_INBOX_SIZE 128
void link_new_inbox(struct link *link, char out[LINK_INBOX_SIZE]);

#endif
