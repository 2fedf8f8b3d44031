/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private nats-servers for specs. The userdata owns its broker; whoever ends first, stop(),
 * __gc or the script, ends the server, which may take longer than the userdata lives.
 */
#include "host/broker/broker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bindings/bindings.h"
#include "bindings/lib/lib.h"
#include "host/base/url.h"

#define BROKER_TYPE "lunats.broker"

struct broker_box {
    struct script_resource resource;
    struct broker *broker; /* NULL: stopped */
    struct fiber *waiting; /* in a start, stop, kill or restart */
    char text[1024];       /* why the start failed */
};

static struct broker_box *check_broker(lua_State *L) {
    struct broker_box *box = luaL_checkudata(L, 1, BROKER_TYPE);
    if (box->broker == NULL)
        luaL_error(L, "this broker was stopped");
    if (box->waiting != NULL)
        luaL_error(L, "this broker is busy starting or stopping");
    return box;
}

/* ---- waiting for the process ---- */

static void leave_wait(struct fiber *fiber, void *area) {
    (void)fiber;
    struct broker_box *box = *(struct broker_box **)area;
    box->waiting = NULL;
}

static void begin_wait(struct broker_box *box, struct fiber *fiber) {
    box->waiting = fiber;
    *(struct broker_box **)fiber_begin_wait(fiber, leave_wait) = box;
}

static void on_ready(void *owner, int status, const char *url, const char *text) {
    (void)url;
    struct broker_box *box = owner;
    if (text != NULL)
        snprintf(box->text, sizeof(box->text), "%s", text);
    if (box->waiting != NULL)
        fiber_wake(box->waiting, status);
}

static void on_killed(void *owner) {
    on_ready(owner, LN_OK, NULL, NULL);
}

static int waited(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    struct fiber *fiber = wait_resumed(L);
    struct broker_box *box = *(struct broker_box **)fiber_wait_area(fiber);
    int rc = fiber_wake_status(fiber);
    fiber_end_wait(fiber);
    if (rc < 0)
        return push_failure(L, rc, box->text);
    lua_settop(L, 1);
    return 1;
}

/* ---- life ---- */

static void on_script_close(struct script_resource *resource) {
    struct broker_box *box = (struct broker_box *)resource;
    broker_stop(box->broker, NULL, NULL);
    box->broker = NULL;
}

static int broker_gc(lua_State *L) {
    struct broker_box *box = luaL_checkudata(L, 1, BROKER_TYPE);
    if (box->broker == NULL)
        return 0;
    script_remove_resource(&box->resource);
    on_script_close(&box->resource);
    return 0;
}

static const char *text_option(lua_State *L, const char *name) {
    return lua_getfield(L, 2, name) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
}

/* core.broker([{ config = text, config_file =, dir =, port =, jetstream = true }]) -> broker */
static int core_broker(lua_State *L) {
    static const struct option known[] = {{"config", "string"},     {"config_file", "string"},
                                          {"dir", "string"},        {"port", "number"},
                                          {"jetstream", "boolean"}, {NULL, NULL}};
    struct fiber *fiber = check_fiber(L, "broker");
    lua_settop(L, 1);
    struct broker_options options = {0};
    struct broker_box *box = lua_newuserdatauv(L, sizeof(*box), 0);
    box->broker = NULL;
    box->waiting = NULL;
    box->text[0] = '\0';
    box->resource = (struct script_resource){.close = on_script_close};
    luaL_setmetatable(L, BROKER_TYPE);
    lua_insert(L, 1); /* box, options */
    if (check_options(L, 2, "testing.broker", known)) {
        options.config_text = text_option(L, "config");
        options.config_file = text_option(L, "config_file");
        options.dir = text_option(L, "dir");
        lua_getfield(L, 2, "port");
        options.port = (int)lua_tointeger(L, -1);
        options.no_jetstream =
            lua_getfield(L, 2, "jetstream") == LUA_TBOOLEAN && !lua_toboolean(L, -1);
    }
    struct script *script = script_of(L);
    int rc = broker_open(&box->broker, script_loop(script), &options, on_ready, NULL, box);
    if (rc < 0) {
        box->broker = NULL;
        return push_failure(L, rc, NULL);
    }
    script_add_resource(script, &box->resource);
    begin_wait(box, fiber);
    return wait_yield(L, waited);
}

/* A stop may take longer than the fiber that asked for it, and its userdata, live. */
struct stop {
    struct fiber *fiber; /* NULL: it does not wait any more */
    bool done;
};

static void on_stopped(void *owner) {
    struct stop *stop = owner;
    stop->done = true;
    if (stop->fiber != NULL)
        fiber_wake(stop->fiber, LN_OK); /* leave_stop() frees */
    else
        free(stop);
}

static void leave_stop(struct fiber *fiber, void *area) {
    (void)fiber;
    struct stop *stop = *(struct stop **)area;
    if (stop->done)
        free(stop);
    else
        stop->fiber = NULL;
}

static int stopped(lua_State *L, int status, lua_KContext context) {
    (void)L, (void)status, (void)context;
    fiber_end_wait(wait_resumed(L));
    return 0;
}

/* broker:stop(): ends the server and removes its directory. */
static int broker_stop_method(lua_State *L) {
    struct broker_box *box = luaL_checkudata(L, 1, BROKER_TYPE);
    if (box->broker == NULL)
        return 0;
    check_broker(L);
    struct fiber *fiber = check_fiber(L, "broker:stop");
    struct stop *stop = calloc(1, sizeof(*stop));
    if (stop == NULL)
        return push_failure(L, LN_ENOMEM, NULL);
    stop->fiber = fiber;
    script_remove_resource(&box->resource);
    *(struct stop **)fiber_begin_wait(fiber, leave_stop) = stop;
    broker_stop(box->broker, on_stopped, stop);
    box->broker = NULL;
    return wait_yield(L, stopped);
}

/* broker:kill(): SIGKILL; port and directory are kept for restart(). */
static int broker_kill_method(lua_State *L) {
    struct broker_box *box = check_broker(L);
    struct fiber *fiber = check_fiber(L, "broker:kill");
    begin_wait(box, fiber);
    int rc = broker_kill(box->broker, on_killed, box);
    if (rc < 0) {
        fiber_end_wait(fiber);
        return push_failure(L, rc, "there is no running server");
    }
    return wait_yield(L, waited);
}

/* broker:restart(): on the same port, with the same directory. */
static int broker_restart_method(lua_State *L) {
    struct broker_box *box = check_broker(L);
    struct fiber *fiber = check_fiber(L, "broker:restart");
    begin_wait(box, fiber);
    int rc = broker_restart(box->broker, on_ready, box);
    if (rc < 0) {
        fiber_end_wait(fiber);
        return push_failure(L, rc, "the first start has not succeeded");
    }
    return wait_yield(L, waited);
}

/* broker:pause(), broker:resume(): a server that hangs (SIGSTOP, SIGCONT). */
static int broker_pause_method(lua_State *L) {
    return push_status(L, broker_pause(check_broker(L)->broker), NULL);
}

static int broker_resume_method(lua_State *L) {
    return push_status(L, broker_resume(check_broker(L)->broker), NULL);
}

static int broker_index(lua_State *L) {
    struct broker_box *box = luaL_checkudata(L, 1, BROKER_TYPE);
    const char *name = luaL_checkstring(L, 2);
    if (box->broker != NULL && strcmp(name, "url") == 0)
        lua_pushstring(L, broker_url(box->broker));
    else if (box->broker != NULL && strcmp(name, "port") == 0)
        lua_pushinteger(L, broker_port(box->broker));
    else if (box->broker != NULL && strcmp(name, "pid") == 0)
        lua_pushinteger(L, broker_pid(box->broker));
    else if (box->broker != NULL && strcmp(name, "dir") == 0)
        lua_pushstring(L, broker_dir(box->broker));
    else
        lua_getfield(L, lua_upvalueindex(1), name);
    return 1;
}

static const luaL_Reg methods[] = {
    {"stop", broker_stop_method},       {"kill", broker_kill_method},
    {"restart", broker_restart_method}, {"pause", broker_pause_method},
    {"resume", broker_resume_method},   {NULL, NULL},
};

/* core.free_port() -> a TCP port of 127.0.0.1 that nobody listens on now */
static int core_free_port(lua_State *L) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    bool found = fd >= 0 && bind(fd, (struct sockaddr *)&address, len) == 0 &&
                 getsockname(fd, (struct sockaddr *)&address, &len) == 0;
    if (fd >= 0)
        close(fd);
    if (!found)
        return luaL_error(L, "no free port");
    lua_pushinteger(L, ntohs(address.sin_port));
    return 1;
}

/*
 * core.server_url() -> URL of the server that the script is connected to, with user and
 * password where the URL that it was given has them; nil without a connection
 */
static int core_server_url(lua_State *L) {
    struct service *service = script_service(script_of(L));
    const struct link_options *options = &service_options(service)->link;
    struct link_info info = {0};
    if (service_link(service) != NULL)
        link_get_info(service_link(service), &info);
    if (info.url[0] == '\0')
        return 0;
    for (size_t i = 0; i < options->server_count; i++) {
        char shown[sizeof(info.url)];
        if (strcmp(url_shown(options->servers[i], shown, sizeof(shown)), info.url) == 0) {
            lua_pushstring(L, options->servers[i]);
            return 1;
        }
    }
    lua_pushstring(L, info.url);
    return 1;
}

void bindings_broker(lua_State *L) {
    luaL_newmetatable(L, BROKER_TYPE);
    luaL_newlib(L, methods);
    lua_pushcclosure(L, broker_index, 1);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, broker_gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    lua_pushcfunction(L, core_broker);
    lua_setfield(L, -2, "broker");
    lua_pushcfunction(L, core_free_port);
    lua_setfield(L, -2, "free_port");
    lua_pushcfunction(L, core_server_url);
    lua_setfield(L, -2, "server_url");
}
