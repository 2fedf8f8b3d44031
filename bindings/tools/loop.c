/* SPDX-License-Identifier: Apache-2.0 */
/* core.loop_handles(), core.error_watch(), core.failures(): what a spec leaves behind on the
 * loop and in the log, and which of its fibers have failed. */
#include <stdio.h>
#include <string.h>

#include <uv.h>

#include "bindings/bindings.h"
#include "bindings/lib/lib.h"
#include "bindings/tools/record.h"
#include "host/base/log.h"

#define ERROR_WATCH_TYPE "lunats.error_watch"
#define FAILURES_TYPE "lunats.failures"

/* Written down until the spec looks. Lives in its userdata. */
struct error_watch {
    struct script_resource resource; /* first: on_script_close() casts */
    struct log_tap tap;
    struct service *service; /* whose errors; NULL: closed */
    lua_Integer count;
    char first[2048]; /* the first since the last look, cut */
};

struct handle_counts {
    lua_Integer of_type[UV_HANDLE_TYPE_MAX];
};

static void count_handle(uv_handle_t *handle, void *arg) {
    struct handle_counts *counts = arg;
    if (!uv_is_closing(handle)) /* active or not: that changes with every wait */
        counts->of_type[handle->type]++;
}

/* core.loop_handles() -> { timer = 2, poll = 1, ... }: the handles that are not closed */
static int core_loop_handles(lua_State *L) {
    struct handle_counts counts = {{0}};
    uv_walk(script_loop(script_of(L)), count_handle, &counts);
    lua_newtable(L);
    for (int type = 0; type < UV_HANDLE_TYPE_MAX; type++) {
        if (counts.of_type[type] == 0)
            continue;
        lua_pushinteger(L, counts.of_type[type]);
        lua_setfield(L, -2, uv_handle_type_name((uv_handle_type)type));
    }
    return 1;
}

static bool on_record(struct log_tap *tap, const struct log_record *record) {
    struct error_watch *watch = tap->owner;
    /* Another service may have the same name, never the same memory of it. */
    if (record->service == service_name(watch->service) && watch->count++ == 0)
        snprintf(watch->first, sizeof(watch->first), "%s", record->message);
    return false;
}

static void on_script_close(struct script_resource *resource) {
    struct error_watch *watch = (struct error_watch *)resource;
    watch->service = NULL;
    log_tap_remove(&watch->tap);
}

/* core.error_watch() -> watch: counts the errors that this script logs, unhandled ones included
 */
static int core_error_watch(lua_State *L) {
    check_open(L);
    struct script *script = script_of(L);
    struct error_watch *watch = lua_newuserdatauv(L, sizeof(*watch), 0);
    memset(watch, 0, sizeof(*watch));
    luaL_setmetatable(L, ERROR_WATCH_TYPE);
    watch->resource.close = on_script_close;
    watch->tap = (struct log_tap){
        .level = LOG_LEVEL_ERROR,
        .on_record = on_record,
        .owner = watch,
    };
    watch->service = script_service(script);
    script_add_resource(script, &watch->resource);
    log_tap_add(&watch->tap);
    return 1;
}

/* watch:take() -> count, text of the first one; since the last call */
static int error_watch_take(lua_State *L) {
    struct error_watch *watch = luaL_checkudata(L, 1, ERROR_WATCH_TYPE);
    lua_Integer count = watch->count;
    watch->count = 0;
    lua_pushinteger(L, count);
    lua_pushstring(L, watch->first);
    return 2;
}

static int error_watch_gc(lua_State *L) {
    struct error_watch *watch = luaL_checkudata(L, 1, ERROR_WATCH_TYPE);
    if (watch->service != NULL) {
        script_remove_resource(&watch->resource);
        on_script_close(&watch->resource);
    }
    return 0;
}

/* ---- errors that this script did not handle ---- */

/* Lives in its userdata. */
struct failures {
    struct script_resource resource; /* first: on_failures_close() casts */
    struct script *script;           /* NULL: closed */
    struct records records;
};

static void on_failure(void *owner, const char *text) {
    struct failures *failures = owner;
    records_add_text(&failures->records, RECORD_ERROR, text);
}

static void on_failures_close(struct script_resource *resource) {
    struct failures *failures = (struct failures *)resource;
    script_watch_errors(failures->script, NULL, NULL);
    failures->script = NULL;
}

/* core.failures() -> failures: keeps them from here on. One at a time. */
static int core_failures(lua_State *L) {
    check_open(L);
    struct failures *failures = lua_newuserdatauv(L, sizeof(*failures), 0);
    memset(failures, 0, sizeof(*failures));
    luaL_setmetatable(L, FAILURES_TYPE);
    failures->resource.close = on_failures_close;
    failures->script = script_of(L);
    script_add_resource(failures->script, &failures->resource);
    script_watch_errors(failures->script, on_failure, failures);
    return 1;
}

static int push_failures(lua_State *L) {
    struct failures *failures = luaL_checkudata(L, 1, FAILURES_TYPE);
    records_push(L, &failures->records);
    return 1;
}

/* failures:take() -> list of { kind = "error", text = } since the last call */
static int failures_take(lua_State *L) {
    return call_undisturbed(L, push_failures);
}

static int failures_gc(lua_State *L) {
    struct failures *failures = luaL_checkudata(L, 1, FAILURES_TYPE);
    if (failures->script != NULL) {
        script_remove_resource(&failures->resource);
        on_failures_close(&failures->resource);
    }
    records_free(&failures->records);
    return 0;
}

static const luaL_Reg error_watch_methods[] = {
    {"take", error_watch_take},
    {"__gc", error_watch_gc},
    {NULL, NULL},
};

static const luaL_Reg failures_methods[] = {
    {"take", failures_take},
    {"__gc", failures_gc},
    {NULL, NULL},
};

static const luaL_Reg functions[] = {
    {"loop_handles", core_loop_handles},
    {"error_watch", core_error_watch},
    {"failures", core_failures},
    {NULL, NULL},
};

void bindings_loop(lua_State *L) {
    add_class(L, ERROR_WATCH_TYPE, error_watch_methods);
    add_class(L, FAILURES_TYPE, failures_methods);
    luaL_setfuncs(L, functions, 0);
}
