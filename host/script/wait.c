/* SPDX-License-Identifier: Apache-2.0 */
/* How a fiber waits. */
#include <string.h>

#include "host/base/status.h"
#include "host/script/internal.h"

void *fiber_begin_wait(struct fiber *fiber, void (*abandon)(struct fiber *fiber, void *area)) {
    fiber_end_wait(fiber); /* one that a coroutine left without its continuation */
    memset(fiber->area, 0, sizeof(fiber->area));
    fiber->abandon = abandon;
    fiber->in_wait = true;
    fiber->waiter = NULL;
    fiber->woken = false;
    fiber->wake_status = LN_OK;
    return fiber->area;
}

void fiber_deadline(struct fiber *fiber, uint64_t ms) {
    clock_arm(fiber->owner->clock, &fiber->deadline, ms);
}

void *fiber_wait_area(struct fiber *fiber) {
    return fiber->area;
}

void fiber_suspend(struct fiber *fiber, lua_State *L) {
    fiber->waiter = L;
    if (fiber->cancelled)
        fiber_wake(fiber, LN_ECANCELLED);
}

bool fiber_resumed(struct fiber *fiber, lua_State *L) {
    if (fiber == NULL || !fiber->in_wait || fiber->waiter != L)
        return false;
    fiber->waiter = NULL;
    if (fiber->woken)
        return true;
    fiber_end_wait(fiber);
    return false;
}

bool fiber_can_wait(const struct fiber *fiber, lua_State *L) {
    return fiber->blocked == 0 && lua_isyieldable(L);
}

void fiber_block(struct fiber *fiber) {
    fiber->blocked++;
}

void fiber_unblock(struct fiber *fiber) {
    fiber->blocked--;
}

void fiber_wake(struct fiber *fiber, int status) {
    if (!fiber->in_wait || fiber->woken)
        return;
    fiber->woken = true;
    fiber->wake_status = status;
    if (fiber->suspended)
        fiber_make_ready(fiber);
}

int fiber_wake_status(const struct fiber *fiber) {
    return fiber->wake_status;
}

void fiber_end_wait(struct fiber *fiber) {
    if (!fiber->in_wait)
        return;
    fiber->in_wait = false;
    clock_disarm(fiber->owner->clock, &fiber->deadline);
    if (fiber->abandon != NULL)
        fiber->abandon(fiber, fiber->area);
}
