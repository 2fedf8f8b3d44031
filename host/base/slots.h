/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table of things that are named by number from outside of the process. A number that was
 * given away before finds nobody: each place counts how often it has been taken.
 *
 *     struct slots slots = {0};
 *     uint32_t index;
 *     if (slots_take(&slots, call, &index))
 *         send(index, slots_generation(&slots, index));
 *     struct call *call = slots_find(&slots, index, generation);
 *     slots_release(&slots, index);
 *     slots_free(&slots);
 *
 * A table that is all zero is empty. It owns the array, never what it finds.
 */
#ifndef LUNATS_BASE_SLOTS_H
#define LUNATS_BASE_SLOTS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#define SLOTS_INDEX_BITS 24
#define SLOTS_GENERATION_BITS 25 /* 1 or more; begins again */
#define SLOTS_MAX (1u << SLOTS_INDEX_BITS)

struct slot {
    void *owner; /* NULL: free */
    uint32_t generation, next_free;
};

struct slots {
    struct slot *all;
    uint32_t count, free_count, first_free;
};

static inline bool slots_grow_(struct slots *slots) {
    uint32_t count = slots->count == 0 ? 16 : slots->count * 2;
    struct slot *all = count <= SLOTS_MAX ? realloc(slots->all, count * sizeof(*all)) : NULL;
    if (all == NULL)
        return false;
    for (uint32_t i = slots->count; i < count; i++)
        all[i] = (struct slot){.generation = 1, .next_free = i + 1};
    slots->first_free = slots->count;
    slots->free_count = count - slots->count;
    slots->all = all;
    slots->count = count;
    return true;
}

/* Gives `owner` (not NULL) a place. False: out of memory, or of numbers. */
static inline bool slots_take(struct slots *slots, void *owner, uint32_t *index) {
    if (slots->free_count == 0 && !slots_grow_(slots))
        return false;
    *index = slots->first_free;
    struct slot *slot = &slots->all[*index];
    slots->first_free = slot->next_free;
    slots->free_count--;
    slot->owner = owner;
    return true;
}

static inline uint32_t slots_generation(const struct slots *slots, uint32_t index) {
    return slots->all[index].generation;
}

/* Whoever has taken it, or NULL. */
static inline void *slots_find(const struct slots *slots, uint32_t index, uint32_t generation) {
    if (index >= slots->count || slots->all[index].generation != generation)
        return NULL;
    return slots->all[index].owner;
}

static inline void slots_release(struct slots *slots, uint32_t index) {
    struct slot *slot = &slots->all[index];
    slot->owner = NULL;
    slot->generation = (slot->generation + 1) & ((1u << SLOTS_GENERATION_BITS) - 1);
    if (slot->generation == 0)
        slot->generation = 1;
    slot->next_free = slots->first_free;
    slots->first_free = index;
    slots->free_count++;
}

static inline void slots_free(struct slots *slots) {
    free(slots->all);
    *slots = (struct slots){0};
}

#endif
