/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A queue of pointers in one array that doubles when it is full.
 *
 *     struct ring ring = {0};
 *     if (!ring_push(&ring, message))
 *         message_free(message);
 *     while ((message = ring_pop(&ring)) != NULL)
 *         handle(message);
 *     ring_free(&ring);
 *
 * A ring that is all zero is empty. It owns the array, never what the pointers point at, and
 * holds no NULL.
 */
#ifndef LUNATS_BASE_RING_H
#define LUNATS_BASE_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

struct ring {
    void **slots;
    size_t size; /* of the array: 0 or a power of two */
    size_t head; /* index of the oldest one */
    size_t count;
};

static inline bool ring_grow_(struct ring *ring) {
    size_t size = ring->size == 0 ? 16 : ring->size * 2;
    void **slots = malloc(size * sizeof(void *));
    if (slots == NULL)
        return false;
    for (size_t i = 0; i < ring->count; i++)
        slots[i] = ring->slots[(ring->head + i) & (ring->size - 1)];
    free(ring->slots);
    ring->slots = slots;
    ring->size = size;
    ring->head = 0;
    return true;
}

/* Puts `item` behind the others. False: out of memory, and the ring is as it was. */
static inline bool ring_push(struct ring *ring, void *item) {
    if (ring->count == ring->size && !ring_grow_(ring))
        return false;
    ring->slots[(ring->head + ring->count++) & (ring->size - 1)] = item;
    return true;
}

/* The oldest one, or NULL. It stays in the ring. */
static inline void *ring_peek(const struct ring *ring) {
    return ring->count == 0 ? NULL : ring->slots[ring->head];
}

/* Takes the oldest one off and returns it; NULL when there is none. */
static inline void *ring_pop(struct ring *ring) {
    if (ring->count == 0)
        return NULL;
    void *item = ring->slots[ring->head];
    ring->head = (ring->head + 1) & (ring->size - 1);
    ring->count--;
    return item;
}

/* Gives the array back; the ring is empty then and may be used again. */
static inline void ring_free(struct ring *ring) {
    free(ring->slots);
    *ring = (struct ring){0};
}

#endif
