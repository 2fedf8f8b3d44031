/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What scripts/js/ordered.lua needs from C: the inbox of an ordered consumer, from which one
 * fiber reads messages one by one.
 *
 * The userdata owns its struct ordered and is a resource of the script: whichever comes first,
 * close(), __gc or the end of the script, closes it.
 */
#include <stdlib.h>
#include <string.h>

#include "bindings/js/js.h"
#include "bindings/lib/lib.h"
#include "bindings/msg.h"
#include "host/jetstream/ordered.h"
#include "host/link/message.h"

#define ORDERED_TYPE "lunats.ordered"

/* Messages read in one go; then others get their turn of the loop. */
#define BURST 64

struct ordered_box {
    struct script_resource resource;
    struct ordered *ordered; /* NULL: closed */
    struct link *link;
    struct fiber *waiting;  /* in next() */
    struct message *msg;    /* being made into a Lua message */
    unsigned burst, client; /* client: for struct msg */
    bool closing;           /* by a stop of the script, in the next turn */
};

struct ordered_wait {
    struct ordered_box *box;
};

/* ---- life ---- */

static void drop_msg(struct ordered_box *box) {
    message_free(box->msg);
    box->msg = NULL;
}

static void box_close(struct ordered_box *box) {
    struct ordered *ordered = box->ordered;
    if (ordered == NULL)
        return;
    box->ordered = NULL; /* its message stays: a finalizer may close while that is read */
    ordered_close(ordered);
    if (box->waiting != NULL)
        fiber_wake(box->waiting, LN_ECLOSED);
}

static void on_script_close(struct script_resource *resource) {
    box_close((struct ordered_box *)resource);
}

/* Later: closing wakes a fiber, which may do anything to the list that is being walked. */
static void on_script_drain(struct script_resource *resource) {
    struct ordered_box *box = (struct ordered_box *)resource;
    box->closing = true;
    ordered_later(box->ordered);
}

static void on_ready(void *owner) {
    struct ordered_box *box = owner;
    if (box->closing) {
        script_remove_resource(&box->resource);
        box_close(box);
    } else if (box->waiting != NULL) {
        fiber_wake(box->waiting, LN_OK);
    }
}

/* core.js_ordered(drains) -> ordered. drains: a stop of the script ends it at once. */
static int js_ordered(lua_State *L) {
    struct script *script = script_of(L);
    struct link *link = check_link(L);
    struct who who = check_who(L);
    check_open(L);
    bool drains = lua_toboolean(L, 1);
    struct ordered_box *box = lua_newuserdatauv(L, sizeof(*box), 0);
    memset(box, 0, sizeof(*box));
    luaL_setmetatable(L, ORDERED_TYPE);
    box->link = link;
    box->client = who.id;
    int rc =
        ordered_open(&box->ordered, link, service_clock(script_service(script)), on_ready, box);
    if (rc < 0)
        return luaL_error(L, "js_ordered: %s", status_text(rc));
    box->resource.close = on_script_close;
    box->resource.drain = drains ? on_script_drain : NULL;
    resources_add(who.resources, &box->resource);
    return 1;
}

static struct ordered_box *check_box(lua_State *L) {
    return luaL_checkudata(L, 1, ORDERED_TYPE);
}

/* ordered:close(): a fiber in next() gets nil, err (code "closed"). Idempotent. */
static int ordered_box_close(lua_State *L) {
    struct ordered_box *box = check_box(L);
    if (box->ordered != NULL)
        script_remove_resource(&box->resource);
    box_close(box);
    return 0;
}

static int ordered_box_gc(lua_State *L) {
    drop_msg(check_box(L));
    return ordered_box_close(L);
}

static int push_closed(lua_State *L) {
    return push_failure(L, LN_ECLOSED, "the subscription was stopped");
}

/* ordered:subscribe() -> inbox | nil, err: starts anew */
static int ordered_box_subscribe(lua_State *L) {
    struct ordered_box *box = check_box(L);
    if (box->ordered == NULL)
        return push_closed(L);
    char inbox[LINK_INBOX_SIZE];
    int rc = ordered_subscribe(box->ordered, inbox);
    if (rc < 0)
        return push_failure(L, rc, rc == LN_ENATS ? link_last_error(box->link) : NULL);
    lua_pushstring(L, inbox);
    return 1;
}

/* ordered:created(heartbeat, delete_subject): the consumer for the inbox is there */
static int ordered_box_created(lua_State *L) {
    struct ordered_box *box = check_box(L);
    uint64_t ms = check_ms(L, 2);
    const char *subject = check_subject(L, 3);
    if (box->ordered == NULL)
        return push_closed(L);
    return push_status(L, ordered_created(box->ordered, short_ms(ms), subject), NULL);
}

/* ordered:sequence() -> the stream sequence of the last message, 0 if there was none */
static int ordered_box_sequence(lua_State *L) {
    struct ordered_box *box = check_box(L);
    uint64_t sequence = box->ordered != NULL ? ordered_sequence(box->ordered) : 0;
    lua_pushinteger(L, (lua_Integer)sequence);
    return 1;
}

/* ordered:forget(): the stream is another one, sequence() is 0 again */
static int ordered_box_forget(lua_State *L) {
    struct ordered_box *box = check_box(L);
    if (box->ordered != NULL)
        ordered_forget(box->ordered);
    return 0;
}

/* ---- reading ---- */

static void abandon(struct fiber *fiber, void *area) {
    (void)fiber;
    ((struct ordered_wait *)area)->box->waiting = NULL;
}

static int push_read(lua_State *L, struct ordered_box *box) {
    enum msg_data type = check_data_type(L, 3);
    struct msg *msg = push_msg(L, box->msg, type);
    msg->client = box->client;
    if (type == MSG_CODEC) {
        lua_pushvalue(L, 3);
        msg_set_codec(L);
    }
    msg->proven = true; /* seen to by ordered.c of the host */
    drop_msg(box);
    return 1;
}

/* Pushes what next() returns; 0 when there is nothing yet. */
static int push_next(lua_State *L, struct ordered_box *box) {
    if (box->ordered == NULL)
        return push_closed(L);
    drop_msg(box); /* of a call that raised */
    switch (ordered_next(box->ordered, &box->msg)) {
    case ORDERED_MSG:
        return push_read(L, box);
    case ORDERED_LOST:
        return push_failure(L, LN_ECONSUMER_LOST, ordered_reason(box->ordered));
    case ORDERED_CLOSED:
        return push_failure(L, LN_ECLOSED, NULL);
    case ORDERED_EMPTY:
        break;
    }
    return 0;
}

static int next_done(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    struct ordered_box *box = check_box(L);
    struct fiber *fiber = wait_resumed(L);
    int rc = fiber_wake_status(fiber);
    fiber_end_wait(fiber);
    int pushed = push_next(L, box);
    if (pushed > 0)
        return pushed;
    /* It was a status of the server, or nothing at all: the caller asks again, or gives up. */
    return push_failure(L, rc < 0 ? rc : LN_ETIMEOUT, NULL);
}

static int next_wait(lua_State *L, struct ordered_box *box, struct fiber *fiber, uint64_t ms) {
    struct ordered_wait *wait = fiber_begin_wait(fiber, abandon);
    wait->box = box;
    box->waiting = fiber;
    box->burst = 0;
    if (ms < UINT64_MAX)
        fiber_deadline(fiber, ms);
    return wait_yield(L, next_done);
}

/*
 * ordered:next(timeout | nil, data_type | nil) -> msg | nil, err
 * err.code: "consumer_lost" (subscribe anew), "closed", "timeout" (which may come early).
 */
static int ordered_box_next(lua_State *L) {
    struct ordered_box *box = check_box(L);
    uint64_t ms = lua_isnoneornil(L, 2) ? UINT64_MAX : check_ms(L, 2);
    struct fiber *fiber = check_fiber(L, "the reading of an ordered consumer");
    lua_settop(L, 3);
    if (box->waiting != NULL)
        return raise_error(L, "another fiber reads from this ordered consumer already");
    if (box->ordered != NULL && ++box->burst >= BURST) {
        ordered_later(box->ordered);
        return next_wait(L, box, fiber, UINT64_MAX);
    }
    int pushed = push_next(L, box);
    return pushed > 0 ? pushed : next_wait(L, box, fiber, ms);
}

/* ---- registration ---- */

/* core.handler_fiber(fn, ...): runs fn in a fiber that a stop lets finish. */
static int handler_fiber(lua_State *L) {
    luaL_checktype(L, 1, LUA_TFUNCTION);
    int rc = fiber_start(script_fibers(script_of(L)), FIBER_HANDLER, L, lua_gettop(L) - 1, NULL,
                         NULL, NULL);
    if (rc < 0)
        return raise_error(L, "cannot start a fiber: %s", status_text(rc));
    return 0;
}

static const luaL_Reg methods[] = {
    {"subscribe", ordered_box_subscribe},
    {"created", ordered_box_created},
    {"sequence", ordered_box_sequence},
    {"forget", ordered_box_forget},
    {"next", ordered_box_next},
    {"close", ordered_box_close},
    {"__gc", ordered_box_gc},
    {"__close", ordered_box_close},
    {NULL, NULL},
};

static const luaL_Reg functions[] = {
    {"js_ordered", js_ordered},
    {"handler_fiber", handler_fiber},
    {NULL, NULL},
};

void bindings_js_ordered(lua_State *L) {
    add_class(L, ORDERED_TYPE, methods);
    luaL_setfuncs(L, functions, 0);
}
