/* SPDX-License-Identifier: Apache-2.0 */
/* Starting fibers, ending them, and asking for the one that runs. */
#include "bindings/bindings.h"
#include "bindings/lib/lib.h"
#include "host/script/fence.h"
#include "host/script/memory.h"
#include "host/trace/tracer.h"

#define FIBER_TYPE "lunats.fiber"

/* What Lua holds of a fiber. The registry keeps it, by its address, while the fiber lives. */
struct handle {
    struct fiber *fiber; /* NULL: it has ended */
    struct gate *gate;   /* opened at its end; kept by the user value */
    bool failed;         /* with an error of its own, not cancelled */
    bool left;           /* cancelled, in a script that has called os.exit() */
};

static struct fiber *current(lua_State *L) {
    return fibers_current(script_fibers(script_of(L)));
}

/* ---- starting ---- */

/* How a fiber is treated that the running one starts. `what` names the caller. */
static enum fiber_kind check_kind(lua_State *L, const char *what) {
    const struct fiber *parent = current(L);
    if (parent == NULL)
        raise_error(L,
                    "%s: nothing runs before the service has started; call it in app.on_start, "
                    "a task, a timer or a handler",
                    what);
    enum fiber_kind kind = fiber_kind(parent);
    return kind == FIBER_PHASE ? FIBER_BACKGROUND : kind;
}

static int raise_start(lua_State *L, int status) {
    char why[MEMORY_TEXT];
    if (status == LN_ENOMEM) {
        memory_explain(script_memory(script_of(L)), why);
        return raise_error(L, "cannot start a fiber: %s", why);
    }
    return raise_error(L, "cannot start a fiber: %s", status_text(status));
}

static int start(lua_State *L, enum fiber_kind kind, struct fiber **out) {
    luaL_checktype(L, 1, LUA_TFUNCTION);
    struct fibers *fibers = script_fibers(script_of(L));
    int rc = fiber_start(fibers, kind, L, lua_gettop(L) - 1, NULL, NULL, out);
    return rc < 0 ? raise_start(L, rc) : 0;
}

/* A fiber that was started from the running one, and has not run yet, is part of its trace,
 * works for somebody who gives up at the same time, and may do no more without its lease. */
static void inherit(lua_State *L, struct fiber *fiber) {
    const struct fiber *parent = current(L);
    struct trace *trace = fiber_trace(parent);
    struct fence *fence = fence_of(parent);
    if (trace != NULL)
        fiber_set_trace(fiber, trace_hold(trace));
    fiber_set_expires(fiber, fiber_expires(parent));
    if (fence != NULL)
        fence_add(fence, fiber);
}

/* core.spawn(fn, ...): runs fn in a fiber of its own, which a stop treats like its parent. */
static int core_spawn(lua_State *L) {
    struct fiber *fiber;
    int results = start(L, check_kind(L, "app.spawn"), &fiber);
    inherit(L, fiber);
    return results;
}

/* core.tell(fn, ...): runs fn, a watcher of errors, in a fiber that a stop lets finish and
 * whose own errors are not told. Only inside of the function for the phase "error". */
static int core_tell(lua_State *L) {
    luaL_checktype(L, 1, LUA_TFUNCTION);
    struct fibers *fibers = script_fibers(script_of(L));
    struct fiber *fiber = NULL;
    int rc = fiber_start(fibers, FIBER_HANDLER, L, lua_gettop(L) - 1, NULL, NULL, &fiber);
    if (rc < 0)
        return raise_start(L, rc);
    fiber_set_quiet(fiber); /* it does not run yet, see script_tell() */
    return 0;
}

/* core.background(fn, ...): the same for a fiber that a stop cancels at once; in a version that
 * was replaced it does not even start. */
static int core_background(lua_State *L) {
    if (script_state(script_of(L)) == SCRIPT_RETIRING)
        return 0;
    return start(L, FIBER_BACKGROUND, NULL);
}

/* core.handler(fn, ...): the same for one that a stop lets finish. */
static int core_handler(lua_State *L) {
    return start(L, FIBER_HANDLER, NULL);
}

/* ---- its trace ---- */

/* core.trace_enter(name): what follows, up to core.trace_leave(), is a span of its own. Does
 * nothing while nothing is recorded. */
static int core_trace_enter(lua_State *L) {
    const char *name = luaL_checkstring(L, 1);
    struct fiber *fiber = current(L);
    struct tracer *tracer = service_tracer(script_service(script_of(L)));
    if (fiber == NULL || tracer == NULL)
        return 0;
    struct trace *outer = trace_hold(fiber_trace(fiber));
    fiber_set_trace(fiber, trace_enter(tracer, outer, name));
    return 0;
}

/* core.trace_leave([error]): ends it; error is a text */
static int core_trace_leave(lua_State *L) {
    const char *error = luaL_optstring(L, 1, NULL);
    struct fiber *fiber = current(L);
    if (fiber != NULL && fiber_trace(fiber) != NULL)
        fiber_set_trace(fiber, trace_leave(trace_hold(fiber_trace(fiber)), error));
    return 0;
}

/* ---- a fiber that is held ---- */

static void forget(lua_State *L, const struct handle *handle) {
    lua_pushnil(L); /* clearing a field allocates nothing */
    lua_rawsetp(L, LUA_REGISTRYINDEX, handle);
}

static void on_end(struct fiber *fiber, void *arg, int status, const char *text) {
    lua_State *L = fiber_thread(fiber);
    struct handle *handle = arg;
    handle->failed = status == LN_ESCRIPT;
    handle->left = status == LN_ECANCELLED && script_exiting(script_of(L));
    if (handle->failed)
        script_report_error(script_of(L),
                            &(struct script_error){.text = text, .kind = "fiber"});
    handle->fiber = NULL;
    gate_open(handle->gate, LUA_MAXINTEGER);
    forget(L, handle);
}

/* Handlers count, but are not kept from running: `concurrency` bounds them. */
static void check_room(lua_State *L) {
    struct script *script = script_of(L);
    check_memory(L, "start a fiber");
    uint64_t most = script_limits(script)->fibers;
    if (most > 0 && fibers_total(script_fibers(script)) >= most)
        raise_error(L,
                    "cannot start a fiber: %I of the service live already, which is its limit "
                    "(limits.fibers)",
                    (lua_Integer)most);
}

/* core.fiber(gate, fn, ...) -> handle: core.spawn() for a fiber that can be cancelled; the gate
 * is opened when it has ended, whatever it has ended with. */
static int core_fiber(lua_State *L) {
    struct gate *gate = check_gate(L, 1);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    int nargs = lua_gettop(L) - 2;
    enum fiber_kind kind = check_kind(L, "app.spawn");
    check_room(L);
    struct handle *handle = lua_newuserdatauv(L, sizeof(*handle), 1);
    *handle = (struct handle){.gate = gate};
    luaL_setmetatable(L, FIBER_TYPE);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, handle);
    lua_replace(L, 1);
    int rc = fiber_start(script_fibers(script_of(L)), kind, L, nargs, on_end, handle,
                         &handle->fiber);
    if (rc < 0) {
        forget(L, handle);
        return raise_start(L, rc);
    }
    inherit(L, handle->fiber);
    return 1;
}

/* handle:ended() -> whether the fiber has, whether with an error that the log has, whether by
 * the end of the process */
static int fiber_ended(lua_State *L) {
    const struct handle *handle = luaL_checkudata(L, 1, FIBER_TYPE);
    lua_pushboolean(L, handle->fiber == NULL);
    lua_pushboolean(L, handle->failed);
    lua_pushboolean(L, handle->left);
    return 3;
}

/* handle:cancel() -> boolean: whether there was something left to cancel */
static int fiber_cancel_it(lua_State *L) {
    struct handle *handle = luaL_checkudata(L, 1, FIBER_TYPE);
    lua_pushboolean(L, handle->fiber != NULL);
    if (handle->fiber != NULL)
        fiber_cancel(handle->fiber);
    return 1;
}

/* ---- all of them ---- */

static int push_fibers(lua_State *L) {
    const struct fibers *fibers = script_fibers(script_of(L));
    static const char *const kinds[] = {"handler", "background", "phase"};
    lua_Integer most = luaL_checkinteger(L, 1), count = 0;
    lua_newtable(L);
    struct fiber *fiber = NULL;
    while (count < most && (fiber = fibers_next(fibers, fiber)) != NULL) {
        lua_State *thread = fiber_thread(fiber);
        if (!lua_checkstack(thread, 1)) /* luaL_checkstack() would raise there */
            return luaL_error(L, "not enough memory");
        lua_createtable(L, 0, 2);
        lua_pushthread(thread);
        lua_xmove(thread, L, 1);
        lua_setfield(L, -2, "thread");
        lua_pushstring(L, kinds[fiber_kind(fiber)]);
        lua_setfield(L, -2, "kind");
        lua_rawseti(L, -2, ++count);
    }
    lua_pushinteger(L, (lua_Integer)fibers_count(fibers, FIBER_HANDLER));
    lua_pushinteger(L, (lua_Integer)fibers_count(fibers, FIBER_BACKGROUND));
    return 3;
}

/* core.fibers(most) -> list of { kind =, thread = }, how many of handlers, in the background.
 * The threads are not to be kept. */
static int core_fibers(lua_State *L) {
    lua_settop(L, 1);
    return call_undisturbed(L, push_fibers); /* a finalizer may start and end some */
}

/* ---- the one that runs ---- */

/* core.current() -> what identifies the running fiber while it lives, nil outside of all */
static int core_current(lua_State *L) {
    struct fiber *fiber = current(L);
    if (fiber != NULL)
        lua_pushlightuserdata(L, fiber);
    else
        lua_pushnil(L);
    return 1;
}

/* core.label(text): what the log calls the running fiber. */
static int core_label(lua_State *L) {
    struct fiber *fiber = current(L);
    const char *text = luaL_checkstring(L, 1);
    if (fiber != NULL)
        fiber_set_label(fiber, text);
    return 0;
}

/* core.can_wait() -> boolean: whether a function that waits may be called here */
static int core_can_wait(lua_State *L) {
    lua_pushboolean(L, can_wait(L));
    return 1;
}

/* core.cancelled() -> boolean: the running fiber has been cancelled */
static int core_cancelled(lua_State *L) {
    const struct fiber *fiber = current(L);
    lua_pushboolean(L, fiber != NULL && fiber_cancelled(fiber));
    return 1;
}

static const luaL_Reg methods[] = {
    {"cancel", fiber_cancel_it},
    {"ended", fiber_ended},
    {NULL, NULL},
};

static const luaL_Reg functions[] = {
    {"spawn", core_spawn},
    {"background", core_background},
    {"handler", core_handler},
    {"fibers", core_fibers},
    {"tell", core_tell},
    {"fiber", core_fiber},
    {"current", core_current},
    {"label", core_label},
    {"can_wait", core_can_wait},
    {"cancelled", core_cancelled},
    {"trace_enter", core_trace_enter},
    {"trace_leave", core_trace_leave},
    {NULL, NULL},
};

void bindings_fiber(lua_State *L) {
    add_class(L, FIBER_TYPE, methods);
    luaL_setfuncs(L, functions, 0);
}
