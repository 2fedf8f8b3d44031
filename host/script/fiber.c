/* SPDX-License-Identifier: Apache-2.0 */
#include "host/script/fiber.h"

#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "host/base/container_of.h"
#include "host/base/status.h"
#include "host/script/internal.h"
#include "host/script/memory.h"
#include "host/script/title.h"
#include "host/script/trace.h"
#include "host/script/watchdog.h"

/* Idle coroutines kept per script: a burst as large as a listener's default concurrency finds
 * its coroutines ready. */
#define POOL_MAX 512

/* How often a cancelled fiber that catches the error and waits again is told so. */
#define CANCEL_TRIES 8

const char fiber_wait_token = 'w', fiber_rest_token = 'r';

/* Of all schedulers: there is one thread that runs Lua. */
static const struct fiber *running;

static void finish(struct fiber *fiber, int rc);

/* ---- running ---- */

static bool has_yielded(lua_State *L, const char *token) {
    return lua_status(L) == LUA_YIELD && lua_gettop(L) > 0 && lua_touserdata(L, -1) == token;
}

bool fiber_waits(lua_State *L) {
    return has_yielded(L, &fiber_wait_token);
}

bool fiber_at_rest(lua_State *L) {
    return lua_status(L) != LUA_YIELD || has_yielded(L, &fiber_rest_token);
}

static void first_wait(struct fiber *fiber) {
    const struct fibers_watch *watch = &fiber->owner->watch;
    fiber->began = clock_now(fiber->owner->clock);
    if (watch->on_wait != NULL)
        watch->on_wait(watch->owner, fiber);
}

uint64_t fiber_resume(struct fiber *fiber) {
    struct fibers *fibers = fiber->owner;
    int nargs = fiber->nargs, nresults;
    if (fiber->fence != NULL)
        fence_look(fiber);
    fiber->nargs = 0;
    if (fiber->suspended)
        lua_pop(fiber->L, 1); /* the token */
    fiber->suspended = false;
    running = fibers->current = fiber;
    memory_turn(fibers->memory);
    watchdog_begin(&fibers->scheduler->dog, fiber->L, fibers->slices[fiber->kind]);
    int rc = lua_resume(fiber->L, NULL, nargs, &nresults);
    struct watchdog_held held = watchdog_end(&fibers->scheduler->dog);
    running = fibers->current = NULL;
    if (held.ms > 0 && fibers->watch.on_held != NULL)
        fibers->watch.on_held(fibers->watch.owner, fiber, held.ms, held.ended);
    if (rc == LUA_OK && nresults > 0)
        lua_settop(fiber->L, 0);
    if (rc != LUA_YIELD || fiber->doomed || !fiber->in_wait || nresults != 1 ||
        lua_touserdata(fiber->L, -1) != &fiber_wait_token) {
        finish(fiber, rc);
        return held.ms;
    }
    fiber->suspended = true;
    if (fiber->began == 0)
        first_wait(fiber);
    if (fiber->woken) /* woken between begin_wait and the yield */
        fiber_make_ready(fiber);
    return held.ms;
}

/* ---- coroutines ---- */

/* Protected body: makes a coroutine and anchors it in the registry under the fiber's address.
 */
static int new_thread(lua_State *L) {
    struct fiber *fiber = lua_touserdata(L, 1);
    lua_State *thread = lua_newthread(L);
    lua_sethook(thread, NULL, 0, 0); /* one that a finalizer or __tostring has set in aux */
    lua_rawsetp(L, LUA_REGISTRYINDEX, fiber);
    fiber->L = thread;
    return 0;
}

static void free_fiber(struct fiber *fiber) {
    lua_State *aux = fiber->owner->aux;
    lua_pushnil(aux); /* aux always has room, and clearing a field allocates nothing */
    lua_rawsetp(aux, LUA_REGISTRYINDEX, fiber);
    free(fiber->label);
    free(fiber);
}

static void on_deadline(struct clock_timer *timer) {
    struct fiber *fiber = container_of(timer, struct fiber, deadline);
    fiber_wake(fiber, LN_ETIMEOUT);
}

static struct fiber *new_fiber(struct fibers *fibers) {
    struct fiber *fiber = list_item(list_pop_front(&fibers->pool), struct fiber, node);
    if (fiber != NULL) {
        fibers->pooled--;
        return fiber;
    }
    fiber = calloc(1, sizeof(*fiber));
    if (fiber == NULL)
        return NULL;
    fiber->owner = fibers;
    fiber->deadline.fire = on_deadline;
    lua_pushcfunction(fibers->aux, new_thread);
    lua_pushlightuserdata(fibers->aux, fiber);
    if (lua_pcall(fibers->aux, 1, 0, 0) != LUA_OK) {
        lua_pop(fibers->aux, 1);
        free(fiber);
        return NULL;
    }
    return fiber;
}

static void enlist(struct fiber *fiber, enum fiber_kind kind, fiber_end_fn on_end, void *arg) {
    struct fibers *fibers = fiber->owner;
    fiber->kind = kind;
    fiber->on_end = on_end;
    fiber->arg = arg;
    fiber->cancelled = fiber->doomed = fiber->in_wait = fiber->woken = false;
    fiber->suspended = false;
    fiber->quiet = fibers->current != NULL && fibers->current->quiet;
    fiber->cancel_tries = 0;
    fiber->began = fiber->expires = 0;
    list_push_front(&fibers->live, &fiber->node);
    fibers->count[kind]++;
}

/* Lua that runs for the fiber, but not in it. */
static void enter(const struct fiber *fiber, struct watchdog_outer *outer, lua_State *L,
                  const char *what) {
    struct fibers *fibers = fiber->owner;
    watchdog_enter(&fibers->scheduler->dog, outer, L, fibers->slices[fiber->kind], what);
}

static void leave(const struct fiber *fiber, const struct watchdog_outer *outer) {
    watchdog_leave(&fiber->owner->scheduler->dog, outer);
}

/*
 * Protected body: returns the error value on top of the fiber's stack, or that it has yielded
 * by itself, and it as text with traceback.
 */
static int describe_error(lua_State *L) {
    struct fiber *fiber = lua_touserdata(L, 1);
    if (lua_status(fiber->L) == LUA_YIELD) {
        lua_pushliteral(L, "coroutine.yield outside a coroutine of your own "
                           "(to wait, use app.sleep, app.request, ...)");
    } else {
        lua_xmove(fiber->L, L, 1);
        lua_pushvalue(L, -1);
        lua_xmove(L, fiber->L, 1); /* back: a stack that is full has no place for a copy */
    }
    push_traceback(L, fiber->L, error_text(L, 2), 0);
    lua_pushvalue(L, 2);
    lua_insert(L, -2);
    return 2;
}

/* Calls the function below its arguments on the stack of aux, which looks at an error and may
 * call code of the script: with memory in reserve, watched. As lua_pcall(). */
static int call_aux(struct fiber *fiber, int arguments, int results) {
    lua_State *aux = fiber->owner->aux;
    struct watchdog_outer outer;
    size_t before = memory_enter(fiber->owner->memory, MEMORY_RESERVE);
    enter(fiber, &outer, aux, "the text of an error");
    int rc = lua_pcall(aux, arguments, results, 0);
    leave(fiber, &outer);
    memory_leave(fiber->owner->memory, before);
    return rc;
}

/* Pushes what was raised on the stack of aux, and its text. */
static const char *push_error(struct fiber *fiber) {
    lua_State *aux = fiber->owner->aux;
    lua_pushcfunction(aux, describe_error);
    lua_pushlightuserdata(aux, fiber);
    if (call_aux(fiber, 1, 2) != LUA_OK)
        lua_pushvalue(aux, -1); /* no memory */
    const char *text = lua_tostring(aux, -1);
    return text ? text : "(error object is not a string)";
}

/* Protected body: a text, and what a variable raised that was closed afterwards, as one text.
 */
static int join_errors(lua_State *L) {
    lua_pushfstring(L, "%s\nthen, on the way out: %s", lua_tostring(L, 1), error_text(L, 2));
    return 1;
}

/* The text of the error, on top of the stack of aux, is replaced by one that has both. */
static const char *add_error(struct fiber *fiber, const char *text) {
    lua_State *aux = fiber->owner->aux;
    if (lua_rawequal(aux, -1, -3) || !lua_checkstack(aux, 4)) {
        lua_pop(aux, 1);
        return text;
    }
    lua_pushcfunction(aux, join_errors);
    lua_insert(aux, -2);
    lua_pushvalue(aux, -3);
    lua_insert(aux, -2);
    if (call_aux(fiber, 2, 1) == LUA_OK)
        lua_replace(aux, -2);
    else
        lua_pop(aux, 1);
    return lua_tostring(aux, -1);
}

/* Protected body: what was raised, and its text; two nils for the cancellation itself. */
static int describe_late(lua_State *L) {
    if (lua_istable(L, 1)) {
        lua_pushstring(L, "code");
        const char *code = lua_rawget(L, 1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
        if (strcmp(code, status_word(LN_ECANCELLED)) == 0)
            return 0;
    }
    error_alone(L, 1);
    lua_pushvalue(L, 1);
    lua_insert(L, -2);
    return 2;
}

/* The error of a cancelled fiber that is none of its cancellation, as of a variable that was
 * closed: replaces it on the stack of aux, as push_error() would. NULL: there is none. */
static const char *late_error(struct fiber *fiber) {
    lua_State *aux = fiber->owner->aux;
    lua_pushcfunction(aux, describe_late);
    lua_insert(aux, -2);
    if (call_aux(fiber, 1, 2) != LUA_OK)
        lua_pushvalue(aux, -1); /* no memory */
    const char *text = lua_tostring(aux, -1);
    if (text == NULL)
        lua_pop(aux, 2);
    return text;
}

/*
 * Runs the to-be-closed variables of a coroutine that did not come to its end. One that C code
 * from elsewhere has suspended cannot be brought to rest: it is left to the collector. Returns
 * the text of its error, with what these variables raised.
 */
static const char *close_thread(struct fiber *fiber, const char *text) {
    struct fibers *fibers = fiber->owner;
    lua_State *L = fiber->L;
    const struct fiber *before = fiber_speak_of(fiber);
    struct watchdog_outer outer;
    bool more = false;
    int nresults;
    fibers->current = fiber;
    enter(fiber, &outer, L, "the end of a fiber");
    if (fiber_waits(L)) {
        fiber->cancelled = fiber->doomed = true;
        lua_pop(L, 1); /* the token */
        lua_resume(L, NULL, 0, &nresults);
    }
    if (fiber_at_rest(L)) {
        more = lua_resetthread(L) != LUA_OK && lua_checkstack(fibers->aux, 4);
        if (more)
            lua_xmove(L, fibers->aux, 1);
        lua_settop(L, 0); /* dead for whoever knows it */
    }
    leave(fiber, &outer);
    fibers->current = NULL;
    running = before;
    if (!more)
        return text;
    return text != NULL ? add_error(fiber, text) : late_error(fiber);
}

/* The next fiber may have the coroutine of one that ended well, and that nobody has seen. */
static void recycle(struct fiber *fiber, bool ended_well) {
    struct fibers *fibers = fiber->owner;
    if (fiber->origin != NULL)
        origin_leave(fiber);
    if (!ended_well || fiber->exposed || lua_gethook(fiber->L) != NULL || fibers->closing ||
        fibers->pooled >= POOL_MAX) {
        free_fiber(fiber);
        return;
    }
    list_push_front(&fibers->pool, &fiber->node);
    fibers->pooled++;
}

/* Tells whoever has to know of an end that was none of its own; `text` is on top of the stack
 * of aux, above what was raised. That of a cancelled fiber nobody but the log waits for. */
static void tell_end(struct fiber *fiber, int status, const char *text) {
    struct fibers *fibers = fiber->owner;
    struct fiber *outer = fibers->ending;
    int outer_raised = fibers->raised;
    bool late = status == LN_ECANCELLED && text != NULL;
    fibers->ending = fiber;
    fibers->raised = text != NULL ? lua_gettop(fibers->aux) - 1 : 0;
    if (late || (fiber->on_end == NULL && status == LN_ESCRIPT))
        fibers->on_error(fibers->owner, text);
    if (fiber->on_end != NULL)
        fiber->on_end(fiber, fiber->arg, status, late ? NULL : text);
    fibers->ending = outer;
    fibers->raised = outer_raised;
}

/* Ends a fiber whose coroutine returned, failed, or is not to be resumed any more. */
static void finish(struct fiber *fiber, int rc) {
    struct fibers *fibers = fiber->owner;
    int status = LN_OK;
    const char *text = NULL;

    fiber_end_wait(fiber);
    if (fiber->doomed || (rc != LUA_OK && fiber->cancelled)) {
        status = LN_ECANCELLED;
    } else if (rc != LUA_OK) {
        status = LN_ESCRIPT;
        text = push_error(fiber);
    }
    if (rc != LUA_OK)
        text = close_thread(fiber, text);

    list_remove(&fiber->node);
    enum fiber_kind kind = fiber->kind;
    if (status == LN_OK && fiber->on_end != NULL)
        fiber->on_end(fiber, fiber->arg, LN_OK, NULL);
    else if (fiber->on_end != NULL || text != NULL)
        tell_end(fiber, status, text);
    if (fiber->trace != NULL)
        fiber_set_trace(fiber, NULL);
    if (fiber->fence != NULL)
        fence_leave(fiber);
    if (text != NULL)
        lua_pop(fibers->aux, 2);

    recycle(fiber, rc == LUA_OK);
    if (--fibers->count[kind] == 0 && fibers->idle[kind].fn != NULL) {
        void (*fn)(void *) = fibers->idle[kind].fn;
        fibers->idle[kind].fn = NULL;
        fn(fibers->idle[kind].owner);
    }
}

/* ---- sets of fibers ---- */

static int new_aux(lua_State *L) {
    struct fibers *fibers = lua_touserdata(L, 1);
    lua_State *thread = lua_newthread(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, fibers);
    fibers->aux = thread;
    return 0;
}

int fibers_open(struct fibers **out, lua_State *L, struct scheduler *scheduler,
                struct clock *clock, void (*on_error)(void *owner, const char *text),
                void *owner) {
    struct fibers *fibers = calloc(1, sizeof(*fibers));
    if (fibers == NULL)
        return LN_ENOMEM;
    fibers->scheduler = scheduler;
    fibers->clock = clock;
    fibers->on_error = on_error;
    fibers->owner = owner;
    lua_pushcfunction(L, new_aux);
    lua_pushlightuserdata(L, fibers);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
        lua_pop(L, 1);
        free(fibers);
        return LN_ENOMEM;
    }
    *out = fibers;
    return LN_OK;
}

void fibers_close(struct fibers *fibers) {
    struct scheduler *scheduler = fibers->scheduler;
    size_t before = memory_enter(fibers->memory, MEMORY_RESERVE);
    scheduler_hold(scheduler); /* what a fiber does on its way out starts none of the others */
    fibers->closing = true;
    memset(fibers->idle, 0, sizeof(fibers->idle));
    struct list_node *node;
    while ((node = list_first(&fibers->live)) != NULL) {
        struct fiber *fiber = list_item(node, struct fiber, node);
        list_remove(&fiber->ready);
        fiber->doomed = true;
        finish(fiber, LUA_YIELD);
    }
    while ((node = list_pop_front(&fibers->pool)) != NULL)
        free_fiber(list_item(node, struct fiber, node));
    list_remove(&fibers->turn);
    if (scheduler->last == fibers)
        scheduler->last = NULL;
    lua_pushnil(fibers->aux);
    lua_rawsetp(fibers->aux, LUA_REGISTRYINDEX, fibers);
    memory_leave(fibers->memory, before);
    free(fibers);
    scheduler_release(scheduler);
}

void fibers_set_slices(struct fibers *fibers, uint32_t slice_ms, uint32_t phase_ms) {
    fibers->slices[FIBER_HANDLER] = fibers->slices[FIBER_BACKGROUND] = slice_ms;
    fibers->slices[FIBER_PHASE] = phase_ms;
}

/* ---- one fiber ---- */

int fiber_spawn(struct fibers *fibers, enum fiber_kind kind, lua_CFunction body, void *arg,
                fiber_end_fn on_end) {
    if (fibers->closing)
        return LN_ECLOSED;
    struct fiber *fiber = new_fiber(fibers);
    if (fiber == NULL)
        return LN_ENOMEM;
    lua_pushcfunction(fiber->L, body);
    lua_pushlightuserdata(fiber->L, arg);
    fiber->nargs = 1;
    enlist(fiber, kind, on_end, arg);
    fiber_make_ready(fiber);
    return LN_OK;
}

int fiber_start(struct fibers *fibers, enum fiber_kind kind, lua_State *from, int nargs,
                fiber_end_fn on_end, void *arg, struct fiber **out) {
    bool closing = fibers == NULL || fibers->closing;
    struct fiber *fiber = closing ? NULL : new_fiber(fibers);
    if (fiber == NULL || !lua_checkstack(fiber->L, nargs + 1)) {
        lua_pop(from, nargs + 1);
        if (fiber != NULL)
            free_fiber(fiber);
        return closing ? LN_ECLOSED : LN_ENOMEM;
    }
    lua_xmove(from, fiber->L, nargs + 1);
    fiber->nargs = nargs;
    enlist(fiber, kind, on_end, arg);
    if (fibers->current != NULL) /* the others have a role, or are nobody's */
        origin_inherit(fiber, fibers->current);
    if (out != NULL)
        *out = fiber;
    fiber_make_ready(fiber);
    return LN_OK;
}

const struct fiber *fiber_running(void) {
    return running;
}

const struct fiber *fiber_speak_of(const struct fiber *fiber) {
    const struct fiber *before = running;
    running = fiber;
    return before;
}

const struct fiber *fibers_speaker(const struct fibers *fibers) {
    if (fibers == NULL)
        return NULL;
    return fibers->current != NULL ? fibers->current : fibers->ending;
}

bool fibers_quiet(const struct fibers *fibers) {
    const struct fiber *fiber = fibers_speaker(fibers);
    return fiber != NULL && fiber->quiet;
}

lua_State *fibers_raised(const struct fibers *fibers, int *index) {
    *index = fibers->raised;
    return fibers->raised != 0 ? fibers->aux : NULL;
}

enum fiber_kind fiber_kind(const struct fiber *fiber) {
    return fiber->kind;
}

void *fiber_arg(const struct fiber *fiber) {
    return fiber->arg;
}

struct trace *fiber_trace(const struct fiber *fiber) {
    return fiber->trace;
}

void fiber_set_trace(struct fiber *fiber, struct trace *trace) {
    struct trace *before = fiber->trace;
    fiber->trace = trace;
    trace_release(before);
}

uint64_t fiber_expires(const struct fiber *fiber) {
    return fiber->expires;
}

void fiber_set_expires(struct fiber *fiber, uint64_t due) {
    fiber->expires = due;
}

lua_State *fiber_thread(const struct fiber *fiber) {
    return fiber->L;
}

void fiber_expose(struct fiber *fiber) {
    fiber->exposed = true;
}

void fiber_cancel(struct fiber *fiber) {
    if (fiber->cancelled)
        return;
    fiber->cancelled = true;
    fiber_wake(fiber, LN_ECANCELLED);
}

bool fiber_cancelled(const struct fiber *fiber) {
    return fiber->cancelled;
}

void fiber_doom(struct fiber *fiber) {
    fiber->cancelled = fiber->doomed = true;
}

bool fiber_doomed(const struct fiber *fiber) {
    return fiber->doomed;
}

void fiber_set_quiet(struct fiber *fiber) {
    fiber->quiet = true;
}

bool fiber_meet_cancel(struct fiber *fiber) {
    if (!fiber->doomed && fiber->cancel_tries < CANCEL_TRIES) {
        fiber->cancel_tries++;
        return true;
    }
    fiber->doomed = true;
    return false;
}
