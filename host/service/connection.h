/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A further connection of a script: a link, an intake, and what was opened over them. It
 * belongs to one version of the script, with which it begins, drains and ends; the service ends
 * after the last of them.
 */
#ifndef LUNATS_SERVICE_CONNECTION_H
#define LUNATS_SERVICE_CONNECTION_H

#include <stdbool.h>

#include "host/base/list.h"
#include "host/link/link.h"
#include "host/script/script.h"
#include "host/service/intake.h"

struct connection;

struct connection_options {
    const char
        *name; /* what log lines call it; copied; NULL: a spec's, which speaks for none */
    struct link_options link; /* copied */
};

/* Told once, from the loop: LN_OK when it is connected for the first time, or that it never
 * will be, see connection_failure(); then it is closing. */
typedef void (*connection_open_fn)(void *owner, int status);

/*
 * Starts connecting. On success *out is the caller's, who hands it to connection_release().
 * Returns LN_OK, LN_EINVAL, LN_ENOMEM.
 */
int connection_open(struct connection **out, struct script *script,
                    const struct connection_options *options);

/* Tells `on_open` of the outcome, until connection_give_up(). Right after it was opened. */
void connection_await(struct connection *connection, connection_open_fn on_open, void *owner);

/* Subscribes what the script listens to so far, if it has not begun yet. */
void connection_begin(struct connection *connection);

/*
 * Closes it without losing a message: what was opened over it is drained, handlers finish, what
 * was published is written. Goes on by itself; a second call does nothing. The end of the
 * script cuts it short.
 */
void connection_close(struct connection *connection);

/* Nobody waits for it any more: on_open is not called any more, and it closes unless it is
 * connected. */
void connection_give_up(struct connection *connection);

/* Nobody asks it any more; closes it. */
void connection_release(struct connection *connection);

/* Valid until connection_release(); a closed link answers LN_ECLOSED. */
struct link *connection_link(const struct connection *connection);
/* NULL: closed. */
struct intake *connection_intake(const struct connection *connection);
/* What is opened over it goes in there. */
struct resources *connection_resources(struct connection *connection);
/* What log lines call it; NULL: it speaks for none. Borrowed. */
const char *connection_name(const struct connection *connection);
/* Why it is not connected, "" if that is not known; borrowed, without secrets. */
const char *connection_failure(const struct connection *connection);
/* Whether the versions of two scripts mean the same one: those that go by the same name. */
bool connection_same(const struct connection *a, const struct connection *b);

/* ---- all those of a service, see service_connections() ---- */

/* The one after `after` (NULL: the first), or NULL. */
struct connection *connection_next(const struct list *connections,
                                   const struct connection *after);

/* The same of those that people are shown: not closed, with a name, and the last one of that
 * name. So a name means one thing, also while a reload has two of it. */
struct connection *connection_next_shown(const struct list *connections,
                                         const struct connection *after);

/* Nothing comes in any more over those of this script. */
bool connections_drained(const struct list *connections, const struct script *script);

/* Bytes that they take: buffers and listeners, and what they need themselves. */
size_t connections_memory(const struct list *connections);

/* Adds messages in and out, bytes that are not written yet, and requests that wait. */
void connections_add_stats(const struct list *connections, struct link_stats *stats);

/* link_send() */
void connections_send(const struct list *connections);

#endif
