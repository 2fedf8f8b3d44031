/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listeners: declaring them, and running the handler for each message in a fiber of its own.
 *
 * The body of such a fiber is C: it makes the msg and calls the handler under a protected call
 * that may yield; ./outcome.c turns what comes of it into a reply or an error reply.
 */
#include "bindings/bindings.h"
#include "bindings/lib/expiry.h"
#include "bindings/lib/lib.h"
#include "bindings/msg.h"
#include "bindings/outcome.h"
#include "host/jetstream/status.h"
#include "host/link/answer.h"

#define HANDLE_TYPE "lunats.listener"

static int listener_body(lua_State *L) {
    struct job *job = lua_touserdata(L, OUTCOME_AT_JOB);
    const struct listener_options *listener = listener_options(job->listener);
    if (job->traced)
        job_begin_trace(job, script_fibers(script_of(L)));
    lua_pushcfunction(L, outcome_on_error);
    struct msg *msg = push_msg(L, job_msg(job), (enum msg_data)listener->type);
    if (msg->type == MSG_CODEC) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, listener->codec);
        msg_set_codec(L);
    }
    msg->client = listener->client;
    if (msg->reply != NULL && !answer_ok(msg->reply))
        msg->proven = js_delivered(listener->subject, msg->subject, msg->reply);
    if (msg->headers != NULL)
        msg->expires = expiry_begin(L, job_msg(job));
    job_hold(job, &msg->job); /* lies on this stack until the end of the fiber */
    lua_rawgeti(L, LUA_REGISTRYINDEX,
                job_key_failed(job) ? listener->keyless : listener->handler);
    lua_pushvalue(L, OUTCOME_AT_MSG);
    int status =
        lua_pcallk(L, 1, 2, OUTCOME_AT_ERROR_HANDLER, (lua_KContext)job, outcome_of_handler);
    return outcome_of_handler(L, status, (lua_KContext)job);
}

/* ---- keys ---- */

/* In one go, which must not take long. */
#define KEYS_AT_ONCE 64

/* The function gets a message of its own, and must not wait: keys are found in the order of the
 * messages. It may end the listener. */
static void find_key(lua_State *L, struct listener_keys *keys,
                     const struct listener_options *listener, const struct job *job) {
    size_t len = 0;
    lua_settop(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, listener->key);
    push_msg(L, job_msg(job), (enum msg_data)listener->type);
    if (listener->type == MSG_CODEC) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, listener->codec);
        msg_set_codec(L);
    }
    bool found = lua_pcall(L, 1, 1, 0) == LUA_OK;
    const char *key = found && !lua_isnil(L, -1) ? lua_tolstring(L, -1, &len) : NULL;
    if (listener_unkeyed(keys) == job)
        listener_set_key(keys, job, key, len, !found);
}

/* A version that has been replaced meanwhile leaves it to the next one. */
static int find_keys(lua_State *L) {
    struct listener_keys *keys = lua_touserdata(L, 1);
    for (int i = 0; i < KEYS_AT_ONCE; i++) {
        const struct listener_options *listener = listener_keys_options(keys, script_of(L));
        const struct job *job = listener_unkeyed(keys);
        if (job == NULL || listener == NULL)
            break;
        find_key(L, keys, listener, job);
    }
    return 0;
}

/* ---- declaring ---- */

static void read_numbers(lua_State *L, struct listener_options *out) {
    if (!lua_istable(L, 2))
        return;
    if (lua_getfield(L, 2, "concurrency") == LUA_TNUMBER) {
        lua_Integer limit = lua_tointeger(L, -1);
        out->concurrency = limit > 1000000 ? 1000000 : (uint32_t)(limit < 1 ? 1 : limit);
    }
    if (lua_getfield(L, 2, "pending") == LUA_TNUMBER) {
        lua_Integer limit = lua_tointeger(L, -1);
        out->pending_msgs = limit > INT32_MAX ? INT32_MAX : (int)limit;
    }
    if (lua_getfield(L, 2, "pending_bytes") == LUA_TNUMBER)
        out->pending_bytes = (size_t)lua_tointeger(L, -1);
    lua_pop(L, 3);
}

static const char *text_option(lua_State *L, const char *name) {
    if (!lua_istable(L, 2) || lua_getfield(L, 2, name) != LUA_TSTRING)
        return NULL;
    return lua_tostring(L, -1); /* stays on the stack while it is used */
}

static bool flag_option(lua_State *L, const char *name) {
    return lua_istable(L, 2) && lua_getfield(L, 2, name) == LUA_TBOOLEAN &&
           lua_toboolean(L, -1);
}

/* A function, or a text that the Lua side has checked. */
static void take_key(lua_State *L, struct listener_options *out) {
    if (!lua_istable(L, 2))
        return;
    if (lua_getfield(L, 2, "key") == LUA_TFUNCTION) {
        out->key_source.kind = MESSAGE_KEY_FUNCTION;
        out->find_keys = find_keys;
        out->key = luaL_ref(L, LUA_REGISTRYINDEX);
        lua_getfield(L, 2, "keyless");
        out->keyless = luaL_ref(L, LUA_REGISTRYINDEX);
    } else if (lua_isstring(L, -1)) {
        message_key_parse(lua_tostring(L, -1), &out->key_source);
    }
}

/* Pushes a handle without listener. */
static struct listener **push_handle(lua_State *L) {
    struct listener **box = lua_newuserdatauv(L, sizeof(*box), 0);
    *box = NULL;
    luaL_setmetatable(L, HANDLE_TYPE);
    return box;
}

/* Takes the references of the options in any case. */
static int open_listener(lua_State *L, struct listener **out, struct intake *intake,
                         const struct listener_options *options) {
    struct script *script = script_of(L);
    if (intake == NULL || script_state(script) == SCRIPT_RETIRING) {
        luaL_unref(L, LUA_REGISTRYINDEX, options->handler);
        luaL_unref(L, LUA_REGISTRYINDEX, options->anchor);
        luaL_unref(L, LUA_REGISTRYINDEX, options->codec);
        luaL_unref(L, LUA_REGISTRYINDEX, options->key);
        luaL_unref(L, LUA_REGISTRYINDEX, options->keyless);
        return LN_ECLOSED;
    }
    int rc = listener_open(out, intake, script, options);
    if (rc == LN_OK && script_state(script) == SCRIPT_RUNNING)
        rc = listener_subscribe(*out);
    return rc;
}

/*
 * core.listen(subject, opts | nil, fn, [own]) -> handle
 * own: the script's function, where fn is one of ours around it.
 * opts are checked by the Lua side: queue, name, data_type, concurrency, pending,
 * pending_bytes, hidden, metadata (JSON), key (a text, or a function that must not wait) and
 * keyless(msg), which raises why there is none. Of commands also `needed`: when the server
 * refuses it, the command fails.
 */
static int core_listen(lua_State *L) {
    check_open(L);
    struct who who = check_who(L);
    struct listener_options options = {
        .subject = check_pattern(L, 1),
        .client = who.id,
        .anchor = LUA_NOREF,
        .key = LUA_NOREF,
        .keyless = LUA_NOREF,
    };
    luaL_checktype(L, 3, LUA_TFUNCTION);
    lua_settop(L, 4);
    check_memory(L, "listen");
    options.type = (int)option_data_type(L, 2);
    int codec = lua_gettop(L);
    options.body = listener_body;
    options.queue = text_option(L, "queue");
    options.name = text_option(L, "name");
    options.metadata = text_option(L, "metadata");
    options.hidden = flag_option(L, "hidden");
    options.needed = flag_option(L, "needed");
    read_numbers(L, &options);

    lua_Debug info;
    lua_pushvalue(L, lua_isfunction(L, 4) ? 4 : 3);
    lua_getinfo(L, ">S", &info);
    options.where = lua_pushfstring(L, "%s:%d", info.short_src, info.linedefined);

    struct listener **box = push_handle(L);
    int handle = lua_gettop(L);
    lua_pushvalue(L, 3);
    options.handler = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pushvalue(L, codec); /* nil without */
    options.codec = luaL_ref(L, LUA_REGISTRYINDEX);
    take_key(L, &options);
    if (who.id != 0) { /* a connection that listens is not collected */
        lua_pushvalue(L, lua_upvalueindex(1));
        options.anchor = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    int rc = open_listener(L, box, check_who(L).intake, &options);
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
    {"__gc", handle_gc},
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
    lua_createtable(L, 0, 16);
    set_string(L, "subject", options->subject);
    set_string(L, "queue", options->queue);
    set_string(L, "name", options->name);
    set_string(L, "where", options->where);
    set_integer(L, "concurrency", options->concurrency);
    set_integer(L, "received", stats.received);
    set_integer(L, "failed", stats.failed);
    set_integer(L, "running", stats.running);
    set_integer(L, "queued", stats.queued);
}

/* Argument 1 is the intake. */
static int push_listeners(lua_State *L) {
    const struct script *script = script_of(L);
    const struct intake *intake = lua_touserdata(L, 1);
    struct listener *at = NULL;
    lua_newtable(L);
    for (lua_Integer i = 1; (at = listener_next(intake, script, at)) != NULL; i++) {
        push_listener(L, at);
        lua_rawseti(L, -2, i);
    }
    return 1;
}

/* core.listeners() -> list of { subject, queue, name, where, concurrency, received, failed,
 * running, queued } */
static int core_listeners(lua_State *L) {
    struct intake *intake = check_who(L).intake;
    lua_settop(L, 0);
    if (intake == NULL) { /* closed */
        lua_newtable(L);
        return 1;
    }
    lua_pushlightuserdata(L, intake);
    return call_undisturbed(L, push_listeners); /* a finalizer may stop one */
}

/* core.check_pattern(subject): raises unless it can be listened to */
static int core_check_pattern(lua_State *L) {
    check_pattern(L, 1);
    return 0;
}

/* core.check_subject(subject): raises unless it can be published to */
static int core_check_subject(lua_State *L) {
    check_subject(L, 1);
    return 0;
}

static const luaL_Reg functions[] = {
    {"listen", core_listen},
    {"check_pattern", core_check_pattern},
    {"check_subject", core_check_subject},
    {"listeners", core_listeners},
    {NULL, NULL},
};

void bindings_listen(lua_State *L) {
    add_class(L, HANDLE_TYPE, handle_methods);
    luaL_setfuncs(L, functions, 0);
}
