/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked of a set of fibers, and wanted from all of it. */
#include "host/script/fiber.h"

#include "host/script/internal.h"

size_t fibers_count(const struct fibers *fibers, enum fiber_kind kind) {
    return fibers->count[kind];
}

size_t fibers_total(const struct fibers *fibers) {
    size_t total = 0;
    for (int kind = 0; kind < FIBER_KINDS; kind++)
        total += fibers->count[kind];
    return total;
}

size_t fibers_memory(const struct fibers *fibers) {
    return (fibers_total(fibers) + fibers->pooled) * sizeof(struct fiber);
}

void fibers_set_memory(struct fibers *fibers, struct memory *memory) {
    fibers->memory = memory;
}

struct fiber *fibers_next(const struct fibers *fibers, const struct fiber *after) {
    struct list_node *node =
        after != NULL ? list_next(&fibers->live, &after->node) : list_first(&fibers->live);
    return node != NULL ? list_item(node, struct fiber, node) : NULL;
}

void fibers_on_idle(struct fibers *fibers, enum fiber_kind kind, void (*fn)(void *owner),
                    void *owner) {
    fibers->idle[kind].fn = fn;
    fibers->idle[kind].owner = owner;
    if (fn != NULL && fibers->count[kind] == 0) {
        fibers->idle[kind].fn = NULL;
        fn(owner);
    }
}

void fibers_cancel(struct fibers *fibers, enum fiber_kind kind) {
    scheduler_hold(fibers->scheduler); /* no fiber runs, so the list stays as it is */
    list_each (struct fiber, fiber, &fibers->live, node)
        if (fiber->kind == kind)
            fiber_cancel(fiber);
    scheduler_release(fibers->scheduler);
}

struct fiber *fibers_current(const struct fibers *fibers) {
    return fibers == NULL ? NULL : fibers->current;
}
