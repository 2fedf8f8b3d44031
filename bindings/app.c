/* SPDX-License-Identifier: Apache-2.0 */
/* Identity and life of the script: the C side of `app`. */
#include <string.h>

#include "bindings/bindings.h"
#include "bindings/lib/lib.h"
#include "host/base/status.h"
#include "host/base/worker.h"
#include "host/script/missing.h"
#include "host/script/trace.h"
#include "host/service/identity.h"

/* ---- the script and its service ---- */

/* core.loading() -> boolean: the top level has run, so hooks may wait from here on */
static int core_loading(lua_State *L) {
    lua_pushboolean(L, script_state(script_of(L)) == SCRIPT_LOADING);
    return 1;
}

/* "file:line: " of the script's code that is running, without bindings and our own Lua. */
static const char *push_place(lua_State *L) {
    lua_Debug at;
    for (int level = 0; lua_getstack(L, level, &at); level++) {
        lua_getinfo(L, "Sl", &at);
        if (at.currentline > 0 && strncmp(at.short_src, "lunats/", 7) != 0)
            return lua_pushfstring(L, "%s:%d: ", at.short_src, at.currentline);
    }
    return lua_pushliteral(L, "");
}

/* The system keeps the last eight bits: a failure must not look like a success. */
static int exit_status(lua_Integer status) {
    int kept = (int)(status & 0xff);
    return kept == 0 && status != 0 ? 255 : kept;
}

/* core.place() -> "file:line: " of the caller's script, or "" */
static int core_place(lua_State *L) {
    push_place(L);
    return 1;
}

/* core.exit([status]): ends the process in order; the caller does not go on. */
static int core_exit(lua_State *L) {
    int status = 0;
    if (lua_isboolean(L, 1))
        status = lua_toboolean(L, 1) ? 0 : 1;
    else
        status = exit_status(luaL_optinteger(L, 1, 0));
    script_exit(script_of(L), status, push_place(L));
    struct fiber *fiber = fibers_current(script_fibers(script_of(L)));
    if (can_wait(L)) {
        fiber_doom(fiber);
        return wait_for_end(L);
    }
    if (fiber == NULL)
        return luaL_error(L, "os.exit(%d)", status);
    fiber_cancel(fiber); /* so that the error counts as its end, not as a failure */
    push_error(L, status_word(LN_ECANCELLED), lua_pushfstring(L, "os.exit(%d)", status));
    return lua_error(L);
}

/* core.leave(): the running fiber, which can wait, does not go on, as if it had called
 * os.exit() itself */
static int core_leave(lua_State *L) {
    fiber_doom(fibers_current(script_fibers(script_of(L))));
    return wait_for_end(L);
}

/* core.declare(): the script is a service, and more than a module of one */
static int core_declare(lua_State *L) {
    script_set_declares(script_of(L));
    return 0;
}

/* core.declares() -> boolean */
static int core_declares(lua_State *L) {
    lua_pushboolean(L, script_declares(script_of(L)));
    return 1;
}

/* core.set_phase("start" | "run" | "stop" | "reloaded" | "save" | "restore" | "describe" |
 * "error", fn) */
static int core_set_phase(lua_State *L) {
    static const char *const names[] = {"start",   "run",      "stop",  "reloaded", "save",
                                        "restore", "describe", "error", NULL};
    enum script_phase phase = (enum script_phase)luaL_checkoption(L, 1, NULL, names);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_settop(L, 2);
    script_set_phase(script_of(L), L, phase);
    return 0;
}

/* core.add_file(path): a further file of the script, to be watched */
static int core_add_file(lua_State *L) {
    script_add_file(script_of(L), luaL_checkstring(L, 1));
    return 0;
}

/* core.identity() -> name, version, instance_id */
static int core_identity(lua_State *L) {
    struct service *service = script_service(script_of(L));
    lua_pushstring(L, service_name(service));
    lua_pushstring(L, script_about(script_of(L))->version);
    lua_pushstring(L, service_instance(service));
    return 3;
}

/*
 * core.configure(name | nil, version | nil, description | nil, metadata | nil, discover)
 * metadata is JSON.
 */
static int core_configure(lua_State *L) {
    struct service *service = script_service(script_of(L));
    if (script_state(script_of(L)) != SCRIPT_LOADING)
        return raise_error(L,
                           "app.config must be called at the top level of the script, before "
                           "the service starts");
    const char *name = luaL_optstring(L, 1, NULL), *version = luaL_optstring(L, 2, NULL);
    int rc = name != NULL ? service_set_name(service, name) : LN_OK;
    if (rc == LN_ECLOSED)
        return raise_error(L,
                           "app.config: a reload cannot change the name of the service ('%s')",
                           service_name(service));
    if (rc < 0)
        return raise_error(L,
                           "app.config: the name '%s' may hold letters, digits, '_' and '-', "
                           "64 at most",
                           name);
    if (version != NULL && !identity_version_ok(version))
        return raise_error(L,
                           "app.config: the version '%s' must be a semantic version of at most "
                           "64 characters: three numbers, as in 1.2.0, perhaps with -rc.1 or "
                           "+build behind",
                           version);
    struct script_about about = {
        .version = version,
        .description = luaL_optstring(L, 3, NULL),
        .metadata = luaL_optstring(L, 4, NULL),
        .hidden = !lua_isnoneornil(L, 5) && !lua_toboolean(L, 5),
    };
    if (script_set_about(script_of(L), &about) < 0)
        return raise_error(L, "app.config: %s", status_text(LN_ENOMEM));
    return 0;
}

/* core.limit({ slice = seconds | nil, memory = bytes | nil, fibers = n | nil }): this version
 * of the script has no more than that; checked by the caller */
static int core_limit(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    lua_getfield(L, 1, "slice");
    lua_getfield(L, 1, "memory");
    lua_getfield(L, 1, "fibers");
    const struct script_limits given = {
        .slice_ms = (uint32_t)(lua_tonumber(L, 2) * 1000),
        .memory = (uint64_t)lua_tointeger(L, 3),
        .fibers = (uint64_t)lua_tointeger(L, 4),
    };
    script_lower_limits(script_of(L), &given);
    return 0;
}

/* core.error(code, message) -> error table */
static int core_error(lua_State *L) {
    return push_error(L, luaL_checkstring(L, 1), luaL_checkstring(L, 2));
}

static int report(lua_State *L, bool logged) {
    struct script_error error = {.text = luaL_checkstring(L, 1), .L = L, .logged = logged};
    lua_settop(L, 3);
    error.facts = lua_istable(L, 2) ? 2 : 0;
    error.value = 3;
    script_report_error(script_of(L), &error);
    return 0;
}

/*
 * core.report(text [, facts [, err]]): an error that the script did not handle. facts, { kind
 * =, name =, ... }, and what was raised are for those who watch errors; facts become theirs.
 */
static int core_report(lua_State *L) {
    return report(L, false);
}

/* core.logged_error(text [, facts [, err]]): the same for one that the log has already */
static int core_logged_error(lua_State *L) {
    return report(L, true);
}

/* core.traceback(err): its text and a traceback, a message handler for xpcall */
static int core_traceback(lua_State *L) {
    return error_traceback(L);
}

/* core.raised(err, before) -> caught: keeps both, and what was caught before in the same call;
 * for the message handler of an xpcall that is in Lua and returns err. */
static int core_raised(lua_State *L) {
    lua_settop(L, 2);
    catch_raised(L, 2);
    return 1;
}

/* core.caught(caught) -> text with traceback, what was raised; also of memory errors, for which
 * no handler is called. */
static int core_caught(lua_State *L) {
    lua_settop(L, 1);
    if (is_raised(L, 1)) {
        lua_rawgeti(L, 1, RAISED_TRACE);
        lua_rawgeti(L, 1, RAISED_VALUE);
        return 2;
    }
    error_alone(L, 1);
    lua_pushvalue(L, 1);
    return 2;
}

/* core.missed(name, path, table, ...): the table at that path, which has the names of these
 * tables, has none of this name; an error about it says so. */
static int core_missed(lua_State *L) {
    luaL_checkstring(L, 1);
    luaL_checkstring(L, 2);
    luaL_checktype(L, 3, LUA_TTABLE);
    missing_remember(L);
    return 0;
}

/* core.explained(text) -> text: Lua's error about a misspelt name says what was meant. */
static int core_explained(lua_State *L) {
    luaL_checkstring(L, 1);
    lua_settop(L, 1);
    missing_explain(L);
    return 1;
}

/*
 * core.check(what, opts, { name = "types" | true, ... }): raises on an unknown option, naming
 * the nearest known one, and on a value of the wrong type. Returns opts or an empty table.
 */
static int core_check(lua_State *L) {
    const char *what = luaL_checkstring(L, 1);
    luaL_checktype(L, 3, LUA_TTABLE);
    lua_settop(L, 3);
    if (!check_options_table(L, 2, what, 3)) {
        lua_newtable(L);
    } else if (lua_getmetatable(L, 2)) { /* which could give other values than those checked */
        lua_newtable(L);
        for (lua_pushnil(L); lua_next(L, 2) != 0; lua_pop(L, 1)) {
            lua_pushvalue(L, -2);
            lua_pushvalue(L, -2);
            lua_rawset(L, 5);
        }
    } else {
        lua_pushvalue(L, 2);
    }
    return 1;
}

/* core.blame(text): raises it for the line of the script that has called us */
static int core_blame(lua_State *L) {
    return raise_error(L, "%s", luaL_checkstring(L, 1));
}

/* core.worker_count() -> integer: processes that share the work, this one included */
static int core_worker_count(lua_State *L) {
    lua_pushinteger(L, worker_count());
    return 1;
}

static const luaL_Reg functions[] = {
    {"loading", core_loading},
    {"exit", core_exit},
    {"leave", core_leave},
    {"declare", core_declare},
    {"declares", core_declares},
    {"set_phase", core_set_phase},
    {"add_file", core_add_file},
    {"identity", core_identity},
    {"configure", core_configure},
    {"limit", core_limit},
    {"error", core_error},
    {"report", core_report},
    {"logged_error", core_logged_error},
    {"traceback", core_traceback},
    {"raised", core_raised},
    {"protect", protected_call},
    {"caught", core_caught},
    {"check", core_check},
    {"blame", core_blame},
    {"place", core_place},
    {"worker_count", core_worker_count},
    {"missed", core_missed},
    {"explained", core_explained},
    {NULL, NULL},
};

void bindings_app(lua_State *L) {
    luaL_setfuncs(L, functions, 0);
}
