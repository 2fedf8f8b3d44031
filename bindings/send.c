/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sending and requesting. Each function works on the link of the script, or, as a closure with
 * a struct connection_handle as its upvalue, on that of a further connection.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bindings/bindings.h"
#include "bindings/guard.h"
#include "bindings/json/json.h"
#include "bindings/lib/expiry.h"
#include "bindings/lib/lib.h"
#include "bindings/lib/trace.h"
#include "bindings/msg.h"
#include "host/base/container_of.h"
#include "host/base/log.h"
#include "host/jetstream/request.h"
#include "host/jetstream/status.h"
#include "host/link/answer.h"
#include "host/link/message.h"
#include "host/script/memory.h"

#define DEFAULT_TIMEOUT_MS 10000
#define REPLIES_BYTES ((size_t)64 << 20) /* of request_many, if nothing else is said, ... */
#define REPLIES_SHARE 2  /* ... or that part of what messages may have that wait */
#define REPLY_WEIGHT 128 /* of one without bytes */

/*
 * What the option data_type (3) says of the message (2), which a codec encodes, and of replies.
 * Pushes the codec, or nil.
 */
static enum msg_data encode_message(lua_State *L) {
    enum msg_data type = option_data_type(L, 3);
    if (type == MSG_CODEC)
        codec_encode(L, lua_gettop(L), 2);
    return type;
}

/* ---- publish ---- */

/* The buffer of an outage is full. Whoever goes on all the same has a pause with each message.
 */
static int push_full(lua_State *L, const struct link *link) {
    int pushed = room_push_full(L, link, "");
    return can_wait(L) ? wait_to_fail(L, check_fiber(L, "app.publish"), pushed) : pushed;
}

static int publish_now(lua_State *L, struct link *link) {
    static const struct option known[] = {{"headers", "table"},
                                          {"reply_to", "string"},
                                          {"data_type", "string|table"},
                                          {NULL, NULL}};
    struct link_out out = {.subject = check_subject(L, 1), .checked = true};
    if (check_options(L, 3, "app.publish", known)) {
        if (lua_getfield(L, 3, "reply_to") == LUA_TSTRING)
            out.reply = check_subject(L, -1);
        lua_getfield(L, 3, "headers");
        out.headers = check_headers(L, -1, &out.header_count);
    }
    struct span span = {0};
    trace_outgoing(L, &out, &span);
    out.data = check_message(L, 2, &out.len); /* last: see there */
    int rc = link_publish(link, &out);
    trace_sent(&span, SPAN_PRODUCER, out.subject, rc);
    if (rc == LN_EFULL)
        return push_full(L, link);
    return push_status(L, rc, rc == LN_ENATS ? link_last_error(link) : NULL);
}

static int publish(lua_State *L);

static int publish_later(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    room_waited(L, 3);
    return publish(L);
}

/* Where the fiber can wait, it does so as long as the link is congested; elsewhere the message
 * is taken until the link is full. */
static int publish(lua_State *L) {
    struct link *link = check_link(L);
    if (!link_congested(link))
        return publish_now(L, link);
    if (room_can_wait(L))
        return room_wait(L, link, "app.publish", publish_later);
    if (link_full(link))
        return room_push_full(L, link,
                              ", and the call cannot wait inside of table.sort, string.gsub "
                              "and metamethods");
    return publish_now(L, link);
}

/* core.publish(subject, message [, { headers =, reply_to =, data_type = }]) -> true | nil, err
 */
static int core_publish(lua_State *L) {
    lua_settop(L, 3);
    if (!lua_isnil(L, 3))
        encode_message(L);
    return publish(L);
}

/* ---- an inbox of one request ---- */

/*
 * Messages of a stream come under the subject to which they were published. On the inbox that
 * all requests share nobody could tell which of them has asked for one.
 */
static bool brings_messages_of_streams(const char *subject) {
    return strstr(subject, ".CONSUMER.MSG.NEXT.") != NULL;
}

/*
 * Subscribes to an inbox of its own, for requests that need one, and makes it the reply subject
 * of *out, whose text is in `inbox`. Returns what link_subscribe() does; *own stays NULL for
 * other requests.
 */
static int own_inbox(struct link *link, struct link_out *out, char inbox[LINK_INBOX_SIZE],
                     link_msg_fn on_msg, link_sub_error_fn on_error, void *owner,
                     struct link_sub **own) {
    if (!brings_messages_of_streams(out->subject))
        return LN_OK;
    if (!link_is_connected(link))
        return LN_EDISCONNECTED;
    link_new_inbox(link, inbox);
    out->reply = inbox;
    return link_subscribe(link, inbox, NULL, on_msg, on_error, owner, own);
}

/* What comes too late goes back to the stream. */
static void leave_own_inbox(struct link *link, struct link_sub *own) {
    if (own != NULL)
        js_drain_inbox(link, own);
}

/* ---- request ---- */

struct request_wait {
    struct link_call call;
    struct fiber *fiber;
    struct link_sub *own; /* inbox; NULL: the one of the link */
    struct link *link;
    struct message *reply;
    struct trace_wait *trace; /* owned */
    unsigned client;          /* for struct msg */
    bool stored;              /* the request is a message for a stream */
};
_Static_assert(sizeof(struct request_wait) <= FIBER_WAIT_SIZE, "wait area");

static void on_reply(struct link_call *call, int status, struct message *reply) {
    struct request_wait *wait = (struct request_wait *)call;
    wait->reply = reply;
    fiber_wake(wait->fiber, status);
}

static void on_own_error(void *owner, int status, const char *text) {
    (void)text;
    struct request_wait *wait = owner;
    link_call_cancel(&wait->call);
    fiber_wake(wait->fiber, status);
}

static void on_own_reply(void *owner, struct message *msg) {
    struct request_wait *wait = owner;
    if (wait->reply != NULL) {
        js_return_message(wait->link, msg);
        return;
    }
    link_call_cancel(&wait->call);
    if (msg->status != 503)
        wait->reply = msg;
    else
        message_free(msg);
    fiber_wake(wait->fiber, wait->reply != NULL ? LN_OK : LN_ENORESPONDERS);
}

static enum span_kind kind_of(const struct request_wait *wait) {
    return wait->stored ? SPAN_PRODUCER : SPAN_CLIENT;
}

static void abandon_request(struct fiber *fiber, void *area) {
    (void)fiber;
    struct request_wait *wait = area;
    trace_answered_with(&wait->trace, kind_of(wait), LN_ECANCELLED, NULL);
    link_call_cancel(&wait->call);
    leave_own_inbox(wait->link, wait->own);
    message_free(wait->reply);
}

static const struct option request_options[] = {
    {"timeout", "number"},     {"headers", "table"},      {"data_type", "string|table"},
    {"retry", guard_types},    {"breaker", guard_types},  {"rate", guard_types},
    {"bulkhead", guard_types}, {"deadline", guard_types}, {NULL, NULL}};

/* Behind subject, message and options of requests: the codec of replies, and their type. */
enum { AT_CODEC = 4, AT_TYPE = 5 };

/* Fills in what subject (1) and options (3) say. */
static void check_request(lua_State *L, struct link_out *out, bool literal) {
    out->subject = literal ? check_pattern(L, 1) : check_subject(L, 1);
    out->checked = true; /* the link adds a reply subject of its own making */
    if (lua_istable(L, 3)) {
        lua_getfield(L, 3, "headers");
        out->headers = check_headers(L, -1, &out->header_count);
    }
}

static int push_request_failure(lua_State *L, struct link *link, int rc) {
    const char *detail = rc == LN_ENATS ? link_last_error(link) : lua_tostring(L, 1);
    return push_failure(L, rc, detail);
}

/*
 * Pushes a reply to the request whose subject is at 1. A message that a JetStream consumer was
 * asked for in plain words can be acknowledged.
 */
static void push_reply(lua_State *L, const struct message *reply, unsigned client) {
    struct msg *msg = push_msg(L, reply, (enum msg_data)lua_tointeger(L, AT_TYPE));
    msg->client = client;
    if (msg->type == MSG_CODEC) {
        lua_pushvalue(L, AT_CODEC);
        msg_set_codec(L);
    }
    if (msg->reply == NULL || answer_ok(msg->reply))
        return;
    const char *subject = lua_tostring(L, 1);
    if (brings_messages_of_streams(subject))
        msg->proven = js_answer_ok(msg->reply, js_consumer_of(subject));
}

static int request_done(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    struct fiber *fiber = wait_resumed(L);
    struct request_wait *wait = fiber_wait_area(fiber);
    int rc = fiber_wake_status(fiber), results = 2;
    trace_answered_with(&wait->trace, kind_of(wait), rc, wait->reply);
    if (wait->reply == NULL) {
        push_request_failure(L, wait->link, rc);
    } else if (!push_service_error(L, wait->reply->headers, wait->reply->headers_len)) {
        push_reply(L, wait->reply, wait->client);
        results = 1;
    }
    fiber_end_wait(fiber);
    return results;
}

/* The subject is at 1. */
static int push_expired(lua_State *L) {
    return push_failure(L, LN_ETIMEOUT,
                        lua_pushfstring(L,
                                        "%s: not sent, as the sender of the message that is "
                                        "handled does not wait any more",
                                        lua_tostring(L, 1)));
}

enum request_kind {
    REQUEST,
    REQUEST_TELLING, /* it says how long it waits, see bindings/lib/expiry.h */
    REQUEST_LITERAL, /* the subject may have wildcards */
    REQUEST_STORED,  /* for a stream, whose acknowledgement is the reply */
};

static int request_later(lua_State *L, int status, lua_KContext context);

/* Its kind, and when its time is over, if it has waited. */
enum { AT_KIND = 6, AT_DUE = 7 };

static int request(lua_State *L) {
    enum request_kind kind = (enum request_kind)lua_tointeger(L, AT_KIND);
    struct link *link = check_link(L);
    unsigned client = check_who(L).id; /* a finalizer may close it before the act */
    struct fiber *fiber = check_fiber(L, "app.request");
    bool plain = kind == REQUEST || kind == REQUEST_TELLING;
    uint64_t ms = room_time(L, option_ms(L, 3, "timeout", DEFAULT_TIMEOUT_MS), AT_DUE);
    if (link_congested(link))
        return room_wait_until(L, link, "app.request", ms, AT_DUE, request_later);
    struct link_out out = {0};
    check_request(L, &out, kind == REQUEST_LITERAL);
    uint64_t due = fiber_expires(fiber);
    if (plain && (due != 0 || kind == REQUEST_TELLING) &&
        !expiry_outgoing(L, &out, due, kind == REQUEST_TELLING, &ms))
        return wait_to_fail(L, fiber, push_expired(L));
    struct span span = {0};
    trace_outgoing(L, &out, &span);
    out.data = check_message(L, 2, &out.len);

    struct request_wait *wait = fiber_begin_wait(fiber, abandon_request);
    wait->fiber = fiber;
    wait->link = link;
    wait->client = client;
    trace_await(&wait->trace, &span, out.subject);
    wait->stored = !plain;
    char inbox[LINK_INBOX_SIZE];
    int rc = own_inbox(link, &out, inbox, on_own_reply, on_own_error, wait, &wait->own);
    if (rc == LN_OK)
        rc = link_request(link, &wait->call, script_clock(script_of(L)), &out, short_ms(ms),
                          on_reply);
    if (rc < 0) {
        trace_answered_with(&wait->trace, kind_of(wait), rc, NULL);
        fiber_end_wait(fiber);
        return wait_to_fail(L, fiber, push_request_failure(L, link, rc));
    }
    return wait_yield(L, request_done);
}

static int request_later(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    int rc = room_waited(L, AT_DUE);
    return rc == LN_ETIMEOUT ? room_push_timeout(L, check_link(L)) : request(L);
}

static int begin_request(lua_State *L, enum request_kind kind) {
    bool tell = false;
    lua_settop(L, 3);
    if (check_options_marked(L, 3, "app.request", request_options, guard_types) &&
        guard_wanted(L, &tell) && kind == REQUEST)
        return guard_call(L);
    lua_pushinteger(L, encode_message(L));
    lua_pushinteger(L, tell && kind == REQUEST ? REQUEST_TELLING : kind);
    lua_pushnil(L);
    return request(L);
}

/* core.request(subject, message [, { timeout = 10, headers =, data_type = }]) -> msg | nil, err
 */
static int core_request(lua_State *L) {
    return begin_request(L, REQUEST);
}

/* core.request_literal(...): the same to a subject with wildcards, which servers take as it is.
 */
static int core_request_literal(lua_State *L) {
    return begin_request(L, REQUEST_LITERAL);
}

/* core.request_stored(...): the same, of a message that a stream stores and acknowledges. */
static int core_request_stored(lua_State *L) {
    return begin_request(L, REQUEST_STORED);
}

/* ---- request_many ---- */

struct many_wait {
    struct link_call call;
    struct fiber *fiber;
    struct link *link;
    struct clock *clock;
    struct clock_timer stall; /* silence that ends the collection */
    uint64_t stall_ms;
    struct message *first, **last;
    uint32_t count, max;      /* max: 0: any */
    int64_t bytes_left;       /* of those that replies may have */
    struct link_sub *own;     /* inbox; NULL: the one of the link */
    struct trace_wait *trace; /* owned */
    unsigned client;
    bool bounded; /* max_bytes was asked for */
};
_Static_assert(sizeof(struct many_wait) <= FIBER_WAIT_SIZE, "wait area");

/* Others may come before the fiber goes on. */
static bool has_all(const struct many_wait *wait) {
    return (wait->max > 0 && wait->count >= wait->max) || wait->bytes_left <= 0;
}

static void on_many_reply(struct link_call *call, int status, struct message *reply) {
    struct many_wait *wait = (struct many_wait *)call;
    if (reply == NULL) {
        fiber_wake(wait->fiber, status);
        return;
    }
    if (has_all(wait)) {
        message_free(reply);
        return;
    }
    reply->next = NULL;
    *wait->last = reply;
    wait->last = &reply->next;
    wait->count++;
    wait->bytes_left -= (int64_t)reply->size + REPLY_WEIGHT;
    if (has_all(wait))
        fiber_wake(wait->fiber, LN_OK);
    else if (wait->stall_ms > 0)
        clock_arm(wait->clock, &wait->stall, wait->stall_ms);
}

static void on_own_many_error(void *owner, int status, const char *text) {
    (void)text;
    struct many_wait *wait = owner;
    fiber_wake(wait->fiber, status);
}

static void on_own_many_reply(void *owner, struct message *msg) {
    struct many_wait *wait = owner;
    if (has_all(wait)) {
        js_return_message(wait->link, msg);
    } else if (msg->status == 503) {
        message_free(msg);
        fiber_wake(wait->fiber, LN_ENORESPONDERS);
    } else {
        on_many_reply(&wait->call, LN_OK, msg);
    }
}

static void on_stall(struct clock_timer *timer) {
    struct many_wait *wait = container_of(timer, struct many_wait, stall);
    fiber_wake(wait->fiber, LN_ETIMEOUT);
}

static void abandon_many(struct fiber *fiber, void *area) {
    (void)fiber;
    struct many_wait *wait = area;
    trace_answered_with(&wait->trace, SPAN_CLIENT, LN_ECANCELLED, NULL);
    link_call_cancel(&wait->call);
    leave_own_inbox(wait->link, wait->own);
    clock_disarm(wait->clock, &wait->stall);
    while (wait->first != NULL) {
        struct message *msg = wait->first;
        wait->first = msg->next;
        message_free(msg);
    }
}

static size_t replies_bytes(const struct link *link) {
    const struct tally *tally = link_tally(link);
    size_t share = tally != NULL ? tally->most / REPLIES_SHARE : 0;
    return share > 0 && share < REPLIES_BYTES ? share : REPLIES_BYTES;
}

/* The script has not asked for this bound, and might take what it gets for all there is. */
static void tell_cut(lua_State *L, const struct many_wait *wait) {
    char size[MEMORY_SIZE_TEXT];
    if (!wait->bounded && wait->bytes_left <= 0)
        log_warn(service_name(script_service(script_of(L))),
                 "app.request_many to '%s' has ended after %u replies: they have %s, more are "
                 "taken with max_bytes",
                 lua_tostring(L, 1), wait->count, memory_size(size, replies_bytes(wait->link)));
}

static int many_done(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    struct fiber *fiber = wait_resumed(L);
    struct many_wait *wait = fiber_wait_area(fiber);
    int rc = fiber_wake_status(fiber);
    bool failed = wait->count == 0 && rc != LN_OK && rc != LN_ETIMEOUT;
    trace_answered_with(&wait->trace, SPAN_CLIENT, failed ? rc : LN_OK, NULL);
    if (failed) {
        push_request_failure(L, wait->link, rc);
        fiber_end_wait(fiber);
        return 2;
    }
    tell_cut(L, wait);
    lua_createtable(L, (int)wait->count, 0);
    lua_Integer index = 0;
    for (const struct message *at = wait->first; at != NULL; at = at->next) {
        push_reply(L, at, wait->client);
        lua_rawseti(L, -2, ++index);
    }
    fiber_end_wait(fiber);
    return 1;
}

/* A number of 1 or more, math.huge is the largest; 0: not given. */
static lua_Integer check_most(lua_State *L, const char *name) {
    if (!lua_istable(L, 3) || lua_getfield(L, 3, name) == LUA_TNIL)
        return 0;
    lua_Integer most = lua_tointeger(L, -1); /* 0 when it is not whole */
    if (lua_tonumber(L, -1) == (lua_Number)HUGE_VAL)
        most = LUA_MAXINTEGER;
    if (most < 1)
        return raise_error(
            L, "app.request_many: %s must be a whole number, 1 or more, or math.huge", name);
    lua_pop(L, 1);
    return most;
}

static int request_many_later(lua_State *L, int status, lua_KContext context);

/* When its time is over, if it has waited. */
enum { AT_MANY_DUE = 6 };

static int request_many(lua_State *L) {
    struct link *link = check_link(L);
    unsigned client = check_who(L).id;
    struct fiber *fiber = check_fiber(L, "app.request_many");
    lua_Integer max = check_most(L, "max"), max_bytes = check_most(L, "max_bytes");
    uint64_t ms = room_time(L, option_ms(L, 3, "timeout", DEFAULT_TIMEOUT_MS), AT_MANY_DUE);
    uint64_t stall_ms = option_ms(L, 3, "stall", 0);
    if (link_congested(link))
        return room_wait_until(L, link, "app.request_many", ms, AT_MANY_DUE,
                               request_many_later);
    struct link_out out = {0};
    check_request(L, &out, false);
    struct span span = {0};
    trace_outgoing(L, &out, &span);
    out.data = check_message(L, 2, &out.len);

    struct many_wait *wait = fiber_begin_wait(fiber, abandon_many);
    wait->fiber = fiber;
    wait->link = link;
    wait->clock = script_clock(script_of(L));
    wait->stall.fire = on_stall;
    wait->stall_ms = stall_ms;
    wait->last = &wait->first;
    wait->max = max < UINT32_MAX ? (uint32_t)max : UINT32_MAX;
    wait->bounded = max_bytes > 0;
    wait->bytes_left = wait->bounded ? max_bytes : (int64_t)replies_bytes(link);
    wait->client = client;
    trace_await(&wait->trace, &span, out.subject);
    char inbox[LINK_INBOX_SIZE];
    int rc =
        own_inbox(link, &out, inbox, on_own_many_reply, on_own_many_error, wait, &wait->own);
    if (rc == LN_OK)
        rc = link_request_many(link, &wait->call, wait->clock, &out, short_ms(ms),
                               on_many_reply);
    if (rc < 0) {
        trace_answered_with(&wait->trace, SPAN_CLIENT, rc, NULL);
        fiber_end_wait(fiber);
        return wait_to_fail(L, fiber, push_request_failure(L, link, rc));
    }
    return wait_yield(L, many_done);
}

static int request_many_later(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    int rc = room_waited(L, AT_MANY_DUE);
    return rc == LN_ETIMEOUT ? room_push_timeout(L, check_link(L)) : request_many(L);
}

/*
 * core.request_many(subject, message [, { timeout = 10, max =, max_bytes =, stall =, ... }]) ->
 * list | nil, err
 * Ends at the timeout, after `max` replies or `max_bytes` of them, or after `stall` seconds
 * without a further one.
 */
static int core_request_many(lua_State *L) {
    static const struct option known[] = {{"timeout", "number"},         {"headers", "table"},
                                          {"data_type", "string|table"}, {"max", "number"},
                                          {"max_bytes", "number"},       {"stall", "number"},
                                          {"breaker", guard_types},      {"rate", guard_types},
                                          {"bulkhead", guard_types},     {NULL, NULL}};
    bool tell;
    lua_settop(L, 3);
    guard_no_retry(L, "app.request_many");
    if (check_options_marked(L, 3, "app.request_many", known, guard_types) &&
        guard_wanted(L, &tell))
        return guard_call(L);
    lua_pushinteger(L, encode_message(L));
    lua_pushnil(L);
    return request_many(L);
}

/* ---- flush ---- */

static int flush_done(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    struct fiber *fiber = wait_resumed(L);
    int rc = fiber_wake_status(fiber);
    fiber_end_wait(fiber);
    return push_status(L, rc, NULL);
}

/* core.flush([timeout = 10]) -> true | nil, err: the server has everything sent so far. */
static int core_flush(lua_State *L) {
    struct link *link = check_link(L);
    struct fiber *fiber = check_fiber(L, "app.flush");
    uint64_t ms = lua_isnoneornil(L, 1) ? DEFAULT_TIMEOUT_MS : check_ms(L, 1);
    struct request_wait *wait = fiber_begin_wait(fiber, abandon_request);
    wait->fiber = fiber;
    wait->link = link;
    int rc = link_flush(link, &wait->call, script_clock(script_of(L)), short_ms(ms), on_reply);
    if (rc < 0) {
        fiber_end_wait(fiber);
        return wait_to_fail(L, fiber, push_status(L, rc, NULL));
    }
    return wait_yield(L, flush_done);
}

/* core.new_inbox() -> a subject nobody else uses */
static int core_new_inbox(lua_State *L) {
    char inbox[LINK_INBOX_SIZE];
    link_new_inbox(check_link(L), inbox);
    lua_pushstring(L, inbox);
    return 1;
}

static const luaL_Reg functions[] = {
    {"publish", core_publish},
    {"request", core_request},
    {"request_literal", core_request_literal},
    {"request_stored", core_request_stored},
    {"request_many", core_request_many},
    {"flush", core_flush},
    {"new_inbox", core_new_inbox},
    {NULL, NULL},
};

void bindings_send(lua_State *L) {
    luaL_setfuncs(L, functions, 0);
}
