/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What comes in over one connection: the listeners that scripts have declared, the
 * subscriptions that those with the same subject and queue share, and the handlers that run.
 *
 * An object of its own, beside the link: a service has one that lasts over the versions of its
 * script, and so has each further connection of a script. During a reload the listeners of two
 * versions live in it, those that serve and those that wait for their turn.
 */
#ifndef LUNATS_SERVICE_INTAKE_H
#define LUNATS_SERVICE_INTAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/base/keyed.h"
#include "host/link/key.h"
#include "host/link/link.h"
#include "host/script/script.h"
#include "host/service/delivery.h"

struct intake;
struct endpoint;

/* What the owner is told. Every member may be NULL; texts are borrowed for the call. */
struct intake_events {
    /* All subscriptions have ended: what intake_drain() asked for. */
    void (*on_drained)(void *owner);
    /* One subscription has been drained, whoever asked for it. */
    void (*on_ended)(void *owner);
    /* No message is in a handler any more. Not from inside a call of the owner. */
    void (*on_idle)(void *owner);
    /* Something for the log: LN_EFULL messages were dropped, LN_ENOMEM one was lost, else the
     * server has refused a subscription. `text` names the listener. */
    void (*on_error)(void *owner, int status, const char *text);
    /* The server refuses (on_error() was told) what the version that serves cannot do without,
     * or, with `next`, what only the next version wants. */
    void (*on_refused)(void *owner, bool next, int status, const char *text);
};

/* On success *out is the caller's, who hands it to intake_close(). `events` is copied. */
int intake_open(struct intake **out, const struct intake_events *events, void *owner);

/* Ends everything at once; no handler may run any more. Does nothing for NULL. */
void intake_close(struct intake *intake);

/* What its listeners do is recorded from now on; borrowed, NULL is fine. */
struct tracer;
void intake_set_tracer(struct intake *intake, struct tracer *tracer);

/* The connection, borrowed until it is set to NULL; without one nothing can be subscribed. */
void intake_set_link(struct intake *intake, struct link *link);

/*
 * Unsubscribes all without losing a message: on_drained() follows, possibly from inside the
 * call. Nothing is subscribed any more from here on. `timeout_ms` bounds the wait for the
 * server's confirmation.
 */
void intake_drain(struct intake *intake, uint32_t timeout_ms);

/* It has done so: nothing comes in any more. */
bool intake_drained(const struct intake *intake);

/* Unsubscribes all at once, and for good. */
void intake_cut(struct intake *intake);

/* Messages in handlers. */
size_t intake_busy(const struct intake *intake);

/* About so many bytes its listeners need, without messages. */
size_t intake_memory(const struct intake *intake);

/* ---- listeners ---- */

/* What a script declares. Strings are copied. */
struct listener_options {
    const char *subject;  /* may hold wildcards */
    const char *queue;    /* NULL = no queue group */
    const char *name;     /* what logs and lists call it; NULL: its subject */
    const char *where;    /* "orders.lua:12", the handler; may be NULL */
    const char *metadata; /* a JSON object of strings, for $SRV; may be NULL */
    bool hidden;          /* $SRV does not show it */
    uint32_t concurrency; /* handlers that may run at once; 0 = 256 */
    int pending_msgs;     /* bounds of the queue in front of it; 0 = default */
    size_t pending_bytes;
    bool needed;                   /* the script cannot do without it: see on_refused() */
    lua_CFunction body;            /* runs one message as a fiber, with its struct job * */
    struct message_key key_source; /* of kind NONE: no order by keys, see keys.h */
    /* Of a function: finds the keys as a fiber, with its struct listener_keys *. */
    lua_CFunction find_keys;
    int key, keyless; /* registry references of the bindings, or LUA_NOREF; released with it */
    int handler;      /* registry reference of the Lua function; released with it */
    int anchor;       /* of what has to last as long; the same */
    int codec;        /* the same; of messages of the type MSG_CODEC */
    int type;         /* the bindings' enum msg_data */
    unsigned client;  /* the bindings' */
};

struct listener_stats {
    uint64_t received, failed;
    uint32_t running; /* handlers that run */
    size_t queued;    /* messages that wait for one, */
    size_t queued_bytes;
    uint64_t dropped; /* messages for which the queue had no place */
    bool keyed;       /* they are in order of keys: */
    struct keyed_stats keys;
};

/*
 * Declares a listener; listener_subscribe() or intake_subscribe() is next. It belongs to the
 * intake and ends with its script at the latest. *out becomes NULL when it ends; its memory
 * must stay until then, or until listener_let_go(). Returns LN_OK or LN_ENOMEM.
 */
int listener_open(struct listener **out, struct intake *intake, struct script *script,
                  const struct listener_options *options);
/* *out of listener_open() is about to go. */
void listener_let_go(struct listener *listener);

/* Subscribes it. Returns what link_subscribe() does. */
int listener_subscribe(struct listener *listener);

/*
 * Ends a listener: messages that have arrived are handled, within `timeout_ms` for the server's
 * confirmation, then it is gone.
 */
void listener_stop(struct listener *listener, uint32_t timeout_ms);

/* The listener of a script that was declared after this one (NULL: the first one), or NULL. */
struct listener *listener_next(const struct intake *intake, const struct script *script,
                               const struct listener *after);

/* Borrowed, as are its strings. */
const struct listener_options *listener_options(const struct listener *listener);
const struct endpoint *listener_endpoint(const struct listener *listener);
/* What $SRV and metrics call it: its name or subject in letters, digits, "_" and "-"; no other
 * listener of its script has the same. */
const char *listener_endpoint_name(const struct listener *listener);
void listener_get_stats(const struct listener *listener, struct listener_stats *out);

/* ---- keys that a function of the script finds ---- */

struct listener_keys;

/* The first message whose key has to be found, or NULL; it stays until then. */
const struct job *listener_unkeyed(const struct listener_keys *keys);
/* The options of the listener that has the function; NULL: it is not one of this script. */
const struct listener_options *listener_keys_options(const struct listener_keys *keys,
                                                     const struct script *script);
/* `key` NULL: it has none, and nothing waits for it. `failed`: see job_key_failed(). */
void listener_set_key(struct listener_keys *keys, const struct job *job, const char *key,
                      size_t len, bool failed);

/* ---- the versions of a script ---- */

/*
 * Subscribes what this script has declared so far and is not subscribed. With `needed` the
 * script cannot do without these: see on_refused(). At the first failure it stops, and *failed
 * is the listener.
 */
int intake_subscribe(struct intake *intake, struct script *script, bool needed,
                     struct listener **failed);

/*
 * Pairs the listeners of the next version with the subscriptions, making those that are
 * missing; they keep their messages until the switch. On failure it is undone and *failed is
 * the listener.
 */
int intake_prepare(struct intake *intake, struct script *next, struct listener **failed);
/* Undoes it. */
void intake_forget_next(struct intake *intake);

/*
 * The next version takes over: between two messages. Subscriptions that it does not use are
 * drained by the version before.
 */
void intake_switch(struct intake *intake, uint32_t timeout_ms);

/* Whether messages still come in for this script. */
bool intake_serves(const struct intake *intake, const struct script *script);

#endif
