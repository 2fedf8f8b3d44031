/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Order by keys for the messages of a listener: those with the same key get to its handlers one
 * after the other, those with different ones at once. What waits for its turn waits here, of
 * one key no more than a quarter of what may wait at all; what is above is dropped, so that one
 * key cannot take the place of all others.
 *
 * The versions of a script share it: what waits goes to the next one, and what the one before
 * works on keeps its key.
 */
#ifndef LUNATS_SERVICE_KEYS_H
#define LUNATS_SERVICE_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/base/keyed.h"

struct job;
struct listener;
struct listener_keys;

/* For a listener that has options.key; it is listener->keys then. LN_OK or as keyed_open(). */
int keys_open(struct listener *listener);

/* The listener is about to go: what waits for it fails with 503. Does nothing without keys. */
void keys_close(struct listener *listener);

/* A message for a handler, which gets its turn or is dropped. */
void keys_add(struct job *job);

/* A job that has had its turn is over: its key is free. keys_go_on() is next. */
void keys_done(struct job *job);

/* Starts what can be. */
void keys_go_on(struct listener_keys *keys);

/* One more holder, for calls that may end the listener, and one less. */
struct listener_keys *keys_hold(struct listener_keys *keys);
void keys_release(struct listener_keys *keys);

/* What waits for `previous` is `next`'s from now on, if both have keys. */
void keys_take_over(struct listener *next, struct listener *previous);

/* No more should come in for now; or anything waits. */
bool keys_full(const struct listener_keys *keys);
bool keys_waiting(const struct listener_keys *keys);

/* With the number of those that were dropped as too many of their key waited. */
void keys_get_stats(const struct listener_keys *keys, struct keyed_stats *out,
                    uint64_t *dropped);

#endif
