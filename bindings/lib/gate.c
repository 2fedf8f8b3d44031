/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A gate: fibers of a script wait at it until another one opens it. For Lua in scripts/ that
 * has to wait for something of its own.
 */
#include <string.h>

#include "bindings/bindings.h"
#include "bindings/lib/lib.h"
#include "host/base/list.h"

#define GATE_TYPE "lunats.gate"

struct gate_wait {
    struct list_node node;
    struct fiber *fiber;
};
_Static_assert(sizeof(struct gate_wait) <= FIBER_WAIT_SIZE, "wait area");

struct gate {
    struct list waits; /* in the order of their arrival; a woken one is not in it any more */
};

static void abandon(struct fiber *fiber, void *area) {
    (void)fiber;
    struct gate_wait *wait = area;
    list_remove(&wait->node);
}

/* core.gate() -> gate */
static int core_gate(lua_State *L) {
    struct gate *gate = lua_newuserdatauv(L, sizeof(*gate), 0);
    memset(gate, 0, sizeof(*gate));
    luaL_setmetatable(L, GATE_TYPE);
    return 1;
}

struct gate *check_gate(lua_State *L, int arg) {
    return luaL_checkudata(L, arg, GATE_TYPE);
}

static int wait_done(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    struct fiber *fiber = wait_resumed(L);
    int rc = fiber_wake_status(fiber);
    fiber_end_wait(fiber);
    lua_pushboolean(L, rc == LN_OK);
    return 1;
}

/* gate:wait(timeout | nil) -> true | false: opened, or the time is up */
static int gate_wait(lua_State *L) {
    struct gate *gate = check_gate(L, 1);
    bool bounded = !lua_isnoneornil(L, 2);
    uint64_t ms = bounded ? check_ms(L, 2) : 0;
    struct fiber *fiber = check_fiber(L, "this call");
    struct gate_wait *wait = fiber_begin_wait(fiber, abandon);
    wait->fiber = fiber;
    list_push_back(&gate->waits, &wait->node);
    if (bounded)
        fiber_deadline(fiber, ms);
    return wait_yield(L, wait_done);
}

lua_Integer gate_open(struct gate *gate, lua_Integer most) {
    lua_Integer count = 0;
    for (struct list_node *node; count < most && (node = list_pop_front(&gate->waits)) != NULL;
         count++)
        fiber_wake(list_item(node, struct gate_wait, node)->fiber, LN_OK);
    return count;
}

/* gate:open([n]) -> how many: wakes all that wait, or the first n. They run when this fiber
 * waits. */
static int open_gate(lua_State *L) {
    struct gate *gate = check_gate(L, 1);
    lua_pushinteger(L, gate_open(gate, luaL_optinteger(L, 2, LUA_MAXINTEGER)));
    return 1;
}

static const luaL_Reg methods[] = {
    {"wait", gate_wait},
    {"open", open_gate},
    {NULL, NULL},
};

static const luaL_Reg functions[] = {
    {"gate", core_gate},
    {NULL, NULL},
};

void bindings_gate(lua_State *L) {
    add_class(L, GATE_TYPE, methods);
    luaL_setfuncs(L, functions, 0);
}
