/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Services that a spec starts: on the same loop, each with its own lua_State and link. What
 * they do is written down - errors, log lines, messages sent - and the spec takes the records
 * when it looks; no code of one script runs inside another.
 *
 * struct hosted lives until the service has ended, its userdata until nobody refers to it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bindings/bindings.h"
#include "bindings/lib/connect.h"
#include "bindings/lib/lib.h"
#include "bindings/tools/ask.h"
#include "bindings/tools/record.h"
#include "host/base/log.h"
#include "host/web/web.h"

#define HOSTED_TYPE "lunats.service"

/* Steps of a manual clock before the loop gets its turn. */
#define STEPS_PER_TURN 1000

struct hosted {
    struct script_resource resource; /* first: on_script_close() casts */
    struct service *service;         /* NULL: it has ended */
    struct hosted **box;             /* the userdata; NULL: gone */
    struct fiber *waiting;           /* for a start, stop, record or the end of an advance */
    struct log_tap tap;
    struct connect_options connect;
    struct records records;
    struct web *web; /* its routes; NULL: it has ended */
    bool started, show_log, reloading;
    int reload_status;
    char reload_text[1024];
    int exit_status;
    uv_timer_t stepper; /* drives a manual clock outside of all fibers */
    uint64_t until;
    uint64_t out_msgs; /* sent before the step, to see whether it sent anything */
    int open_handles;
};

/* ---- records ---- */

static void on_record(struct hosted *hosted) {
    if (hosted->waiting != NULL)
        fiber_wake(hosted->waiting, LN_OK);
}

static void on_error(void *owner, const char *text) {
    struct hosted *hosted = owner;
    records_add_text(&hosted->records, RECORD_ERROR, text);
    on_record(hosted);
}

static bool on_log(struct log_tap *tap, const struct log_record *line) {
    struct hosted *hosted = tap->owner;
    if (hosted->service == NULL || line->service != service_name(hosted->service))
        return false; /* two services may share a name, never the memory of it */
    records_add_log(&hosted->records, line);
    on_record(hosted);
    return !hosted->show_log;
}

static void on_sent(void *owner, const struct link_out *out) {
    struct hosted *hosted = owner;
    records_add_sent(&hosted->records, out);
    on_record(hosted);
}

/* ---- life ---- */

static void close_web(struct hosted *hosted) {
    if (hosted->web != NULL)
        web_close(hosted->web, 0, NULL, NULL);
    hosted->web = NULL;
}

static void free_hosted(struct hosted *hosted) {
    close_web(hosted);
    records_free(&hosted->records);
    free(hosted);
}

static void release(struct hosted *hosted) {
    if (hosted->service == NULL && hosted->box == NULL && hosted->waiting == NULL &&
        hosted->open_handles == 0)
        free_hosted(hosted);
}

static void on_stepper_closed(uv_handle_t *handle) {
    struct hosted *hosted = handle->data;
    hosted->open_handles = 0;
    release(hosted);
}

static void on_started(void *owner, struct service *service) {
    struct hosted *hosted = owner;
    (void)service;
    hosted->started = true;
    if (hosted->waiting != NULL)
        fiber_wake(hosted->waiting, LN_OK);
}

static void on_stopped(void *owner, struct service *service, int status) {
    (void)service;
    struct hosted *hosted = owner;
    hosted->service = NULL;
    hosted->exit_status = status;
    script_remove_resource(&hosted->resource);
    log_tap_remove(&hosted->tap);
    uv_close((uv_handle_t *)&hosted->stepper, on_stepper_closed);
    if (hosted->waiting != NULL)
        fiber_wake(hosted->waiting, LN_ECLOSED);
}

static void on_script_close(struct script_resource *resource) {
    struct hosted *hosted = (struct hosted *)resource;
    service_stop(hosted->service, EXIT_OK);
}

static void leave_wait(struct fiber *fiber, void *area) {
    (void)fiber;
    struct hosted *hosted = *(struct hosted **)area;
    hosted->waiting = NULL;
    if (hosted->open_handles > 0)
        uv_timer_stop(&hosted->stepper); /* of an advance */
    release(hosted);
}

static void begin_wait(struct hosted *hosted, struct fiber *fiber) {
    hosted->waiting = fiber;
    *(struct hosted **)fiber_begin_wait(fiber, leave_wait) = hosted;
}

static struct hosted *check_hosted(lua_State *L) {
    struct hosted *hosted = *(struct hosted **)luaL_checkudata(L, 1, HOSTED_TYPE);
    if (hosted == NULL)
        luaL_error(L, "this service was never started");
    return hosted;
}

static struct hosted *check_idle(lua_State *L) {
    struct hosted *hosted = check_hosted(L);
    if (hosted->waiting != NULL)
        luaL_error(L, "another fiber waits for this service already");
    return hosted;
}

static int hosted_gc(lua_State *L) {
    struct hosted **box = luaL_checkudata(L, 1, HOSTED_TYPE);
    struct hosted *hosted = *box;
    if (hosted == NULL)
        return 0;
    *box = NULL;
    hosted->box = NULL;
    if (hosted->service != NULL)
        service_stop(hosted->service, EXIT_OK);
    release(hosted);
    return 0;
}

/* ---- starting ---- */

/* box; true when it runs, false when it ended during the start (the records say why). */
static int start_done(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    struct fiber *fiber = wait_resumed(L);
    struct hosted *hosted = *(struct hosted **)fiber_wait_area(fiber);
    if (hosted->service != NULL && !hosted->started) { /* woken by a record: go on waiting */
        fiber_end_wait(fiber);
        begin_wait(hosted, fiber);
        return wait_yield(L, start_done);
    }
    fiber_end_wait(fiber);
    lua_pushboolean(L, hosted->service != NULL);
    return 2;
}

static int start(lua_State *L, struct hosted *hosted, struct service_options *options) {
    struct script *script = script_of(L);
    options->open = service_options(script_service(script))->open;
    options->clock = service_clock(script_service(script));
    options->caches = service_options(script_service(script))->caches;
    if (web_open(&hosted->web, &(struct web_options){0}) < 0)
        return LN_ENOMEM;
    options->web = hosted->web;
    options->link = hosted->connect.link;
    options->js_prefix = hosted->connect.js_prefix;
    options->on_started = on_started;
    options->on_stopped = on_stopped;
    options->on_error = on_error;
    options->owner = hosted;
    hosted->resource.close = on_script_close;
    hosted->tap =
        (struct log_tap){.level = LOG_LEVEL_DEBUG, .on_record = on_log, .owner = hosted};
    int rc =
        service_open(&hosted->service, script_loop(script), script_scheduler(script), options);
    if (rc < 0) {
        hosted->service = NULL;
        return rc;
    }
    uv_timer_init(script_loop(script), &hosted->stepper);
    hosted->stepper.data = hosted;
    hosted->open_handles = 1;
    log_tap_add(&hosted->tap);
    script_add_resource(script, &hosted->resource);
    rc = service_start(hosted->service);
    if (rc < 0)
        service_stop(hosted->service, EXIT_SCRIPT);
    else if (service_link(hosted->service) != NULL) /* from the first message of a hook on */
        link_set_tap(service_link(hosted->service), on_sent, hosted);
    return LN_OK;
}

/*
 * core.start_service(connect, path, source | nil, { name =, manual_clock =, drain_timeout =,
 *                    safe_libs =, log = }) -> service, running
 */
static int core_start_service(lua_State *L) {
    struct fiber *fiber = check_fiber(L, "testing.start");
    struct connect_options connect;
    lua_settop(L, 4);
    check_connect_options(L, "testing.start", 1, &connect);
    struct service_options options = {.path = luaL_checkstring(L, 2),
                                      .drain_timeout = 5,
                                      .limits = {.fibers = LIMITS_FIBERS}};
    options.source = luaL_optlstring(L, 3, NULL, &options.source_len);
    luaL_checktype(L, 4, LUA_TTABLE);
    lua_getfield(L, 4, "name");
    options.name = lua_tostring(L, -1);
    lua_getfield(L, 4, "manual_clock");
    options.manual_clock = lua_toboolean(L, -1);
    if (lua_getfield(L, 4, "drain_timeout") == LUA_TNUMBER)
        options.drain_timeout = lua_tonumber(L, -1);
    lua_getfield(L, 4, "coverage");
    if (lua_toboolean(L, -1)) /* luacov counts in each state and adds up in its file */
        options.prelude = "require('lunats.commands.coverage')()";
    lua_getfield(L, 4, "safe_libs");
    options.safe_libs = lua_toboolean(L, -1);
    lua_getfield(L, 4, "log");
    bool show_log = lua_toboolean(L, -1);
    lua_settop(L, 4);

    struct hosted **box = lua_newuserdatauv(L, sizeof(*box), 1);
    *box = NULL;
    luaL_setmetatable(L, HOSTED_TYPE);
    lua_insert(L, 1); /* box, connect, path, source, options */
    lua_createtable(L, 4, 0);
    for (int i = 2; i <= 5; i++) { /* the service borrows their strings */
        lua_pushvalue(L, i);
        lua_rawseti(L, -2, i - 1);
    }
    lua_setiuservalue(L, 1, 1);
    struct hosted *hosted = calloc(1, sizeof(*hosted));
    if (hosted == NULL)
        return luaL_error(L, "out of memory");
    hosted->connect = connect;
    hosted->connect.link.servers = hosted->connect.servers;
    hosted->show_log = show_log;
    hosted->box = box;
    *box = hosted; /* from here the collector owns it */
    lua_settop(L, 1);
    if (start(L, hosted, &options) < 0) {
        lua_pushboolean(L, false);
        return 2;
    }
    begin_wait(hosted, fiber);
    return wait_yield(L, start_done);
}

static int stop_done(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    struct fiber *fiber = wait_resumed(L);
    struct hosted *hosted = *(struct hosted **)fiber_wait_area(fiber);
    bool ended = hosted->service == NULL;
    int exit_status = hosted->exit_status;
    fiber_end_wait(fiber);
    if (!ended) {
        begin_wait(hosted, fiber);
        return wait_yield(L, stop_done);
    }
    lua_pushinteger(L, exit_status);
    return 1;
}

/* service:stop() -> exit status, after the orderly stop */
static int hosted_stop(lua_State *L) {
    struct hosted *hosted = check_idle(L);
    if (hosted->service == NULL) {
        lua_pushinteger(L, hosted->exit_status);
        return 1;
    }
    struct fiber *fiber = check_fiber(L, "svc:stop");
    begin_wait(hosted, fiber);
    service_stop(hosted->service, EXIT_OK);
    return wait_yield(L, stop_done);
}

/* ---- reloading ---- */

static void on_reloaded(void *owner, int status, const char *text) {
    struct hosted *hosted = owner;
    hosted->reloading = false;
    hosted->reload_status = status;
    snprintf(hosted->reload_text, sizeof(hosted->reload_text), "%s", text != NULL ? text : "");
    if (hosted->waiting != NULL)
        fiber_wake(hosted->waiting, LN_OK);
}

static int reload_done(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    struct fiber *fiber = wait_resumed(L);
    struct hosted *hosted = *(struct hosted **)fiber_wait_area(fiber);
    if (hosted->reloading && hosted->service != NULL) { /* woken by a record */
        fiber_end_wait(fiber);
        begin_wait(hosted, fiber);
        return wait_yield(L, reload_done);
    }
    int rc = hosted->reload_status;
    int pushed = rc == LN_OK ? push_status(L, rc, NULL) : 2;
    if (rc != LN_OK) {
        lua_pushnil(L);
        push_error(L, "reload_failed", hosted->reload_text);
    }
    fiber_end_wait(fiber);
    return pushed;
}

/* service:reload([source]) -> true | nil, err: after the switch, or when it has failed */
static int hosted_reload(lua_State *L) {
    struct hosted *hosted = check_idle(L);
    size_t len;
    const char *source = luaL_optlstring(L, 2, NULL, &len);
    struct fiber *fiber = check_fiber(L, "svc:reload");
    if (hosted->service == NULL)
        return push_failure(L, LN_ECLOSED, "the service has ended");
    int rc = service_reload(hosted->service, source, len, on_reloaded, hosted);
    if (rc < 0)
        return push_failure(L, rc, "a reload is under way or the service is stopping");
    hosted->reloading = true;
    begin_wait(hosted, fiber);
    return wait_yield(L, reload_done);
}

/* ---- looking ---- */

static int push_taken(lua_State *L) {
    records_push(L, &check_hosted(L)->records);
    return 1;
}

/* service:take() -> list of the records since the last call, see record.h */
static int hosted_take(lua_State *L) {
    return call_undisturbed(L, push_taken); /* a finalizer may take them, too */
}

static int wait_done(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    struct fiber *fiber = wait_resumed(L);
    lua_pushboolean(L, fiber_wake_status(fiber) == LN_OK);
    fiber_end_wait(fiber);
    return 1;
}

/* service:wait(seconds) -> whether a record came before the time was over or the service ended
 */
static int hosted_wait(lua_State *L) {
    struct hosted *hosted = check_idle(L);
    uint64_t ms = check_ms(L, 2);
    struct fiber *fiber = check_fiber(L, "svc:expect");
    if (hosted->records.count > 0 || hosted->service == NULL) {
        lua_pushboolean(L, hosted->records.count > 0);
        return 1;
    }
    begin_wait(hosted, fiber);
    fiber_deadline(fiber, ms);
    return wait_yield(L, wait_done);
}

/* service:running() -> boolean */
static int hosted_running(lua_State *L) {
    lua_pushboolean(L, check_hosted(L)->service != NULL);
    return 1;
}

/* A service that closes has no script, then no link, for some turns of the loop. */
static bool is_open(const struct hosted *hosted) {
    return hosted->service != NULL && service_script(hosted->service) != NULL &&
           service_link(hosted->service) != NULL;
}

static struct service *check_running(lua_State *L) {
    struct hosted *hosted = check_idle(L);
    if (!is_open(hosted))
        luaL_error(L, "the service has ended");
    return hosted->service;
}

/* service:name() -> name, instance id */
static int hosted_name(lua_State *L) {
    struct service *service = check_running(L);
    lua_pushstring(L, service_name(service));
    lua_pushstring(L, service_instance(service));
    return 2;
}

/* Over all connections of the service. */
static struct link_stats traffic_of(struct service *service) {
    struct link_stats stats;
    link_get_stats(service_link(service), &stats);
    connections_add_stats(service_connections(service), &stats);
    return stats;
}

/* service:activity() -> messages received, messages sent, requests that wait, handlers running
 */
static int hosted_activity(lua_State *L) {
    struct service *service = check_running(L);
    struct link_stats stats = traffic_of(service);
    lua_pushinteger(L, (lua_Integer)stats.in_msgs);
    lua_pushinteger(L, (lua_Integer)stats.out_msgs);
    lua_pushinteger(L, (lua_Integer)stats.calls);
    lua_pushinteger(
        L, (lua_Integer)fibers_count(script_fibers(service_script(service)), FIBER_HANDLER));
    return 4;
}

/* service:subscriptions() -> how many its connection has */
static int hosted_subscriptions(lua_State *L) {
    struct link_stats stats;
    link_get_stats(service_link(check_running(L)), &stats);
    lua_pushinteger(L, (lua_Integer)stats.subscriptions);
    return 1;
}

static void on_fiber(void *owner, const char *text) {
    struct hosted *hosted = owner;
    records_add_text(&hosted->records, RECORD_FIBER, text);
    on_record(hosted);
}

/* service:ask{ method =, path =, ... }, see ./ask.h */
static int hosted_ask(lua_State *L) {
    const struct hosted *hosted = check_hosted(L);
    if (!is_open(hosted))
        luaL_error(L, "the service has ended");
    return ask_web(L, hosted->web);
}

/* service:describe("handler" | "background"): one record of kind "fiber" for each of its fibers
 */
static int hosted_describe(lua_State *L) {
    static const char *const kinds[] = {"handler", "background", NULL};
    struct service *service = check_running(L);
    enum fiber_kind kind = (enum fiber_kind)luaL_checkoption(L, 2, "handler", kinds);
    fibers_describe(script_fibers(service_script(service)), kind, on_fiber, check_hosted(L));
    return 0;
}

/* service:listeners() -> list of { subject, where, received } */
static int hosted_listeners(lua_State *L) {
    const struct service *service = check_running(L);
    const struct script *script = service_script(service);
    struct listener *at = NULL;
    lua_newtable(L);
    for (lua_Integer i = 1; (at = listener_next(service_intake(service), script, at)) != NULL;
         i++) {
        struct listener_stats stats;
        listener_get_stats(at, &stats);
        lua_createtable(L, 0, 3);
        lua_pushstring(L, listener_options(at)->subject);
        lua_setfield(L, -2, "subject");
        lua_pushstring(L, listener_options(at)->where);
        lua_setfield(L, -2, "where");
        lua_pushinteger(L, (lua_Integer)stats.received);
        lua_setfield(L, -2, "received");
        lua_rawseti(L, -2, i);
    }
    return 1;
}

/* service:partition(seconds): its connection is lost for that long. */
static int hosted_partition(lua_State *L) {
    link_partition(service_link(check_running(L)), short_ms(check_ms(L, 2)));
    return 0;
}

/* ---- the manual clock ---- */

static bool is_busy(const struct hosted *hosted) {
    struct link_stats stats = traffic_of(hosted->service);
    return stats.calls > 0 || stats.out_msgs != hosted->out_msgs;
}

/* Runs on the loop, outside of all fibers: what a step makes ready runs before it returns. */
static void on_step(uv_timer_t *timer) {
    struct hosted *hosted = timer->data;
    for (int i = 0; i < STEPS_PER_TURN; i++) {
        if (!is_open(hosted))
            break;
        struct clock *clock = script_clock(service_script(hosted->service));
        if (!clock_step(clock, hosted->until)) {
            fiber_wake(hosted->waiting, LN_OK);
            return;
        }
        if (hosted->waiting == NULL)
            return; /* the spec was cancelled */
        if (!is_open(hosted) || is_busy(hosted)) {
            fiber_wake(hosted->waiting, LN_ETIMEOUT);
            return;
        }
    }
    if (hosted->service == NULL)
        fiber_wake(hosted->waiting, LN_ECLOSED);
    else
        uv_timer_start(timer, on_step, 0, 0);
}

/* A record wakes the fiber, too: only the stepper knows whether the time has come. */
static int advance_done(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    struct fiber *fiber = wait_resumed(L);
    struct hosted *hosted = *(struct hosted **)fiber_wait_area(fiber);
    bool done = !is_open(hosted) ||
                (!uv_is_active((uv_handle_t *)&hosted->stepper) &&
                 clock_now(script_clock(service_script(hosted->service))) >= hosted->until &&
                 fiber_wake_status(fiber) == LN_OK);
    fiber_end_wait(fiber);
    lua_pushboolean(L, done);
    return 1;
}

/* service:deadline(seconds) -> the time on its clock, in seconds, that many from now */
static int hosted_deadline(lua_State *L) {
    struct clock *clock = script_clock(service_script(check_running(L)));
    lua_pushinteger(L, (lua_Integer)(clock_now(clock) + check_ms(L, 2)));
    return 1;
}

/*
 * service:advance(deadline) -> done
 * Moves a manual clock from timer to timer. Stops early (false) after one that sent something
 * or waits for a reply, so that the caller can let that happen before time goes on.
 */
static int hosted_advance(lua_State *L) {
    struct service *service = check_running(L);
    struct hosted *hosted = check_hosted(L);
    struct clock *clock = script_clock(service_script(service));
    if (!clock_is_manual(clock))
        return luaL_error(L, "svc:advance needs testing.start(..., { clock = \"manual\" })");
    lua_Integer until = luaL_checkinteger(L, 2);
    struct fiber *fiber = check_fiber(L, "svc:advance");
    hosted->out_msgs = traffic_of(service).out_msgs;
    hosted->until = (uint64_t)until;
    begin_wait(hosted, fiber);
    uv_timer_start(&hosted->stepper, on_step, 0, 0);
    return wait_yield(L, advance_done);
}

static const luaL_Reg methods[] = {
    {"stop", hosted_stop},
    {"take", hosted_take},
    {"wait", hosted_wait},
    {"running", hosted_running},
    {"name", hosted_name},
    {"activity", hosted_activity},
    {"reload", hosted_reload},
    {"describe", hosted_describe},
    {"ask", hosted_ask},
    {"listeners", hosted_listeners},
    {"partition", hosted_partition},
    {"subscriptions", hosted_subscriptions},
    {"deadline", hosted_deadline},
    {"advance", hosted_advance},
    {"__gc", hosted_gc},
    {NULL, NULL},
};

void bindings_hosted(lua_State *L) {
    add_class(L, HOSTED_TYPE, methods);
    lua_pushcfunction(L, core_start_service);
    lua_setfield(L, -2, "start_service");
}
