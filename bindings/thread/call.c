/* SPDX-License-Identifier: Apache-2.0 */
/*
 * app.thread: calls of functions that block, in threads with Lua states of their own. A script
 * has `workers` for all of them, and further ones with a single thread for each handle;
 * scripts/thread.lua makes both.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bindings/bindings.h"
#include "bindings/lib/lib.h"
#include "bindings/thread/thread.h"
#include "host/base/container_of.h"
#include "host/base/log.h"
#include "host/script/memory.h"

#define WORKERS_TYPE "lunats.workers"
#define CALL_TYPE "lunats.thread_call"
#define ACCOUNT_TYPE "lunats.thread_account"

/* Lives in its userdata. */
struct workers {
    struct script_resource resource;
    struct script *script;
    struct account *account; /* a reference */
    struct crew *crew;       /* NULL: closed */
    bool closing;            /* its end waits for the calls before it */
};

/* What belongs to a crew, until its last thread has ended. */
struct owner {
    struct place place;
    struct script *script; /* of the loop, while calls are wanted */
    const char *service;   /* in `strings`, as the paths are */
    char strings[];
};

/* ---- memory ---- */

/* Of the threads of this version of the script; as long as its state. */
static struct account *account_of(lua_State *L) {
    static const char key = 'a';
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &key) == LUA_TNIL) {
        struct account **box = lua_newuserdatauv(L, sizeof(*box), 0);
        *box = NULL;
        luaL_setmetatable(L, ACCOUNT_TYPE);
        lua_pushvalue(L, -1);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &key);
        *box = account_open();
        if (*box != NULL)
            memory_count_threads(script_memory(script_of(L)), &(*box)->bytes);
    }
    struct account *account = *(struct account **)lua_touserdata(L, -1);
    if (account == NULL)
        luaL_error(L, "not enough memory");
    return account;
}

static int account_gc(lua_State *L) {
    struct account **box = luaL_checkudata(L, 1, ACCOUNT_TYPE);
    if (*box == NULL)
        return 0;
    memory_count_threads(script_memory(script_of(L)), NULL);
    account_leave(*box);
    *box = NULL;
    return 0;
}

/* What the threads may have is what the rest of the script leaves. */
static void set_room(struct script *script, struct account *account) {
    const struct memory *memory = script_memory(script);
    size_t room = SIZE_MAX, limit = memory->limit;
    if (limit != 0) {
        struct memory_use use;
        memory_get_use(memory, &use);
        size_t rest = memory_total(&use) - atomic_load(&account->bytes);
        room = rest < limit ? limit - rest : 0;
    }
    atomic_store(&account->room, room);
}

/* ---- a call ---- */

static struct call *call_new(struct account *account, const char *module,
                             const char *function) {
    size_t module_len = strlen(module) + 1, function_len = strlen(function) + 1;
    size_t size = sizeof(struct call) + module_len + function_len;
    struct call *call = calloc(1, size);
    if (call == NULL)
        return NULL;
    atomic_init(&call->refs, 1);
    call->account = account_share(account);
    call->in.account = call->out.account = call->notes.account = account;
    memcpy(call->names, module, module_len);
    memcpy(call->names + module_len, function, function_len);
    call->module = call->names;
    call->function = call->names + module_len;
    return call;
}

static void call_leave(struct call *call) {
    if (atomic_fetch_sub(&call->refs, 1) > 1)
        return;
    plain_free(&call->in);
    plain_free(&call->out);
    plain_free(&call->notes);
    account_leave(call->account);
    free(call);
}

static struct call *call_of(struct crew_job *job) {
    return container_of(job, struct call, job);
}

/* ---- what the crew asks for ---- */

static void run_call(void *owner, void **state, struct crew_job *job) {
    struct owner *self = owner;
    struct call *call = call_of(job);
    struct state *lua = *state;
    if (lua == NULL && !call->quits)
        lua = state_open(&self->place);
    if (lua == NULL) {
        call->outcome = CALL_NO_MEMORY;
        return;
    }
    if (call->quits || !state_call(lua, call)) {
        state_close(lua);
        lua = NULL;
    }
    *state = lua;
}

static void end_state(void *owner, void *state) {
    (void)owner;
    state_close(state);
}

static void release_call(struct crew_job *job) {
    call_leave(call_of(job));
}

static void free_owner(void *owner) {
    struct owner *self = owner;
    account_leave(self->place.account);
    free(self);
}

static void write_title(void *owner, const struct crew_job *job, char *out, size_t size) {
    const struct owner *self = owner;
    const struct call *call = (const struct call *)(const void *)job; /* its first member */
    snprintf(out, size, "%s: app.thread: %s.%s", self->service, call->module, call->function);
}

static void tell_notes(const struct owner *owner, const struct plain *notes) {
    const char *at = notes->bytes, *end = at + notes->len;
    const char *service =
        service_name(script_service(owner->script)); /* its lines are found by it */
    for (; at != end; at += strlen(at) + 1) {
        if (*at++ == NOTE_FILE)
            script_add_file(owner->script, at);
        else
            log_warn(service, "app.thread: %s", at);
    }
}

static void close_crew(struct workers *workers);

static void on_done(void *owner, struct crew_job *job) {
    struct call *call = call_of(job);
    tell_notes(owner, &call->notes);
    if (call->quits)
        close_crew(call->workers);
    if (call->fiber != NULL)
        fiber_wake(call->fiber, LN_OK);
}

static const struct crew_ops ops = {
    .run = run_call,
    .end = end_state,
    .done = on_done,
    .release = release_call,
    .free = free_owner,
    .title = write_title,
};

/* ---- workers ---- */

static void close_crew(struct workers *workers) {
    struct crew *crew = workers->crew;
    workers->crew = NULL;
    if (crew != NULL)
        crew_close(crew);
    resource_remove(&workers->resource);
}

static void on_script_close(struct script_resource *resource) {
    struct workers *workers = container_of(resource, struct workers, resource);
    struct crew *crew = workers->crew;
    workers->crew = NULL;
    unsigned left = crew != NULL ? crew_close(crew) : 0;
    if (left > 0)
        log_info(service_name(script_service(workers->script)),
                 "app.thread: %u call%s that nobody waits for %s still under way; the thread "
                 "ends with it",
                 left, left == 1 ? "" : "s", left == 1 ? "is" : "are");
}

/* package.path or package.cpath of the script */
static const char *push_path(lua_State *L, const char *field) {
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_pushstring(L, "");
    if (lua_getfield(L, -2, "package") == LUA_TTABLE &&
        lua_getfield(L, -1, field) == LUA_TSTRING)
        return lua_tostring(L, -1);
    return "";
}

static struct owner *owner_new(struct script *script, const char *path, const char *cpath,
                               struct account *account) {
    const char *service = service_name(script_service(script));
    size_t path_len = strlen(path) + 1, cpath_len = strlen(cpath) + 1;
    struct owner *owner = malloc(sizeof(*owner) + path_len + cpath_len + strlen(service) + 1);
    if (owner == NULL)
        return NULL;
    char *cpath_at = owner->strings + path_len;
    memcpy(owner->strings, path, path_len);
    memcpy(cpath_at, cpath, cpath_len);
    owner->service = strcpy(cpath_at + cpath_len, service);
    owner->script = script;
    owner->place = (struct place){owner->strings, cpath_at, account_share(account)};
    return owner;
}

/* core.threads(most) -> workers: at most so many threads */
static int core_threads(lua_State *L) {
    lua_Integer most = luaL_checkinteger(L, 1);
    struct script *script = script_of(L);
    check_open(L);
    luaL_argcheck(L, most > 0 && most <= CREW_THREADS_MAX, 1, "out of range");
    struct workers *workers = lua_newuserdatauv(L, sizeof(*workers), 0);
    int index = lua_gettop(L);
    memset(workers, 0, sizeof(*workers));
    luaL_setmetatable(L, WORKERS_TYPE);
    workers->script = script;
    struct account *account = account_of(L);
    const char *path = push_path(L, "path"), *cpath = push_path(L, "cpath");
    workers->account = account_share(account);
    struct owner *owner = owner_new(script, path, cpath, account);
    int rc = owner == NULL
                 ? LN_ENOMEM
                 : crew_open(&workers->crew, script_loop(script), (unsigned)most, &ops, owner);
    if (rc < 0) {
        if (owner != NULL)
            free_owner(owner);
        return luaL_error(L, "app.thread: %s", status_text(rc));
    }
    workers->resource.close = on_script_close;
    script_add_resource(script, &workers->resource);
    lua_pushvalue(L, index);
    return 1;
}

static int workers_gc(lua_State *L) {
    struct workers *workers = luaL_checkudata(L, 1, WORKERS_TYPE);
    close_crew(workers);
    if (workers->account != NULL)
        account_leave(workers->account);
    workers->account = NULL;
    return 0;
}

/* ---- waiting ---- */

/* In the wait area. */
struct wait {
    struct call *call;
    struct workers *workers; /* on the stack of the fiber */
};

static void abandon(struct fiber *fiber, void *area) {
    const struct wait *wait = area;
    (void)fiber;
    wait->call->fiber = NULL;
    if (wait->workers->crew != NULL && !wait->call->quits)
        crew_forget(wait->workers->crew, &wait->call->job);
}

/* The call is owned by the userdata that this pushes. */
static struct call *push_call(lua_State *L, struct workers *workers, const char *module,
                              const char *function) {
    struct call **box = lua_newuserdatauv(L, sizeof(*box), 0);
    *box = NULL;
    luaL_setmetatable(L, CALL_TYPE);
    *box = call_new(workers->account, module, function);
    if (*box == NULL)
        luaL_error(L, "not enough memory");
    return *box;
}

static void drop_call(struct call **box) {
    if (*box != NULL)
        call_leave(*box);
    *box = NULL;
}

static int call_gc(lua_State *L) {
    drop_call(luaL_checkudata(L, 1, CALL_TYPE));
    return 0;
}

static bool is_closed(const struct workers *workers) {
    return workers->crew == NULL || workers->closing;
}

/* Hands it to a thread; the crew has a reference then. */
static int submit(struct workers *workers, struct call *call) {
    atomic_fetch_add(&call->refs, 1);
    int rc = is_closed(workers) ? LN_ECLOSED : crew_submit(workers->crew, &call->job);
    if (rc < 0)
        atomic_fetch_sub(&call->refs, 1);
    return rc;
}

static int push_submit_failure(lua_State *L, int rc) {
    static const char closed[] = "the thread is closed";
    char text[128];
    lua_pushnil(L);
    if (rc == LN_EFULL)
        snprintf(text, sizeof(text), "%d calls wait for a thread", CREW_QUEUE_MAX);
    else
        snprintf(text, sizeof(text), "no thread can be started: %s", status_text(rc));
    push_error(L, status_word(rc), rc == LN_ECLOSED ? closed : text);
    return 2;
}

/* Begins the wait for a call that was submitted; raises nothing. */
static void begin_wait(struct fiber *fiber, struct workers *workers, struct call *call) {
    struct wait *wait = fiber_begin_wait(fiber, abandon);
    wait->call = call;
    wait->workers = workers;
    call->fiber = fiber;
}

/* ---- results ---- */

/* Message, traceback, value: the three on top. Leaves nil and the error. */
static int push_raised_error(lua_State *L) {
    int first = lua_gettop(L) - 2;
    const char *message = lua_tostring(L, first);
    lua_pushnil(L);
    push_error(L, "thread_error", message != NULL ? message : "(no message)");
    lua_pushvalue(L, first + 1);
    lua_setfield(L, -2, "traceback");
    lua_pushvalue(L, first + 2);
    lua_setfield(L, -2, "value");
    return 2;
}

static int push_no_memory(lua_State *L, const struct call *call) {
    lua_pushnil(L);
    lua_pushfstring(L, "not enough memory for %s.%s in its thread", call->module,
                    call->function);
    push_error(L, status_word(LN_ENOMEM), lua_tostring(L, -1));
    lua_remove(L, -2);
    return 2;
}

/* The userdata of the call is on top. */
static int call_done(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    fiber_end_wait(wait_resumed(L));
    struct call **box = luaL_checkudata(L, -1, CALL_TYPE);
    struct call *call = *box;
    if (call->outcome == CALL_NO_MEMORY)
        return push_no_memory(L, call);
    int count = plain_push(L, &call->out);
    bool raised = call->outcome == CALL_RAISED;
    drop_call(box); /* not as late as the collector would */
    return raised ? push_raised_error(L) : count;
}

/* workers:call(what, module, function, ...) -> results | nil, err. `what` names the caller. */
static int workers_call(lua_State *L) {
    struct workers *workers = luaL_checkudata(L, 1, WORKERS_TYPE);
    const char *what = luaL_checkstring(L, 2), *module = luaL_checkstring(L, 3),
               *function = luaL_checkstring(L, 4);
    struct fiber *fiber = check_fiber(L, what);
    if (is_closed(workers))
        return wait_to_fail(L, fiber, push_submit_failure(L, LN_ECLOSED));
    luaL_checkstack(L, 8, "too many arguments");
    struct call *call = push_call(L, workers, module, function);
    lua_insert(L, 5);
    lua_pushfstring(L, "%s: argument", what);
    lua_insert(L, 6); /* workers, what, module, function, call, text, arguments */
    plain_write(L, &call->in, 7, lua_tostring(L, 6));
    lua_settop(L, 5);
    set_room(workers->script, call->account);
    int rc = submit(workers, call);
    if (rc < 0) {
        push_submit_failure(L, rc);
        return wait_to_fail(L, fiber, 2);
    }
    begin_wait(fiber, workers, call);
    return wait_yield(L, call_done);
}

static int close_done(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    fiber_end_wait(wait_resumed(L));
    lua_pushboolean(L, 1);
    return 1;
}

/*
 * workers:close() -> true | nil, err: ends the thread after the calls before it, and its state
 * with it. Where nobody can wait, and when it is closed already, it only begins that.
 */
static int workers_close(lua_State *L) {
    struct workers *workers = luaL_checkudata(L, 1, WORKERS_TYPE);
    bool waits =
        can_wait(L) && !fiber_cancelled(fibers_current(script_fibers(workers->script)));
    struct fiber *fiber = waits ? check_fiber(L, "t:close") : NULL;
    lua_settop(L, 1);
    if (is_closed(workers)) { /* finalizers see it so at the end of the script */
        lua_pushboolean(L, 1);
        return 1;
    }
    struct call *call = push_call(L, workers, "", "the end");
    call->quits = true;
    call->workers = workers;
    int rc = submit(workers, call);
    if (rc < 0 && rc != LN_ECLOSED)
        return push_submit_failure(L, rc);
    workers->closing = true;
    if (rc == LN_OK && fiber != NULL) {
        begin_wait(fiber, workers, call);
        return wait_yield(L, close_done);
    }
    lua_pushboolean(L, 1);
    return 1;
}

static const luaL_Reg methods[] = {
    {"call", workers_call},
    {"close", workers_close},
    {"__gc", workers_gc},
    {NULL, NULL},
};

static const luaL_Reg call_methods[] = {{"__gc", call_gc}, {NULL, NULL}};
static const luaL_Reg account_methods[] = {{"__gc", account_gc}, {NULL, NULL}};

void bindings_thread(lua_State *L) {
    add_class(L, WORKERS_TYPE, methods);
    add_class(L, CALL_TYPE, call_methods);
    add_class(L, ACCOUNT_TYPE, account_methods);
    lua_pushcfunction(L, core_threads);
    lua_setfield(L, -2, "threads");
}
