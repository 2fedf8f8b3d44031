/* SPDX-License-Identifier: Apache-2.0 */
#include "host/script/fence.h"

#include "host/base/status.h"
#include "host/script/internal.h"

void fence_add(struct fence *fence, struct fiber *fiber) {
    if (fiber->fence != NULL)
        return;
    fiber->fence = fence;
    list_push_back(&fence->fibers, &fiber->fenced);
}

void fence_cancel(struct fence *fence) {
    struct scheduler *scheduler = NULL;
    struct list_node *first = list_first(&fence->fibers);
    if (first == NULL)
        return;
    scheduler = list_item(first, struct fiber, fenced)->owner->scheduler;
    scheduler_hold(scheduler); /* none of them ends during the walk */
    list_each (struct fiber, at, &fence->fibers, fenced)
        fiber_cancel(at);
    scheduler_release(scheduler);
}

struct fence *fence_of(const struct fiber *fiber) {
    return fiber->fence;
}

void fence_look(struct fiber *fiber) {
    struct fence *fence = fiber->fence;
    if (fence->holds(fence))
        return;
    fence_cancel(fence);
    fiber->wake_status = LN_ECANCELLED; /* whatever it was woken with */
}

void fence_leave(struct fiber *fiber) {
    struct fence *fence = fiber->fence;
    fiber->fence = NULL;
    list_remove(&fiber->fenced);
    if (list_empty(&fence->fibers))
        fence->on_empty(fence);
}
