/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What scripts/js/lease.lua needs from C: a lease that it has acquired, renewed on the loop,
 * and the fence round the fibers that work under it.
 *
 * The userdata is a resource of the script. While fibers are inside of the fence the registry
 * keeps it, as they point at it.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bindings/bindings.h"
#include "bindings/js/js.h"
#include "bindings/lib/lib.h"
#include "host/base/container_of.h"
#include "host/jetstream/lease.h"
#include "host/script/fence.h"

#define LEASE_TYPE "lunats.lease"

struct lease_box {
    struct script_resource resource;
    struct fence fence;
    struct lease *lease; /* NULL: closed */
    struct script *script;
    struct fiber *waiting; /* in lease:wait() */
    bool releasing;        /* as soon as the fence is empty */
    bool drains;           /* the next version does not go on with it */
    bool lost;
    char why[80];
};

/* ---- the end ---- */

static void box_close(struct lease_box *box) {
    if (box->lease == NULL)
        return;
    lease_close(box->lease);
    box->lease = NULL;
}

static void on_lost(void *owner, const char *why) {
    struct lease_box *box = owner;
    struct scheduler *scheduler = script_scheduler(box->script);
    box->lost = true;
    snprintf(box->why, sizeof(box->why), "%s", why);
    scheduler_hold(scheduler); /* a fiber that ends may be the last to keep the box */
    fence_cancel(&box->fence);
    if (box->waiting != NULL)
        fiber_wake(box->waiting, LN_OK);
    scheduler_release(scheduler);
}

const struct lease_box *check_lease(lua_State *L, int arg) {
    return luaL_checkudata(L, arg, LEASE_TYPE);
}

bool lease_box_holds(const struct lease_box *box) {
    return box->lease != NULL && lease_holds(box->lease);
}

static bool holds(struct fence *fence) {
    return lease_box_holds(container_of(fence, struct lease_box, fence));
}

static void on_empty(struct fence *fence) {
    struct lease_box *box = container_of(fence, struct lease_box, fence);
    lua_State *L = script_lua(box->script);
    if (box->releasing && box->lease != NULL)
        lease_release(box->lease);
    lua_pushnil(L); /* clearing a field allocates nothing */
    lua_rawsetp(L, LUA_REGISTRYINDEX, fence);
}

/* Those inside come to their end before the lease is given back. */
static void release(struct lease_box *box) {
    box->releasing = true;
    if (list_empty(&box->fence.fibers) && box->lease != NULL)
        lease_release(box->lease);
}

/* A version that takes over goes on with the lease, see lease:state(), unless it drains: then
 * it is renewed as long as fibers of this version are inside. */
static void on_script_drain(struct script_resource *resource) {
    struct lease_box *box = container_of(resource, struct lease_box, resource);
    if (box->drains || script_state(box->script) != SCRIPT_RETIRING) {
        release(box);
        return;
    }
    box_close(box);
    fence_cancel(&box->fence);
}

static void on_script_close(struct script_resource *resource) {
    box_close(container_of(resource, struct lease_box, resource));
}

/* ---- for Lua ---- */

static uint64_t ms_field(lua_State *L, const char *name) {
    lua_getfield(L, 1, name);
    double seconds = lua_tonumber(L, -1);
    lua_pop(L, 1);
    return seconds > 0 ? (uint64_t)llround(seconds * 1e3) : 0;
}

static lua_Integer count_field(lua_State *L, const char *name) {
    lua_getfield(L, 1, name);
    lua_Integer count = lua_tointeger(L, -1);
    lua_pop(L, 1);
    return count;
}

/* It stays on the stack. */
static const char *text_field(lua_State *L, const char *name) {
    lua_getfield(L, 1, name);
    return luaL_checkstring(L, -1);
}

/*
 * core.js_lease { subject =, value =, id =, ttl =, drains =, revision =, confirmed =, number =,
 *                 sent = } -> lease
 * Times in seconds of core.clock(); the last two of another version's lease:state(). With
 * `drains` it is given back by a version that retires, when the fibers inside have ended.
 */
static int js_lease(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    struct link *link = check_link(L);
    check_open(L);
    struct lease_options options = {
        .subject = text_field(L, "subject"),
        .value = text_field(L, "value"),
        .id = text_field(L, "id"),
        .ttl_ms = ms_field(L, "ttl"),
        .state = {.revision = count_field(L, "revision"),
                  .number = (uint64_t)count_field(L, "number"),
                  .confirmed = ms_field(L, "confirmed"),
                  .sent = ms_field(L, "sent")},
        .on_lost = on_lost,
    };
    luaL_argcheck(L, link_subject_ok(options.subject, strlen(options.subject)), 1, "subject");
    luaL_argcheck(L, options.ttl_ms >= 100, 1, "ttl");
    lua_getfield(L, 1, "drains");
    bool drains = lua_toboolean(L, -1);
    struct lease_box *box = lua_newuserdatauv(L, sizeof(*box), 0);
    memset(box, 0, sizeof(*box));
    luaL_setmetatable(L, LEASE_TYPE);
    box->script = script_of(L);
    box->drains = drains;
    options.owner = box;
    int rc = lease_open(&box->lease, link, script_clock(script_of(L)), &options);
    if (rc < 0)
        return luaL_error(L, "js_lease: %s", status_text(rc));
    box->fence.holds = holds;
    box->fence.on_empty = on_empty;
    box->resource.drain = on_script_drain;
    box->resource.close = on_script_close;
    script_add_resource(box->script, &box->resource);
    return 1;
}

/* lease:enter(): the running fiber, and those that it starts by app.spawn, end with the lease
 */
static int box_enter(lua_State *L) {
    struct lease_box *box = luaL_checkudata(L, 1, LEASE_TYPE);
    struct fiber *fiber = check_fiber(L, "lease:enter");
    lua_pushvalue(L, 1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &box->fence);
    fence_add(&box->fence, fiber);
    if (!holds(&box->fence))
        fiber_cancel(fiber);
    return 0;
}

static void abandon(struct fiber *fiber, void *area) {
    (void)fiber;
    struct lease_box **box = area;
    (*box)->waiting = NULL;
}

static int push_why(lua_State *L, const struct lease_box *box) {
    lua_pushstring(L, box->lost ? box->why : NULL);
    return 1;
}

static int wait_done(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    fiber_end_wait(wait_resumed(L));
    return push_why(L, lua_touserdata(L, 1));
}

/* lease:wait() -> why: until it is lost (a text), or given back (nil) */
static int box_wait(lua_State *L) {
    struct lease_box *box = luaL_checkudata(L, 1, LEASE_TYPE);
    struct fiber *fiber = check_fiber(L, "lease:wait");
    luaL_argcheck(L, box->waiting == NULL, 1, "somebody waits for it already");
    if (box->lost || box->releasing || box->lease == NULL)
        return push_why(L, box);
    struct lease_box **area = fiber_begin_wait(fiber, abandon);
    *area = box; /* argument 1 keeps it */
    box->waiting = fiber;
    return wait_yield(L, wait_done);
}

/* lease:release(): those inside are cancelled; it is given back when they have ended */
static int box_release(lua_State *L) {
    struct lease_box *box = luaL_checkudata(L, 1, LEASE_TYPE);
    release(box);
    fence_cancel(&box->fence);
    if (box->waiting != NULL)
        fiber_wake(box->waiting, LN_OK);
    return 0;
}

/* lease:holds() -> boolean */
static int box_holds(lua_State *L) {
    struct lease_box *box = luaL_checkudata(L, 1, LEASE_TYPE);
    lua_pushboolean(L, !box->releasing && holds(&box->fence));
    return 1;
}

static void set_seconds(lua_State *L, const char *name, uint64_t ms) {
    lua_pushnumber(L, (lua_Number)ms / 1e3);
    lua_setfield(L, -2, name);
}

/* lease:state() -> what core.js_lease() of another version needs; nil when it is over */
static int box_state(lua_State *L) {
    struct lease_box *box = luaL_checkudata(L, 1, LEASE_TYPE);
    struct lease_state state;
    if (box->releasing || !holds(&box->fence))
        return 0;
    lease_get_state(box->lease, &state);
    lua_createtable(L, 0, 4);
    lua_pushinteger(L, (lua_Integer)state.revision);
    lua_setfield(L, -2, "revision");
    lua_pushinteger(L, (lua_Integer)state.number);
    lua_setfield(L, -2, "number");
    set_seconds(L, "confirmed", state.confirmed);
    set_seconds(L, "sent", state.sent);
    return 1;
}

/* While it is open the script's list of resources has it; nobody finds it there any more. */
static int box_gc(lua_State *L) {
    struct lease_box *box = luaL_checkudata(L, 1, LEASE_TYPE);
    script_remove_resource(&box->resource);
    box_close(box);
    return 0;
}

static const luaL_Reg methods[] = {
    {"enter", box_enter}, {"wait", box_wait},   {"release", box_release},
    {"holds", box_holds}, {"state", box_state}, {"__gc", box_gc},
    {NULL, NULL},
};

static const luaL_Reg functions[] = {
    {"js_lease", js_lease},
    {NULL, NULL},
};

void bindings_js_lease(lua_State *L) {
    add_class(L, LEASE_TYPE, methods);
    luaL_setfuncs(L, functions, 0);
}
