/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What scripts/js/consume.lua needs from C: a consume, each message in a fiber of its own.
 *
 * A message that is handled is acknowledged here; everything else - errors, messages that were
 * delivered too often, a lost consumer - is decided by functions in Lua. The userdata anchors
 * itself as long as the consume runs, so that a script need not keep the handle.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bindings/js/consume.h"
#include "bindings/js/js.h"
#include "bindings/lib/lib.h"
#include "bindings/msg.h"
#include "host/base/log.h"
#include "host/jetstream/consume.h"
#include "host/jetstream/status.h"
#include "host/link/message.h"
#include "host/script/trace.h"
#include "host/service/vitals.h"
#include "host/trace/tracer.h"

#define CONSUME_TYPE "lunats.consume"

/* Stack of the body; then what the handler returned. */
enum { AT_RECORD = 1, AT_ERROR_HANDLER = 2, AT_MSG = 3, AT_RESULT = 4 };

/* ---- traces ---- */

/* A handler that was called long after its message was stored has a trace of its own. Where
 * nothing is recorded the trace of the message is passed on. */
static void begin_trace(const struct consume_box *box, const struct message *msg) {
    struct tracer *tracer = service_tracer(script_service(box->script));
    struct trace *trace = NULL;
    if (tracer != NULL)
        trace = trace_handle(tracer, msg->headers, msg->headers_len, ORIGIN_STORED, 0);
    else if (msg->headers != NULL)
        trace = trace_pass(msg->headers, msg->headers_len);
    if (trace != NULL)
        fiber_set_trace(fibers_current(script_fibers(box->script)), trace);
}

/* `why`, on top of the stack, is what was raised or returned. */
static void fail_trace(lua_State *L, const struct consume_box *box) {
    struct trace *trace = fiber_trace(fibers_current(script_fibers(box->script)));
    if (trace == NULL || service_tracer(script_service(box->script)) == NULL)
        return;
    int why = lua_gettop(L);
    const char *traceback = NULL;
    if (is_raised(L, why)) {
        lua_rawgeti(L, why, RAISED_TRACE);
        traceback = lua_tostring(L, -1);
        lua_rawgeti(L, why, RAISED_VALUE);
    }
    trace_failed(trace, error_text(L, -1), traceback);
    lua_settop(L, why);
}

/* ---- one message ---- */

/* Of a message with a key: its handler, or what has become of its failure, wants it again. */
static void note_again(struct consume_msg *record, struct msg *msg) {
    if (msg->held == MSG_AGAIN) {
        consume_want_again(record, msg->again_ms);
        record->result = CONSUME_AGAIN;
    }
    msg->held = MSG_FREE;
}

static int failed_done(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    note_again(lua_touserdata(L, AT_RECORD), lua_touserdata(L, AT_MSG));
    return 0;
}

/* Lua decides what becomes of it: failed(msg, why), `why` on the top of the stack. */
static int call_failed(lua_State *L, struct consume_msg *record) {
    const struct consume_box *box = record->owner;
    lua_rawgeti(L, LUA_REGISTRYINDEX, box->failed); /* why, failed */
    lua_insert(L, -2);
    lua_pushvalue(L, AT_MSG);
    lua_insert(L, -2); /* failed, msg, why */
    lua_callk(L, 2, 0, 0, failed_done);
    return failed_done(L, LUA_OK, 0);
}

/* The message handler: what it catches is in the registry, below the address of the record. */
static int on_error(lua_State *L) {
    struct consume_msg *record = fiber_arg(fibers_current(script_fibers(script_of(L))));
    lua_settop(L, 1);
    if (record->caught)
        lua_rawgetp(L, LUA_REGISTRYINDEX, record);
    else
        lua_pushnil(L); /* what is there is of a fiber that never came to body_done() */
    catch_raised(L, 1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, record);
    record->caught = true;
    return 1;
}

/* Replaces the error on the top of the stack by what was caught; nothing was if memory ran
 * out. */
static void take_caught(lua_State *L, const struct consume_msg *record) {
    if (!record->caught)
        return;
    lua_rawgetp(L, LUA_REGISTRYINDEX, record);
    lua_replace(L, -2);
    lua_pushnil(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, record);
}

static int body_done(lua_State *L, int status, lua_KContext context) {
    (void)context;
    struct consume_msg *record = lua_touserdata(L, AT_RECORD);
    struct consume_box *box = record->owner;
    struct msg *msg = lua_touserdata(L, AT_MSG);
    bool success = status == LUA_OK || status == LUA_YIELD;
    if (!success && fiber_cancelled(fibers_current(script_fibers(box->script))))
        return lua_error(L); /* the fiber ends as cancelled */
    bool refused = success && lua_isnil(L, AT_RESULT) && !lua_isnil(L, AT_RESULT + 1);
    record->result = CONSUME_SETTLED;
    if (success && !refused) {
        if (box->auto_ack && !msg->settled)
            record->result = CONSUME_ACK;
        if (msg->held != MSG_FREE)
            note_again(record, msg);
        return 0;
    }
    box->failures++;
    if (success)
        lua_settop(L, AT_RESULT + 1);
    else
        take_caught(L, record);
    fail_trace(L, box);
    return call_failed(L, record);
}

static bool delivered_too_often(const struct consume_box *box, const struct msg *msg) {
    struct js_meta meta;
    return box->max_deliver > 0 && js_parse_reply(msg->reply, &meta) &&
           meta.num_delivered + msg->attempts > (uint64_t)box->max_deliver;
}

struct msg *consume_push_msg(lua_State *L, const struct consume_box *box,
                             const struct message *from) {
    struct msg *msg = push_msg(L, from, (enum msg_data)box->type);
    if (msg->type == MSG_CODEC) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, box->codec);
        msg_set_codec(L);
    }
    if (box->strips)
        msg_strip(msg);
    return msg;
}

static int body(lua_State *L) {
    struct consume_msg *record = lua_touserdata(L, AT_RECORD);
    const struct consume_box *box = record->owner;
    begin_trace(box, record->msg);
    lua_pushcfunction(L, on_error);
    struct msg *msg = consume_push_msg(L, box, record->msg);
    record->data = msg;
    msg->client = box->client;
    msg->proven = true; /* seen to by demand.c */
    bool keyless = false;
    if (record->turn != NULL) {
        msg->held = MSG_HELD;
        msg->attempts = consume_attempts(record);
        keyless = consume_key_failed(record);
    }
    if (delivered_too_often(box, msg)) { /* nobody could even say that it failed */
        record->result = CONSUME_SETTLED;
        lua_pushnil(L);
        return call_failed(L, record);
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, keyless ? box->keyless : box->handler);
    lua_pushvalue(L, AT_MSG);
    int status = lua_pcallk(L, 1, 2, AT_ERROR_HANDLER, 0, body_done);
    return body_done(L, status, 0);
}

static void report(const struct consume_box *box, const char *subject, const char *text) {
    struct script_error error = {.text = text, .kind = "consume", .subject = subject};
    script_report_error(box->script, &error);
}

static void on_body_end(struct fiber *fiber, void *arg, int status, const char *text) {
    struct consume_msg *record = arg;
    const struct consume_box *box = record->owner;
    if (status == LN_ESCRIPT)
        report(box, record->msg->subject, text);
    if (fiber_trace(fiber) != NULL)
        trace_handled(fiber_trace(fiber), box->span_label, record->msg->subject, 0);
    record->data = NULL;
    /* Cut off, or failed where nothing should fail: somebody else shall try. */
    enum consume_how how = status == LN_OK ? (enum consume_how)record->result : CONSUME_NAK;
    struct reader *reader = box->reader->reader;
    if (reader != NULL && (how == CONSUME_ACK || how == CONSUME_NAK)) /* else msg.c counts */
        reader_settled(reader, how == CONSUME_ACK ? SETTLED_ACK : SETTLED_NAK);
    consume_done(record, how);
}

static void write_title(const void *arg, char *out, size_t size) {
    const struct consume_msg *record = arg;
    const struct consume_box *box = record->owner;
    snprintf(out, size, "%s (%s)", box->title, record->msg->subject);
}

static size_t facts(const void *arg, struct log_field out[LOG_CONTEXT_MAX]) {
    const struct consume_msg *record = arg;
    const struct consume_box *box = record->owner;
    const struct reader *reader = box->reader->reader;
    size_t count = 0;
    if (reader != NULL) {
        out[count++] = log_text("consumer", reader->consumer);
        out[count++] = log_text("stream", reader->stream);
    }
    out[count++] = log_text("subject", record->msg->subject);
    return count;
}

static const struct fiber_role role = {on_body_end, write_title, NULL, facts};

static void on_msg(void *owner, struct consume_msg *record) {
    const struct consume_box *box = owner;
    struct reader *reader = box->reader->reader;
    if (reader != NULL)
        reader->last_ms = clock_now(service_clock(script_service(box->script)));
    if (fiber_spawn(script_fibers(box->script), FIBER_HANDLER, body, record, on_body_end) < 0)
        consume_done(record, CONSUME_NAK);
}

static bool is_settled(const struct consume_msg *record) {
    const struct msg *msg = record->data;
    return msg != NULL && msg->settled;
}

static bool may_ask(const void *owner) {
    const struct consume_box *box = owner;
    return box->lease == NULL || lease_box_holds(box->lease);
}

/* ---- a lost consumer ---- */

static int lost_done(lua_State *L, int status, lua_KContext context) {
    (void)L, (void)status, (void)context;
    return 0;
}

static int lost_body(lua_State *L) {
    const struct consume_box *box = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, box->lost);
    push_error(L, status_word(box->lost_status),
               box->lost_text[0] != '\0' ? box->lost_text : status_text(box->lost_status));
    lua_pushboolean(L, box->lost_silent);
    lua_callk(L, 2, 0, 0, lost_done);
    return 0;
}

static void on_lost_end(struct fiber *fiber, void *arg, int status, const char *text) {
    (void)fiber;
    struct consume_box *box = arg;
    if (status == LN_ESCRIPT)
        report(box, NULL, text);
    if (status != LN_OK && box->consume != NULL)
        consume_stop(box->consume, false);
}

static void on_lost(void *owner, int status, const char *text, bool silent) {
    struct consume_box *box = owner;
    box->lost_status = status;
    box->lost_silent = silent;
    if (box->reader->reader != NULL)
        reader_set(box->reader->reader, silent ? READER_SILENT : READER_MISSING,
                   text != NULL ? text : status_text(status));
    snprintf(box->lost_text, sizeof(box->lost_text), "%s", text != NULL ? text : "");
    if (fiber_spawn(script_fibers(box->script), FIBER_BACKGROUND, lost_body, box, on_lost_end) <
        0)
        consume_stop(box->consume, false);
}

static void on_full(void *owner, const struct consume_stats *stats) {
    const struct consume_box *box = owner;
    log_warn(service_name(script_service(box->script)),
             "%s is too slow: its queue is full; %llu messages (%.1f MB) are dropped, %llu so "
             "far; %zu (%.1f MB) wait, %zu of %u handlers run",
             box->title, (unsigned long long)stats->untold, (double)stats->untold_bytes / 1e6,
             (unsigned long long)stats->dropped, stats->queued,
             (double)stats->queued_bytes / 1e6, stats->running, box->concurrency);
}

/* ---- life ---- */

static void box_close(struct consume_box *box) {
    struct consume *consume = box->consume;
    if (consume == NULL)
        return;
    box->consume = NULL;
    consume_keys_show(box, false);
    consume_get_stats(consume, &box->stats);
    consume_close(consume);
}

void consume_box_unref(struct consume_box *box) {
    lua_State *L = script_lua(box->script); /* clears fields that exist: cannot raise */
    int *const references[] = {&box->handler, &box->failed,  &box->lost, &box->codec,
                               &box->key,     &box->keyless, &box->self};
    for (size_t i = 0; i < sizeof(references) / sizeof(references[0]); i++) {
        luaL_unref(L, LUA_REGISTRYINDEX, *references[i]);
        *references[i] = LUA_NOREF;
    }
}

static void on_end(void *owner) {
    struct consume_box *box = owner;
    script_remove_resource(&box->resource);
    box_close(box);
    if (!box->finding)
        consume_box_unref(box);
}

static void on_script_close(struct script_resource *resource) {
    box_close((struct consume_box *)resource);
}

static void on_script_begin(struct script_resource *resource) {
    struct consume_box *box = (struct consume_box *)resource;
    int rc = consume_begin(box->consume);
    if (rc < 0) /* not from inside of whoever begins */
        on_lost(box, rc, NULL, false);
}

static void on_script_drain(struct script_resource *resource) {
    struct consume_box *box = (struct consume_box *)resource;
    consume_stop(box->consume, box->pushed);
}

static const struct consume_events events = {
    .on_msg = on_msg,
    .is_settled = is_settled,
    .may_ask = may_ask,
    .on_unkeyed = consume_keys_wanted,
    .on_lost = on_lost,
    .on_full = on_full,
    .on_end = on_end,
};

static uint32_t number_field(lua_State *L, int arg, const char *name, lua_Integer max) {
    lua_getfield(L, arg, name);
    lua_Integer value = lua_tointeger(L, -1);
    lua_pop(L, 1);
    return (uint32_t)(value < 0 ? 0 : value > max ? max : value);
}

/* Those that the consumer sets. */
static void take_limits(lua_State *L, int arg, struct consume_box *box,
                        struct consume_options *out) {
    out->max_batch = number_field(L, arg, "max_batch", INT32_MAX);
    out->expires_ms = short_ms(option_ms(L, arg, "expires", 30000));
    out->heartbeat_ms = short_ms(option_ms(L, arg, "heartbeat", 5000));
    out->ack_wait_ms = option_ms(L, arg, "ack_wait", 0);
    box->max_deliver = number_field(L, arg, "max_deliver", INT32_MAX);
}

/* Borrowed from the table. */
static const char *text_field(lua_State *L, const char *name) {
    lua_getfield(L, 4, name);
    const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
    lua_pop(L, 1);
    return text;
}

static void take_options(lua_State *L, struct consume_box *box, struct consume_options *out) {
    out->deliver = text_field(L, "deliver");
    out->queue = text_field(L, "queue");
    out->queue_max = number_field(L, 4, "pending", INT32_MAX);
    out->queue_bytes = number_field(L, 4, "pending_bytes", UINT32_MAX);
    box->pushed = out->deliver != NULL;
    take_limits(L, 4, box, out);
    out->max_messages = number_field(L, 4, "max_messages", 1000000);
    box->concurrency = out->concurrency = number_field(L, 4, "concurrency", 1000000);
    box->type = (unsigned char)option_data_type(L, 4);
    box->codec = luaL_ref(L, LUA_REGISTRYINDEX); /* nil without */
    lua_getfield(L, 4, "group");
    out->group = check_group(L, lua_gettop(L));
    consume_keys_take(L, 4, box, out);
    out->beside_max = number_field(L, 4, "beside", INT32_MAX);
    out->settle_count = number_field(L, 4, "settle", INT32_MAX);
    out->settle_ms = short_ms(option_ms(L, 4, "settle_time", 0));
    lua_getfield(L, 4, "auto_ack");
    box->auto_ack = lua_toboolean(L, -1);
    lua_getfield(L, 4, "strip");
    box->strips = lua_toboolean(L, -1);
    lua_getfield(L, 4, "sole");
    out->sole = lua_toboolean(L, -1);
    lua_settop(L, 8);
    lua_getfield(L, 4, "reader");
    box->reader = check_reader(L, 9);
    lua_setiuservalue(L, 8, 1);
    if (lua_getfield(L, 4, "lease") != LUA_TNIL)
        box->lease = check_lease(L, 9);
    lua_setiuservalue(L, 8, 2);
    lua_getfield(L, 4, "pull"); /* at 9 */
}

static int ref_argument(lua_State *L, int arg) {
    lua_pushvalue(L, arg);
    return luaL_ref(L, LUA_REGISTRYINDEX);
}

/*
 * core.js_consume(stream, consumer, api_prefix, opts, handler, failed, lost) -> consume
 * opts are checked by the Lua side: max_messages, concurrency, max_batch, expires, heartbeat,
 * ack_wait (0: no acknowledgements), max_deliver, data_type, auto_ack, reader, group
 * (check_group()), pull (whose pin it shares); of a consumer that pushes: deliver (its
 * subject), queue, pending; for order by keys: key (a text, or a function that must not wait),
 * keyless(msg), which raises why there is none, beside, settle (messages that readers which are
 * gone have had); strip: subjects are shown without their first token; lease (js_lease()), as
 * long as which holds messages are asked for. failed(msg, why): why is
 * for core.caught(), what the handler refused with, or nil when the message was delivered more
 * than max_deliver times. lost(err, silent): the consumer is gone.
 */
static int js_consume(lua_State *L) {
    const char *stream = luaL_checkstring(L, 1), *consumer = luaL_checkstring(L, 2);
    const char *prefix = check_subject(L, 3);
    luaL_checktype(L, 4, LUA_TTABLE);
    for (int i = 5; i <= 7; i++)
        luaL_checktype(L, i, LUA_TFUNCTION);
    lua_settop(L, 7);
    check_open(L);
    struct link *link = check_link(L);
    struct who who = check_who(L);
    struct script *script = script_of(L);
    struct consume_box *box = lua_newuserdatauv(L, sizeof(*box), 2);
    memset(box, 0, sizeof(*box));
    box->key = box->keyless = LUA_NOREF;
    box->script = script;
    box->client = who.id;
    snprintf(box->title, sizeof(box->title), "consumer %s of stream %s", consumer, stream);
    fibers_add_role(script_fibers(script), &role);
    luaL_setmetatable(L, CONSUME_TYPE); /* ..., box */
    if (service_tracer(script_service(script)) != NULL)
        box->span_label = span_label("", consumer, stream);
    struct consume_options options = {.version = script};
    take_options(L, box, &options);
    lua_pushvalue(L, 8);
    box->self = luaL_ref(L, LUA_REGISTRYINDEX);
    box->lost = ref_argument(L, 7);
    box->failed = ref_argument(L, 6);
    box->handler = ref_argument(L, 5);
    if (options.group.name[0] != '\0')
        options.pin = check_pin(L, 9);
    int rc = consume_open(&box->consume, link, service_clock(script_service(script)), prefix,
                          stream, consumer, &options, &events, box);
    bool running = script_state(script) == SCRIPT_RUNNING;
    if (rc == LN_OK && options.key.kind != MESSAGE_KEY_NONE)
        consume_keys_show(box, true);
    if (rc == LN_OK && running)
        rc = consume_begin(box->consume);
    if (rc < 0) {
        box_close(box);
        consume_box_unref(box);
        return luaL_error(L, "js_consume: %s", status_text(rc));
    }
    box->resource.begin = running ? NULL : on_script_begin;
    box->resource.close = on_script_close;
    box->resource.drain = on_script_drain;
    resources_add(who.resources, &box->resource);
    if (script_state(script) == SCRIPT_RETIRING)
        consume_stop(box->consume, false);
    lua_settop(L, 8);
    return 1;
}

static struct consume_box *check_box(lua_State *L) {
    return luaL_checkudata(L, 1, CONSUME_TYPE);
}

/* consume:stop(drain) */
static int box_stop(lua_State *L) {
    struct consume_box *box = check_box(L);
    if (box->consume != NULL)
        consume_stop(box->consume, lua_toboolean(L, 2));
    return 0;
}

/* consume:set_limits { max_batch, expires, heartbeat, ack_wait, max_deliver }: those of the
 * consumer have been changed */
static int box_set_limits(lua_State *L) {
    struct consume_box *box = check_box(L);
    luaL_checktype(L, 2, LUA_TTABLE);
    struct consume_options options;
    take_limits(L, 2, box, &options);
    if (box->consume != NULL)
        consume_set_limits(box->consume, &options);
    return 0;
}

/* consume:heard() -> boolean: whether anything has come since the last call */
static int box_heard(lua_State *L) {
    struct consume_box *box = check_box(L);
    lua_pushboolean(L, box->consume != NULL && consume_heard(box->consume));
    return 1;
}

/* consume:resume(): the consumer is there again */
static int box_resume(lua_State *L) {
    struct consume_box *box = check_box(L);
    if (box->consume != NULL)
        consume_resume(box->consume);
    return 0;
}

/* consume:over() -> boolean: stopped, and the last handler has ended */
static int box_over(lua_State *L) {
    lua_pushboolean(L, check_box(L)->consume == NULL);
    return 1;
}

/* consume:stopped() -> boolean */
static int box_stopped(lua_State *L) {
    struct consume_box *box = check_box(L);
    lua_pushboolean(L, box->consume == NULL || consume_stopped(box->consume));
    return 1;
}

static void set_count(lua_State *L, const char *name, uint64_t value) {
    lua_pushinteger(L, (lua_Integer)value);
    lua_setfield(L, -2, name);
}

/* consume:stats() -> { received, acked, failed, returned, dropped, running, queued,
 * keys, blocked } */
static int box_stats(lua_State *L) {
    struct consume_box *box = check_box(L);
    if (box->consume != NULL)
        consume_get_stats(box->consume, &box->stats);
    lua_createtable(L, 0, 9);
    set_count(L, "received", box->stats.received);
    set_count(L, "acked", box->stats.acked);
    set_count(L, "failed", box->failures);
    set_count(L, "returned", box->stats.returned);
    set_count(L, "dropped", box->stats.dropped);
    set_count(L, "running", box->stats.running);
    set_count(L, "queued", box->stats.queued);
    set_count(L, "keys", box->stats.keys.keys);
    set_count(L, "blocked", box->stats.keys.blocked);
    return 1;
}

static int box_gc(lua_State *L) {
    struct consume_box *box = check_box(L);
    if (box->consume != NULL)
        script_remove_resource(&box->resource);
    box_close(box);
    free(box->span_label);
    box->span_label = NULL;
    return 0;
}

static const luaL_Reg methods[] = {
    {"set_limits", box_set_limits}, {"stop", box_stop}, {"heard", box_heard},
    {"resume", box_resume},         {"over", box_over}, {"stopped", box_stopped},
    {"stats", box_stats},           {"__gc", box_gc},   {NULL, NULL},
};

/* The same connection of another version is another link. */
static bool taken_over(const struct connection_handle *handle, const char *consumer,
                       struct script *own) {
    const struct list *all = service_connections(script_service(own));
    for (struct connection *at = NULL; (at = connection_next(all, at)) != NULL;)
        if (at != handle->connection && connection_same(at, handle->connection) &&
            consume_of_other_version(connection_link(at), consumer, own))
            return true;
    return false;
}

/* core.js_taken_over("<stream>.<consumer>") -> whether the version that this one replaces
 * consumes from it */
static int js_taken_over(lua_State *L) {
    const char *consumer = luaL_checkstring(L, 1);
    const struct connection_handle *handle = lua_touserdata(L, lua_upvalueindex(1));
    struct link *link = check_link(L); /* raises for one that is gone, too */
    lua_pushboolean(L, handle != NULL ? taken_over(handle, consumer, script_of(L))
                                      : consume_of_other_version(link, consumer, script_of(L)));
    return 1;
}

static const luaL_Reg functions[] = {
    {"js_consume", js_consume},
    {"js_taken_over", js_taken_over},
    {NULL, NULL},
};

void bindings_js_consume(lua_State *L) {
    add_class(L, CONSUME_TYPE, methods);
    luaL_setfuncs(L, functions, 0);
}
