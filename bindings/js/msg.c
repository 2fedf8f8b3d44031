/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Acknowledging messages of a stream, and what their reply subject tells.
 *
 * A message is settled once (ack, nak or term). The server believes the last acknowledgement it
 * gets, and a second one would say something about a message that may be on its way to somebody
 * else already.
 */
#include <stdio.h>
#include <string.h>

#include "bindings/js/js.h"
#include "bindings/lib/lib.h"
#include "bindings/msg.h"
#include "host/base/log.h"
#include "host/jetstream/status.h"
#include "host/service/vitals.h"

#define ACK_SYNC_TIMEOUT_MS 5000

/* ---- arguments ---- */

/* The message at 1, which must come from a stream; `what` names the method. */
static struct msg *check_js_msg(lua_State *L, const char *what) {
    static const char prefix[] = "$JS.ACK.";
    struct msg *msg = check_msg(L, 1);
    if (msg->reply == NULL || strncmp(msg->reply, prefix, sizeof(prefix) - 1) != 0)
        luaL_error(L, "%s: this message does not come from a stream (subject %s)", what,
                   msg->subject);
    return msg;
}

static int push_already_acked(lua_State *L) {
    lua_pushnil(L);
    push_error(L, "already_acked", "the message has been acknowledged already");
    return 2;
}

/* ---- settling ---- */

static int send_ack(lua_State *L, const struct msg *msg, const char *ack) {
    struct link *link = push_message_link(L, msg->client);
    if (link == NULL)
        return push_failure(L, LN_ECLOSED, NULL);
    struct link_out out = {
        .subject = msg->reply, .data = ack, .len = strlen(ack), .checked = true};
    int rc = link_publish(link, &out);
    return rc < 0 ? push_status(L, rc, rc == LN_ENATS ? link_last_error(link) : NULL) : 0;
}

static void count(lua_State *L, const struct msg *msg, enum settled how) {
    const struct vitals *vitals = service_vitals(script_service(script_of(L)));
    struct reader *reader = reader_of_reply(vitals, msg->reply);
    if (reader != NULL)
        reader_settled(reader, how);
}

static int settle(lua_State *L, struct msg *msg, const char *ack) {
    if (msg->settled)
        return push_already_acked(L);
    if (!msg_answerable(msg))
        return push_refused(L, msg);
    int pushed = send_ack(L, msg, ack);
    if (pushed > 0)
        return pushed;
    msg->settled = true;
    count(L, msg, ack[1] == 'A' ? SETTLED_ACK : ack[1] == 'N' ? SETTLED_NAK : SETTLED_TERM);
    lua_pushboolean(L, 1);
    return 1;
}

/* msg:ack() -> true | nil, err */
static int msg_ack(lua_State *L) {
    return settle(L, check_js_msg(L, "msg:ack"), "+ACK");
}

/* Its consume keeps it, and gives it to a handler again. */
static int keep(lua_State *L, struct msg *msg, uint64_t ms) {
    msg->settled = true;
    msg->held = MSG_AGAIN;
    msg->again_ms = ms;
    count(L, msg, SETTLED_NAK);
    lua_pushboolean(L, 1);
    return 1;
}

/* msg:nak([delay]) -> true | nil, err: deliver it again, after `delay` seconds */
static int msg_nak(lua_State *L) {
    struct msg *msg = check_js_msg(L, "msg:nak");
    char ack[64] = "-NAK";
    uint64_t ms = lua_isnoneornil(L, 2) ? 0 : check_ms(L, 2);
    if (msg->held == MSG_HELD && !msg->settled)
        return keep(L, msg, ms);
    if (ms > 0)
        snprintf(ack, sizeof(ack), "-NAK {\"delay\":%llu}", (unsigned long long)ms * 1000000);
    return settle(L, msg, ack);
}

#define TERM "+TERM "
#define REASON_MAX 500 /* bytes; it becomes part of an advisory */

/* Servers before 2.10.4 take an acknowledgement with a reason for none at all. */
static bool takes_reason(struct link *link) {
    struct link_info info;
    unsigned major = 0, minor = 0, patch = 0;
    if (link == NULL)
        return false;
    link_get_info(link, &info);
    if (sscanf(info.version, "%u.%u.%u", &major, &minor, &patch) != 3)
        return false;
    return major > 2 || (major == 2 && (minor > 10 || (minor == 10 && patch >= 4)));
}

static int term(lua_State *L, struct msg *msg, const char *reason) {
    char ack[sizeof(TERM) + REASON_MAX] = "+TERM";
    if (*reason != '\0' && takes_reason(push_message_link(L, msg->client)))
        snprintf(ack, sizeof(ack), TERM "%s", reason);
    return settle(L, msg, ack);
}

static struct log_field text_field(const char *key, const char *data, size_t len) {
    return (struct log_field){
        .key = key, .type = LOG_TYPE_STRING, .value.string = {.data = data, .len = len}};
}

static struct log_field integer_field(const char *key, uint64_t value) {
    return (struct log_field){
        .key = key, .type = LOG_TYPE_INT, .value.integer = (int64_t)value};
}

/* A message that is given up shall be found in the log. */
static void log_term(lua_State *L, const struct msg *msg, const char *reason) {
    struct js_meta meta;
    char text[1024];
    if (!js_parse_reply(msg->reply, &meta))
        return;
    snprintf(text, sizeof(text),
             "consumer '%.*s' of stream '%.*s': message %llu on %s is given up: the script has "
             "terminated it%s%s",
             (int)meta.consumer.len, meta.consumer.at, (int)meta.stream.len, meta.stream.at,
             (unsigned long long)meta.stream_seq, msg->subject, *reason ? ": " : "", reason);
    struct log_field fields[6] = {
        text_field("consumer", meta.consumer.at, meta.consumer.len),
        integer_field("deliveries", meta.num_delivered + msg->attempts),
        integer_field("sequence", meta.stream_seq),
        text_field("stream", meta.stream.at, meta.stream.len),
        text_field("subject", msg->subject, strlen(msg->subject)),
    };
    size_t count = 5;
    if (*reason != '\0')
        fields[count++] = text_field("reason", reason, strlen(reason));
    log_write(LOG_LEVEL_ERROR, service_name(script_service(script_of(L))), text, fields, count);
}

/*
 * msg:term([reason]) -> true | nil, err: never deliver it again. The reason stands in the log,
 * and in the server's advisory, where the server knows reasons.
 */
static int msg_term(lua_State *L) {
    struct msg *msg = check_js_msg(L, "msg:term");
    const char *reason = luaL_optstring(L, 2, "");
    bool before = msg->settled;
    int pushed = term(L, msg, reason);
    if (!before && msg->settled)
        log_term(L, msg, reason);
    return pushed;
}

/* core.js_term(msg) -> true | nil, err: the same for those that log it in words of their own */
static int core_js_term(lua_State *L) {
    return term(L, check_js_msg(L, "msg:term"), "");
}

/* msg:in_progress() -> true | nil, err: the time until redelivery starts anew */
static int msg_in_progress(lua_State *L) {
    struct msg *msg = check_js_msg(L, "msg:in_progress");
    if (msg->settled)
        return push_already_acked(L);
    if (!msg_answerable(msg))
        return push_refused(L, msg);
    struct link *link = push_message_link(L, msg->client);
    if (link != NULL && link_full(link)) /* unlike an ack it may be said without end */
        return room_push_full(L, link, "");
    int pushed = send_ack(L, msg, "+WPI");
    if (pushed > 0)
        return pushed;
    lua_pushboolean(L, 1);
    return 1;
}

/* ---- ack_sync ---- */

struct ack_wait {
    struct link_call call;
    struct fiber *fiber;
    struct link *link;
};
_Static_assert(sizeof(struct ack_wait) <= FIBER_WAIT_SIZE, "wait area");

static void on_ack_reply(struct link_call *call, int status, struct message *reply) {
    struct ack_wait *wait = (struct ack_wait *)call;
    if (reply != NULL) /* it is empty: that it came is all it says */
        message_free(reply);
    fiber_wake(wait->fiber, status);
}

static void abandon_ack(struct fiber *fiber, void *area) {
    (void)fiber;
    link_call_cancel(&((struct ack_wait *)area)->call);
}

static int ack_done(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    struct msg *msg = check_msg(L, 1);
    struct fiber *fiber = wait_resumed(L);
    int rc = fiber_wake_status(fiber);
    fiber_end_wait(fiber);
    msg->settled = rc == LN_OK;
    if (msg->settled)
        count(L, msg, SETTLED_ACK);
    return push_status(L, rc, NULL);
}

/*
 * msg:ack_sync([timeout = 5]) -> true | nil, err: acknowledges and waits until the server has
 * confirmed it. After a failure it may be tried again.
 */
static int msg_ack_sync(lua_State *L) {
    struct msg *msg = check_js_msg(L, "msg:ack_sync");
    uint64_t ms = lua_isnoneornil(L, 2) ? ACK_SYNC_TIMEOUT_MS : check_ms(L, 2);
    struct link *link = push_message_link(L, msg->client); /* stays there while it waits */
    struct fiber *fiber = check_fiber(L, "msg:ack_sync");
    if (link == NULL)
        return wait_to_fail(L, fiber, push_failure(L, LN_ECLOSED, NULL));
    if (msg->settled)
        return wait_to_fail(L, fiber, push_already_acked(L));
    if (!msg_answerable(msg))
        return wait_to_fail(L, fiber, push_refused(L, msg));
    struct ack_wait *wait = fiber_begin_wait(fiber, abandon_ack);
    wait->fiber = fiber;
    wait->link = link;
    struct link_out out = {.subject = msg->reply, .data = "+ACK", .len = 4};
    int rc = link_request(link, &wait->call, script_clock(script_of(L)), &out, short_ms(ms),
                          on_ack_reply);
    if (rc < 0) {
        fiber_end_wait(fiber);
        return wait_to_fail(L, fiber, push_status(L, rc, NULL));
    }
    msg->settled = true; /* while it is under way */
    return wait_yield(L, ack_done);
}

/* ---- metadata ---- */

/* core.js_stripped(msg) -> the token that its subject is shown without, or nil */
static int js_stripped(lua_State *L) {
    const struct msg *msg = check_msg(L, 1);
    if (msg->subject == msg->bytes)
        lua_pushnil(L);
    else
        lua_pushlstring(L, msg->bytes, (size_t)(msg->subject - msg->bytes) - 1);
    return 1;
}

static void set_integer(lua_State *L, const char *name, uint64_t value) {
    lua_pushinteger(L, (lua_Integer)value);
    lua_setfield(L, -2, name);
}

static void set_slice(lua_State *L, const char *name, struct js_slice slice) {
    lua_pushlstring(L, slice.at, slice.len);
    lua_setfield(L, -2, name);
}

/* msg.metadata: a table, or nil for a message that does not come from a stream */
static int push_metadata(lua_State *L, struct msg *msg) {
    struct js_meta meta;
    if (!js_parse_reply(msg->reply, &meta)) {
        lua_pushnil(L);
        return 1;
    }
    lua_createtable(L, 0, 8);
    set_slice(L, "stream", meta.stream);
    set_slice(L, "consumer", meta.consumer);
    if (meta.domain.len > 0)
        set_slice(L, "domain", meta.domain);
    set_integer(L, "stream_sequence", meta.stream_seq);
    set_integer(L, "consumer_sequence", meta.consumer_seq);
    set_integer(L, "num_delivered", meta.num_delivered + msg->attempts);
    set_integer(L, "num_pending", meta.num_pending);
    lua_pushnumber(L, (lua_Number)meta.timestamp / 1e9);
    lua_setfield(L, -2, "timestamp");
    return 1;
}

static const luaL_Reg methods[] = {
    {"ack", msg_ack},   {"ack_sync", msg_ack_sync},       {"nak", msg_nak},
    {"term", msg_term}, {"in_progress", msg_in_progress}, {NULL, NULL},
};

static const struct msg_field fields[] = {{"metadata", push_metadata}, {NULL, NULL}};

void bindings_js_msg(lua_State *L) {
    msg_extend(L, methods, fields);
    lua_pushcfunction(L, core_js_term);
    lua_setfield(L, -2, "js_term");
    lua_pushcfunction(L, js_stripped);
    lua_setfield(L, -2, "js_stripped");
}
