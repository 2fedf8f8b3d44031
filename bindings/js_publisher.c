/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Publishes into streams whose acknowledgements nobody waits for one by one.
 *
 * A message under way is a slot with a call of the link: no fiber, no userdata. Slots that have
 * finished are queued, and one fiber of scripts/js_publish.lua takes them with next(), many in
 * a turn. That is a third of the instructions of a fiber per message.
 */
#include <stdlib.h>
#include <string.h>

#include "bindings/bindings.h"
#include "bindings/js.h"
#include "bindings/msg.h"
#include "host/jetstream.h"
#include "host/message.h"

#define PUBLISHER_TYPE "lunats.publisher"

struct slot {
    struct link_call call; /* first: on_reply() casts */
    struct publisher *publisher;
    struct slot *next;  /* free or finished */
    lua_Integer number; /* 1, 2, ... */
    /* Once finished. */
    int status;
    struct message *reply; /* NULL: failed */
};

struct publisher {
    struct slot **slots; /* all of them, by number - 1 */
    size_t count, capacity;
    struct slot *free;
    struct slot *finished, **last_finished;
    struct fiber *waiting; /* in next() */
};

/* ---- slots ---- */

static struct slot *new_slot(struct publisher *publisher) {
    if (publisher->count == publisher->capacity) {
        size_t capacity = publisher->capacity > 0 ? publisher->capacity * 2 : 64;
        struct slot **slots = realloc(publisher->slots, capacity * sizeof(struct slot *));
        if (slots == NULL)
            return NULL;
        publisher->slots = slots;
        publisher->capacity = capacity;
    }
    struct slot *slot = calloc(1, sizeof(*slot));
    if (slot == NULL)
        return NULL;
    publisher->slots[publisher->count++] = slot;
    slot->publisher = publisher;
    slot->number = (lua_Integer)publisher->count;
    return slot;
}

static struct slot *take_slot(struct publisher *publisher) {
    struct slot *slot = publisher->free;
    if (slot == NULL)
        return new_slot(publisher);
    publisher->free = slot->next;
    return slot;
}

static void give_back(struct publisher *publisher, struct slot *slot) {
    message_free(slot->reply);
    slot->reply = NULL;
    slot->next = publisher->free;
    publisher->free = slot;
}

static void on_reply(struct link_call *call, int status, struct message *reply) {
    struct slot *slot = (struct slot *)call;
    struct publisher *publisher = slot->publisher;
    slot->status = status;
    slot->reply = reply;
    slot->next = NULL;
    *publisher->last_finished = slot;
    publisher->last_finished = &slot->next;
    if (publisher->waiting != NULL)
        fiber_wake(publisher->waiting, LN_OK);
}

/* ---- for Lua ---- */

static struct publisher *check_publisher(lua_State *L) {
    return luaL_checkudata(L, 1, PUBLISHER_TYPE);
}

/* publisher:send(subject, message) -> slot number | nil, err. Raises when they are wrong. */
static int publisher_send(lua_State *L) {
    struct publisher *publisher = check_publisher(L);
    struct link *link = check_link(L);
    struct link_out out = {.subject = check_subject(L, 2), .checked = true};
    out.data = check_message(L, 3, &out.len);
    struct slot *slot = take_slot(publisher);
    if (slot == NULL)
        return push_failure(L, LN_ENOMEM, NULL);
    int rc = link_request(link, &slot->call, script_clock(script_of(L)), &out, JS_PUB_ACK_MS,
                          on_reply);
    if (rc < 0) {
        give_back(publisher, slot);
        return push_failure(L, rc, rc == LN_ENATS ? link_last_error(link) : out.subject);
    }
    lua_pushinteger(L, slot->number);
    return 1;
}

/* The slot stays in the queue until everything that may raise is done. */
static int push_finished(lua_State *L, struct publisher *publisher) {
    struct slot *slot = publisher->finished;
    struct js_pub_ack ack;
    int results = 3;
    lua_pushinteger(L, slot->number);
    if (slot->reply == NULL) {
        results = 1 + push_failure(L, slot->status, NULL);
    } else if (js_scan_pub_ack(slot->reply->data, slot->reply->len, &ack)) {
        push_pub_ack(L, &ack);
        results = 2;
    } else {
        lua_pushnil(L);
        push_msg(L, slot->reply, MSG_JSON);
    }
    publisher->finished = slot->next;
    if (publisher->finished == NULL)
        publisher->last_finished = &publisher->finished;
    give_back(publisher, slot);
    return results;
}

static void abandon(struct fiber *fiber, void *area) {
    (void)fiber;
    struct publisher **publisher = area;
    (*publisher)->waiting = NULL;
}

static int next_done(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    struct fiber *fiber = wait_resumed(L);
    fiber_end_wait(fiber);
    return push_finished(L, check_publisher(L));
}

/*
 * publisher:next() -> slot number, ack | slot number, nil, msg | slot number, nil, err
 * Waits until a message is acknowledged or has failed. msg is an answer that is no plain ack.
 */
static int publisher_next(lua_State *L) {
    struct publisher *publisher = check_publisher(L);
    if (publisher->finished != NULL)
        return push_finished(L, publisher);
    struct fiber *fiber = check_fiber(L, "publisher:next");
    struct publisher **area = fiber_begin_wait(fiber, abandon);
    *area = publisher;
    publisher->waiting = fiber;
    return wait_yield(L, next_done);
}

static int publisher_gc(lua_State *L) {
    struct publisher *publisher = check_publisher(L);
    for (size_t i = 0; i < publisher->count; i++) {
        struct slot *slot = publisher->slots[i];
        link_call_cancel(&slot->call);
        give_back(publisher, slot);
    }
    for (size_t i = 0; i < publisher->count; i++)
        free(publisher->slots[i]);
    free(publisher->slots);
    memset(publisher, 0, sizeof(*publisher));
    publisher->last_finished = &publisher->finished;
    return 0;
}

/* core.js_publisher() -> publisher, which belongs to one fiber at a time */
static int js_publisher(lua_State *L) {
    struct publisher *publisher = lua_newuserdatauv(L, sizeof(*publisher), 0);
    memset(publisher, 0, sizeof(*publisher));
    publisher->last_finished = &publisher->finished;
    luaL_setmetatable(L, PUBLISHER_TYPE);
    return 1;
}

static const luaL_Reg methods[] = {
    {"send", publisher_send},
    {"next", publisher_next},
    {"__gc", publisher_gc},
    {NULL, NULL},
};

static const luaL_Reg functions[] = {
    {"js_publisher", js_publisher},
    {NULL, NULL},
};

void bindings_js_publisher(lua_State *L) {
    luaL_newmetatable(L, PUBLISHER_TYPE);
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    luaL_setfuncs(L, functions, 0);
}
