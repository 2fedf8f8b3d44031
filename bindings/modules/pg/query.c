/* SPDX-License-Identifier: Apache-2.0 */
/* What a fiber does with a connection: the methods for scripts/pg.lua. */
#include <stdlib.h>
#include <string.h>

#include "bindings/modules/pg/internal.h"

/* The stack of a query that waits. */
enum {
    CONN = 1,
    DUE,   /* until when, in milliseconds of the clock */
    WANTS, /* nil: its rows are not wanted */
    SQL,
    ROWS,
    COLUMNS, /* their names, or nil */
    ERROR,   /* nil: none yet */
    COMMAND, /* what the server calls what it has done, or nil */
    AFFECTED,
};

/* What a fiber waits for. */
struct waiting {
    struct conn *conn;
    bool taken; /* it goes on; else the connection cannot be used any more */
};
_Static_assert(sizeof(struct waiting) <= FIBER_WAIT_SIZE, "wait area");

static struct conn *check_conn(lua_State *L) {
    return luaL_checkudata(L, 1, CONN_TYPE);
}

static void abandon(struct fiber *fiber, void *area) {
    (void)fiber;
    struct waiting *waiting = area;
    waiting->conn->fiber = NULL;
    if (!waiting->taken)
        conn_close(waiting->conn, true);
}

static int wait_for(lua_State *L, struct fiber *fiber, struct conn *conn, uint64_t ms,
                    lua_KFunction k) {
    struct waiting *waiting = fiber_begin_wait(fiber, abandon);
    waiting->conn = conn;
    conn->fiber = fiber;
    fiber_deadline(fiber, ms);
    return wait_yield(L, k);
}

/* Leaves the wait; returns what it was woken with. */
static int waited(struct fiber *fiber) {
    int rc = fiber_wake_status(fiber);
    struct waiting *waiting = fiber_wait_area(fiber);
    waiting->taken = true;
    fiber_end_wait(fiber);
    return rc;
}

static int push_timeout(lua_State *L, const char *text) {
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
    struct conn *conn = lua_newuserdatauv(L, sizeof(*conn), 0);
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

/* ---- results ---- */

static void push_columns(lua_State *L, const PGresult *result) {
    int count = PQnfields(result);
    lua_createtable(L, count, 0);
    for (int i = 0; i < count; i++) {
        lua_pushstring(L, PQfname(result, i));
        lua_rawseti(L, -2, i + 1);
    }
}

/* The last of two columns with one name wins. */
static void push_row(lua_State *L, const struct conn *conn, int row, int wants) {
    int count = PQnfields(conn->result);
    lua_createtable(L, 0, count);
    for (int i = 0; i < count; i++) {
        bool null = PQgetisnull(conn->result, row, i);
        if (null && !(wants & WANT_NULL))
            continue;
        lua_rawgeti(L, COLUMNS, i + 1);
        if (null)
            lua_pushlightuserdata(L, NULL);
        else
            push_value(L, PQgetvalue(conn->result, row, i),
                       (size_t)PQgetlength(conn->result, row, i), conn->kinds[i], wants);
        lua_rawset(L, -3);
    }
}

static void take_rows(lua_State *L, struct conn *conn) {
    if (PQresultMemorySize(conn->result) > BULKY)
        conn->bulky = true;
    if (lua_isnil(L, WANTS))
        return;
    int wants = (int)lua_tointeger(L, WANTS);
    if (lua_isnil(L, COLUMNS)) {
        if (!find_kinds(conn, conn->result, wants))
            luaL_error(L, "not enough memory");
        push_columns(L, conn->result);
        lua_replace(L, COLUMNS);
    }
    lua_Integer have = (lua_Integer)lua_rawlen(L, ROWS);
    for (int i = 0; i < PQntuples(conn->result); i++) {
        push_row(L, conn, i, wants);
        lua_rawseti(L, ROWS, have + i + 1);
    }
}

/* "INSERT 0 3" is INSERT, of 3. */
static void take_command(lua_State *L, PGresult *result) {
    const char *tag = PQcmdStatus(result), *count = PQcmdTuples(result);
    size_t len = strcspn(tag, "0123456789");
    while (len > 0 && tag[len - 1] == ' ')
        len--;
    lua_pushlstring(L, tag, len);
    lua_replace(L, COMMAND);
    if (*count != '\0')
        lua_pushinteger(L, strtoll(count, NULL, 10));
    else
        lua_pushnil(L);
    lua_replace(L, AFFECTED);
}

/* False: the connection is of no use any more. */
static bool take_result(lua_State *L, struct conn *conn) {
    switch (PQresultStatus(conn->result)) {
    case PGRES_SINGLE_TUPLE:
        take_rows(L, conn);
        return true;
    case PGRES_TUPLES_OK:
        take_rows(L, conn);
        take_command(L, conn->result);
        return true;
    case PGRES_COMMAND_OK:
        take_command(L, conn->result);
        return true;
    case PGRES_EMPTY_QUERY:
        return true;
    case PGRES_COPY_IN:
    case PGRES_COPY_OUT:
    case PGRES_COPY_BOTH:
        push_error(L, "0A000", "COPY from and to the client is not supported");
        lua_replace(L, ERROR);
        return false;
    default:
        if (lua_isnil(L, ERROR)) {
            push_refused(L, conn->result);
            lua_replace(L, ERROR);
            lua_pop(L, 1);
        }
        return true;
    }
}

/* What the server has said is more than that the connection is lost. */
static int push_why(lua_State *L, const struct conn *conn) {
    if (lua_isnil(L, ERROR))
        return push_lost(L, conn);
    lua_pushnil(L);
    lua_pushvalue(L, ERROR);
    return 2;
}

static int finish(lua_State *L, struct conn *conn) {
    if (PQstatus(conn->pg) == CONNECTION_BAD)
        conn_close(conn, false);
    else
        conn_done(conn);
    if (!lua_isnil(L, ERROR) || conn->pg == NULL)
        return push_why(L, conn);
    lua_createtable(L, 0, 3);
    lua_pushvalue(L, COMMAND);
    lua_setfield(L, -2, "command");
    lua_pushvalue(L, AFFECTED);
    lua_setfield(L, -2, "affected");
    lua_pushvalue(L, COLUMNS);
    lua_setfield(L, -2, "columns");
    lua_pushvalue(L, ROWS);
    lua_insert(L, -2);
    return 2;
}

/* ---- a query ---- */

static int answered(lua_State *L, int yielded, lua_KContext context);

static int await_answer(lua_State *L, struct fiber *fiber, struct conn *conn) {
    uint64_t now = clock_now(script_clock(conn->script));
    uint64_t due = (uint64_t)lua_tointeger(L, DUE);
    return wait_for(L, fiber, conn, due > now ? due - now : 0, answered);
}

static int answered(lua_State *L, int yielded, lua_KContext context) {
    (void)yielded, (void)context;
    struct conn *conn = lua_touserdata(L, CONN);
    struct fiber *fiber = wait_resumed(L);
    int rc = waited(fiber);
    if (rc == LN_ETIMEOUT) {
        conn_close(conn, true);
        return push_timeout(L, "the query was not done in time; it was cancelled");
    }
    if (rc < 0 || conn->pg == NULL)
        return push_why(L, conn);
    while (!PQisBusy(conn->pg)) {
        conn->result = PQgetResult(conn->pg);
        if (conn->result == NULL)
            return finish(L, conn);
        bool fine = take_result(L, conn); /* may raise: then the connection has the result */
        PQclear(conn->result);
        conn->result = NULL;
        if (fine)
            continue;
        conn_close(conn, true);
        return push_why(L, conn);
    }
    return await_answer(L, fiber, conn);
}

static int push_bad_text(lua_State *L) {
    lua_pushnil(L);
    push_error(L, "22021",
               "a text with a zero byte: PostgreSQL has none; bytes are pg.bytea(text)");
    return 2;
}

static const struct option query_options[] = {{"timeout", "number"}, {NULL, NULL}};

/* The options behind the parameters: a plain table, which is no value. */
static uint64_t check_time(lua_State *L) {
    uint64_t ms = check_ms(L, DUE);
    int top = lua_gettop(L);
    if (top <= SQL || !lua_istable(L, top))
        return ms;
    if (lua_getmetatable(L, top)) {
        lua_pop(L, 1);
        return ms;
    }
    bool is_list = lua_rawlen(L, top) > 0;
    if (is_list)
        raise_error(L, "parameter $%d is a table: write pg.json(t) or pg.array(t)", top - SQL);
    check_options(L, top, "query (a table as a parameter is pg.json(t) or pg.array(t))",
                  query_options);
    ms = option_ms(L, top, "timeout", ms);
    lua_settop(L, top - 1);
    return ms;
}

/* What the stack has while it waits, see above. */
static void prepare_stack(lua_State *L, const struct conn *conn, uint64_t ms) {
    lua_settop(L, SQL);
    lua_pushinteger(L, (lua_Integer)(clock_now(script_clock(conn->script)) + ms));
    lua_replace(L, DUE);
    lua_newtable(L);
    luaL_setmetatable(L, "lunats.pg.list");
    lua_settop(L, AFFECTED);
}

static int send_failed(lua_State *L, struct conn *conn) {
    lua_pushnil(L);
    lua_pushstring(L, PQerrorMessage(conn->pg));
    push_error(L, "disconnected", lua_tostring(L, -1));
    lua_remove(L, -2);
    conn_close(conn, false);
    return 2;
}

/* conn:query(timeout, wants, sql, ...) -> rows, info | nil, err */
static int conn_query(lua_State *L) {
    struct conn *conn = check_conn(L);
    size_t len;
    const char *sql = luaL_checklstring(L, SQL, &len);
    bool plain = lua_isnil(L, WANTS); /* several statements, no parameters, no rows */
    uint64_t ms = check_time(L);
    struct fiber *fiber = check_fiber(L, "a query");
    if (conn->pg == NULL)
        return push_lost(L, conn);
    if (conn->state != CONN_IDLE)
        return raise_error(L, "another fiber uses this transaction");
    if (strlen(sql) != len || !check_params(L, conn, SQL + 1))
        return wait_to_fail(L, fiber, push_bad_text(L));
    const struct params *params = &conn->params;
    int sent = plain ? PQsendQuery(conn->pg, sql)
                     : PQsendQueryParams(conn->pg, sql, params->count, params->types,
                                         params->values, params->lengths, params->formats, 0);
    if (sent == 0)
        return send_failed(L, conn);
    PQsetSingleRowMode(conn->pg);
    if (!conn_go(conn))
        return push_lost(L, conn);
    prepare_stack(L, conn, ms); /* an error finds the connection busy, so that it is closed */
    return await_answer(L, fiber, conn);
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
    if (conn->pg == NULL || conn->state != CONN_IDLE)
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

/* conn:rest(seconds) -> whether another one may use it; else it is closed. It also is, by
 * itself, after so many seconds in which nobody does. */
static int conn_rest(lua_State *L) {
    struct conn *conn = check_conn(L);
    uint64_t ms = check_ms(L, 2);
    bool fine = conn->pg != NULL && conn->state == CONN_IDLE && !conn->bulky &&
                PQtransactionStatus(conn->pg) == PQTRANS_IDLE;
    if (fine) {
        struct clock *clock = script_clock(conn->script);
        conn->idle_ms = ms;
        conn->idle_since = clock_now(clock);
        if (!clock_armed(&conn->timer))
            clock_arm(clock, &conn->timer, ms);
    } else {
        conn_close(conn, true);
    }
    lua_pushboolean(L, fine);
    return 1;
}

/* conn:alive() -> boolean */
static int conn_alive(lua_State *L) {
    lua_pushboolean(L, check_conn(L)->pg != NULL);
    return 1;
}

/* conn:idle() -> boolean: no query, and no transaction */
static int conn_idle(lua_State *L) {
    const struct conn *conn = check_conn(L);
    lua_pushboolean(L, conn->pg != NULL && conn->state == CONN_IDLE &&
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
    conn_close(check_conn(L), true);
    return 0;
}

static const luaL_Reg methods[] = {
    {"query", conn_query},         {"notification", conn_notification},
    {"ring", conn_ring},           {"rest", conn_rest},
    {"alive", conn_alive},         {"idle", conn_idle},
    {"parameter", conn_parameter}, {"close", close_conn},
    {"__gc", close_conn},          {NULL, NULL},
};

void add_conn_class(lua_State *L) {
    add_class(L, CONN_TYPE, methods);
}
