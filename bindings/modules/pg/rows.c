/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows as tables. What is known of the columns of a result is a plan, which is kept for the
 * next one of the statement, and looked at again before it is used: a pooler may have led us to
 * a session for which a table has other columns by now.
 */
#include <string.h>

#include "bindings/modules/pg/internal.h"
#include "bindings/modules/pg/rows.h"

struct column {
    const char *name; /* of a string that the names below have */
    Oid type;
    int modifier, kind;
};

/* A userdata, whose user value is the list of names. */
struct plan {
    int count, wants;
    struct column columns[];
};

static bool fits(const struct plan *plan, const PGresult *result, int wants) {
    if (plan->count != PQnfields(result) || plan->wants != wants)
        return false;
    for (int i = 0; i < plan->count; i++) {
        const struct column *column = &plan->columns[i];
        if (column->type != PQftype(result, i) || column->modifier != PQfmod(result, i) ||
            strcmp(column->name, PQfname(result, i)) != 0)
            return false;
    }
    return true;
}

static struct plan *push_new(lua_State *L, const PGresult *result, int wants) {
    int count = PQnfields(result);
    size_t size = (size_t)count * sizeof(struct column);
    struct plan *plan = lua_newuserdatauv(L, sizeof(*plan) + size, 1);
    plan->count = count;
    plan->wants = wants;
    lua_createtable(L, count, 0);
    for (int i = 0; i < count; i++) {
        struct column *column = &plan->columns[i];
        column->type = PQftype(result, i);
        column->modifier = PQfmod(result, i);
        column->kind = find_kind(column->type, column->modifier, wants);
        column->name = lua_pushstring(L, PQfname(result, i));
        lua_rawseti(L, -2, i + 1);
    }
    lua_setiuservalue(L, -2, 1);
    return plan;
}

const struct plan *push_plan(lua_State *L, const PGresult *result, int wants, int keeper,
                             int place) {
    if (lua_getiuservalue(L, keeper, place) == LUA_TUSERDATA) {
        const struct plan *kept = lua_touserdata(L, -1);
        if (fits(kept, result, wants))
            return kept;
    }
    lua_pop(L, 1);
    const struct plan *plan = push_new(L, result, wants);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, keeper, place);
    return plan;
}

void push_columns(lua_State *L, const struct plan *plan, int at) {
    lua_getiuservalue(L, at, 1);
    lua_createtable(L, plan->count, 0);
    for (int i = 1; i <= plan->count; i++) {
        lua_rawgeti(L, -2, i);
        lua_rawseti(L, -2, i);
    }
    lua_remove(L, -2);
}

/* ---- rows ---- */

#define NAMES 64 /* of columns, that are on the stack while rows are made */

/* Where names are: a list on the stack, and behind it the first of them. */
struct names {
    int list, count;
};

static void push_name(lua_State *L, const struct names *names, int i) {
    if (i < names->count)
        lua_pushvalue(L, names->list + 1 + i);
    else
        lua_rawgeti(L, names->list, i + 1);
}

/* The last of two columns with one name wins. */
static void push_row(lua_State *L, const PGresult *result, const struct plan *plan, int row,
                     const struct names *names) {
    const struct column *column = plan->columns;
    lua_createtable(L, 0, plan->count);
    for (int i = 0; i < plan->count; i++, column++) {
        const char *text = PQgetvalue(result, row, i);
        lua_Integer integer;
        if (*text == '\0' && PQgetisnull(result, row, i)) {
            if (!(plan->wants & WANT_NULL))
                continue;
            push_name(L, names, i);
            lua_pushlightuserdata(L, NULL);
            lua_rawset(L, -3);
            continue;
        }
        push_name(L, names, i);
        if (column->kind == KIND_INTEGER && read_integer(text, &integer))
            lua_pushinteger(L, integer);
        else if (column->kind == KIND_BOOL)
            lua_pushboolean(L, *text == 't');
        else
            push_value(L, text, (size_t)PQgetlength(result, row, i), column->kind, plan->wants);
        lua_rawset(L, -3);
    }
}

void add_rows(lua_State *L, const PGresult *result, const struct plan *plan, int at, int list,
              lua_Integer have) {
    int count = PQntuples(result), top = lua_gettop(L);
    luaL_checkstack(L, NAMES + LUA_MINSTACK, NULL);
    lua_getiuservalue(L, at, 1);
    struct names names = {.list = top + 1};
    if (count > 1)
        names.count = plan->count < NAMES ? plan->count : NAMES;
    for (int i = 1; i <= names.count; i++)
        lua_rawgeti(L, top + 1, i);
    for (int i = 0; i < count; i++) {
        push_row(L, result, plan, i, &names);
        lua_rawseti(L, list, have + i + 1);
    }
    lua_settop(L, top);
}
