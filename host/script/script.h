/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One loaded version of a script: its lua_State with everything that belongs to it - fibers,
 * clock, what it has opened, the phases of its life. It knows nothing of NATS; the service that
 * runs it does. Nothing here raises a Lua error.
 */
#ifndef LUNATS_SCRIPT_H
#define LUNATS_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <lauxlib.h>
#include <lua.h>
#include <uv.h>

#include "host/base/clock.h"
#include "host/base/list.h"
#include "host/base/status.h"
#include "host/script/fiber.h"
#include "host/script/limits.h"
#include "host/script/resource.h"

struct memory;
struct script;
struct script_error;
struct service;

/* Steps of a script's life that Lua code takes part in; the bindings provide the functions. */
enum script_phase {
    SCRIPT_START,    /* runs the on_start hooks in order; an error stops the start */
    SCRIPT_RUN,      /* starts tasks and timers */
    SCRIPT_STOP,     /* runs the on_stop hooks */
    SCRIPT_RELOADED, /* runs the on_reload hooks in the version that has taken over */
    SCRIPT_SAVE,     /* returns as a string what the next version shall know */
    SCRIPT_RESTORE,  /* takes that string; called before the chunk runs and at the switch */
    SCRIPT_DESCRIBE, /* returns as a string what runs in it */
    SCRIPT_ERROR,    /* is told of errors; without one nobody wants to know */
    SCRIPT_PHASES,
};

enum script_state {
    SCRIPT_LOADING,  /* the chunk runs: everything is declared, nothing waits */
    SCRIPT_STARTING, /* on_start hooks may run */
    SCRIPT_RUNNING,  /* what it declares from now on takes effect at once */
    SCRIPT_RETIRING, /* a newer version has taken over */
};

struct script_options {
    const char *path;   /* file to load; also names the script */
    const char *source; /* its text when it is not read from the file, or NULL */
    size_t source_len;
    int argc; /* `arg` and `...` of the chunk */
    char *const *argv;
    bool manual_clock;
    struct script_limits limits; /* those of the process */
    const char *saved;           /* what the version before has saved, or NULL */
    size_t saved_len;
    bool as_fiber;       /* do not run the chunk while loading: script_run_main() does */
    lua_CFunction open;  /* opens the bindings in the new state, may raise */
    const char *prelude; /* Lua that runs before the script, or NULL; borrowed for the call */
    bool safe_libs;      /* the script gets no library that reaches files, processes or C */
    struct service *service;  /* borrowed: what script_service() returns */
    struct clock *real_clock; /* of the loop; borrowed. NULL: the script's own is real */
    /* An error nobody handled; borrowed for the call. */
    void (*on_error)(void *owner, const struct script_error *error);
    /* warn() was called, or a finalizer has failed; borrowed for the call, which comes later,
     * from the loop. May be NULL. */
    void (*on_warning)(void *owner, const char *text);
    /* The script loads a further file. May be NULL. */
    void (*on_file)(void *owner, const char *path);
    /* Bytes that its service has besides, which count as the script's. May be NULL. */
    size_t (*other_memory)(void *owner);
    /* os.exit() was called, at `where`: "file:line: ", or "" if nobody knows; borrowed. */
    void (*on_exit)(void *owner, struct script *script, int status, const char *where);
    void *owner;
};

/*
 * Makes a new lua_State and loads the script. With an error in the script it returns LN_ESCRIPT
 * and on_error has been told; nothing is to be closed then. On success *out is the caller's.
 */
int script_open(struct script **out, uv_loop_t *loop, struct scheduler *scheduler,
                const struct script_options *options);

/*
 * Ends its fibers, closes its resources and its lua_State. Not from inside one of its fibers.
 */
void script_close(struct script *script);

/* Runs the chunk of an `as_fiber` script as a fiber. */
int script_run_main(struct script *script, fiber_end_fn on_end, void *arg);

/* The script that a lua_State (any thread of it) belongs to. */
static inline struct script *script_of(lua_State *L) {
    return *(struct script **)lua_getextraspace(L);
}

lua_State *script_lua(const struct script *script);
struct fibers *script_fibers(const struct script *script);
struct clock *script_clock(const struct script *script);
struct memory *script_memory(struct script *script);
struct service *script_service(const struct script *script);
uv_loop_t *script_loop(const struct script *script);
struct scheduler *script_scheduler(const struct script *script);

/*
 * One value for the bindings to keep, found with an array access where a name in the registry
 * costs its hashing: what they need for every message. script_keep() pops it from L and may
 * raise (out of memory); script_push_kept() pushes it and cannot.
 */
void script_keep(struct script *script, lua_State *L);
void script_push_kept(const struct script *script, lua_State *L);
/* Whether this is its lua_topointer(). */
bool script_keeps(const struct script *script, const void *value);

/* ---- phases ---- */

/* Takes the Lua function on top of the stack as the one for `phase`. May raise (out of memory).
 */
void script_set_phase(struct script *script, lua_State *L, enum script_phase phase);

/* Runs a phase as a fiber; on_end tells the result. A phase without function ends at once. */
int script_run_phase(struct script *script, enum script_phase phase, fiber_end_fn on_end,
                     void *arg);

/*
 * Calls a phase that must not wait with a string (NULL: none). On success *out is its result as
 * a new string, or NULL; otherwise the error message. The caller frees it.
 */
int script_exchange(struct script *script, enum script_phase phase, const char *in,
                    size_t in_len, char **out, size_t *out_len);

/* Whether app.state could be copied to another version. If not, *why says what could not, or is
 * NULL; the caller frees it in any case. */
bool script_can_save(struct script *script, char **why);

enum script_state script_state(const struct script *script);
void script_set_state(struct script *script, enum script_state state);

/* What the script says of itself. */
struct script_about {
    const char *version;     /* "0.0.0" without */
    const char *description; /* "" without */
    const char *metadata;    /* a JSON object of strings; NULL = none */
    bool hidden;             /* others cannot discover it */
};

/* Valid until it is set again. */
const struct script_about *script_about(const struct script *script);
/* Copies; what is NULL stays as it is. LN_OK or LN_ENOMEM. */
int script_set_about(struct script *script, const struct script_about *about);

/* The script declares something to serve: a listener, a timer, a task, a hook, its own name. */
bool script_declares(const struct script *script);
void script_set_declares(struct script *script);
/* Its chunk has returned a value, as modules do. */
bool script_returns(const struct script *script);

/* What it may use; borrowed. */
const struct script_limits *script_limits(const struct script *script);
/* It wants less of something: see limits_lower(). */
void script_lower_limits(struct script *script, const struct script_limits *given);

/* The files that make up the script: itself and what it has loaded. */
int script_add_file(struct script *script, const char *path);
const char *const *script_files(const struct script *script, size_t *count);

/* ---- what the script has opened ---- */

struct resources *script_resources(struct script *script);
void script_add_resource(struct script *script, struct script_resource *resource);
static inline void script_remove_resource(struct script_resource *resource) {
    resource_remove(resource);
}
/* Calls begin() of all resources: tasks and timers follow. */
void script_begin_resources(struct script *script);
/* Calls drain() of all resources. */
void script_drain_resources(struct script *script);

/* ---- errors ---- */

/* An error that the script did not handle; all borrowed for the call. */
struct script_error {
    const char *text; /* for the log: what failed, the message, the traceback */
    const char *kind; /* of code that failed: "listener", "timer", ...; NULL: "service" */
    const char *name, *subject, *id; /* as far as it has them, or NULL */
    /* What was raised and a table of further facts: absolute indices of the stack of L, 0 =
     * none. Without L the text has to do, in on_end() of a fiber what that has raised. */
    lua_State *L;
    int value, facts;
    bool logged; /* by whoever reports it, in words of its own */
};

/* Reports it: log, counter, and the watchers that the script has for it. */
void script_report_error(struct script *script, const struct script_error *error);

/* The same for an error of which no more is known. */
void script_report(struct script *script, const char *text);

/* Tells only the watchers of this version. What they do they do in fibers of their own. */
void script_tell(struct script *script, const struct script_error *error);

/* Tells `fn` of each of them, too, before it is reported; NULL: nobody any more. One at a time,
 * which has to be taken away before its owner goes. */
void script_watch_errors(struct script *script, void (*fn)(void *owner, const char *text),
                         void *owner);

/* The script asked for the end of the process (os.exit); `where` as above. */
void script_exit(struct script *script, int status, const char *where);
/* Whether it has. */
bool script_exiting(const struct script *script);

#endif
