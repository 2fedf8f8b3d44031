/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting until the server has taken enough of what is published for more of it. */
#include "bindings/lib/lib.h"
#include "host/base/container_of.h"
#include "host/base/status.h"
#include "host/script/memory.h"

struct room {
    struct link_waiter waiter;
    struct fiber *fiber;
};
_Static_assert(sizeof(struct room) <= FIBER_WAIT_SIZE, "wait area");

static void on_ready(struct link_waiter *waiter, int status) {
    fiber_wake(container_of(waiter, struct room, waiter)->fiber, status);
}

static void abandon(struct fiber *fiber, void *area) {
    (void)fiber;
    link_wait_cancel(&((struct room *)area)->waiter);
}

bool room_can_wait(lua_State *L) {
    const struct fiber *fiber = fibers_current(script_fibers(script_of(L)));
    return can_wait(L) && !fiber_cancelled(fiber);
}

int room_wait_until(lua_State *L, struct link *link, const char *what, uint64_t ms, int due,
                    lua_KFunction k) {
    struct fiber *fiber = check_fiber(L, what);
    if (ms < UINT64_MAX) {
        lua_pushinteger(L, (lua_Integer)(clock_now(script_clock(script_of(L))) + ms));
        lua_replace(L, due);
    }
    struct room *room = fiber_begin_wait(fiber, abandon);
    room->fiber = fiber;
    room->waiter.on_ready = on_ready;
    link_wait(link, &room->waiter);
    if (ms < UINT64_MAX)
        fiber_deadline(fiber, ms);
    return wait_yield(L, k);
}

int room_wait(lua_State *L, struct link *link, const char *what, lua_KFunction k) {
    return room_wait_until(L, link, what, UINT64_MAX, 0, k);
}

int room_waited(lua_State *L, int top) {
    struct fiber *fiber = wait_resumed(L);
    int rc = fiber_wake_status(fiber);
    fiber_end_wait(fiber);
    lua_settop(L, top);
    return rc;
}

/* Pushes "1.2 MiB wait to be sent". */
static const char *push_waiting(lua_State *L, const struct link *link) {
    char size[MEMORY_SIZE_TEXT];
    struct link_stats stats;
    link_get_stats(link, &stats);
    memory_size(size, stats.buffered);
    return lua_pushfstring(L, "%s wait %s", size,
                           link_is_connected(link) ? "to be sent" : "for a connection");
}

int room_push_full(lua_State *L, const struct link *link, const char *more) {
    const char *waiting = push_waiting(L, link);
    return push_failure(L, LN_EFULL, lua_pushfstring(L, "%s%s", waiting, more));
}

int room_push_timeout(lua_State *L, const struct link *link) {
    const char *waiting = push_waiting(L, link);
    return push_failure(
        L, LN_ETIMEOUT,
        lua_pushfstring(L, "it was not sent: %s, and the server takes too little", waiting));
}

uint64_t room_time(lua_State *L, uint64_t ms, int due) {
    if (!lua_isinteger(L, due))
        return ms;
    uint64_t now = clock_now(script_clock(script_of(L))), end = (uint64_t)lua_tointeger(L, due);
    return end > now ? end - now : 0;
}
