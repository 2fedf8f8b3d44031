/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Publishes into streams whose acknowledgements nobody waits for one by one.
 *
 * A message under way is a slot with a call of the link: no fiber, no userdata. Slots that have
 * finished are queued, and one fiber of scripts/js/publish_async.lua settles all that a read of
 * the socket brought. That is a fourth of the instructions of a fiber per message.
 */
#include <stdlib.h>
#include <string.h>

#include "bindings/js/js.h"
#include "bindings/json/json.h"
#include "bindings/lib/lib.h"
#include "bindings/lib/trace.h"
#include "bindings/msg.h"
#include "host/base/container_of.h"
#include "host/jetstream/status.h"
#include "host/link/message.h"

#define PUBLISHER_TYPE "lunats.publisher"

struct slot {
    struct link_call call; /* first: on_reply() casts */
    struct publisher *publisher;
    struct slot *next;  /* free or finished */
    lua_Integer number; /* 1, 2, ... */
    /* Once finished. */
    int status;
    struct link *link;
    struct message *reply; /* NULL: failed */
};

struct publisher {
    const struct connection_handle
        *handle;         /* NULL: of the script's own connection; its user value */
    struct slot **slots; /* all of them, by number - 1 */
    size_t count, capacity;
    struct slot *free;
    struct slot *finished, **last_finished;
    struct slot *refused, **last_refused; /* not sent; they finish together, after a pause */
    struct clock *clock;                  /* real */
    struct clock_timer pause;
    struct fiber *waiting;              /* in settle() */
    struct link_deferred finished_some; /* one wake-up for all that a read brought */
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
    link_defer(slot->link, &publisher->finished_some);
}

static void on_finished_some(struct link_deferred *deferred) {
    struct publisher *publisher = container_of(deferred, struct publisher, finished_some);
    if (publisher->waiting != NULL)
        fiber_wake(publisher->waiting, LN_OK);
}

static void on_pause_over(struct clock_timer *timer) {
    struct publisher *publisher = container_of(timer, struct publisher, pause);
    *publisher->last_finished = publisher->refused;
    publisher->last_finished = publisher->last_refused;
    publisher->refused = NULL;
    publisher->last_refused = &publisher->refused;
    if (publisher->waiting != NULL)
        fiber_wake(publisher->waiting, LN_OK);
}

/*
 * A message that cannot be sent keeps its place in the window until the loop had its turns: a
 * script that publishes on and on during an outage waits like any other.
 */
static void refuse(struct slot *slot, int status) {
    struct publisher *publisher = slot->publisher;
    slot->status = status;
    slot->next = NULL;
    *publisher->last_refused = slot;
    publisher->last_refused = &slot->next;
    if (!clock_armed(&publisher->pause))
        clock_arm(publisher->clock, &publisher->pause, WAIT_PAUSE_MS);
}

/* ---- for Lua ---- */

static struct publisher *check_publisher(lua_State *L) {
    return check_self(L, PUBLISHER_TYPE);
}

static int send_later(lua_State *L, int status, lua_KContext context);

static int send_message(lua_State *L, struct publisher *publisher) {
    check_open(L); /* the slots go with the script */
    struct link *link = check_link_of(L, publisher->handle);
    if (link_congested(link) && can_wait(L))
        return room_wait(L, link, "app.js.publish_async", send_later);
    struct link_out out = {.subject = check_subject(L, 2), .checked = true};
    struct span span = {0};
    trace_outgoing(L, &out, &span);
    out.data = check_message(L, 3, &out.len);
    struct slot *slot = take_slot(publisher);
    if (slot == NULL)
        return push_failure(L, LN_ENOMEM, NULL);
    slot->link = link;
    int rc = LN_EFULL;
    if (!link_full(link))
        rc = link_request(link, &slot->call, script_clock(script_of(L)), &out, JS_PUB_ACK_MS,
                          on_reply);
    trace_sent(&span, SPAN_PRODUCER, out.subject, rc);
    if (rc < 0)
        refuse(slot, rc);
    lua_pushinteger(L, slot->number);
    return 1;
}

static int send_later(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    room_waited(L, 3);
    return send_message(L, lua_touserdata(L, 1));
}

/* publisher:send(subject, message) -> slot number | nil, err (no memory). Raises when they are
 * wrong. Waits while the link is congested. */
static int publisher_send(lua_State *L) {
    return send_message(L, check_publisher(L));
}

/* What settle() is given: the futures that are under way, by slot number. */
#define AT_FUTURES 2

static void take_off(struct publisher *publisher, struct slot *slot) {
    publisher->finished = slot->next;
    if (publisher->finished == NULL)
        publisher->last_finished = &publisher->finished;
    give_back(publisher, slot);
}

/*
 * The usual case, without a call back into Lua: the future is told sequence and stream. False
 * when there is more to it. All fields exist, so no table grows.
 */
static bool settle_plain(lua_State *L, const struct slot *slot, const struct js_pub_ack *ack) {
    if (ack->duplicate || ack->domain != NULL ||
        lua_rawgeti(L, AT_FUTURES, slot->number) != LUA_TTABLE)
        return false;
    lua_pushliteral(L, "gate");
    if (lua_rawget(L, -2) != LUA_TNIL) /* somebody waits for it */
        return false;
    lua_pop(L, 1);
    lua_pushlstring(L, ack->stream, ack->stream_len);
    lua_setfield(L, -2, "message");
    lua_pushinteger(L, ack->seq);
    lua_setfield(L, -2, "ack");
    lua_pushboolean(L, true);
    lua_setfield(L, -2, "done");
    lua_pushnil(L);
    lua_rawseti(L, AT_FUTURES, slot->number);
    return true;
}

/* Slots stay in the queue until everything that may raise is done with them. */
static int settle(lua_State *L, struct publisher *publisher) {
    lua_Integer settled = 0;
    struct slot *slot = publisher->finished;
    struct js_pub_ack ack;
    bool plain = false;
    for (; slot != NULL; slot = publisher->finished) {
        lua_settop(L, AT_FUTURES);
        plain =
            slot->reply != NULL && js_scan_pub_ack(slot->reply->data, slot->reply->len, &ack);
        if (!plain || !settle_plain(L, slot, &ack))
            break;
        take_off(publisher, slot);
        settled++;
    }
    lua_settop(L, AT_FUTURES);
    lua_pushinteger(L, settled);
    if (slot == NULL)
        return 1;
    lua_pushinteger(L, slot->number);
    if (plain) {
        push_pub_ack(L, &ack);
    } else if (slot->reply != NULL) {
        lua_pushnil(L);
        push_msg(L, slot->reply, MSG_JSON);
    } else {
        push_failure(L, slot->status, NULL);
    }
    take_off(publisher, slot);
    return lua_gettop(L) - AT_FUTURES;
}

static void abandon(struct fiber *fiber, void *area) {
    (void)fiber;
    struct publisher **publisher = area;
    (*publisher)->waiting = NULL;
}

static int settle_done(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    struct fiber *fiber = wait_resumed(L);
    fiber_end_wait(fiber);
    return settle(L, lua_touserdata(L, 1));
}

/*
 * publisher:settle(futures) -> count [, slot number, ack | nil, msg | err]
 * Waits until messages are acknowledged or have failed. Futures with a plain acknowledgement
 * are settled, as many as `count`: done = true, ack = sequence, message = stream. It ends early
 * at one that somebody waits for (`gate`) or that got another answer, which is for the caller.
 */
static int publisher_settle(lua_State *L) {
    struct publisher *publisher = check_publisher(L);
    luaL_checktype(L, AT_FUTURES, LUA_TTABLE);
    if (publisher->finished != NULL)
        return settle(L, publisher);
    struct fiber *fiber = check_fiber(L, "publisher:settle");
    struct publisher **area = fiber_begin_wait(fiber, abandon);
    *area = publisher;
    publisher->waiting = fiber;
    return wait_yield(L, settle_done);
}

/* Without slots. */
static void clear(lua_State *L, struct publisher *publisher) {
    memset(publisher, 0, sizeof(*publisher));
    publisher->last_finished = &publisher->finished;
    publisher->last_refused = &publisher->refused;
    publisher->clock = service_clock(script_service(script_of(L)));
    publisher->pause.fire = on_pause_over;
    publisher->finished_some.fn = on_finished_some;
}

static int publisher_gc(lua_State *L) {
    struct publisher *publisher = check_publisher(L);
    link_defer_cancel(&publisher->finished_some);
    clock_disarm(publisher->clock, &publisher->pause);
    for (size_t i = 0; i < publisher->count; i++) {
        struct slot *slot = publisher->slots[i];
        link_call_cancel(&slot->call);
        give_back(publisher, slot);
    }
    for (size_t i = 0; i < publisher->count; i++)
        free(publisher->slots[i]);
    free(publisher->slots);
    clear(L, publisher);
    return 0;
}

/* core.js_publisher() -> publisher, which belongs to one fiber at a time */
static int js_publisher(lua_State *L) {
    struct publisher *publisher = lua_newuserdatauv(L, sizeof(*publisher), 1);
    clear(L, publisher);
    luaL_setmetatable(L, PUBLISHER_TYPE);
    publisher->handle = lua_touserdata(L, lua_upvalueindex(1));
    if (publisher->handle != NULL) {
        lua_pushvalue(L, lua_upvalueindex(1));
        lua_setiuservalue(L, -2, 1);
    }
    return 1;
}

static const luaL_Reg methods[] = {
    {"send", publisher_send},
    {"settle", publisher_settle},
    {"__gc", publisher_gc},
    {NULL, NULL},
};

static const luaL_Reg functions[] = {
    {"js_publisher", js_publisher},
    {NULL, NULL},
};

void bindings_js_publisher(lua_State *L) {
    add_class(L, PUBLISHER_TYPE, methods);
    luaL_setfuncs(L, functions, 0);
}
