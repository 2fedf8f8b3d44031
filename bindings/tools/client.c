/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients: further connections of a script, with the same functions as its own one. Specs use
 * them to talk to the services that they test.
 *
 * A client outlives its userdata (it closes asynchronously) and may die before it (the server
 * refused), so the two point at each other and whoever goes first lets go.
 */
#include <stdlib.h>
#include <string.h>

#include "bindings/lib/lib.h"
#include "bindings/tools/connect.h"

#define CLIENT_TYPE "lunats.client"

struct client {
    struct script_resource resource; /* first: on_script_close() casts */
    struct service *service;
    struct client **box;    /* the userdata; NULL: gone */
    struct fiber *starting; /* waits for the connection */
    char *failure;          /* why there is none */
    struct connect_options connect;
};

/* Registry table: id -> userdata, which keeps a client alive until it is closed. */
static const char clients_key = 'c';

static void push_clients(lua_State *L) {
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &clients_key) == LUA_TTABLE)
        return;
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &clients_key);
}

/* ---- who a function works for ---- */

struct service *check_service(lua_State *L) {
    struct client **box = lua_touserdata(L, lua_upvalueindex(1));
    if (box == NULL)
        return script_service(script_of(L));
    if (*box == NULL)
        raise_error(L, "this client is closed");
    return (*box)->service;
}

struct link *check_client_link(lua_State *L, unsigned id) {
    if (id == 0)
        return check_link(L);
    push_clients(L);
    struct client **box = NULL;
    if (lua_rawgeti(L, -1, id) == LUA_TUSERDATA)
        box = lua_touserdata(L, -1);
    lua_pop(L, 2);
    if (box == NULL || *box == NULL)
        raise_error(L, "the client that received this message is closed");
    return service_link((*box)->service);
}

/* ---- life ---- */

static void on_started(void *owner, struct service *service) {
    (void)service;
    struct client *client = owner;
    if (client->starting != NULL)
        fiber_wake(client->starting, LN_OK);
}

static void on_error(void *owner, const char *text) {
    struct client *client = owner;
    if (client->failure == NULL)
        client->failure = strdup(text);
}

static void on_stopped(void *owner, struct service *service, int status) {
    (void)service, (void)status;
    struct client *client = owner;
    script_remove_resource(&client->resource);
    if (client->box != NULL)
        *client->box = NULL;
    if (client->starting != NULL)
        fiber_wake(client->starting, LN_ENOSERVER);
    if (client->starting == NULL) { /* otherwise the wait still needs the failure */
        free(client->failure);
        free(client);
    } else {
        client->service = NULL;
    }
}

static void on_script_close(struct script_resource *resource) {
    struct client *client = (struct client *)resource;
    if (client->box != NULL)
        *client->box = NULL;
    client->box = NULL;
    service_abandon(client->service);
}

/* ---- connecting ---- */

static void leave_start(struct fiber *fiber, void *area) {
    (void)fiber;
    struct client *client = *(struct client **)area;
    client->starting = NULL;
    if (client->service == NULL) { /* it ended meanwhile */
        free(client->failure);
        free(client);
    }
}

static void push_functions(lua_State *L, int box) {
    const luaL_Reg *const sets[] = {send_functions, listen_functions, nats_functions};
    lua_newtable(L);
    for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
        lua_pushvalue(L, box);
        luaL_setfuncs(L, sets[i], 1);
    }
    lua_pushvalue(L, box);
    lua_setfield(L, -2, "handle");
}

static int connected(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    struct fiber *fiber = wait_resumed(L);
    struct client *client = *(struct client **)fiber_wait_area(fiber);
    int pushed = 1;
    if (fiber_wake_status(fiber) == LN_OK)
        push_functions(L, lua_gettop(L));
    else
        pushed = push_failure(L, LN_ENOSERVER, client->failure);
    fiber_end_wait(fiber);
    return pushed;
}

static int open_client(lua_State *L, struct client *client, lua_Integer id) {
    struct script *script = script_of(L);
    struct service_options options = {
        .path = "client",
        .name = "client",
        .client_of = script,
        .client_id = (unsigned)id,
        .drain_timeout = 5,
        .link = client->connect.link,
        .js_prefix = client->connect.js_prefix,
        .on_started = on_started,
        .on_stopped = on_stopped,
        .on_error = on_error,
        .owner = client,
    };
    int rc =
        service_open(&client->service, script_loop(script), script_scheduler(script), &options);
    if (rc < 0)
        return rc;
    client->resource.close = on_script_close;
    script_add_resource(script, &client->resource);
    rc = service_start(client->service);
    if (rc < 0) { /* started all the same: on_stopped() follows */
        on_error(client, status_text(rc));
        service_stop(client->service, EXIT_NO_CONNECTION);
    }
    return LN_OK;
}

/* Pushes the userdata of a new client, registered under its id; the options are its user value.
 */
static struct client **push_box(lua_State *L, lua_Integer *id) {
    struct client **box = lua_newuserdatauv(L, sizeof(*box), 1);
    *box = NULL;
    luaL_setmetatable(L, CLIENT_TYPE);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1);
    push_clients(L); /* box, clients */
    *id = luaL_len(L, -1) + 1;
    lua_pushvalue(L, -2);
    lua_rawseti(L, -2, *id);
    lua_pop(L, 1);
    return box;
}

/*
 * core.connect{ servers = { url, ... }, user =, password =, ... } -> table of functions | nil,
 * err. The functions are those of core for sending, listening and facts; `handle` has :close().
 */
static int core_connect(lua_State *L) {
    struct fiber *fiber = check_fiber(L, "connect");
    struct connect_options connect;
    lua_settop(L, 1);
    check_connect_options(L, 1, &connect);
    lua_Integer id;
    struct client **box = push_box(L, &id);
    struct client *client = calloc(1, sizeof(*client));
    if (client == NULL)
        return push_failure(L, LN_ENOMEM, NULL);
    client->connect = connect;
    client->connect.link.servers = client->connect.servers;
    int rc = open_client(L, client, id);
    if (rc < 0) {
        free(client);
        return push_failure(L, rc, NULL);
    }
    client->box = box;
    *box = client;
    client->starting = fiber;
    *(struct client **)fiber_begin_wait(fiber, leave_start) = client;
    return wait_yield(L, connected);
}

/* handle:close(): subscriptions end at once, the rest goes on by itself. */
static int client_close(lua_State *L) {
    struct client **box = luaL_checkudata(L, 1, CLIENT_TYPE);
    if (*box == NULL)
        return 0;
    service_stop((*box)->service, EXIT_OK);
    (*box)->box = NULL;
    *box = NULL;
    return 0;
}

/* handle:partition(seconds): the connection is lost for that long. */
static int client_partition(lua_State *L) {
    struct client **box = luaL_checkudata(L, 1, CLIENT_TYPE);
    if (*box != NULL)
        link_partition(service_link((*box)->service), (uint32_t)check_ms(L, 2));
    return 0;
}

static const luaL_Reg methods[] = {
    {"close", client_close},
    {"partition", client_partition},
    {NULL, NULL},
};

void bindings_client(lua_State *L) {
    luaL_newmetatable(L, CLIENT_TYPE);
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    lua_pushcfunction(L, core_connect);
    lua_setfield(L, -2, "connect");
}
