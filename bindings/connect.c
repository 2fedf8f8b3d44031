/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Further connections of a script: app.connect(), and those of specs to what they test.
 *
 * The userdata is what holds a connection: when nobody can reach it any more, that closes.
 */
#include "bindings/lib/connect.h"

#include "bindings/bindings.h"
#include "bindings/lib/lib.h"
#include "host/base/url.h"

#define HANDLE_TYPE "lunats.connection"

/* The functions of core that work for a connection, see struct connection_handle. */
static const char *const bound[] = {
    "publish",    "request",    "request_literal", "request_stored", "request_many",
    "flush",      "new_inbox",  "listen",          "js_prefix",      "nats_status",
    "nats_info",  "nats_stats", "js_pull",         "js_consume",     "js_taken_over",
    "js_ordered", "js_publish", "js_publisher",    "js_reader",      "listeners",
};

/* ---- waiting for it ---- */

struct opening {
    struct connection *connection; /* of argument 2 of core_connect() */
    struct fiber *fiber;
};
_Static_assert(sizeof(struct opening) <= FIBER_WAIT_SIZE, "wait area");

static void on_open(void *owner, int status) {
    const struct opening *opening = owner;
    fiber_wake(opening->fiber, status);
}

static void abandon(struct fiber *fiber, void *area) {
    (void)fiber;
    connection_give_up(((struct opening *)area)->connection);
}

/* Pushes the functions for the handle at `at`; `core` is upvalue 1. */
static void push_functions(lua_State *L, int at) {
    size_t count = sizeof(bound) / sizeof(bound[0]);
    lua_createtable(L, 0, (int)count + 1);
    for (size_t i = 0; i < count; i++) {
        lua_getfield(L, lua_upvalueindex(1), bound[i]);
        lua_CFunction fn = lua_tocfunction(L, -1);
        lua_pop(L, 1);
        lua_pushvalue(L, at);
        lua_pushcclosure(L, fn, 1);
        lua_setfield(L, -2, bound[i]);
    }
    lua_pushvalue(L, at);
    lua_setfield(L, -2, "handle");
}

/* "cannot connect to <server>: why"; the options are at 1. */
static int push_refusal(lua_State *L, int status, const char *why) {
    char shown[256];
    lua_getfield(L, 1, "servers");
    bool several = lua_rawlen(L, -1) > 1; /* the reason names them */
    lua_rawgeti(L, -1, 1);
    lua_pushfstring(L, "cannot connect to %s%s%s%s",
                    several ? "a server" : url_shown(lua_tostring(L, -1), shown, sizeof(shown)),
                    status == LN_ETIMEOUT ? " in time" : "", *why != '\0' ? ": " : "", why);
    lua_pushnil(L);
    push_error(L, status_word(status), lua_tostring(L, -2));
    return 2;
}

static int opened(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    struct fiber *fiber = wait_resumed(L);
    const struct opening *opening = fiber_wait_area(fiber);
    int rc = fiber_wake_status(fiber), pushed = 1;
    if (rc == LN_OK)
        push_functions(L, 2);
    else
        pushed = push_refusal(L, rc, connection_failure(opening->connection));
    fiber_end_wait(fiber);
    return pushed;
}

static int wait_for(lua_State *L, struct connection *connection) {
    struct fiber *fiber = check_fiber(L, "app.connect");
    uint64_t ms = option_ms(L, 1, "timeout", 0);
    struct opening *opening = fiber_begin_wait(fiber, abandon);
    opening->connection = connection;
    opening->fiber = fiber;
    connection_await(connection, on_open, opening);
    if (ms > 0)
        fiber_deadline(fiber, ms);
    return wait_yield(L, opened);
}

/*
 * core.connect{ servers = { url, ... }, user =, password =, ..., label =, retry =, timeout = }
 *     -> table of functions | nil, err
 * The functions are those of core that work for a connection, and `handle`, which has close().
 * With `retry` nothing is waited for, and it tries for ever.
 */
static int core_connect(lua_State *L) {
    check_fiber(L, "app.connect");
    struct connect_options connect;
    lua_settop(L, 1);
    check_connect_options(L, "app.connect", 1, &connect);
    struct connection_handle *handle = push_new_handle(L); /* options, handle */
    luaL_setmetatable(L, HANDLE_TYPE);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, 2, 1); /* js_prefix is its string */
    handle->js_prefix = connect.js_prefix != NULL ? connect.js_prefix : "$JS.API";
    struct connection_options options = {.name = connect.label, .link = connect.link};
    int rc = connection_open(&handle->connection, script_of(L), &options);
    if (rc < 0)
        return push_failure(L, rc, NULL);
    if (!connect.link.retry)
        return wait_for(L, handle->connection);
    push_functions(L, 2);
    return 1;
}

/* core.url_shown(url) -> the URL without user, password and token */
static int core_url_shown(lua_State *L) {
    char shown[256];
    lua_pushstring(L, url_shown(luaL_checkstring(L, 1), shown, sizeof(shown)));
    return 1;
}

/* ---- the handle ---- */

static struct connection_handle *check_handle(lua_State *L) {
    struct connection_handle *handle = luaL_checkudata(L, 1, HANDLE_TYPE);
    luaL_argcheck(L, handle->connection != NULL, 1, "the connection is gone");
    return handle;
}

/* handle:close(): what has arrived is handled, what was published is sent; by itself */
static int handle_close(lua_State *L) {
    connection_close(check_handle(L)->connection);
    return 0;
}

/*
 * handle:begin() -> boolean: the on_start hooks are done, its listeners subscribe; true when
 * the server has to confirm that. Those of a version that is about to take over wait for it.
 */
static int handle_begin(lua_State *L) {
    const struct script *script = script_of(L);
    bool serves = service_script(script_service(script)) == script;
    if (serves)
        connection_begin(check_handle(L)->connection);
    lua_pushboolean(L, serves);
    return 1;
}

/* handle:partition(seconds): the connection is lost for that long. */
static int handle_partition(lua_State *L) {
    struct connection_handle *handle = check_handle(L);
    link_partition(connection_link(handle->connection), short_ms(check_ms(L, 2)));
    return 0;
}

static int handle_gc(lua_State *L) {
    struct connection_handle *handle = luaL_checkudata(L, 1, HANDLE_TYPE);
    if (handle->connection != NULL)
        connection_release(handle->connection);
    handle->connection = NULL;
    return 0;
}

static const luaL_Reg methods[] = {
    {"begin", handle_begin},
    {"close", handle_close},
    {"partition", handle_partition},
    {"__gc", handle_gc},
    {NULL, NULL},
};

void bindings_connect(lua_State *L) {
    add_class(L, HANDLE_TYPE, methods);
    lua_pushvalue(L, -1); /* core */
    lua_pushcclosure(L, core_connect, 1);
    lua_setfield(L, -2, "connect");
    lua_pushcfunction(L, core_url_shown);
    lua_setfield(L, -2, "url_shown");
}
