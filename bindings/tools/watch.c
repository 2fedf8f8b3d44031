/* SPDX-License-Identifier: Apache-2.0 */
/* core.watch(): waiting until a file changes. */
#include "host/base/watch.h"

#include <string.h>

#include "bindings/bindings.h"
#include "bindings/lib/lib.h"

#define WATCH_TYPE "lunats.watch"

struct watch_box {
    struct script_resource resource;
    struct watch *watch; /* NULL: closed */
    struct fiber *waiting;
    char path[1024]; /* of the first change nobody has asked for; "" = none */
};

static struct watch_box *check_watch(lua_State *L) {
    struct watch_box *box = luaL_checkudata(L, 1, WATCH_TYPE);
    if (box->watch == NULL)
        luaL_error(L, "this watch was closed");
    return box;
}

static void on_change(void *owner, const char *path) {
    struct watch_box *box = owner;
    if (box->path[0] == '\0')
        snprintf(box->path, sizeof(box->path), "%s", path);
    if (box->waiting != NULL)
        fiber_wake(box->waiting, LN_OK);
}

static void on_script_close(struct script_resource *resource) {
    struct watch_box *box = (struct watch_box *)resource;
    watch_close(box->watch);
    box->watch = NULL;
}

/* core.watch([poll]) -> watch; poll: seconds, to look that often instead of being told */
static int core_watch(lua_State *L) {
    check_open(L);
    double poll = luaL_optnumber(L, 1, 0);
    struct watch_box *box = lua_newuserdatauv(L, sizeof(*box), 0);
    memset(box, 0, sizeof(*box));
    luaL_setmetatable(L, WATCH_TYPE);
    struct script *script = script_of(L);
    int rc =
        watch_open(&box->watch, script_loop(script), (unsigned)(poll * 1000), on_change, box);
    if (rc < 0)
        return push_failure(L, rc, NULL);
    box->resource.close = on_script_close;
    script_add_resource(script, &box->resource);
    return 1;
}

/* watch:add(path [, suffix]): a file, or with a suffix the files of a folder */
static int watch_add_method(lua_State *L) {
    struct watch_box *box = check_watch(L);
    const char *path = luaL_checkstring(L, 2);
    const char *suffix = luaL_optstring(L, 3, NULL);
    int rc = suffix != NULL ? watch_add_folder(box->watch, path, suffix, false)
                            : watch_add(box->watch, path);
    return push_status(L, rc, path);
}

/* watch:clear() */
static int watch_clear_method(lua_State *L) {
    struct watch_box *box = check_watch(L);
    watch_clear(box->watch);
    box->path[0] = '\0';
    return 0;
}

static void leave_wait(struct fiber *fiber, void *area) {
    (void)fiber;
    (*(struct watch_box **)area)->waiting = NULL;
}

static int wait_done(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    struct fiber *fiber = wait_resumed(L);
    struct watch_box *box = *(struct watch_box **)fiber_wait_area(fiber);
    lua_pushstring(L, box->path);
    box->path[0] = '\0';
    fiber_end_wait(fiber);
    return 1;
}

/* watch:wait() -> path of a file that has changed since the last wait() or clear() */
static int watch_wait(lua_State *L) {
    struct watch_box *box = check_watch(L);
    struct fiber *fiber = check_fiber(L, "watch:wait");
    if (box->waiting != NULL)
        return luaL_error(L, "another fiber waits for this watch already");
    if (box->path[0] != '\0') {
        lua_pushstring(L, box->path);
        box->path[0] = '\0';
        return 1;
    }
    box->waiting = fiber;
    *(struct watch_box **)fiber_begin_wait(fiber, leave_wait) = box;
    return wait_yield(L, wait_done);
}

static int watch_close_method(lua_State *L) {
    struct watch_box *box = luaL_checkudata(L, 1, WATCH_TYPE);
    if (box->watch == NULL)
        return 0;
    script_remove_resource(&box->resource);
    on_script_close(&box->resource);
    return 0;
}

static const luaL_Reg methods[] = {
    {"add", watch_add_method},     {"clear", watch_clear_method}, {"wait", watch_wait},
    {"close", watch_close_method}, {"__gc", watch_close_method},  {NULL, NULL},
};

void bindings_watch(lua_State *L) {
    add_class(L, WATCH_TYPE, methods);
    lua_pushcfunction(L, core_watch);
    lua_setfield(L, -2, "watch");
}
