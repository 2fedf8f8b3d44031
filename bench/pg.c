/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a select costs with libpq and nothing else: the peers of bench/pg.lua. Prints seconds of
 * processor time and of the clock for COUNT queries that return ROWS rows each.
 *
 *     pg DSN COUNT ROWS text|prepared|loop|rows|tables
 *
 * text: PQexecParams(), the usual way. prepared: PQexecPrepared(), which the server has parsed
 * before. loop: the same in a loop around poll(), as a program has that serves others as well.
 * These read all values and keep none. rows: as loop, and the rows become records of the
 * program's own, which are there until it frees them, as a list of lunats.pg is. tables: as
 * loop, and the rows become tables of Lua, with nothing else around: what those cost.
 */
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <lauxlib.h>
#include <libpq-fe.h>
#include <lua.h>

static const char SQL[] = "select id, name, amount, paid from items "
                          "where id between $1 and $1::int + $2::int - 1";

static double seconds(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Reads all values, as whoever asks for them does. */
static long long read_rows(const PGresult *result, size_t *names) {
    long long sum = 0;
    for (int i = 0; i < PQntuples(result); i++) {
        sum += strtoll(PQgetvalue(result, i, 0), NULL, 10);
        *names += strlen(PQgetvalue(result, i, 1));
        sum += strtoll(PQgetvalue(result, i, 2), NULL, 10);
        sum += *PQgetvalue(result, i, 3) == 't';
    }
    return sum;
}

struct item {
    long long id, amount;
    char *name;
    bool paid;
};

static struct item *take_rows(const PGresult *result) {
    int count = PQntuples(result);
    struct item *items = calloc((size_t)count, sizeof(*items));
    for (int i = 0; items != NULL && i < count; i++) {
        items[i].id = strtoll(PQgetvalue(result, i, 0), NULL, 10);
        items[i].name = strdup(PQgetvalue(result, i, 1));
        items[i].amount = strtoll(PQgetvalue(result, i, 2), NULL, 10);
        items[i].paid = *PQgetvalue(result, i, 3) == 't';
    }
    return items;
}

static void free_rows(struct item *items, int count) {
    for (int i = 0; i < count; i++)
        free(items[i].name);
    free(items);
}

/* A list of tables, on the stack of Lua. */
static void push_tables(lua_State *L, const PGresult *result) {
    int count = PQntuples(result), names = lua_gettop(L) + 2;
    lua_createtable(L, count, 0);
    for (int i = 0; i < PQnfields(result); i++)
        lua_pushstring(L, PQfname(result, i));
    for (int i = 0; i < count; i++) {
        lua_createtable(L, 0, 4);
        lua_pushvalue(L, names);
        lua_pushinteger(L, strtoll(PQgetvalue(result, i, 0), NULL, 10));
        lua_rawset(L, -3);
        lua_pushvalue(L, names + 1);
        lua_pushlstring(L, PQgetvalue(result, i, 1), (size_t)PQgetlength(result, i, 1));
        lua_rawset(L, -3);
        lua_pushvalue(L, names + 2);
        lua_pushinteger(L, strtoll(PQgetvalue(result, i, 2), NULL, 10));
        lua_rawset(L, -3);
        lua_pushvalue(L, names + 3);
        lua_pushboolean(L, *PQgetvalue(result, i, 3) == 't');
        lua_rawset(L, -3);
        lua_rawseti(L, names - 1, i + 1);
    }
    lua_settop(L, names - 1);
}

static void fail(PGconn *pg) {
    fprintf(stderr, "pg: %s", PQerrorMessage(pg));
    exit(1);
}

static void await(PGconn *pg, short events) {
    struct pollfd socket = {.fd = PQsocket(pg), .events = events};
    poll(&socket, 1, -1);
}

static PGresult *ask_in_loop(PGconn *pg, const char *const *values) {
    if (PQsendQueryPrepared(pg, "items", 2, values, NULL, NULL, 0) == 0)
        fail(pg);
    for (int rest; (rest = PQflush(pg)) != 0;) {
        if (rest < 0)
            fail(pg);
        await(pg, POLLIN | POLLOUT);
    }
    do {
        await(pg, POLLIN);
        if (PQconsumeInput(pg) == 0)
            fail(pg);
    } while (PQisBusy(pg));
    PGresult *result = PQgetResult(pg);
    while (PQgetResult(pg) != NULL)
        fail(pg);
    return result;
}

static void use_tables(lua_State *L, const PGresult *result, int id, PGconn *pg) {
    push_tables(L, result);
    lua_rawgeti(L, -1, 1);
    lua_getfield(L, -1, "id");
    if (lua_tointeger(L, -1) != id)
        fail(pg);
    lua_settop(L, 0);
}

static void ask(PGconn *pg, lua_State *L, const char *how, int id, const char *rows) {
    char text[16];
    const char *values[] = {text, rows};
    size_t names = 0;
    snprintf(text, sizeof(text), "%d", id);
    PGresult *result = strcmp(how, "text") == 0
                           ? PQexecParams(pg, SQL, 2, NULL, values, NULL, NULL, 0)
                       : *how == 'p' ? PQexecPrepared(pg, "items", 2, values, NULL, NULL, 0)
                                     : ask_in_loop(pg, values);
    int count = PQntuples(result);
    if (count != atoi(rows))
        fail(pg);
    if (strcmp(how, "tables") == 0) {
        use_tables(L, result, id, pg);
        PQclear(result);
        return;
    }
    if (*how == 'r') {
        struct item *items = take_rows(result);
        PQclear(result);
        if (items == NULL || items[0].id != id)
            fail(pg);
        free_rows(items, count);
        return;
    }
    if (read_rows(result, &names) == 0)
        fail(pg);
    PQclear(result);
}

int main(int argc, char **argv) {
    if (argc != 5)
        return 2;
    PGconn *pg = PQconnectdb(argv[1]);
    lua_State *L = luaL_newstate();
    lua_gc(L, LUA_GCGEN, 0, 0); /* as lunats does */
    int count = atoi(argv[2]);
    PQclear(PQprepare(pg, "items", SQL, 0, NULL));
    if (*argv[4] != 'p' && strcmp(argv[4], "text") != 0 && PQsetnonblocking(pg, 1) < 0)
        fail(pg);
    for (int i = 0; i < count / 10; i++)
        ask(pg, L, argv[4], 1, argv[3]);
    double cpu = seconds(CLOCK_PROCESS_CPUTIME_ID), clock = seconds(CLOCK_MONOTONIC);
    for (int i = 0; i < count; i++)
        ask(pg, L, argv[4], i % 1000 + 1, argv[3]);
    printf("%.6f %.6f\n", seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu,
           seconds(CLOCK_MONOTONIC) - clock);
    lua_close(L);
    PQfinish(pg);
    return 0;
}
