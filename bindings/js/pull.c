/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What scripts/js/pull.lua needs from C: a pull, whose fetches wait.
 *
 * The userdata is the owner of its struct pull and a resource of the script: whichever comes
 * first, close(), __gc or the end of the script, closes the pull. The fetch of a waiting fiber
 * belongs to the wait: however the fiber leaves it, the fetch is freed, and what was not made
 * into Lua messages goes back to the server.
 */
#include <stdlib.h>
#include <string.h>

#include "bindings/bindings.h"
#include "bindings/js/js.h"
#include "bindings/lib/lib.h"
#include "bindings/msg.h"
#include "host/jetstream/pull.h"
#include "host/jetstream/status.h"
#include "host/link/message.h"
#include "host/trace/tracer.h"

#define PULL_TYPE "lunats.pull"

struct pull_box {
    struct script_resource resource;
    struct pull *pull; /* NULL: closed */
    unsigned client;   /* for struct msg */
    const char *consumer;
    char stream[]; /* and behind it the consumer */
};

/* ---- life ---- */

static void box_close(struct pull_box *box) {
    struct pull *pull = box->pull;
    if (pull == NULL)
        return;
    box->pull = NULL;
    pull_close(pull);
}

static void on_script_close(struct script_resource *resource) {
    box_close((struct pull_box *)resource);
}

/* The name of a stream or consumer at `arg`. */
static const char *check_name(lua_State *L, int arg) {
    size_t len;
    const char *name = luaL_checklstring(L, arg, &len);
    luaL_argcheck(L, js_name_ok(name, len), arg, "not a name of a stream or consumer");
    return name;
}

/* core.js_pull(stream, consumer, api_prefix) -> pull */
static int js_pull(lua_State *L) {
    const char *stream = check_name(L, 1), *consumer = check_name(L, 2);
    const char *prefix = check_subject(L, 3);
    struct link *link = check_link(L);
    struct who who = check_who(L);
    check_open(L);
    size_t stream_size = strlen(stream) + 1, size = stream_size + strlen(consumer) + 1;
    struct pull_box *box = lua_newuserdatauv(L, sizeof(*box) + size, 0);
    memset(box, 0, sizeof(*box));
    strcpy(box->stream, stream);
    box->consumer = strcpy(box->stream + stream_size, consumer);
    luaL_setmetatable(L, PULL_TYPE);
    int rc = pull_open(&box->pull, link, service_clock(script_service(script_of(L))), prefix,
                       stream, consumer);
    if (rc < 0)
        return luaL_error(L, "js_pull: %s", status_text(rc));
    box->resource.close = on_script_close;
    box->client = who.id;
    resources_add(who.resources, &box->resource);
    return 1;
}

/* pull:close(): a fetch that waits returns nil, err (code "closed"). Idempotent. */
static int pull_box_close(lua_State *L) {
    struct pull_box *box = luaL_checkudata(L, 1, PULL_TYPE);
    if (box->pull != NULL)
        script_remove_resource(&box->resource);
    box_close(box);
    return 0;
}

/* ---- fetching ---- */

struct fetch_wait {
    struct fiber *fiber;
    struct fetch *fetch;
    struct span span;   /* begun where something is recorded */
    unsigned client;    /* for struct msg */
    unsigned char type; /* enum msg_data; the codec is at AT_DATA_TYPE */
};
_Static_assert(sizeof(struct fetch_wait) <= FIBER_WAIT_SIZE, "wait area");

static void on_fetch_done(struct fetch *fetch, void *owner) {
    struct fetch_wait *wait = owner;
    fiber_wake(wait->fiber, fetch_status(fetch));
}

static void abandon_fetch(struct fiber *fiber, void *area) {
    (void)fiber;
    struct fetch_wait *wait = area;
    if (wait->fetch != NULL)
        fetch_free(wait->fetch);
}

/* Of pull_box_fetch(). */
enum { AT_DATA_TYPE = 8 };

/* Pushes the list of messages. May raise: then the wait gives them back. */
static void push_messages(lua_State *L, struct fetch_wait *wait) {
    size_t count = fetch_count(wait->fetch);
    lua_createtable(L, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        struct msg *msg = push_msg(L, fetch_msg(wait->fetch, i), (enum msg_data)wait->type);
        msg->client = wait->client;
        msg->proven = true;
        if (msg->type == MSG_CODEC) {
            lua_pushvalue(L, AT_DATA_TYPE);
            msg_set_codec(L);
        }
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

static const char *headers_of(void *owner, size_t index, size_t *len) {
    const struct message *msg = fetch_msg(owner, index);
    *len = msg->headers_len;
    return msg->headers;
}

/* One that brought nothing is not worth telling. */
static void record(const struct pull_box *box, struct fetch_wait *wait) {
    size_t count = fetch_count(wait->fetch);
    if (wait->span.tracer != NULL && count > 0)
        span_received(&wait->span, box->stream, box->consumer, count, headers_of, wait->fetch);
}

static int fetch_done(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    struct fiber *fiber = wait_resumed(L);
    struct fetch_wait *wait = fiber_wait_area(fiber);
    int rc = fiber_wake_status(fiber), pushed = 1;
    if (rc < 0) {
        pushed = push_failure(L, rc, fetch_text(wait->fetch));
        lua_pushboolean(L, fetch_silent(wait->fetch));
        lua_setfield(L, -2, "silent");
    } else {
        record(lua_touserdata(L, 1), wait);
        push_messages(L, wait);
        fetch_delivered(wait->fetch);
    }
    fiber_end_wait(fiber);
    return pushed;
}

static uint64_t count_field(lua_State *L, int arg, const char *name) {
    lua_getfield(L, arg, name);
    lua_Integer count = lua_tointeger(L, -1);
    lua_pop(L, 1);
    return count > 0 ? (uint64_t)count : 0;
}

struct js_group check_group(lua_State *L, int arg) {
    struct js_group group = {0};
    if (lua_isnoneornil(L, arg))
        return group;
    group.min_pending = count_field(L, arg, "min_pending");
    group.min_ack_pending = count_field(L, arg, "min_ack_pending");
    group.priority = (unsigned)count_field(L, arg, "priority");
    lua_getfield(L, arg, "group");
    size_t len;
    const char *name = luaL_checklstring(L, -1, &len);
    luaL_argcheck(L, js_group_name_ok(name, len), arg, "not a name of a priority group");
    memcpy(group.name, name, len + 1);
    lua_pop(L, 1);
    return group;
}

struct js_pin *check_pin(lua_State *L, int arg) {
    const struct pull_box *box = luaL_checkudata(L, arg, PULL_TYPE);
    return box->pull != NULL ? pull_pin(box->pull) : NULL;
}

static uint32_t ms_argument(lua_State *L, int arg) {
    uint64_t ms = lua_isnoneornil(L, arg) ? 0 : check_ms(L, arg);
    return ms > INT32_MAX ? INT32_MAX : (uint32_t)ms;
}

/*
 * pull:fetch(n, timeout, no_wait, max_bytes, heartbeat, max_expires, data_type, group,
 *            most_bytes) -> list of messages | nil, err
 * Times in seconds; group: see check_group(); most_bytes: the consumer refuses a larger
 * max_bytes. err.silent: lost because nothing was heard, so
 * the consumer may still exist.
 */
static int pull_box_fetch(lua_State *L) {
    struct pull_box *box = luaL_checkudata(L, 1, PULL_TYPE);
    enum msg_data type = check_data_type(L, AT_DATA_TYPE);
    lua_Integer batch = luaL_checkinteger(L, 2);
    luaL_argcheck(L, batch >= 1 && batch <= FETCH_BATCH_MAX, 2, "1 to 1000000 messages");
    lua_Integer max_bytes = luaL_optinteger(L, 5, 0), most_bytes = luaL_optinteger(L, 10, 0);
    luaL_argcheck(L, max_bytes >= 0, 5, "max_bytes must be positive");
    luaL_argcheck(L, most_bytes >= 0, 10, "most_bytes must be positive");
    struct fetch_options options = {
        .batch = (uint32_t)batch,
        .timeout_ms = ms_argument(L, 3),
        .no_wait = lua_toboolean(L, 4),
        .max_bytes = (uint64_t)max_bytes,
        .most_bytes = (uint64_t)most_bytes,
        .heartbeat_ms = ms_argument(L, 6),
        .max_expires_ms = ms_argument(L, 7),
        .group = check_group(L, 9),
    };
    struct fiber *fiber = check_fiber(L, "psub:fetch");
    if (box->pull == NULL)
        return wait_to_fail(L, fiber,
                            push_failure(L, LN_ECLOSED, "the pull subscription was stopped"));

    struct fetch_wait *wait = fiber_begin_wait(fiber, abandon_fetch);
    wait->fiber = fiber;
    wait->type = (unsigned char)type;
    wait->client = box->client;
    struct tracer *tracer = service_tracer(script_service(script_of(L)));
    if (tracer != NULL)
        span_send(&wait->span, tracer, fiber_trace(fiber));
    int rc = pull_fetch(box->pull, script_clock(script_of(L)), &options, on_fetch_done, wait,
                        &wait->fetch);
    if (rc < 0) {
        wait->fetch = NULL;
        fiber_end_wait(fiber);
        return wait_to_fail(L, fiber, push_failure(L, rc, NULL));
    }
    return wait_yield(L, fetch_done);
}

/* ---- registration ---- */

/* core.js_name_ok(name) -> boolean */
static int name_ok(lua_State *L) {
    size_t len;
    const char *name = lua_tolstring(L, 1, &len);
    lua_pushboolean(L, name != NULL && js_name_ok(name, len));
    return 1;
}

static const luaL_Reg methods[] = {
    {"fetch", pull_box_fetch},
    {"close", pull_box_close},
    {"__gc", pull_box_close},
    {"__close", pull_box_close},
    {NULL, NULL},
};

static const luaL_Reg functions[] = {
    {"js_pull", js_pull},
    {"js_name_ok", name_ok},
    {NULL, NULL},
};

void bindings_js(lua_State *L) {
    add_class(L, PULL_TYPE, methods);
    luaL_setfuncs(L, functions, 0);
    bindings_js_consume(L);
    bindings_js_lease(L);
    bindings_js_msg(L);
    bindings_js_ordered(L);
    bindings_js_publish(L);
    bindings_js_publisher(L);
    bindings_js_reader(L);
}
