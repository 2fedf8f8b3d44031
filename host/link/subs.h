/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The subscriptions of a link. A message goes to the owner of its subscription at once, or into
 * a bounded ring while that one is paused.
 *
 * Each SUB is followed by a PING. So the server's PONGs tell which subscriptions it has
 * accepted, and a refusal that names none ("maximum subscriptions exceeded") is about the first
 * one that waits for its PONG.
 */
#ifndef LUNATS_LINK_SUBS_H
#define LUNATS_LINK_SUBS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/link/link.h"
#include "host/link/stream.h"

struct subs;

struct subs_events {
    /* Sends a PING on the connected stream; returns its number, 0 without memory. */
    uint64_t (*ping)(void *owner);
    /* subs_turn() should be called before the loop blocks. */
    void (*want_turn)(void *owner);
};

struct subs *subs_new(struct clock *clock, const struct subs_events *events, void *owner);
/* Drops all, with what waits in them. */
void subs_free(struct subs *subs);

/* Patterns and queues have been checked. LN_OK, LN_ENOMEM, LN_ETOOLARGE (a line longer than the
 * server takes). */
int subs_add(struct subs *subs, const char *pattern, const struct link_sub_options *options,
             link_msg_fn on_msg, link_sub_error_fn on_error, void *owner,
             struct link_sub **out);

/* The longest line that may be sent. */
void subs_set_max_line(struct subs *subs, size_t bytes);

/* Subscribes all on a new connection; false without memory. Without one (NULL), drains that
 * wait for the server are over. */
bool subs_connected(struct subs *subs, struct stream *stream);
void subs_disconnected(struct subs *subs);

/* Messages are counted there from now on, and those that wait bounded by it; borrowed. */
void subs_set_tally(struct subs *subs, struct tally *tally);

/* A message for the subscription with this number, if there still is one. */
void subs_deliver(struct subs *subs, uint64_t sid, const struct message_parts *parts);

/* See struct link_sub_options. */
bool subs_is_prompt(const struct subs *subs, uint64_t sid);

/* The PONGs up to this number have come. */
void subs_on_pong(struct subs *subs, uint64_t number);

/*
 * The server refused subscriptions to a subject, only those with this queue if it says one
 * (zero-terminated, "": those without, NULL: not said); or, with a NULL subject, the first one
 * that waits for its PONG. Returns how many it concerned.
 */
size_t subs_refused(struct subs *subs, const char *subject, const char *queue, int status,
                    const char *text);

/* What resumed subscriptions have waiting, unless the stream is congested; ends of drains. */
void subs_turn(struct subs *subs);

/* The stream has taken some: it may not be congested any more. */
void subs_sent(struct subs *subs);

/* Nothing is delivered any more. */
void subs_stop(struct subs *subs);

size_t subs_count(const struct subs *subs);
uint64_t subs_dropped(const struct subs *subs);
/* Received on all connections. */
void subs_received(const struct subs *subs, uint64_t *messages, uint64_t *bytes);

#endif
