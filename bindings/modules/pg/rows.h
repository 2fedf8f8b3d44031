/* SPDX-License-Identifier: Apache-2.0 */
/* Results as lists of rows. All of it may raise (out of memory). */
#ifndef LUNATS_PG_ROWS_H
#define LUNATS_PG_ROWS_H

#include "bindings/modules/pg/internal.h"

/* How the values of the columns become fields. */
struct plan;

/* Pushes the one that fits the result; it is kept as a user value of the userdata at `keeper`.
 */
const struct plan *push_plan(lua_State *L, const PGresult *result, int wants, int keeper,
                             int place);

/* Pushes the list of the names. The plan is at `at`, here and below. */
void push_columns(lua_State *L, const struct plan *plan, int at);

/* Adds the rows to a list that has some already. */
void add_rows(lua_State *L, const PGresult *result, const struct plan *plan, int at, int list,
              lua_Integer have);

#endif
