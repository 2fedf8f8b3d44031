/* SPDX-License-Identifier: Apache-2.0 */
#include "bindings/modules/pg/statement.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define MOST 128           /* that the server keeps for a connection */
#define TEXTS 512          /* that we look whether they come again */
#define LONGEST (16 << 10) /* bytes; a longer text was made for once */

void statements_clear(lua_State *L, struct conn *conn) {
    lua_pushnil(L);
    lua_setiuservalue(L, 1, CONN_STATEMENTS);
    conn->kept = conn->texts = 0;
    conn->outdated = false;
}

bool statements_too_many(const struct conn *conn) {
    return conn->kept > 0 && (conn->outdated || conn->kept >= MOST);
}

static void push_table(lua_State *L, struct conn *conn) {
    if (conn->kept == 0 && (conn->outdated || conn->texts >= TEXTS))
        statements_clear(L, conn);
    if (lua_getiuservalue(L, 1, CONN_STATEMENTS) == LUA_TTABLE)
        return;
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, 1, CONN_STATEMENTS);
}

static bool fits(const struct statement *statement, const struct params *params) {
    size_t size = (size_t)params->count * sizeof(params->types[0]);
    return statement->count == params->count &&
           (size == 0 || memcmp(statement->types, params->types, size) == 0);
}

/* Others that come by the same pooler have the same session of the server. */
static void name(struct conn *conn, struct statement *statement) {
    if (conn->nonce == 0)
        uv_random(NULL, NULL, &conn->nonce, sizeof(conn->nonce), 0, NULL);
    snprintf(statement->name, sizeof(statement->name), "lunats_%016" PRIx64 "_%u", conn->nonce,
             ++conn->names);
}

/* Into the table on top of the stack, which it is pushed behind. */
static void push_new(lua_State *L, struct conn *conn, int sql) {
    const struct params *params = &conn->params;
    size_t size = (size_t)params->count * sizeof(params->types[0]);
    struct statement *statement = lua_newuserdatauv(L, sizeof(*statement) + size, 1);
    memset(statement, 0, sizeof(*statement));
    statement->count = params->count;
    if (size > 0)
        memcpy(statement->types, params->types, size);
    lua_pushvalue(L, sql);
    lua_pushvalue(L, -2);
    lua_rawset(L, -4);
    conn->texts++;
}

struct statement *push_statement(lua_State *L, struct conn *conn, int sql) {
    int top = lua_gettop(L);
    struct statement *statement = NULL;
    if (conn->prepares && lua_rawlen(L, sql) <= LONGEST) {
        push_table(L, conn);
        lua_pushvalue(L, sql);
        if (lua_rawget(L, -2) == LUA_TUSERDATA) {
            statement = lua_touserdata(L, -1);
        } else if (conn->texts < TEXTS) {
            lua_pop(L, 1);
            push_new(L, conn, sql);
        }
    }
    if (statement == NULL || !fits(statement, &conn->params)) {
        lua_settop(L, top);
        lua_pushnil(L);
        return NULL;
    }
    if (*statement->name == '\0')
        name(conn, statement);
    lua_replace(L, top + 1);
    lua_settop(L, top + 1);
    return statement;
}

/* Errors of functions that the statement calls have a context. */
bool statement_outdated(const struct statement *statement, const PGresult *error,
                        bool *unknown) {
    const char *state = PQresultErrorField(error, PG_DIAG_SQLSTATE);
    const char *source = PQresultErrorField(error, PG_DIAG_SOURCE_FUNCTION);
    const char *text = PQresultErrorField(error, PG_DIAG_MESSAGE_PRIMARY);
    *unknown = false;
    if (state == NULL || text == NULL || PQresultErrorField(error, PG_DIAG_CONTEXT) != NULL)
        return false;
    *unknown = (strcmp(state, "26000") == 0 || strcmp(state, "42P05") == 0) &&
               strstr(text, statement->name) != NULL;
    return *unknown || (strcmp(state, "0A000") == 0 && source != NULL &&
                        strcmp(source, "RevalidateCachedQuery") == 0);
}
