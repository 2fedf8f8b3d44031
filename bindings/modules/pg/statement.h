/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Statements that the server keeps. One that comes a second time on a connection gets a name
 * there, and is asked for by that from then on. When there are many, all are forgotten.
 */
#ifndef LUNATS_PG_STATEMENT_H
#define LUNATS_PG_STATEMENT_H

#include "bindings/modules/pg/internal.h"

#define STATEMENT_NAME_SIZE 48
#define STATEMENT_PLAN 1

/* A userdata, in a table that is a user value of its connection. Its own one is the plan of its
 * rows. */
struct statement {
    bool prepared; /* the server has it */
    char name[STATEMENT_NAME_SIZE];
    int count;
    Oid types[]; /* of the parameters, as they were said */
};

/* Pushes the statement with a name for the text at `sql` and the parameters, or nil and returns
 * NULL. */
struct statement *push_statement(lua_State *L, struct conn *conn, int sql);

/* Whether the server has to forget all of them before the next. */
bool statements_too_many(const struct conn *conn);
/* The server has forgotten them. */
void statements_clear(lua_State *L, struct conn *conn);

/* Whether the error is about what the server has kept, and nothing was done yet: its columns
 * are others now, or it does not know it. *unknown: the latter. */
bool statement_outdated(const struct statement *statement, const PGresult *error,
                        bool *unknown);

#endif
