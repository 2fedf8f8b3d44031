/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fibers: the coroutines in which all code of a script runs once it is loaded.
 *
 * A scheduler belongs to a loop and says which of the fibers that are ready runs next, whatever
 * script they belong to. A set of fibers belongs to one lua_State; its coroutines are pooled. A
 * fiber that must wait registers one wait (a deadline, a way to abandon it), yields, and is
 * woken exactly once with a status. Fibers are resumed from the queue only, never from inside
 * another one, so Lua code is never re-entered behind its back.
 *
 * Waking a fiber while no fiber runs mostly resumes it before the call returns. Code of the
 * host that walks a structure of its own while waking must expect any Lua code to run inside,
 * or put the walk between scheduler_hold() and scheduler_release().
 */
#ifndef LUNATS_SCRIPT_FIBER_H
#define LUNATS_SCRIPT_FIBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <lua.h>

#include "host/base/clock.h"
#include "host/base/list.h"
#include "host/base/log.h"

struct scheduler;
struct fibers;
struct fiber;

/* ---- the scheduler of a loop ---- */

/*
 * With a loop it is fair: whatever is ready, the loop turns every 100 ms or after a fiber that
 * has held it, and the set that has held it least comes first. Without (NULL) all that are
 * ready run before anything else does, as a test wants it. On success *out is the caller's, who
 * hands it to scheduler_close() after all its fibers, while the loop still turns.
 */
int scheduler_open(struct scheduler **out, uv_loop_t *loop);
void scheduler_close(struct scheduler *scheduler);

/* What watches over everything that runs on its loop; borrowed. */
struct watchdog;
struct watchdog *scheduler_watchdog(struct scheduler *scheduler);

/* Postpones the resumption of ready fibers until the matching release. Nests. */
void scheduler_hold(struct scheduler *scheduler);
void scheduler_release(struct scheduler *scheduler);

/* Embedded by whoever wants to know that something runs again after a while in which nothing
 * did; `fn` may start no fiber. list_remove() of the node ends it. */
struct scheduler_wake {
    struct list_node node;
    void (*fn)(struct scheduler_wake *wake);
};
void scheduler_on_wake(struct scheduler *scheduler, struct scheduler_wake *wake);
/* Whether nothing has run for so long that this will be told. */
bool scheduler_asleep(const struct scheduler *scheduler);
/* Twice the number of calls that have run. */
uint64_t scheduler_turns(const struct scheduler *scheduler);

/* ---- the fibers of a script ---- */

/* What a fiber is for: it decides how a stop treats it. */
enum fiber_kind {
    FIBER_HANDLER,    /* finishes within the drain bound: handlers and what they spawned */
    FIBER_BACKGROUND, /* cancelled at once: tasks, timers and what they spawned */
    FIBER_PHASE,      /* runs on_start, on_stop: not counted */
};

/*
 * Opens the set of fibers of `L` (its main thread). `on_error` receives the message with the
 * traceback of each fiber that failed and had no on_end of its own; borrowed for the call.
 */
int fibers_open(struct fibers **out, lua_State *L, struct scheduler *scheduler,
                struct clock *clock, void (*on_error)(void *owner, const char *text),
                void *owner);

/*
 * Ends all fibers (to-be-closed variables run, waits are abandoned) and frees the set. Whoever
 * wanted to hear of the last one is not told. Call it before lua_close() and from outside any
 * fiber of the set.
 */
void fibers_close(struct fibers *fibers);

/* How many milliseconds a call may take that does not wait, in handlers and in the background,
 * and in phases; 0, as at first: no matter. See watchdog.h. */
void fibers_set_slices(struct fibers *fibers, uint32_t slice_ms, uint32_t phase_ms);

/* How many fibers of a kind live. */
size_t fibers_count(const struct fibers *fibers, enum fiber_kind kind);

/* Of all kinds. */
size_t fibers_total(const struct fibers *fibers);

/* Who counts the memory of their lua_State, borrowed until their end; NULL: nobody. */
struct memory;
void fibers_set_memory(struct fibers *fibers, struct memory *memory);
/* Those that have waited while it rested go on. */
void fibers_rested(struct fibers *fibers);
/* Bytes that they need besides, those at rest included. */
size_t fibers_memory(const struct fibers *fibers);

/* Calls `each` with the traceback of every fiber of a kind; the text is borrowed for the call.
 */
void fibers_describe(struct fibers *fibers, enum fiber_kind kind,
                     void (*each)(void *owner, const char *text), void *owner);

/* Those that live, the latest first: after NULL the first, after the last NULL. For a walk
 * during which none starts or ends. */
struct fiber *fibers_next(const struct fibers *fibers, const struct fiber *after);

/* Asks to be told when the last fiber of `kind` ended (at once if there is none). One at a
 * time; NULL forgets it. */
void fibers_on_idle(struct fibers *fibers, enum fiber_kind kind, void (*fn)(void *owner),
                    void *owner);

/* Cancels all fibers of a kind. */
void fibers_cancel(struct fibers *fibers, enum fiber_kind kind);

/* What somebody wants to know of all fibers of a set. Both may be NULL, and neither may resume
 * one. */
struct fibers_watch {
    /* A fiber waits for the first time. */
    void (*on_wait)(void *owner, const struct fiber *fiber);
    /* A fiber has held the loop; it may have ended, and its `arg` is there still. `ended`: the
     * place where it got an error for that, or NULL; borrowed for the call. */
    void (*on_held)(void *owner, const struct fiber *fiber, uint64_t ms, const char *ended);
    const char *service; /* what log lines about them begin with; borrowed. NULL: none */
    void *owner;
};
/* One at a time; copied. */
void fibers_watch(struct fibers *fibers, const struct fibers_watch *watch);

/* ---- one fiber ---- */

/*
 * Told how a fiber ended: LN_OK, LN_ECANCELLED, or LN_ESCRIPT with the message and traceback
 * (`text`, borrowed for the call, else NULL). `arg` is what fiber_spawn() was given.
 */
typedef void (*fiber_end_fn)(struct fiber *fiber, void *arg, int status, const char *text);

/*
 * Starts `body` as a new fiber with `arg` as its only argument (a light userdata). It mostly
 * runs before the call returns unless a fiber is running now. `on_end` may be NULL; `arg` must
 * live until it was called. Returns LN_OK or LN_ENOMEM (then on_end is not called).
 */
int fiber_spawn(struct fibers *fibers, enum fiber_kind kind, lua_CFunction body, void *arg,
                fiber_end_fn on_end);

/*
 * Starts a Lua function with its arguments: takes the `nargs` + 1 topmost values of `from`, a
 * thread of the same lua_State. The new fiber is returned in *out (borrowed until it ended),
 * which may be NULL. Returns LN_OK, LN_ENOMEM or LN_ECLOSED when the set is closing or NULL
 * (the values are popped all the same).
 */
int fiber_start(struct fibers *fibers, enum fiber_kind kind, lua_State *from, int nargs,
                fiber_end_fn on_end, void *arg, struct fiber **out);

/* What the log says of fibers with this on_end(); `arg` is theirs. */
struct fiber_role {
    fiber_end_fn on_end;
    /* Writes what one does: "listener orders.create". */
    void (*title)(const void *arg, char *out, size_t size);
    /* Whether somebody waits for its result. May be NULL: nobody. */
    bool (*awaited)(const void *arg);
    /* Fills in what each line has that it logs, and returns how many; borrowed until the fiber
     * ends. May be NULL. */
    size_t (*facts)(const void *arg, struct log_field out[LOG_CONTEXT_MAX]);
};
/* Tells the set of a role, borrowed until its end; again is fine. */
void fibers_add_role(struct fibers *fibers, const struct fiber_role *role);
/* Its role, or NULL. */
const struct fiber_role *fiber_role(const struct fiber *fiber);

/* A title for one without role; copies. */
void fiber_set_label(struct fiber *fiber, const char *text);
const char *fiber_label(const struct fiber *fiber); /* NULL without */

/* When it has waited for the first time, on the clock of its set; 0: not yet. */
uint64_t fiber_began(const struct fiber *fiber);

/* The fiber that runs now in this set, or NULL (also when the set is NULL: see script_close()).
 */
struct fiber *fibers_current(const struct fibers *fibers);

/* The fiber that runs now in this set, or whose on_end() is called; NULL: none. */
const struct fiber *fibers_speaker(const struct fibers *fibers);

/* The fiber that runs now in any set, or of whom something is told; NULL: none. */
const struct fiber *fiber_running(void);

/* What is logged from now on is about this fiber (NULL: none), until the one that is returned
 * is given back. For what is told of one that does not run. */
const struct fiber *fiber_speak_of(const struct fiber *fiber);

/* While on_end() of a fiber that has failed is called: the thread that has what it has raised
 * at *index of its stack. NULL at any other time. */
lua_State *fibers_raised(const struct fibers *fibers, int *index);

/* The fiber that runs, or whose on_end() is called, is quiet: see fiber_set_quiet(). */
bool fibers_quiet(const struct fibers *fibers);

enum fiber_kind fiber_kind(const struct fiber *fiber);

/* What fiber_spawn() or fiber_start() was given for on_end(). */
void *fiber_arg(const struct fiber *fiber);

/* The trace that it is part of (host/trace/context.h), borrowed, or NULL. Who sets it gives a
 * reference away, and the end of the fiber releases it. */
struct trace;
struct trace *fiber_trace(const struct fiber *fiber);
void fiber_set_trace(struct fiber *fiber, struct trace *trace);

/* When whoever waits for it gives up, in milliseconds on the clock of the set; 0: nobody does,
 * or it is not known. */
uint64_t fiber_expires(const struct fiber *fiber);
void fiber_set_expires(struct fiber *fiber, uint64_t due);

/* Its coroutine; borrowed until the fiber ended. */
lua_State *fiber_thread(const struct fiber *fiber);

/*
 * The script has got hold of the coroutine. It is not used for another fiber then: what the
 * script ties to it (a key of a table) would be found there. Nor is one with a debug hook.
 */
void fiber_expose(struct fiber *fiber);

/* Cancels: a waiting fiber is woken with LN_ECANCELLED; one that runs or is ready meets it at
 * its next wait. Idempotent. */
void fiber_cancel(struct fiber *fiber);
bool fiber_cancelled(const struct fiber *fiber);

/* Cancels the running fiber for good: at its next yield it is closed, whatever it would catch.
 */
void fiber_doom(struct fiber *fiber);

/* It has only been resumed to come to rest, see fiber_rest_token. */
bool fiber_doomed(const struct fiber *fiber);

/* Errors of this fiber, and of those that it starts from now on, are not told to the watchers
 * of errors, since it is one of them. */
void fiber_set_quiet(struct fiber *fiber);

/*
 * A cancelled fiber is about to wait. Returns true if the caller shall raise the cancellation
 * once more, false if the fiber has caught it so often that it never gets to run again: the
 * caller yields and the fiber is closed.
 */
bool fiber_meet_cancel(struct fiber *fiber);

/* ---- waiting ---- */

/* Memory for what a fiber waits on (a link_call, say): no allocation per wait. */
#define FIBER_WAIT_SIZE 256

/*
 * Begins a wait of the running fiber and returns FIBER_WAIT_SIZE zeroed bytes for it, valid
 * until the wait has been left (fiber_end_wait()). `abandon` is called exactly once, when the
 * wait is left: it must detach whatever would wake the fiber and free what the area owns. May
 * be NULL.
 */
void *fiber_begin_wait(struct fiber *fiber, void (*abandon)(struct fiber *fiber, void *area));

/* Adds a deadline, after which the fiber is woken with LN_ETIMEOUT. */
void fiber_deadline(struct fiber *fiber, uint64_t ms);

/* The area of the wait that is under way or has just been woken. */
void *fiber_wait_area(struct fiber *fiber);

/*
 * The wait that has begun is about to yield in `L`, the coroutine of the fiber or one that runs
 * in it. A fiber that was cancelled since the beginning is woken at once.
 */
void fiber_suspend(struct fiber *fiber, lua_State *L);

/*
 * First thing in a continuation. Returns false unless `fiber` (NULL: none) has been woken from
 * the wait that has yielded in `L`: somebody has resumed it out of turn, and what it waited for
 * may be gone.
 */
bool fiber_resumed(struct fiber *fiber, lua_State *L);

/* Whether the running fiber can wait in `L`: a yield there gets through to the fiber. */
bool fiber_can_wait(const struct fiber *fiber, lua_State *L);

/*
 * Between these two the fiber runs a coroutine whose yields do not get through: below
 * table.sort, say, or in a finalizer, which may have interrupted the end of another wait.
 * Nests.
 */
void fiber_block(struct fiber *fiber);
void fiber_unblock(struct fiber *fiber);

/*
 * Wakes a waiting fiber. The first wake wins, later ones do nothing. The result is picked up by
 * fiber_wake_status() in the continuation.
 */
void fiber_wake(struct fiber *fiber, int status);
int fiber_wake_status(const struct fiber *fiber);

/* Leaves the wait: disarms the deadline, calls `abandon`. The continuation of a wait calls it
 * when it has taken the result; the end of a fiber does it in any case. */
void fiber_end_wait(struct fiber *fiber);

/*
 * What a fiber yields while it waits, passed on by each coroutine on the way. It stays on their
 * stacks until they go on. Any other yield of a fiber is a mistake of the script.
 */
extern const char fiber_wait_token;

/* Whether this coroutine waits, as a fiber or inside of one. */
bool fiber_waits(lua_State *L);

/*
 * A fiber that is to be closed yields this inside a lua_pcallk() without message handler: Lua
 * before 5.4.7 forgets to take away the handler of a coroutine that it closes, and would call
 * it - by then a place behind the end of the stack - when a to-be-closed variable fails.
 */
extern const char fiber_rest_token;

/* Whether this coroutine can be closed without harm: it is at rest, or not suspended at all. */
bool fiber_at_rest(lua_State *L);

#endif
