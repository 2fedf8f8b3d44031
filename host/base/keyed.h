/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queues by key. What has the same key is taken one at a time, in order; what has different
 * keys, or none, does not wait for each other. Keys take turns: one with many items gets no
 * more than one with few.
 *
 *     struct keyed *keyed;
 *     keyed_open(&keyed, 0);
 *     keyed_put(keyed, &job->item, "customer 7", 10);
 *     while ((item = keyed_take(keyed)) != NULL)
 *         run(container_of(item, struct job, item));
 *     keyed_done(keyed, &job->item);
 *     keyed_release(keyed);
 *
 * Items are embedded in what waits and belong to whoever puts them in. A key needs memory as
 * long as something with it waits or is taken.
 */
#ifndef LUNATS_BASE_KEYED_H
#define LUNATS_BASE_KEYED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/base/list.h"

struct keyed;
struct keyed_lane;

/* All zero: is nowhere. */
struct keyed_item {
    struct list_node node;   /* while it waits */
    struct keyed_lane *lane; /* of its key, or of what has none; NULL: it is nowhere */
    uint64_t order; /* the owner's, set before keyed_put(): smaller ones of a key come first */
    size_t weight;  /* bytes, the owner's, the same */
};

struct keyed_stats {
    size_t keys;    /* of which something is here */
    size_t waiting; /* items that are not taken, */
    size_t bytes;   /* and their weight */
    size_t blocked; /* those of them that wait for another one of their key */
    size_t longest; /* most items that wait for one key */
};

/* On success *out has one holder, the caller. `key_max`: items that may wait with one key; 0:
 * any. Returns LN_OK, LN_ENOMEM or what uv_random() does. */
int keyed_open(struct keyed **out, size_t key_max);
/* One more holder, as versions of a program share it; returns it. */
struct keyed *keyed_hold(struct keyed *keyed);
/* The last one frees it; nothing may be in it any more. Does nothing for NULL. */
void keyed_release(struct keyed *keyed);

/* Puts an item behind those of its key whose order is not greater. `key` is copied; NULL: it
 * has none. Returns LN_OK, LN_EFULL (too many of this key wait) or LN_ENOMEM. */
int keyed_put(struct keyed *keyed, struct keyed_item *item, const char *key, size_t len);

/* The next item whose turn it is, or NULL. Its key is taken until keyed_done() or
 * keyed_again(). */
struct keyed_item *keyed_take(struct keyed *keyed);

/* A taken item is finished: its key is free. */
void keyed_done(struct keyed *keyed, struct keyed_item *item);

/* A taken item waits again, before all others of its key. */
void keyed_again(struct keyed *keyed, struct keyed_item *item);

/* Takes out an item that waits. */
void keyed_remove(struct keyed *keyed, struct keyed_item *item);

/* The item with this key and order that waits or is taken, or NULL. */
struct keyed_item *keyed_find(const struct keyed *keyed, const char *key, size_t len,
                              uint64_t order);

/* The first one that waits for this taken item, or NULL; always NULL without a key. */
struct keyed_item *keyed_behind(const struct keyed_item *item);

/* Items that wait for another one of their key. */
size_t keyed_blocked(const struct keyed *keyed);
size_t keyed_waiting(const struct keyed *keyed);
/* Their weight. */
size_t keyed_bytes(const struct keyed *keyed);

/* Looks at each key. */
void keyed_get_stats(const struct keyed *keyed, struct keyed_stats *out);

#endif
