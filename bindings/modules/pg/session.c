/* SPDX-License-Identifier: Apache-2.0 */
/* A connection as scripts/pg/ has it: how it begins, what is notified, how it ends. */
#include <string.h>

#include "bindings/modules/pg/internal.h"

/* What a fiber waits for. */
struct waiting {
    struct conn *conn;
    bool taken; /* it goes on; else the connection cannot be used any more */
};
_Static_assert(sizeof(struct waiting) <= FIBER_WAIT_SIZE, "wait area");

struct conn *check_conn(lua_State *L) {
    return check_self(L, CONN_TYPE);
}

static void abandon(struct fiber *fiber, void *area) {
    (void)fiber;
    struct waiting *waiting = area;
    waiting->conn->fiber = NULL;
    if (!waiting->taken)
        conn_close_soon(waiting->conn);
}

int wait_for(lua_State *L, struct fiber *fiber, struct conn *conn, uint64_t ms,
             lua_KFunction k) {
    struct waiting *waiting = fiber_begin_wait(fiber, abandon);
    waiting->conn = conn;
    conn->fiber = fiber;
    fiber_deadline(fiber, ms);
    return wait_yield(L, k);
}

/* Leaves the wait; returns what it was woken with. */
int waited(struct fiber *fiber) {
    int rc = fiber_wake_status(fiber);
    struct waiting *waiting = fiber_wait_area(fiber);
    waiting->taken = true;
    fiber_end_wait(fiber);
    return rc;
}

int push_timeout(lua_State *L, const char *text) {
    lua_pushnil(L);
    push_error(L, status_word(LN_ETIMEOUT), text);
    return 2;
}

/* ---- connecting ---- */

static int connected(lua_State *L, int yielded, lua_KContext context) {
    (void)yielded, (void)context;
    struct conn *conn = lua_touserdata(L, 3);
    int rc = waited(wait_resumed(L));
    if (rc == LN_ETIMEOUT) {
        conn_close(conn, false);
        return push_timeout(L, "PostgreSQL does not answer in time");
    }
    if (rc < 0 || conn->pg == NULL)
        return push_lost(L, conn);
    return 1; /* the connection */
}

#define SETTINGS 64

/* native.connect({ keyword = value }, timeout) -> connection | nil, err */
int pg_connect(lua_State *L) {
    const char *keywords[SETTINGS + 1], *values[SETTINGS + 1];
    int count = 0;
    luaL_checktype(L, 1, LUA_TTABLE);
    uint64_t ms = check_ms(L, 2);
    check_open(L);
    struct fiber *fiber = check_fiber(L, "lunats.pg");
    lua_settop(L, 2);
    struct conn *conn = lua_newuserdatauv(L, sizeof(*conn), CONN_VALUES);
    memset(conn, 0, sizeof(*conn));
    luaL_setmetatable(L, CONN_TYPE);
    for (lua_pushnil(L); lua_next(L, 1) != 0; lua_pop(L, 1)) {
        if (count == SETTINGS || lua_type(L, -2) != LUA_TSTRING ||
            lua_type(L, -1) != LUA_TSTRING)
            return luaL_error(L, "these are no settings");
        keywords[count] = lua_tostring(L, -2);
        values[count++] = lua_tostring(L, -1); /* which the table keeps */
    }
    keywords[count] = values[count] = NULL;
    int rc = conn_start(conn, script_of(L), keywords, values);
    if (rc == LN_ENOMEM)
        return push_failure(L, rc, NULL);
    if (rc < 0)
        return push_lost(L, conn);
    return wait_for(L, fiber, conn, ms, connected);
}

/* ---- notifications ---- */

static int push_note(lua_State *L, struct conn *conn) {
    const PGnotify *note = conn->note;
    lua_createtable(L, 0, 3);
    lua_pushstring(L, note->relname);
    lua_setfield(L, -2, "channel");
    lua_pushstring(L, note->extra);
    lua_setfield(L, -2, "payload");
    lua_pushinteger(L, note->be_pid);
    lua_setfield(L, -2, "pid");
    PQfreemem(conn->note);
    conn->note = NULL;
    return 1;
}

static int notified(lua_State *L, int yielded, lua_KContext context) {
    (void)yielded, (void)context;
    struct conn *conn = lua_touserdata(L, 1);
    int rc = waited(wait_resumed(L));
    if (conn->pg == NULL)
        return push_lost(L, conn);
    if (conn->note != NULL)
        return push_note(L, conn);
    if (rc < 0)
        return push_timeout(L, "nothing was notified");
    lua_pushboolean(L, 0);
    return 1;
}

/* conn:notification(timeout) -> { channel =, payload =, pid = } | false: conn:ring() | nil, err
 */
static int conn_notification(lua_State *L) {
    struct conn *conn = check_conn(L);
    uint64_t ms = check_ms(L, 2);
    struct fiber *fiber = check_fiber(L, "this call");
    if (!conn_open(conn) || conn->state != CONN_IDLE)
        return push_lost(L, conn);
    if (conn->note == NULL)
        conn->note = PQnotifies(conn->pg);
    if (conn->note != NULL)
        return push_note(L, conn);
    return wait_for(L, fiber, conn, ms, notified);
}

/* conn:ring(): wakes who waits for a notification */
static int conn_ring(lua_State *L) {
    struct conn *conn = check_conn(L);
    if (conn->fiber != NULL && conn->state == CONN_IDLE)
        fiber_wake(conn->fiber, LN_OK);
    return 0;
}

/* ---- its life ---- */

bool conn_rest(struct conn *conn, uint64_t ms) {
    if (!conn_open(conn) || conn->state != CONN_IDLE || conn->bulky ||
        PQtransactionStatus(conn->pg) != PQTRANS_IDLE)
        return false;
    struct clock *clock = script_clock(conn->script);
    conn->idle_ms = ms;
    conn->idle_since = clock_now(clock);
    if (!clock_armed(&conn->timer))
        clock_arm(clock, &conn->timer, ms);
    return true;
}

/* conn:rest(seconds) -> whether another one may use it; else it is closed. It also is, by
 * itself, after so many seconds in which nobody does. */
static int rest(lua_State *L) {
    struct conn *conn = check_conn(L);
    bool fine = conn_rest(conn, check_ms(L, 2));
    if (!fine)
        conn_close_soon(conn);
    lua_pushboolean(L, fine);
    return 1;
}

/* conn:alive() -> boolean */
static int conn_alive(lua_State *L) {
    lua_pushboolean(L, conn_open(check_conn(L)));
    return 1;
}

/* conn:idle() -> boolean: no query, and no transaction */
static int conn_idle(lua_State *L) {
    const struct conn *conn = check_conn(L);
    lua_pushboolean(L, conn_open(conn) && conn->state == CONN_IDLE &&
                           PQtransactionStatus(conn->pg) == PQTRANS_IDLE);
    return 1;
}

/* conn:parameter(name) -> what the server has said of itself ("DateStyle"), or nil */
static int conn_parameter(lua_State *L) {
    const struct conn *conn = check_conn(L);
    const char *name = luaL_checkstring(L, 2);
    lua_pushstring(L, conn->pg != NULL ? PQparameterStatus(conn->pg, name) : NULL);
    return 1;
}

/* conn:close() */
static int close_conn(lua_State *L) {
    conn_close_soon(check_conn(L));
    return 0;
}

static int conn_gc(lua_State *L) {
    conn_close(check_conn(L), true);
    return 0;
}

/* conn:prepare(): the server keeps statements that come again */
static int conn_prepare(lua_State *L) {
    check_conn(L)->prepares = true;
    return 0;
}

static const luaL_Reg methods[] = {
    {"query", conn_query}, {"pipeline", conn_pipeline}, {"notification", conn_notification},
    {"ring", conn_ring},   {"prepare", conn_prepare},   {"rest", rest},
    {"alive", conn_alive}, {"idle", conn_idle},         {"parameter", conn_parameter},
    {"close", close_conn}, {"__gc", conn_gc},           {NULL, NULL},
};

void add_conn_class(lua_State *L) {
    add_class(L, CONN_TYPE, methods);
}
