/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the link share. Nobody else includes this.
 *
 *   link.c          life of a link, its states
 *   link_library.c  nats.c as a library, its statuses and texts
 *   link_publish.c  publishing, also while disconnected; waiters
 *   link_server.c   options of nats.c, facts about the server
 *   link_conn.c     one natsConnection: connecting in a thread, the event loop adapter
 *   link_direct.c   transport: we read and write the socket
 *   link_nats.c     transport: nats.c does, as it must with TLS
 *   link_subs.c     subscriptions, dispatching messages, draining
 *   link_calls.c    requests and replies over the wildcard inbox
 *   subject.c       what may go on the wire
 *
 * nats.c's own reconnecting is not used: its thread holds the lock of the connection while it
 * connects (up to the connect timeout per attempt), and every other call, a publish for one,
 * would block the loop for as long. Instead a lost natsConnection is destroyed and a new one is
 * connected in a thread; the link subscribes again and sends what was published meanwhile.
 */
#ifndef LUNATS_LINK_INTERNAL_H
#define LUNATS_LINK_INTERNAL_H

#include "host/link/link.h"

#include <string.h>

#define LINK_TOKEN_LEN 10 /* 5 digits of slot, 5 of generation, base 32 */
#define LINK_OFFLINE_MAX ((size_t)8 * 1024 * 1024)

/* Word from a thread of nats.c, waiting for the loop. */
enum notice_kind {
    NOTICE_ERROR,
    NOTICE_LAME_DUCK,
    NOTICE_SERVERS, /* the server told of other servers of its cluster */
};
struct notice {
    struct notice *next;
    struct conn *conn;
    enum notice_kind kind;
    natsStatus status;
    char text[300];
};

/*
 * How messages come and go on a connection that is established. Everything on the loop thread.
 */
struct transport {
    /* The socket is readable: calls subs_dispatch() for each message. */
    void (*read)(struct conn *conn);
    /* Writes what is buffered, as much as the socket takes; true if nothing is left. */
    bool (*write)(struct conn *conn);
    /* Buffers a message, which has been checked. LN_OK, LN_ETOOLARGE, LN_ENOMEM, LN_ENATS. */
    int (*publish)(struct conn *conn, const struct link_out *out, const char *reply);
    int (*subscribe)(struct conn *conn, struct link_sub *sub);
    /* Tells the server to send no more; what is on its way still arrives. False: not told. */
    bool (*drain)(struct conn *conn, struct link_sub *sub);
    /* Ends a subscription, also after drain() and on a connection that is lost. */
    void (*unsubscribe)(struct conn *conn, struct link_sub *sub);
    /* Subscribes to what is known to be refused: the refusal comes back with its name. */
    int (*provoke)(struct conn *conn, const char *subject);
    size_t (*buffered)(const struct conn *conn);
    void (*add_stats)(const struct conn *conn, struct link_stats *out);
    /* Makes nats.c let go of its socket, without blocking, and frees what the transport has. */
    void (*end)(struct conn *conn);
};

/*
 * One natsConnection from its connect thread to its last callback. Owned by the link, which
 * frees it when the poll handle is closed and nats.c announced (closed callback: the last one
 * it makes) that it will not call any more.
 */
struct conn {
    struct conn *next;
    struct link *link;
    natsConnection *nats;
    const struct transport *transport; /* once connected */
    struct direct *direct;             /* of link_direct.c; NULL with nats.c as transport */
    uint64_t seen_msgs;                /* of link_nats.c: messages that were looked for */
    uv_thread_t thread;                /* runs natsConnection_Connect() */
    uv_poll_t poll;
    int fd;
    int events;           /* polled for */
    bool poll_open;       /* poll is initialised and its on_closed has not run */
    bool polling;         /* poll is in use: not being closed */
    bool attached;        /* nats.c has a socket for us */
    bool lost;            /* nats.c let go of the socket */
    bool nats_wants;      /* nats.c has something to write */
    bool written;         /* nats.c's buffer was written completely */
    bool full;            /* the socket did not take all at the last write */
    const char *why_lost; /* what nats.c cannot know, a literal; NULL: ask nats.c */
    bool dead;            /* the link has no more business with it */
    unsigned dials_seen;  /* at the last look */
    /* Under link->mutex: set by threads of nats.c. */
    int dialled; /* our copy of the socket on which nats.c is connecting, or -1 */
    unsigned dials;
    bool connect_done;
    bool callbacks_done;
    natsStatus connect_status;
    char connect_text[256];
    /* Flags that a foreign thread raises when it wants the loop to write. */
    bool foreign_write;
};

struct link_sub {
    struct link *link;
    struct link_sub *next, *prev; /* link->subs, most recently delivered first */
    struct conn *conn;            /* on which it is subscribed, or NULL */
    natsSubscription *nats;       /* of link_nats.c */
    uint64_t sid;                 /* of link_direct.c */
    link_msg_fn on_msg;
    link_sub_error_fn on_error;
    void *owner;
    void (*on_drained)(void *owner);
    /* Messages that wait because the owner paused; a ring of `ring_size` (a power of two). */
    struct message **ring;
    size_t ring_size, ring_head, ring_count, ring_bytes;
    size_t max_msgs, max_bytes;
    uint64_t dropped;
    struct link_call drain_call;
    unsigned busy; /* frames on the stack that use this sub */
    bool inbox;    /* the one of the link itself */
    bool paused, overflowing, draining, confirmed, dead;
    char *queue;    /* NULL or behind the pattern */
    char pattern[]; /* zero-terminated */
};

struct call_slot {
    struct link_call *call; /* NULL: free */
    uint64_t subject_hash;  /* of the subject requested */
    uint32_t generation;
    uint32_t next_free;
    bool flush; /* a round trip: no reply but its own message */
};

struct link {
    uv_loop_t *loop;
    uv_thread_t loop_thread;
    struct clock *clock; /* real; for what the link itself waits for */
    uv_async_t async;
    uv_idle_t idle; /* active only while on_idle() has something to do */
    unsigned handles;
    struct link_events events;
    void *owner;
    enum link_state state;
    struct link_observer *observers;
    struct link_observer *observing; /* the one to be told next; moved by link_unobserve() */

    /* The connection. */
    natsOptions *options;
    natsStatistics *stats;
    char **servers; /* as configured */
    size_t server_count;
    struct conn *conns;      /* all that are not freed yet */
    struct conn *conn;       /* the connected one, or NULL */
    struct conn *connecting; /* by a thread, or NULL */
    uint32_t connect_timeout;
    bool direct; /* the transport for plain sockets, where it can be */
    bool signs;  /* proves with a key who we are */
    bool retry;
    unsigned attempts; /* in a row without lasting success; for the back-off */
    uint64_t connected_at;
    uint64_t not_before; /* no attempt to connect before; see link_partition() */
    uint64_t last_read;  /* loop time of the last sign of life of the server */
    uint32_t ping_interval;
    struct clock_timer retry_timer, dial_timer, probe_timer, close_timer;
    bool probed;
    uint64_t random;

    uv_mutex_t mutex; /* guards notices and the marked part of every conn */
    struct notice *notices, **notices_tail;

    /* Subscriptions. */
    struct link_sub *subs;
    struct link_sub *cursor; /* the sub after the one being taken from; moved by removal */
    size_t sub_count;
    bool resumed;     /* some sub has waiting messages to deliver */
    bool drain_check; /* some drain may be complete */

    /* Calls. */
    struct call_slot *slots;
    uint32_t slot_count, first_free;
    size_t call_count;
    uint64_t *flush_done; /* round trips that came back in this take: generation and slot */
    size_t flush_done_count, flush_done_size;
    char *prefix;                /* of inboxes */
    char inbox[LINK_INBOX_SIZE]; /* "<prefix>.<nuid>.", then room for a token */
    size_t inbox_len;
    struct link_sub *inbox_sub;
    bool inbox_denied; /* the server refused the inbox subscription */

    /* Publishing. */
    void (*tap)(void *owner, const struct link_out *out); /* NULL: nobody looks on */
    void *tap_owner;
    size_t unsent;    /* bytes published and never written, of the last connection */
    size_t unwritten; /* bytes published since the buffer was last known to be empty */
    size_t high_water;
    bool want_write;
    struct link_waiter *waiters;
    struct link_deferred *deferred;
    char *offline; /* published while disconnected */
    size_t offline_len, offline_size;

    struct link_info info;
    struct link_stats closed_stats; /* sums of the connections before this one */
    char error[256];

    /* Closing. */
    bool closing, close_begun, close_killed, close_ended;
    uint32_t flush_ms;
    struct link_call close_call;
    void (*on_closed)(void *owner, size_t unsent);
    void *closed_owner;
};

/* Copies as much as fits. */
static inline void copy_text(char *out, size_t size, const char *text) {
    size_t len = strlen(text);
    if (len > size - 1)
        len = size - 1;
    memcpy(out, text, len);
    out[len] = '\0';
}

/* link_library.c */
void link_open_library(void);
int link_map_status(natsStatus status);
/* The text without the place in the source of nats.c; borrowed from `text`, NULL for NULL. */
const char *link_plain_text(const char *text);
/* Keeps the text of a failed call of nats.c and translates its status. */
int link_failed(struct link *link, natsStatus status);
/* What to say about a call of ours that failed with `status`. */
const char *link_error_text(const struct link *link, int status);

/* link_server.c */
void link_learn_info(struct link *link, struct conn *conn);
void link_learn_servers(struct link *link, struct conn *conn);
natsStatus link_set_options(struct link *link, const struct link_options *from);

/* link_publish.c */
bool link_out_ok(const struct link_out *out, const char *reply);
int link_send(struct link *link, const struct link_out *out, const char *reply);
void link_send_offline(struct link *link);
void link_wake_waiters(struct link *link, int status);
void link_on_written(struct link *link);

/* link.c */
void link_want_turn(struct link *link);
void link_on_connected(struct conn *conn);
void link_on_connect_failed(struct conn *conn);
void link_on_lost(struct conn *conn);
void link_on_notice(struct link *link, struct notice *notice);
void link_check_closed(struct link *link);

/* link_conn.c */
int conn_start(struct link *link);
/* While connecting: looks whether one socket takes too long. */
void conn_on_dial_timer(struct clock_timer *timer);
/* Makes the thread that is connecting, if there is one, fail soon. */
void conn_give_up(struct link *link);
void conn_kill(struct conn *conn);
void conn_write(struct conn *conn);
void conn_on_async(struct link *link);
/* Writes at the end of this turn. */
void conn_want_write(struct conn *conn);

/* link_direct.c */
extern const struct transport transport_direct;
bool direct_begin(struct conn *conn);

/* link_nats.c */
extern const struct transport transport_nats;

/* link_subs.c */
int subs_open_inbox(struct link *link, const char *pattern, link_msg_fn on_msg, void *owner,
                    struct link_sub **out);
/* A message for this subscription, which may be gone afterwards. Takes the message. */
void subs_dispatch(struct link_sub *sub, struct message *msg);
void subs_after_read(struct link *link);
/* To the front of the list. */
void subs_touch(struct link_sub *sub);
/* After `busy++`: the sub may be gone. */
void subs_leave(struct link_sub *sub);
void subs_turn(struct link *link);
void subs_connected(struct link *link);
void subs_disconnected(struct link *link);
void subs_close(struct link *link);
void subs_free(struct link *link);
void subs_denied(struct link *link, const char *subject, size_t len, const char *queue,
                 size_t queue_len, const char *text);

/* link_calls.c */
int calls_open(struct link *link);
void calls_connected(struct link *link);
void calls_fail_all(struct link *link, int status);
bool calls_own_subject(struct link *link, const char *subject, size_t len);
bool calls_own_pattern(struct link *link, const char *subject, size_t len);
void calls_denied(struct link *link, const char *subject, size_t len);
void calls_inbox_denied(struct link *link);
void calls_deliver_flushed(struct link *link);
int calls_flush(struct link *link, struct link_call *call, struct clock *clock,
                uint32_t timeout_ms,
                void (*on_reply)(struct link_call *, int, struct message *));
/* A subject of our inbox that belongs to no call. Borrowed until the next call begins. */
const char *calls_unused_subject(struct link *link);
void calls_probe(struct link *link);

#endif
