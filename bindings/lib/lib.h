/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the bindings share. Names tell what may raise: check_* and push_* may, so they are
 * called while nothing is held.
 */
#ifndef LUNATS_LIB_H
#define LUNATS_LIB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <lauxlib.h>
#include <lua.h>

#include "bindings/lib/error.h"
#include "host/link/link.h"
#include "host/script/script.h"
#include "host/service/connection.h"
#include "host/service/service.h"

/* ---- classes (./class.c) ---- */

/* The metatable of userdata of a type, with methods and metamethods ("__gc"), which scripts
 * cannot reach: the collector alone ends what is in use. The list ends with NULL. */
void add_class(lua_State *L, const char *type, const luaL_Reg *methods);

/* luaL_checkudata(L, 1, type) for methods that are called often: it looks no name up where the
 * caller is one of the methods of add_class(). */
void *check_self(lua_State *L, const char *type);

/* ---- walking through what scripts can free (./undisturbed.c) ---- */

/*
 * Calls fn with the arguments on the stack and returns its results, while no finalizer can run:
 * for a walk through a list of the host that the methods of a script change. Not per message.
 */
int call_undisturbed(lua_State *L, lua_CFunction fn);

/* ---- waiting (./wait.c) ---- */

/*
 * The running fiber, able to wait. Raises a clear error at the top level, inside require and
 * other places that cannot wait, and the cancellation in a cancelled fiber. `what` names the
 * caller: "app.sleep".
 */
struct fiber *check_fiber(lua_State *L, const char *what);

/* Whether check_fiber() would succeed. */
bool can_wait(lua_State *L);

/* Raises in finalizers of a script that is closed: what they open would outlive it. */
void check_open(lua_State *L);

/* Raises "cannot <what>: ..." where memory is scarce: for what needs more of it later than Lua
 * is asked for at once. */
void check_memory(lua_State *L, const char *what);

/* Suspends the fiber, whose wait has begun; `k` continues: `return wait_yield(...)`. */
int wait_yield(lua_State *L, lua_KFunction k);

/*
 * Ends a call that would have waited, but fails at once: `return wait_to_fail(L, fiber, n)`
 * returns the `n` values on top of the stack, after a pause of a few real milliseconds. A loop
 * that tries again without a pause of its own would keep the loop from everything else, from
 * the reconnect that it waits for and from the stop of the process, too.
 */
#define WAIT_PAUSE_MS 5
int wait_to_fail(lua_State *L, struct fiber *fiber, int n);

/*
 * First thing in a continuation: returns the fiber, or raises the cancellation after having
 * left the wait. Raises as well when the coroutine was not resumed by the end of its wait.
 */
struct fiber *wait_resumed(lua_State *L);

/* Suspends a coroutine in which another one waits; `k` begins with wait_meet_doom(). */
int wait_pass(lua_State *L, lua_KContext context, lua_KFunction k);

/* Suspends a fiber that was doomed, or that has yielded by mistake; it never goes on. */
int wait_for_end(lua_State *L);

/* Does not return in a doomed fiber, which has been resumed to come to rest. */
void wait_meet_doom(lua_State *L);

/* Suspends a coroutine where it can be closed, see fiber_rest_token. Never returns. */
int wait_rest(lua_State *L);

/* ---- room for what is sent (./room.c) ---- */

/*
 * Suspends the fiber until the link is not congested; `k` begins with room_waited() and looks
 * again: others have waited, too. Raises as check_fiber().
 */
int room_wait(lua_State *L, struct link *link, const char *what, lua_KFunction k);

/* The same for at most `ms`, whose end is written to the stack at `due`, where nil is at first.
 */
int room_wait_until(lua_State *L, struct link *link, const char *what, uint64_t ms, int due,
                    lua_KFunction k);

/* Whether the caller may wait so. One that is cancelled says its last words without. */
bool room_can_wait(lua_State *L);

/* nil, err for who cannot wait: so much waits to be sent, or for a connection; `more` follows
 * in the text. */
int room_push_full(lua_State *L, const struct link *link, const char *more);

/* nil, err for who has waited until its time was over. */
int room_push_timeout(lua_State *L, const struct link *link);

/* What is left of `ms`. */
uint64_t room_time(lua_State *L, uint64_t ms, int due);

/* LN_OK, LN_ETIMEOUT or LN_ECLOSED. The stack is cut to `top`. */
int room_waited(lua_State *L, int top);

/* ---- gates (./gate.c) ---- */

/* The gate at `arg`, owned by Lua. */
struct gate;
struct gate *check_gate(lua_State *L, int arg);

/* Wakes at most so many of those that wait at it; returns how many. Raises nothing. */
lua_Integer gate_open(struct gate *gate, lua_Integer most);

/* ---- arguments (./check.c) ---- */

struct option {
    const char *name;
    const char *types; /* "number", "string|boolean", "table", ...; NULL: any */
};

/*
 * Checks an options table: nil, none or a table that holds only `known` names (ended by a NULL
 * name) with values of the right type. Raises an error that names the nearest known option.
 * Returns false when there are no options. `what` names the function: "app.request".
 */
bool check_options(lua_State *L, int arg, const char *what, const struct option *known);

/* The same; returns whether one of those is given whose `types` is the very string `mark`. */
bool check_options_marked(lua_State *L, int arg, const char *what, const struct option *known,
                          const char *mark);

/* The same with the known options as a Lua table at `known`: { name = types or true, ... }. */
bool check_options_table(lua_State *L, int arg, const char *what, int known);

/* A number of seconds as milliseconds, rounded up; `def` if the field is absent. The options
 * table is at `arg`; negative and NaN raise. */
uint64_t option_ms(lua_State *L, int arg, const char *name, uint64_t def);

/* Seconds at `arg` as milliseconds. */
uint64_t check_ms(lua_State *L, int arg);

/* For what takes no more of them: seven weeks, in the place of what is longer. */
static inline uint32_t short_ms(uint64_t ms) {
    return ms < UINT32_MAX ? (uint32_t)ms : UINT32_MAX;
}

/* A subject to publish to, or to subscribe to. */
const char *check_subject(lua_State *L, int arg);
const char *check_pattern(lua_State *L, int arg);

/*
 * The headers table at `index` (nil is fine) as an array for struct link_out. Pushes values
 * that keep the array and its strings alive. Values are strings, numbers, or lists of them.
 */
const struct link_header *check_headers(lua_State *L, int index, size_t *count);

/* ---- whom a function works for (./who.c) ---- */

/*
 * A further connection of the script, a userdata: the first upvalue of the functions that work
 * for it. The same functions without it work for the script's own connection.
 */
struct connection_handle {
    struct connection *connection; /* NULL: before it is opened, and in finalizers after it */
    const char *js_prefix;         /* subject of the JetStream API; its user value holds it */
    unsigned id;                   /* 1, 2, ... */
};

/* What a function works with. */
struct who {
    struct link *link;           /* NULL: the script runs without a server */
    struct intake *intake;       /* where its listeners belong; NULL: it is closed */
    struct resources *resources; /* where belongs what it opens */
    const char *js_prefix;
    unsigned id; /* for struct msg; 0 = the script's own */
};

/* Pushes a new one, without a connection, with an id that no other has. It has one user value.
 */
struct connection_handle *push_new_handle(lua_State *L);

/* Borrowed until the function yields or calls Lua. */
struct who check_who(lua_State *L);

/* Its link. Raises when the script runs without a server. */
struct link *check_link(lua_State *L);

/* The link of this one, NULL = the script's own. */
struct link *check_link_of(lua_State *L, const struct connection_handle *handle);

/* The link that a message has come by, see struct who. NULL: its connection is gone. Pushes a
 * value that keeps it: nobody else may have the connection any more. */
struct link *push_message_link(lua_State *L, unsigned id);

#endif
