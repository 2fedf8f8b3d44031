/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/keyed.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "host/base/hash.h"
#include "host/base/status.h"

#define BUCKETS_MIN 64

struct keyed_lane {
    struct keyed_lane *next; /* of its bucket */
    struct list_node ready;  /* its first item may be taken */
    struct list waiting;
    size_t count; /* of them */
    struct keyed_item *taken;
    uint32_t hash;
    bool free; /* the lane of what has no key: any number may be taken */
    size_t len;
    char key[];
};

struct keyed {
    struct keyed_lane **buckets;
    size_t size; /* of them; a power of two, or 0 */
    size_t keys;
    struct list ready;
    size_t startable; /* items that may be taken now */
    size_t waiting, bytes, key_max;
    struct keyed_lane *none;
    unsigned holders;
    uint64_t seed[2];
};

/* ---- life ---- */

int keyed_open(struct keyed **out, size_t key_max) {
    struct keyed *keyed = calloc(1, sizeof(*keyed));
    if (keyed == NULL)
        return LN_ENOMEM;
    int rc = uv_random(NULL, NULL, keyed->seed, sizeof(keyed->seed), 0, NULL);
    keyed->none = rc == 0 ? calloc(1, sizeof(*keyed->none)) : NULL;
    if (keyed->none == NULL) {
        free(keyed);
        return rc < 0 ? rc : LN_ENOMEM;
    }
    keyed->none->free = true;
    keyed->key_max = key_max;
    keyed->holders = 1;
    *out = keyed;
    return LN_OK;
}

struct keyed *keyed_hold(struct keyed *keyed) {
    keyed->holders++;
    return keyed;
}

void keyed_release(struct keyed *keyed) {
    if (keyed == NULL || --keyed->holders > 0)
        return;
    free(keyed->buckets);
    free(keyed->none);
    free(keyed);
}

/* ---- lanes by their keys ---- */

/* Without memory the buckets get longer. */
static bool grow(struct keyed *keyed) {
    size_t size = keyed->size == 0 ? BUCKETS_MIN : keyed->size * 2;
    struct keyed_lane **buckets = calloc(size, sizeof(*buckets));
    if (buckets == NULL)
        return keyed->size > 0;
    for (size_t i = 0; i < keyed->size; i++) {
        for (struct keyed_lane *lane = keyed->buckets[i], *next; lane != NULL; lane = next) {
            struct keyed_lane **bucket = &buckets[lane->hash & (size - 1)];
            next = lane->next;
            lane->next = *bucket;
            *bucket = lane;
        }
    }
    free(keyed->buckets);
    keyed->buckets = buckets;
    keyed->size = size;
    return true;
}

/* Where the lane is linked, or where the end of its bucket is. */
static struct keyed_lane **find(const struct keyed *keyed, uint32_t hash, const char *key,
                                size_t len) {
    struct keyed_lane **link = &keyed->buckets[hash & (keyed->size - 1)];
    for (; *link != NULL; link = &(*link)->next)
        if ((*link)->hash == hash && (*link)->len == len && memcmp((*link)->key, key, len) == 0)
            break;
    return link;
}

static struct keyed_lane *lane_of(struct keyed *keyed, const char *key, size_t len) {
    if (key == NULL)
        return keyed->none;
    if (keyed->keys >= keyed->size && !grow(keyed))
        return NULL;
    uint32_t hash = hash_bytes(keyed->seed, key, len);
    struct keyed_lane **link = find(keyed, hash, key, len), *lane = *link;
    if (lane != NULL || (lane = calloc(1, sizeof(*lane) + len)) == NULL)
        return lane;
    lane->hash = hash;
    lane->len = len;
    memcpy(lane->key, key, len);
    *link = lane;
    keyed->keys++;
    return lane;
}

static void free_if_empty(struct keyed *keyed, struct keyed_lane *lane) {
    if (lane->free || lane->count > 0 || lane->taken != NULL)
        return;
    *find(keyed, lane->hash, lane->key, lane->len) = lane->next;
    free(lane);
    if (--keyed->keys > 0 || keyed->size <= BUCKETS_MIN)
        return;
    free(keyed->buckets); /* there were many once */
    keyed->buckets = NULL;
    keyed->size = 0;
}

/* ---- turns ---- */

static size_t startable(const struct keyed_lane *lane) {
    if (lane->free)
        return lane->count;
    return lane->taken == NULL && lane->count > 0;
}

/* Where it stands in the row depends on what waits in it: called after each change, with what
 * could be started before. */
static void settle(struct keyed *keyed, struct keyed_lane *lane, size_t before) {
    size_t after = startable(lane);
    keyed->startable += after - before;
    if (after == 0)
        list_remove(&lane->ready);
    else if (!list_linked(&lane->ready))
        list_push_back(&keyed->ready, &lane->ready);
}

/* Behind `at`, a linked one. */
static void link_item(struct keyed *keyed, struct keyed_item *item, struct list_node *at) {
    list_insert_after(at, &item->node);
    item->lane->count++;
    keyed->waiting++;
    keyed->bytes += item->weight;
}

static void unlink_item(struct keyed *keyed, struct keyed_item *item) {
    list_remove(&item->node);
    item->lane->count--;
    keyed->waiting--;
    keyed->bytes -= item->weight;
}

int keyed_put(struct keyed *keyed, struct keyed_item *item, const char *key, size_t len) {
    struct keyed_lane *lane = lane_of(keyed, key, len);
    if (lane == NULL)
        return LN_ENOMEM;
    if (!lane->free && keyed->key_max > 0 && lane->count >= keyed->key_max)
        return LN_EFULL;
    size_t before = startable(lane);
    struct list_node *at = list_ends(&lane->waiting)->prev;
    while (at != &lane->waiting.ends &&
           list_item(at, struct keyed_item, node)->order > item->order)
        at = at->prev;
    item->lane = lane;
    link_item(keyed, item, at);
    settle(keyed, lane, before);
    return LN_OK;
}

struct keyed_item *keyed_take(struct keyed *keyed) {
    struct list_node *node = list_pop_front(&keyed->ready);
    if (node == NULL)
        return NULL;
    struct keyed_lane *lane = list_item(node, struct keyed_lane, ready);
    size_t before = startable(lane);
    struct keyed_item *item = list_item(list_first(&lane->waiting), struct keyed_item, node);
    unlink_item(keyed, item);
    if (!lane->free)
        lane->taken = item;
    settle(keyed, lane, before);
    return item;
}

void keyed_done(struct keyed *keyed, struct keyed_item *item) {
    struct keyed_lane *lane = item->lane;
    size_t before = startable(lane);
    item->lane = NULL;
    if (!lane->free)
        lane->taken = NULL;
    settle(keyed, lane, before);
    free_if_empty(keyed, lane);
}

void keyed_again(struct keyed *keyed, struct keyed_item *item) {
    struct keyed_lane *lane = item->lane;
    size_t before = startable(lane);
    if (!lane->free)
        lane->taken = NULL;
    link_item(keyed, item, list_ends(&lane->waiting));
    settle(keyed, lane, before);
}

void keyed_remove(struct keyed *keyed, struct keyed_item *item) {
    struct keyed_lane *lane = item->lane;
    size_t before = startable(lane);
    unlink_item(keyed, item);
    item->lane = NULL;
    settle(keyed, lane, before);
    free_if_empty(keyed, lane);
}

/* ---- looking ---- */

struct keyed_item *keyed_find(const struct keyed *keyed, const char *key, size_t len,
                              uint64_t order) {
    if (key == NULL || keyed->size == 0)
        return NULL;
    const struct keyed_lane *lane = *find(keyed, hash_bytes(keyed->seed, key, len), key, len);
    if (lane == NULL)
        return NULL;
    if (lane->taken != NULL && lane->taken->order == order)
        return lane->taken;
    list_each (struct keyed_item, item, &lane->waiting, node)
        if (item->order == order)
            return item;
    return NULL;
}

struct keyed_item *keyed_behind(const struct keyed_item *item) {
    if (item->lane == NULL || item->lane->free)
        return NULL;
    return list_item(list_first(&item->lane->waiting), struct keyed_item, node);
}

size_t keyed_blocked(const struct keyed *keyed) {
    return keyed->waiting - keyed->startable;
}

size_t keyed_waiting(const struct keyed *keyed) {
    return keyed->waiting;
}

size_t keyed_bytes(const struct keyed *keyed) {
    return keyed->bytes;
}

void keyed_get_stats(const struct keyed *keyed, struct keyed_stats *out) {
    *out = (struct keyed_stats){
        .keys = keyed->keys,
        .waiting = keyed->waiting,
        .bytes = keyed->bytes,
        .blocked = keyed_blocked(keyed),
    };
    for (size_t i = 0; i < keyed->size; i++)
        for (const struct keyed_lane *lane = keyed->buckets[i]; lane != NULL; lane = lane->next)
            if (lane->count > out->longest)
                out->longest = lane->count;
}
