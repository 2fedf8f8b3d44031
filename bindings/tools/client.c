/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients: further connections of a script, with the same functions as its own one. Specs use
 * them to talk to the services that they test. A client is a link and an intake.
 *
 * A client outlives its userdata (it closes asynchronously) and may die before it (the server
 * refused), so the two point at each other and whoever goes first lets go.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bindings/bindings.h"
#include "bindings/lib/lib.h"
#include "bindings/tools/connect.h"
#include "host/base/container_of.h"
#include "host/base/log.h"
#include "host/base/url.h"
#include "host/service/outage.h"

#define CLIENT_TYPE "lunats.client"

/* What its log lines are said by. */
#define NAME "client"

/* Bytes already published get this long to reach the server when a client closes. */
#define CLOSE_FLUSH_MS 1000

/* The userdata. */
struct handle {
    struct who who; /* first; its link is NULL once the client is closed */
    struct client *client;
};

struct client {
    struct script_resource resource;
    struct script *script;   /* borrowed until it is closed */
    struct link *link;       /* NULL: closed */
    struct intake *intake;   /* NULL: closed */
    struct clock_timer turn; /* ends it outside of all fibers */
    struct handle *handle;   /* NULL: gone */
    struct fiber *starting;  /* waits for the connection */
    bool closing;
    char server[256];  /* the first one, as it may be shown */
    char failure[512]; /* why there is no connection */
};

/* ---- end ---- */

static void release(struct client *client) {
    if (client->link == NULL && client->starting == NULL)
        free(client);
}

static void on_link_closed(void *owner, size_t unsent) {
    (void)unsent;
    struct client *client = owner;
    client->link = NULL;
    if (client->starting != NULL)
        fiber_wake(client->starting, LN_ENOSERVER); /* leaving the wait releases it */
    else
        release(client);
}

/* No handler of its messages runs any more. */
static void finish_close(struct client *client) {
    clock_disarm(script_clock(client->script), &client->turn);
    script_remove_resource(&client->resource);
    intake_close(client->intake);
    client->intake = NULL;
    link_close(client->link, CLOSE_FLUSH_MS, on_link_closed, client);
}

static void on_turn(struct clock_timer *timer) {
    struct client *client = container_of(timer, struct client, turn);
    if (intake_busy(client->intake) == 0)
        finish_close(client);
}

static void on_idle(void *owner) {
    struct client *client = owner;
    if (client->closing)
        clock_arm(script_clock(client->script), &client->turn, 0);
}

/* Subscriptions end at once; handlers that run may still reply, the last one closes it. */
static void begin_close(struct client *client) {
    if (client->handle != NULL)
        client->handle->who = (struct who){.id = client->handle->who.id};
    client->handle = NULL;
    if (client->closing)
        return;
    client->closing = true;
    intake_cut(client->intake);
    on_idle(client);
}

static void on_script_close(struct script_resource *resource) {
    struct client *client = container_of(resource, struct client, resource);
    begin_close(client);
    finish_close(client);
}

/* ---- what happens to it ---- */

static void on_state(void *owner, enum link_state state, int status, const char *text) {
    struct client *client = owner;
    if (state == LINK_CLOSED) {
        snprintf(client->failure, sizeof(client->failure), "cannot connect to %s: %s",
                 client->server, text != NULL ? text : status_text(status));
        begin_close(client);
        return;
    }
    if (state == LINK_DISCONNECTED)
        outage_log_lost(NAME, client->link, text);
    else if (state == LINK_CONNECTED && client->starting != NULL)
        fiber_wake(client->starting, LN_OK);
    else if (state == LINK_CONNECTED)
        outage_log_over(NAME, client->link);
}

static void on_retry(void *owner, const char *url, int status, const char *text) {
    (void)owner, (void)status;
    outage_log_retry(NAME, url, text);
}

static void on_link_error(void *owner, int status, const char *text) {
    (void)owner;
    log_error(NAME, "%s", text != NULL ? text : status_text(status));
}

static void on_intake_error(void *owner, int status, const char *text) {
    (void)owner;
    if (status == LN_EFULL)
        log_warn(NAME, "%s", text);
    else
        log_error(NAME, "%s", text);
}

/* ---- connecting ---- */

static void leave_start(struct fiber *fiber, void *area) {
    (void)fiber;
    struct client *client = *(struct client **)area;
    client->starting = NULL;
    release(client);
}

static void push_functions(lua_State *L, int handle) {
    const luaL_Reg *const sets[] = {send_functions, listen_functions, nats_functions};
    lua_newtable(L);
    for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
        lua_pushvalue(L, handle);
        luaL_setfuncs(L, sets[i], 1);
    }
    lua_pushvalue(L, handle);
    lua_setfield(L, -2, "handle");
}

static int connected(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    struct fiber *fiber = wait_resumed(L);
    const struct client *client = *(struct client **)fiber_wait_area(fiber);
    int pushed = 1;
    if (fiber_wake_status(fiber) == LN_OK)
        push_functions(L, lua_gettop(L));
    else
        pushed = push_failure(L, LN_ENOSERVER, client->failure);
    fiber_end_wait(fiber);
    return pushed;
}

static int open_client(struct client *client, const struct link_options *options) {
    static const struct intake_events intake_events = {
        .on_idle = on_idle,
        .on_error = on_intake_error,
    };
    static const struct link_events link_events = {
        .on_state = on_state,
        .on_retry = on_retry,
        .on_error = on_link_error,
    };
    struct link_options link_options = *options;
    link_options.name = NAME;
    url_shown(options->servers[0], client->server, sizeof(client->server));
    int rc = intake_open(&client->intake, &intake_events, client);
    if (rc < 0)
        return rc;
    client->turn.fire = on_turn;
    rc = link_open(&client->link, script_loop(client->script),
                   service_clock(script_service(client->script)), &link_options, &link_events,
                   client);
    if (rc < 0) {
        intake_close(client->intake);
        return rc;
    }
    intake_set_link(client->intake, client->link);
    client->resource.close = on_script_close;
    script_add_resource(client->script, &client->resource);
    return LN_OK;
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
    push_who(L, sizeof(struct handle)); /* options, handle */
    struct handle *handle = lua_touserdata(L, -1);
    luaL_setmetatable(L, CLIENT_TYPE);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1); /* js_prefix is its string */
    struct client *client = calloc(1, sizeof(*client));
    if (client == NULL)
        return push_failure(L, LN_ENOMEM, NULL);
    client->script = script_of(L);
    int rc = open_client(client, &connect.link);
    if (rc < 0) {
        free(client);
        return push_failure(L, rc, NULL);
    }
    handle->client = client;
    handle->who.link = client->link;
    handle->who.intake = client->intake;
    handle->who.js_prefix = connect.js_prefix != NULL ? connect.js_prefix : "$JS.API";
    client->handle = handle;
    client->starting = fiber;
    *(struct client **)fiber_begin_wait(fiber, leave_start) = client;
    return wait_yield(L, connected);
}

/* The client at 1, or NULL when it is closed. */
static struct client *check_client(lua_State *L) {
    const struct handle *handle = luaL_checkudata(L, 1, CLIENT_TYPE);
    return handle->who.link != NULL ? handle->client : NULL;
}

/* handle:close(): subscriptions end at once, the rest goes on by itself. */
static int client_close(lua_State *L) {
    struct client *client = check_client(L);
    if (client != NULL)
        begin_close(client);
    return 0;
}

/* handle:partition(seconds): the connection is lost for that long. */
static int client_partition(lua_State *L) {
    const struct client *client = check_client(L);
    if (client != NULL)
        link_partition(client->link, (uint32_t)check_ms(L, 2));
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
