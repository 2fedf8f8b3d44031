/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listeners: declaring them, and running the handler for each message in a fiber of its own.
 *
 * The body of such a fiber is C: it makes the msg, calls the handler under a protected call
 * that may yield, and turns the outcome into a reply, an error reply or an acknowledgement.
 */
#include <string.h>

#include "bindings/bindings.h"
#include "bindings/json/json.h"
#include "bindings/lib/lib.h"
#include "bindings/msg.h"
#include "host/base/log.h"
#include "host/jetstream/status.h"
#include "host/link/answer.h"
#include "host/script/trace.h"

#define HANDLE_TYPE "lunats.listener"

/* Stack of the body: the job, the error handler, the message; then the outcome. */
enum { AT_JOB = 1, AT_ERROR_HANDLER = 2, AT_MSG = 3, AT_RESULT = 4 };

/* ---- errors of a handler ---- */

static bool is_client_error(lua_State *L, int index) {
    bool client = false;
    if (lua_istable(L, index)) {
        lua_getfield(L, index, "code");
        client = lua_type(L, -1) == LUA_TSTRING && strcmp(lua_tostring(L, -1), "bad_json") == 0;
        lua_pop(L, 1);
    }
    return client;
}

/* The code of an error value: its numeric `code`, its `status`, or 500. */
static int error_code(lua_State *L, int index) {
    int code = 500;
    if (!lua_istable(L, index))
        return code;
    static const char *const names[] = {"code", "status"};
    for (int i = 0; i < 2; i++) {
        if (lua_getfield(L, index, names[i]) == LUA_TNUMBER) {
            lua_Integer number = lua_tointeger(L, -1);
            if (number >= 100 && number <= 999)
                code = (int)number;
            i = 1;
        }
        lua_pop(L, 1);
    }
    return code;
}

/* What the sender is told of it. */
static int fail(lua_State *L, const struct job *job, int index) {
    int code = error_code(L, index);
    job_failed(job, code, error_text(L, index));
    return 0;
}

static bool has_numeric_code(lua_State *L, int index) {
    bool numeric = false;
    if (lua_istable(L, index)) {
        numeric = lua_getfield(L, index, "code") == LUA_TNUMBER;
        lua_pop(L, 1);
    }
    return numeric;
}

/* The error value of a handler that has been reported and answered. */
static const char told;

/* A raised error that nobody has reported yet; `trace` may be the text again. */
static void report_raised(lua_State *L, const struct job *job, int index, const char *trace) {
    struct script *script = script_of(L);
    if (!has_numeric_code(L, index)) {
        job_raised(job, trace, error_text(L, index));
        return;
    }
    const char *name = listener_options(job->listener)->name;
    script_report(script, lua_pushfstring(L, "listener %s: %s", name, trace));
    fail(L, job, index);
}

/* Message handler of the protected call: the traceback exists only here. */
static int on_error(lua_State *L) {
    struct script *script = script_of(L);
    struct fiber *fiber = fibers_current(script_fibers(script));
    const struct job *job = fiber_arg(fiber);
    if (fiber_cancelled(fiber))
        return 1;
    if (is_client_error(L, 1)) { /* the sender's mistake: no traceback of ours helps */
        log_warn(service_name(script_service(script)), "%s", error_text(L, 1));
        fail(L, job, 1);
    } else {
        luaL_traceback(L, L, error_text(L, 1), 1);
        report_raised(L, job, 1, lua_tostring(L, -1));
    }
    lua_pushlightuserdata(L, (void *)(uintptr_t)&told);
    return 1;
}

/* The handler has raised the value on top of the stack. on_error() has seen to it, unless
 * memory or the stack ran out. */
static void raised(lua_State *L, const struct job *job) {
    if (lua_touserdata(L, -1) != &told)
        report_raised(L, job, -1, error_text(L, -1));
}

/* ---- outcome ---- */

static int reply_failed(lua_State *L, const struct job *job, int rc) {
    const char *text = lua_pushfstring(L, "listener %s: the reply was not sent: %s",
                                       listener_options(job->listener)->name, status_text(rc));
    script_report(script_of(L), text);
    if (rc == LN_ETOOLARGE)
        job_failed(job, 500, "the reply is larger than the max_payload of the server");
    return 0;
}

static int reply(lua_State *L, const struct job *job) {
    if (lua_isnil(L, AT_RESULT)) {
        if (!lua_isnil(L, AT_RESULT + 1))
            return fail(L, job, AT_RESULT + 1);
        return 0;
    }
    if (!job_wants_reply(job))
        return 0;
    struct link_out out = {.subject = job_msg(job)->reply, .checked = true};
    if (!link_may_answer(job_link(job), out.subject)) {
        job_refused(job, out.subject);
        return 0;
    }
    out.data = check_message(L, AT_RESULT, &out.len);
    int rc = link_publish(job_link(job), &out);
    if (rc < 0)
        return reply_failed(L, job, rc);
    job_answered(job);
    return 0;
}

static int handler_done(lua_State *L, int status, lua_KContext context) {
    const struct job *job = (const struct job *)context;
    bool success = status == LUA_OK || status == LUA_YIELD;
    if (!success && fiber_cancelled(fibers_current(script_fibers(script_of(L)))))
        return lua_error(L); /* the fiber ends as cancelled */
    if (success)
        return reply(L, job);
    raised(L, job);
    return 0;
}

static int listener_body(lua_State *L) {
    struct job *job = lua_touserdata(L, AT_JOB);
    const struct listener_options *listener = listener_options(job->listener);
    lua_pushcfunction(L, on_error);
    struct msg *msg = push_msg(L, job_msg(job), (enum msg_data)listener->type);
    msg->client = listener->client;
    if (msg->reply != NULL && !answer_ok(msg->reply))
        msg->proven = js_delivered(listener->subject, msg->subject, msg->reply);
    job_hold(job, &msg->job); /* lies on this stack until the end of the fiber */
    lua_rawgeti(L, LUA_REGISTRYINDEX, listener->handler);
    lua_pushvalue(L, AT_MSG);
    int status = lua_pcallk(L, 1, 2, AT_ERROR_HANDLER, (lua_KContext)job, handler_done);
    return handler_done(L, status, (lua_KContext)job);
}

/* ---- declaring ---- */

static void read_numbers(lua_State *L, struct listener_options *out) {
    if (!lua_istable(L, 2))
        return;
    if (lua_getfield(L, 2, "concurrency") == LUA_TNUMBER) {
        lua_Integer limit = lua_tointeger(L, -1);
        out->concurrency = limit > 1000000 ? 1000000 : (uint32_t)(limit < 1 ? 1 : limit);
    }
    if (lua_getfield(L, 2, "pending") == LUA_TNUMBER)
        out->pending_msgs = (int)lua_tointeger(L, -1);
    lua_pop(L, 2);
}

static const char *text_option(lua_State *L, const char *name) {
    if (!lua_istable(L, 2) || lua_getfield(L, 2, name) != LUA_TSTRING)
        return NULL;
    return lua_tostring(L, -1); /* stays on the stack while it is used */
}

/* Pushes a handle without listener. */
static struct listener **push_handle(lua_State *L) {
    struct listener **box = lua_newuserdatauv(L, sizeof(*box), 0);
    *box = NULL;
    luaL_setmetatable(L, HANDLE_TYPE);
    return box;
}

/*
 * core.listen(subject, opts | nil, fn) -> handle
 * opts are checked by the Lua side: queue, name, data_type, concurrency, pending.
 */
static int core_listen(lua_State *L) {
    struct script *script = script_of(L);
    check_open(L);
    struct who who = check_who(L);
    struct listener_options options = {.subject = check_pattern(L, 1), .client = who.id};
    luaL_checktype(L, 3, LUA_TFUNCTION);
    lua_settop(L, 3);
    options.type = (int)option_data_type(L, 2);
    options.body = listener_body;
    options.queue = text_option(L, "queue");
    options.name = text_option(L, "name");
    read_numbers(L, &options);

    lua_Debug info;
    lua_pushvalue(L, 3);
    lua_getinfo(L, ">S", &info);
    options.where = lua_pushfstring(L, "%s:%d", info.short_src, info.linedefined);

    struct listener **box = push_handle(L);
    int handle = lua_gettop(L);
    lua_pushvalue(L, 3);
    options.handler = luaL_ref(L, LUA_REGISTRYINDEX);
    int rc = script_state(script) == SCRIPT_RETIRING ? LN_ECLOSED : LN_OK;
    if (rc == LN_OK)
        rc = listener_open(box, who.intake, script, &options);
    else
        luaL_unref(L, LUA_REGISTRYINDEX, options.handler);
    if (rc == LN_OK && (who.id != 0 || script_state(script) == SCRIPT_RUNNING))
        rc = listener_subscribe(*box);
    if (rc < 0) {
        if (*box != NULL)
            listener_stop(*box, 0);
        return raise_error(L, "cannot listen to %s: %s", options.subject, status_text(rc));
    }
    lua_settop(L, handle);
    return 1;
}

/* handle:stop(): messages that have arrived are handled, then no more come. */
static int handle_stop(lua_State *L) {
    struct listener **box = luaL_checkudata(L, 1, HANDLE_TYPE);
    if (*box != NULL)
        listener_stop(*box, service_drain_ms(script_service(script_of(L))));
    return 0;
}

static int handle_gc(lua_State *L) {
    struct listener **box = luaL_checkudata(L, 1, HANDLE_TYPE);
    if (*box != NULL)
        listener_let_go(*box);
    *box = NULL;
    return 0;
}

static const luaL_Reg handle_methods[] = {
    {"stop", handle_stop},
    {NULL, NULL},
};

static void set_integer(lua_State *L, const char *name, uint64_t value) {
    lua_pushinteger(L, (lua_Integer)value);
    lua_setfield(L, -2, name);
}

static void set_string(lua_State *L, const char *name, const char *value) {
    lua_pushstring(L, value); /* nil for NULL */
    lua_setfield(L, -2, name);
}

static void push_listener(lua_State *L, const struct listener *listener) {
    const struct listener_options *options = listener_options(listener);
    struct listener_stats stats;
    listener_get_stats(listener, &stats);
    lua_createtable(L, 0, 8);
    set_string(L, "subject", options->subject);
    set_string(L, "queue", options->queue);
    set_string(L, "name", options->name);
    set_string(L, "where", options->where);
    set_integer(L, "concurrency", options->concurrency);
    set_integer(L, "received", stats.received);
    set_integer(L, "failed", stats.failed);
    set_integer(L, "running", stats.running);
}

static int push_listeners(lua_State *L) {
    const struct script *script = script_of(L);
    const struct intake *intake = service_intake(script_service(script));
    struct listener *at = NULL;
    lua_newtable(L);
    for (lua_Integer i = 1; (at = listener_next(intake, script, at)) != NULL; i++) {
        push_listener(L, at);
        lua_rawseti(L, -2, i);
    }
    return 1;
}

/* core.listeners() -> list of { subject, queue, name, where, concurrency, received, failed,
 * running } */
static int core_listeners(lua_State *L) {
    lua_settop(L, 0);
    return call_undisturbed(L, push_listeners); /* a finalizer may stop one */
}

/* core.check_pattern(subject): raises unless it can be listened to */
static int core_check_pattern(lua_State *L) {
    check_pattern(L, 1);
    return 0;
}

const luaL_Reg listen_functions[] = {
    {"listen", core_listen},
    {NULL, NULL},
};

/* core.check_subject(subject): raises unless it can be published to */
static int core_check_subject(lua_State *L) {
    check_subject(L, 1);
    return 0;
}

static const luaL_Reg functions[] = {
    {"check_pattern", core_check_pattern},
    {"check_subject", core_check_subject},
    {"listeners", core_listeners},
    {NULL, NULL},
};

void bindings_listen(lua_State *L) {
    luaL_newmetatable(L, HANDLE_TYPE);
    lua_newtable(L);
    luaL_setfuncs(L, handle_methods, 0);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, handle_gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    luaL_setfuncs(L, listen_functions, 0);
    luaL_setfuncs(L, functions, 0);
}
