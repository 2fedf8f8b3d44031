/* SPDX-License-Identifier: Apache-2.0 */
/* What goes wrong, as err tables. */
#include <stdlib.h>
#include <string.h>

#include "bindings/modules/pg/internal.h"

static const struct {
    int code;
    const char *name;
} fields[] = {
    {PG_DIAG_SQLSTATE, "sqlstate"},          {PG_DIAG_MESSAGE_DETAIL, "detail"},
    {PG_DIAG_MESSAGE_HINT, "hint"},          {PG_DIAG_CONTEXT, "context"},
    {PG_DIAG_SCHEMA_NAME, "schema"},         {PG_DIAG_TABLE_NAME, "table"},
    {PG_DIAG_COLUMN_NAME, "column"},         {PG_DIAG_DATATYPE_NAME, "datatype"},
    {PG_DIAG_CONSTRAINT_NAME, "constraint"},
};

/* What the server says before it ends a session. */
static bool is_last_word(const PGresult *result) {
    const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    return severity != NULL &&
           (strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0);
}

int push_refused(lua_State *L, const PGresult *result) {
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *position = PQresultErrorField(result, PG_DIAG_STATEMENT_POSITION);
    lua_pushnil(L);
    if (text == NULL) { /* of libpq itself */
        text = PQresultErrorMessage(result);
        lua_pushlstring(L, text, strcspn(text, "\n"));
        text = lua_tostring(L, -1);
    } else {
        lua_pushstring(L, text);
    }
    push_error(L, state == NULL || is_last_word(result) ? "disconnected" : state, text);
    lua_remove(L, -2);
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        const char *value = PQresultErrorField(result, fields[i].code);
        if (value == NULL)
            continue;
        lua_pushstring(L, value);
        lua_setfield(L, -2, fields[i].name);
    }
    if (position != NULL) {
        lua_pushinteger(L, strtol(position, NULL, 10));
        lua_setfield(L, -2, "position");
    }
    return 2;
}

int push_lost(lua_State *L, const struct conn *conn) {
    size_t len = strlen(conn->why);
    while (len > 0 && conn->why[len - 1] == '\n')
        len--;
    lua_pushnil(L);
    if (len > 0)
        lua_pushlstring(L, conn->why, len);
    else
        lua_pushliteral(L, "the connection to PostgreSQL is closed");
    push_error(L, "disconnected", lua_tostring(L, -1));
    lua_remove(L, -2);
    return 2;
}
