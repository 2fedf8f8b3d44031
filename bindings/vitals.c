/* SPDX-License-Identifier: Apache-2.0 */
/* How the service is: checks that a script declares, and what it hears of the connection. */
#include "host/service/vitals.h"

#include <stdlib.h>
#include <string.h>

#include "bindings/bindings.h"
#include "bindings/lib/lib.h"
#include "host/base/container_of.h"

/* ---- checks ---- */

#define CHECK_TYPE "lunats.health_check"

struct check_box {
    struct health_check *check; /* of the service, which outlives the script */
};

static struct vitals *vitals_of(lua_State *L) {
    return service_vitals(script_service(script_of(L)));
}

/* core.health_check(name, critical) -> check */
static int core_health_check(lua_State *L) {
    const char *name = luaL_checkstring(L, 1);
    bool critical = lua_toboolean(L, 2);
    check_open(L);
    struct check_box *box = lua_newuserdatauv(L, sizeof(*box), 0);
    box->check = NULL;
    luaL_setmetatable(L, CHECK_TYPE);
    box->check = health_hold(vitals_of(L), name, critical);
    return box->check != NULL ? 1 : luaL_error(L, "out of memory");
}

/* check:set(why | nil): its result; nil when all is well */
static int check_set(lua_State *L) {
    const struct check_box *box = luaL_checkudata(L, 1, CHECK_TYPE);
    const char *why = luaL_optstring(L, 2, NULL);
    luaL_argcheck(L, box->check != NULL, 1, "the check is gone"); /* only in finalizers */
    health_set(box->check, why, clock_wall(service_clock(script_service(script_of(L)))));
    return 0;
}

static int check_gc(lua_State *L) {
    struct check_box *box = luaL_checkudata(L, 1, CHECK_TYPE);
    if (box->check != NULL)
        health_release(box->check);
    box->check = NULL;
    return 0;
}

static const luaL_Reg check_methods[] = {
    {"set", check_set},
    {"__gc", check_gc},
    {NULL, NULL},
};

/* ---- the connection ---- */

/* One app.on_connection(); lasts as long as its script. */
struct listening {
    struct script_resource resource;
    struct connection_watcher watcher;
    struct script *script;
    int fn; /* registry reference */
};

/* One call of the function, until its fiber has ended. */
struct change {
    const struct listening *listening;
    const char *state; /* static */
    char detail[];
};

static int call_done(lua_State *L, int status, lua_KContext context) {
    (void)L, (void)status, (void)context;
    return 0;
}

static int call(lua_State *L) {
    const struct change *change = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, change->listening->fn);
    lua_pushstring(L, change->state);
    lua_pushstring(L, change->detail);
    lua_callk(L, 2, 0, 0, call_done);
    return call_done(L, LUA_OK, 0);
}

static void on_call_end(struct fiber *fiber, void *arg, int status, const char *text) {
    (void)fiber;
    struct change *change = arg;
    if (status == LN_ESCRIPT)
        script_report(change->listening->script, text);
    free(change);
}

static void tell(struct listening *listening, const char *state, const char *detail) {
    size_t len = strlen(detail) + 1;
    struct change *change = malloc(sizeof(*change) + len);
    if (change == NULL)
        return;
    change->listening = listening;
    change->state = state;
    memcpy(change->detail, detail, len);
    if (fiber_spawn(script_fibers(listening->script), FIBER_BACKGROUND, call, change,
                    on_call_end) < 0)
        free(change);
}

static void on_change(struct connection_watcher *watcher, const char *state,
                      const char *detail) {
    tell(container_of(watcher, struct listening, watcher), state, detail);
}

/* The script serves: it is told what there is, then what changes. */
static void begin(struct script_resource *resource) {
    struct listening *listening = container_of(resource, struct listening, resource);
    struct service *service = script_service(listening->script);
    const struct link *link = service_link(service);
    struct vitals *vitals = service_vitals(service);
    struct link_info info;
    if (link != NULL && link_is_connected(link)) {
        link_get_info(link, &info);
        tell(listening, "connected", info.url);
        if (vitals->lame_duck)
            tell(listening, "lame_duck", "");
    } else if (link != NULL) {
        tell(listening, "disconnected", "");
    }
    listening->watcher.on_change = on_change;
    list_push_back(&vitals->watchers, &listening->watcher.node);
}

static void end(struct script_resource *resource) {
    struct listening *listening = container_of(resource, struct listening, resource);
    list_remove(&listening->watcher.node);
    free(listening);
}

/* core.on_connection(fn): fn(state, detail) is called in a fiber of its own */
static int core_on_connection(lua_State *L) {
    struct script *script = script_of(L);
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_settop(L, 1);
    check_open(L);
    int fn = luaL_ref(L, LUA_REGISTRYINDEX);
    struct listening *listening = calloc(1, sizeof(*listening));
    if (listening == NULL) {
        luaL_unref(L, LUA_REGISTRYINDEX, fn);
        return luaL_error(L, "out of memory");
    }
    listening->script = script;
    listening->fn = fn;
    listening->resource.begin = begin;
    listening->resource.close = end;
    script_add_resource(script, &listening->resource);
    if (script_state(script) == SCRIPT_RUNNING)
        begin(&listening->resource);
    return 0;
}

/* ---- the collector ---- */

static const char sentinel_key = 's';

/* Leaves an object that nobody holds: the next collection, be it of young objects only, finds
 * it. */
static void arm_sentinel(lua_State *L) {
    lua_newuserdatauv(L, 0, 0);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &sentinel_key);
    lua_setmetatable(L, -2);
    lua_pop(L, 1);
}

static int on_collection(lua_State *L) {
    vitals_of(L)->collections++;
    arm_sentinel(L); /* does nothing in a state that is closed */
    return 0;
}

static void count_collections(lua_State *L) {
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, on_collection);
    lua_setfield(L, -2, "__gc");
    lua_rawsetp(L, LUA_REGISTRYINDEX, &sentinel_key);
    arm_sentinel(L);
}

/* core.foreign_metrics(prometheus, open metrics): shown with those of this process; replaces
 * what there was. Of commands. */
static int core_foreign_metrics(lua_State *L) {
    const char *texts[] = {luaL_checkstring(L, 1), luaL_checkstring(L, 2)};
    char *prometheus = strdup(texts[0]), *open_metrics = strdup(texts[1]);
    if (prometheus == NULL || open_metrics == NULL) {
        free(prometheus);
        free(open_metrics);
        return luaL_error(L, "out of memory");
    }
    vitals_set_foreign(vitals_of(L), prometheus, open_metrics);
    return 0;
}

static const luaL_Reg functions[] = {
    {"health_check", core_health_check},
    {"foreign_metrics", core_foreign_metrics},
    {"on_connection", core_on_connection},
    {NULL, NULL},
};

void bindings_vitals(lua_State *L) {
    add_class(L, CHECK_TYPE, check_methods);
    if (service_options(script_service(script_of(L)))->count_collections)
        count_collections(L);
    luaL_setfuncs(L, functions, 0);
}
