/* SPDX-License-Identifier: Apache-2.0 */
/* Queries: one, or several that go there together. */
#include <stdlib.h>
#include <string.h>

#include "bindings/modules/pg/internal.h"
#include "bindings/modules/pg/rows.h"
#include "bindings/modules/pg/statement.h"

/* What comes next is the end of ... */
enum stage {
    STAGE_ASK,    /* what was asked for */
    STAGE_FORGET, /* the statements that the server has kept */
    STAGE_PREPARE /* making it keep this one */
};

/* The stack of a query that waits; its parameters are behind that. */
enum {
    CONN = 1,
    STATEMENT, /* that the server keeps, or nil */
    ERROR,     /* the first one */
    SQL,
    ROWS,
    PLAN,    /* of these rows */
    COMMAND, /* what the server calls what it has done, or nil */
    RESULTS, /* of a pipeline: the rows of each query, ... */
    INFOS,   /* ... and their infos */
    SLOTS = INFOS - SQL
};

/* ---- results ---- */

/* The class of connections has the metatable of lists, see share_list_class(). */
static void push_list(lua_State *L, int size) {
    lua_createtable(L, size, 0);
    lua_rawgeti(L, lua_upvalueindex(1), LIST_CLASS);
    lua_setmetatable(L, -2);
}

static void find_plan(lua_State *L, struct conn *conn) {
    struct answer *answer = &conn->answer;
    int keeper = lua_isuserdata(L, STATEMENT) ? STATEMENT : CONN;
    int place = keeper == CONN ? CONN_PLAN : STATEMENT_PLAN;
    answer->plan = push_plan(L, conn->result, answer->wants, keeper, place);
    lua_replace(L, PLAN);
}

static void take_rows(lua_State *L, struct conn *conn) {
    struct answer *answer = &conn->answer;
    int count = PQntuples(conn->result);
    if (PQresultMemorySize(conn->result) > BULKY)
        conn->bulky = true;
    if (answer->wants & WANT_NOTHING)
        return;
    if (answer->plan == NULL) {
        find_plan(L, conn);
        push_list(L, count);
        lua_replace(L, ROWS);
    }
    if (count > 0)
        add_rows(L, conn->result, answer->plan, PLAN, ROWS, answer->rows);
    answer->rows += count;
}

/* What statements give may be something else: tables are, or the server has forgotten them. */
static bool is_change(const char *tag) {
    if (*tag > 'D')
        return false;
    static const char *const changes[] = {"ALTER", "CREATE", "DROP", "DISCARD", "DEALLOCATE"};
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++)
        if (strncmp(tag, changes[i], strlen(changes[i])) == 0)
            return true;
    return false;
}

/* "INSERT 0 3" is INSERT, of 3. */
static void take_command(lua_State *L, struct conn *conn) {
    PGresult *result = conn->result;
    const char *tag = PQcmdStatus(result), *count = PQcmdTuples(result);
    size_t len = 0;
    while (tag[len] != '\0' && (tag[len] < '0' || tag[len] > '9'))
        len++;
    while (len > 0 && tag[len - 1] == ' ')
        len--;
    conn->outdated = conn->outdated || is_change(tag);
    if (!read_integer(count, &conn->answer.affected))
        conn->answer.affected = -1;
    lua_pushlstring(L, tag, len);
    lua_replace(L, COMMAND);
}

/* Nothing was done if it is about what the server had kept, so all of that is forgotten. */
static void look_at_refusal(lua_State *L, struct conn *conn) {
    const struct statement *statement = lua_touserdata(L, STATEMENT);
    bool unknown = false;
    conn->again = statement != NULL && statement_outdated(statement, conn->result, &unknown);
    conn->outdated = conn->outdated || conn->again;
    if (unknown) /* there is a pooler between us, which has several sessions */
        conn->prepares = false;
}

static void take_refusal(lua_State *L, struct conn *conn) {
    look_at_refusal(L, conn);
    push_refused(L, conn->result);
    if (conn->answer.piped) {
        lua_pushinteger(L, (lua_Integer)lua_rawlen(L, RESULTS) + 1);
        lua_setfield(L, -2, "query");
    }
    lua_replace(L, ERROR);
    lua_pop(L, 1);
    conn->answer.failed = true;
}

/* False: the connection is of no use any more. */
static bool take_result(lua_State *L, struct conn *conn) {
    switch (PQresultStatus(conn->result)) {
    case PGRES_SINGLE_TUPLE:
        take_rows(L, conn);
        return true;
    case PGRES_TUPLES_OK:
        take_rows(L, conn);
        take_command(L, conn);
        return true;
    case PGRES_COMMAND_OK:
        take_command(L, conn);
        return true;
    case PGRES_EMPTY_QUERY:
    case PGRES_PIPELINE_ABORTED: /* by the error of a query before */
        return true;
    case PGRES_COPY_IN:
    case PGRES_COPY_OUT:
    case PGRES_COPY_BOTH:
        push_error(L, "0A000", "COPY from and to the client is not supported");
        lua_replace(L, ERROR);
        conn->answer.failed = true;
        return false;
    default:
        if (!conn->answer.failed)
            take_refusal(L, conn);
        return true;
    }
}

/* What the server has said is more than that the connection is lost. */
static int push_why(lua_State *L, const struct conn *conn) {
    if (!conn->answer.failed)
        return push_lost(L, conn);
    lua_pushnil(L);
    lua_pushvalue(L, ERROR);
    return 2;
}

static void push_info(lua_State *L, const struct conn *conn) {
    const struct answer *answer = &conn->answer;
    lua_createtable(L, 0, 3);
    lua_pushvalue(L, COMMAND);
    lua_setfield(L, -2, "command");
    if (answer->affected >= 0) {
        lua_pushinteger(L, answer->affected);
        lua_setfield(L, -2, "affected");
    }
    if (answer->plan != NULL) {
        push_columns(L, answer->plan, PLAN);
        lua_setfield(L, -2, "columns");
    }
}

/* A transaction that was begun so would be somebody else's. */
static bool has_begun(const struct conn *conn) {
    return (conn->answer.wants & WANT_REST) && PQtransactionStatus(conn->pg) != PQTRANS_IDLE;
}

static void push_rows(lua_State *L, const struct conn *conn) {
    if (conn->answer.plan == NULL)
        push_list(L, 0);
    else
        lua_pushvalue(L, ROWS);
}

static int finish(lua_State *L, struct conn *conn) {
    if (PQstatus(conn->pg) == CONNECTION_BAD || PQexitPipelineMode(conn->pg) == 0)
        conn_close(conn, false);
    else
        conn_done(conn);
    if (conn->answer.failed || conn->pg == NULL)
        return push_why(L, conn);
    if (has_begun(conn)) {
        lua_pushnil(L);
        push_error(L, "25001", "a transaction has begun; use db:transaction(fn)");
        return 2;
    }
    if (conn->answer.piped) {
        lua_settop(L, INFOS);
        return 2; /* both lists */
    }
    push_rows(L, conn);
    push_info(L, conn);
    return 2;
}

static void clear_slot(lua_State *L, int slot) {
    lua_pushnil(L);
    lua_replace(L, slot);
}

/* Nothing has come of the next results. */
static void forget_rows(lua_State *L, struct answer *answer) {
    answer->plan = NULL;
    answer->rows = 0;
    answer->affected = -1;
    clear_slot(L, COMMAND);
}

/* The results of a query of a pipeline have come; on to the next one. */
static void next_query(lua_State *L, struct conn *conn) {
    lua_Integer count = (lua_Integer)lua_rawlen(L, RESULTS) + 1;
    push_info(L, conn);
    lua_rawseti(L, INFOS, count);
    push_rows(L, conn);
    lua_rawseti(L, RESULTS, count);
    forget_rows(L, &conn->answer);
    conn_expect(conn);
}

static int send_failed(lua_State *L, struct conn *conn) {
    lua_pushnil(L);
    lua_pushstring(L, PQerrorMessage(conn->pg));
    push_error(L, "disconnected", lua_tostring(L, -1));
    lua_remove(L, -2);
    conn_close(conn, false);
    return 2;
}

/* ---- one after the other ---- */

/* Asks for the query at hand, or for what has to be done before. False: it cannot be sent. */
static bool send_next(lua_State *L, struct conn *conn) {
    const struct params *params = &conn->params;
    const struct statement *statement = lua_touserdata(L, STATEMENT);
    const char *sql = lua_tostring(L, SQL);
    bool failed = PQtransactionStatus(conn->pg) == PQTRANS_INERROR;
    conn_begin(conn);
    conn->again = false;
    conn->stage = STAGE_ASK;
    if (statement == NULL || failed)
        return PQsendQueryParams(conn->pg, sql, params->count, params->types, params->values,
                                 params->lengths, params->formats, 0);
    if (statements_too_many(conn) && (conn->outdated || !statement->prepared)) {
        conn->stage = STAGE_FORGET;
        return PQsendQuery(conn->pg, "deallocate all");
    }
    if (!statement->prepared) {
        conn->stage = STAGE_PREPARE;
        return PQsendPrepare(conn->pg, statement->name, sql, params->count, params->types);
    }
    return PQsendQueryPrepared(conn->pg, statement->name, params->count, params->values,
                               params->lengths, params->formats, 0);
}

/* All of a stage has come. Whether something is to be asked for behind it. */
static bool has_next(lua_State *L, struct conn *conn) {
    struct statement *statement = lua_touserdata(L, STATEMENT);
    bool failed = conn->answer.failed;
    if (conn->stage == STAGE_FORGET && !failed) {
        statements_clear(L, conn);
        clear_slot(L, STATEMENT);
        return true;
    }
    if (conn->stage == STAGE_PREPARE && !failed) {
        statement->prepared = true;
        conn->kept++;
        return true;
    }
    if (!failed || !conn->again || PQtransactionStatus(conn->pg) != PQTRANS_IDLE)
        return false;
    conn->answer.failed = false;
    clear_slot(L, STATEMENT); /* with its text */
    return true;
}

/* ---- a query ---- */

static int answered(lua_State *L, int yielded, lua_KContext context);

static int await_answer(lua_State *L, struct fiber *fiber, struct conn *conn) {
    uint64_t now = clock_now(script_clock(conn->script)), due = conn->answer.due;
    return wait_for(L, fiber, conn, due > now ? due - now : 0, answered);
}

/* Goes on with the next stage, or ends. */
static int end_stage(lua_State *L, struct fiber *fiber, struct conn *conn) {
    if (PQstatus(conn->pg) == CONNECTION_BAD || conn->answer.piped || !has_next(L, conn))
        return finish(L, conn);
    forget_rows(L, &conn->answer);
    if (!send_next(L, conn))
        return send_failed(L, conn);
    return conn_go(conn) ? await_answer(L, fiber, conn) : push_why(L, conn);
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
        if (conn->result == NULL) {
            if (PQpipelineStatus(conn->pg) == PQ_PIPELINE_OFF ||
                PQstatus(conn->pg) == CONNECTION_BAD)
                return end_stage(L, fiber, conn);
            next_query(L, conn);
            continue;
        }
        if (PQresultStatus(conn->result) == PGRES_PIPELINE_SYNC) {
            PQclear(conn->result);
            conn->result = NULL;
            return finish(L, conn);
        }
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
static uint64_t check_time(lua_State *L, uint64_t ms) {
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
static void prepare_stack(lua_State *L) {
    luaL_checkstack(L, SLOTS + LUA_MINSTACK, NULL);
    lua_settop(L, lua_gettop(L) + SLOTS);
    lua_rotate(L, SQL + 1, SLOTS);
}

/* Nothing of an answer has come. */
static void expect(struct conn *conn, int wants, uint64_t ms, bool piped) {
    conn->answer = (struct answer){.wants = wants,
                                   .due = clock_now(script_clock(conn->script)) + ms,
                                   .piped = piped,
                                   .affected = -1};
}

static bool send_plain(struct conn *conn, const char *sql) {
    conn_begin(conn);
    conn->stage = STAGE_ASK;
    return PQsendQuery(conn->pg, sql);
}

int ask(lua_State *L, struct conn *conn, int wants, uint64_t ms) {
    size_t len;
    const char *sql = luaL_checklstring(L, SQL, &len);
    bool plain = wants & WANT_NOTHING;
    ms = check_time(L, ms);
    struct fiber *fiber = check_fiber(L, "a query");
    if (!conn_open(conn))
        return push_lost(L, conn);
    if (conn->state != CONN_IDLE)
        return raise_error(L, "another fiber uses this transaction");
    if (strlen(sql) != len || !check_params(L, conn, SQL + 1))
        return wait_to_fail(L, fiber, push_bad_text(L));
    prepare_stack(L);
    expect(conn, wants, ms, false);
    if (!plain) {
        push_statement(L, conn, SQL);
        lua_replace(L, STATEMENT);
    } else {
        clear_slot(L, STATEMENT);
    }
    if (!(plain ? send_plain(conn, sql) : send_next(L, conn)))
        return send_failed(L, conn);
    if (!conn_go(conn))
        return push_lost(L, conn);
    return await_answer(L, fiber, conn);
}

/* A number of bits of internal.h; nil: WANT_NOTHING. */
static int wants_of(lua_State *L, int at) {
    return lua_isnil(L, at) ? WANT_NOTHING : (int)lua_tointeger(L, at);
}

/* conn:query(timeout, wants, sql, ...) -> rows, info | nil, err */
int conn_query(lua_State *L) {
    struct conn *conn = check_conn(L);
    return ask(L, conn, wants_of(L, 3), check_ms(L, 2));
}

/* ---- a pipeline ---- */

/* Pushes a statement of the list and its parameters; returns where they begin. */
static int push_query(lua_State *L, lua_Integer i) {
    lua_rawgeti(L, SQL, i);
    int list = lua_gettop(L);
    lua_getfield(L, list, "n");
    int count = (int)lua_tointeger(L, -1);
    lua_pop(L, 1);
    luaL_checkstack(L, count + LUA_MINSTACK, "too many parameters");
    for (int k = 1; k <= count; k++)
        lua_rawgeti(L, list, k);
    return list + 1;
}

/* All are looked at before the first is sent. False: a text cannot be one. */
static bool check_queries(lua_State *L, struct conn *conn) {
    lua_Integer count = (lua_Integer)lua_rawlen(L, SQL);
    for (lua_Integer i = 1; i <= count; i++) {
        size_t len;
        int first = push_query(L, i);
        const char *sql = luaL_checklstring(L, first, &len);
        if (strlen(sql) != len || !check_params(L, conn, first + 1))
            return false;
        lua_settop(L, SQL);
    }
    return true;
}

static bool send_queries(lua_State *L, struct conn *conn) {
    lua_Integer count = (lua_Integer)lua_rawlen(L, SQL);
    if (PQenterPipelineMode(conn->pg) == 0)
        return false;
    for (lua_Integer i = 1; i <= count; i++) {
        int first = push_query(L, i);
        const struct params *params = &conn->params;
        if (!check_params(L, conn, first + 1) ||
            PQsendQueryParams(conn->pg, lua_tostring(L, first), params->count, params->types,
                              params->values, params->lengths, params->formats, 0) == 0)
            return false;
        lua_settop(L, SQL);
    }
    return PQpipelineSync(conn->pg) == 1;
}

/*
 * conn:pipeline(timeout, wants, list) -> list of rows, list of infos | nil, err with `query`
 * Each of the list is { sql, ..., n = how many these are }. One transaction, where there is
 * none yet: what comes behind an error is not done.
 */
int conn_pipeline(lua_State *L) {
    struct conn *conn = check_conn(L);
    uint64_t ms = check_ms(L, 2);
    int wants = wants_of(L, 3);
    luaL_checktype(L, SQL, LUA_TTABLE);
    lua_settop(L, SQL);
    clear_slot(L, STATEMENT);
    struct fiber *fiber = check_fiber(L, "a pipeline");
    if (!conn_open(conn))
        return push_lost(L, conn);
    if (conn->state != CONN_IDLE)
        return raise_error(L, "another fiber uses this transaction");
    if (!check_queries(L, conn))
        return wait_to_fail(L, fiber, push_bad_text(L));
    conn_begin(conn); /* an error finds the connection busy, so that it is closed */
    conn->stage = STAGE_ASK;
    if (!send_queries(L, conn))
        return send_failed(L, conn);
    if (!conn_go(conn))
        return push_lost(L, conn);
    prepare_stack(L);
    expect(conn, wants, ms, true);
    push_list(L, 0);
    lua_replace(L, RESULTS);
    push_list(L, 0);
    lua_replace(L, INFOS);
    return await_answer(L, fiber, conn);
}
