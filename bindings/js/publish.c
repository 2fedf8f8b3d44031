/* SPDX-License-Identifier: Apache-2.0 */
/* Publishing into a stream and waiting for its acknowledgement. */
#include <stdlib.h>

#include "bindings/js/js.h"
#include "bindings/json/json.h"
#include "bindings/lib/lib.h"
#include "bindings/lib/trace.h"
#include "bindings/msg.h"
#include "host/link/message.h"

void push_pub_ack(lua_State *L, const struct js_pub_ack *ack) {
    lua_createtable(L, 0, 4);
    lua_pushlstring(L, ack->stream, ack->stream_len);
    lua_setfield(L, -2, "stream");
    lua_pushinteger(L, ack->seq);
    lua_setfield(L, -2, "seq");
    lua_pushboolean(L, ack->duplicate);
    lua_setfield(L, -2, "duplicate");
    if (ack->domain != NULL) {
        lua_pushlstring(L, ack->domain, ack->domain_len);
        lua_setfield(L, -2, "domain");
    }
}

struct publish_wait {
    struct link_call call; /* first: on_reply() casts */
    struct fiber *fiber;
    struct link *link;
    struct message *reply;    /* NULL: none, or not yet */
    struct trace_wait *trace; /* owned */
};
_Static_assert(sizeof(struct publish_wait) <= FIBER_WAIT_SIZE, "wait area");

static void on_reply(struct link_call *call, int status, struct message *reply) {
    struct publish_wait *wait = (struct publish_wait *)call;
    wait->reply = reply;
    fiber_wake(wait->fiber, status);
}

static void abandon(struct fiber *fiber, void *area) {
    (void)fiber;
    struct publish_wait *wait = area;
    trace_answered_with(&wait->trace, SPAN_PRODUCER, LN_ECANCELLED, NULL);
    link_call_cancel(&wait->call);
    message_free(wait->reply);
}

/* The subject is at 1. */
static int push_publish_failure(lua_State *L, struct link *link, int rc) {
    return push_failure(L, rc, rc == LN_ENATS ? link_last_error(link) : lua_tostring(L, 1));
}

static int publish_done(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    struct fiber *fiber = wait_resumed(L);
    struct publish_wait *wait = fiber_wait_area(fiber);
    struct js_pub_ack ack;
    int results = 2;
    trace_answered_with(&wait->trace, SPAN_PRODUCER, fiber_wake_status(fiber), wait->reply);
    if (wait->reply == NULL) {
        push_publish_failure(L, wait->link, fiber_wake_status(fiber));
    } else if (js_scan_pub_ack(wait->reply->data, wait->reply->len, &ack)) {
        push_pub_ack(L, &ack);
        results = 1;
    } else {
        lua_pushnil(L);
        push_msg(L, wait->reply, MSG_JSON);
    }
    fiber_end_wait(fiber);
    return results;
}

static int publish_later(lua_State *L, int status, lua_KContext context);

/* At 3 when its time is over, if it has waited. */
static int publish(lua_State *L) {
    struct link *link = check_link(L);
    struct fiber *fiber = check_fiber(L, "app.js.publish");
    uint64_t ms = room_time(L, JS_PUB_ACK_MS, 3);
    if (link_congested(link))
        return room_wait_until(L, link, "app.js.publish", ms, 3, publish_later);
    struct link_out out = {.subject = check_subject(L, 1), .checked = true};
    struct span span = {0};
    trace_outgoing(L, &out, &span);
    out.data = check_message(L, 2, &out.len);
    struct publish_wait *wait = fiber_begin_wait(fiber, abandon);
    trace_await(&wait->trace, &span, out.subject);
    wait->fiber = fiber;
    wait->link = link;
    int rc = link_request(link, &wait->call, script_clock(script_of(L)), &out, short_ms(ms),
                          on_reply);
    if (rc < 0) {
        trace_answered_with(&wait->trace, SPAN_PRODUCER, rc, NULL);
        fiber_end_wait(fiber);
        return wait_to_fail(L, fiber, push_publish_failure(L, link, rc));
    }
    return wait_yield(L, publish_done);
}

static int publish_later(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    int rc = room_waited(L, 3);
    return rc == LN_ETIMEOUT ? room_push_timeout(L, check_link(L)) : publish(L);
}

/*
 * core.js_publish(subject, message) -> { stream =, seq =, duplicate = } | nil, msg | nil, err
 * Without options, as most are. The message is an answer that is no plain PubAck.
 */
static int js_publish(lua_State *L) {
    lua_settop(L, 2);
    lua_pushnil(L);
    return publish(L);
}

static const luaL_Reg functions[] = {
    {"js_publish", js_publish},
    {NULL, NULL},
};

void bindings_js_publish(lua_State *L) {
    luaL_setfuncs(L, functions, 0);
}
