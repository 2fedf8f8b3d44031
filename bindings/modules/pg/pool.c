/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connections of a pool. Which of them rest is known here, so that a query for which there
 * is one needs nothing of scripts/pg/pool.lua: that has those that wait.
 */
#include <string.h>

#include "bindings/modules/pg/internal.h"

#define SEATS_TYPE "lunats.pg.seats"

/* A userdata, which its connections have as a user value. Its own is a table of those that
 * rest, by their addresses: one in use belongs to who uses it, and is garbage with it. */
struct seats {
    uint64_t timeout_ms, idle_ms;
    int wants;
    bool closed, queued;  /* somebody may wait for one */
    struct conn *resting; /* the one that was used last */
};

static struct seats *check_seats(lua_State *L) {
    return check_self(L, SEATS_TYPE);
}

/* native.seats(timeout, idle, wants) */
int pg_seats(lua_State *L) {
    struct seats start = {.timeout_ms = check_ms(L, 1),
                          .idle_ms = check_ms(L, 2),
                          .wants = (int)luaL_checkinteger(L, 3)};
    struct seats *seats = lua_newuserdatauv(L, sizeof(*seats), 1);
    *seats = start;
    luaL_setmetatable(L, SEATS_TYPE);
    lua_newtable(L);
    lua_setiuservalue(L, -2, 1);
    return 1;
}

/* seats:add(conn): one more, which does not rest yet */
static int seats_add(lua_State *L) {
    struct seats *seats = check_seats(L);
    struct conn *conn = luaL_checkudata(L, 2, CONN_TYPE);
    luaL_argcheck(L, conn->seats == NULL, 2, "of a pool");
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, 2, CONN_SEATS);
    conn->seats = seats;
    return 0;
}

/* The connection at `at` rests from now on. */
static void put(lua_State *L, int at, struct seats *seats, struct conn *conn) {
    if (conn->resting)
        return;
    lua_getiuservalue(L, at, CONN_SEATS);
    lua_getiuservalue(L, -1, 1);
    lua_pushvalue(L, at);
    lua_rawsetp(L, -2, conn); /* may raise */
    lua_pop(L, 2);
    conn->resting = true;
    conn->below = seats->resting;
    seats->resting = conn;
}

/* Pushes the first of those that rest, which belongs to who has it from now on. The table of
 * them is on top of the stack. */
static void take_top(lua_State *L, struct seats *seats) {
    struct conn *conn = seats->resting;
    lua_rawgetp(L, -1, conn);
    lua_pushnil(L);
    lua_rawsetp(L, -3, conn); /* allocates nothing */
    conn->resting = false;
    seats->resting = conn->below;
}

/* seats:put(conn): it rests from now on */
static int seats_put(lua_State *L) {
    struct seats *seats = check_seats(L);
    struct conn *conn = luaL_checkudata(L, 2, CONN_TYPE);
    luaL_argcheck(L, conn->seats == seats, 2, "of another pool");
    put(L, 2, seats, conn);
    return 0;
}

/* seats:take() -> the one that was used last, or nil; how many have ended, and are none of the
 * pool any more */
static int seats_take(lua_State *L) {
    struct seats *seats = check_seats(L);
    lua_Integer ended = 0;
    lua_getiuservalue(L, 1, 1);
    for (; seats->resting != NULL && !conn_open(seats->resting); ended++) {
        take_top(L, seats);
        lua_pop(L, 1);
    }
    if (seats->resting != NULL)
        take_top(L, seats);
    else
        lua_pushnil(L);
    lua_pushinteger(L, ended);
    return 2;
}

/* seats:count() -> how many rest, how many of those that did have ended */
static int seats_count(lua_State *L) {
    const struct seats *seats = check_seats(L);
    lua_Integer resting = 0, ended = 0;
    for (const struct conn *conn = seats->resting; conn != NULL; conn = conn->below)
        *(conn_open(conn) ? &resting : &ended) += 1;
    lua_pushinteger(L, resting);
    lua_pushinteger(L, ended);
    return 2;
}

/* seats:queue(boolean): whether somebody may wait */
static int seats_queue(lua_State *L) {
    check_seats(L)->queued = lua_toboolean(L, 2);
    return 0;
}

/* seats:close() -> how many have rested; the others end when they are given back */
static int seats_close(lua_State *L) {
    struct seats *seats = check_seats(L);
    lua_Integer count = 0;
    seats->closed = true;
    lua_getiuservalue(L, 1, 1);
    for (; seats->resting != NULL; count++) {
        take_top(L, seats);
        conn_close_soon(lua_touserdata(L, -1));
        lua_pop(L, 1);
    }
    lua_pushinteger(L, count);
    return 1;
}

/* ---- what a query does ---- */

enum { CLASS = 1, OTHERWISE, POOL, SEATS }; /* upvalues; the first two of leave(), too */

/* At the end of `local _ <close> = conn`. */
static int leave(lua_State *L) {
    struct conn *conn = check_conn(L);
    struct seats *seats = conn->seats;
    if (seats != NULL && !seats->closed && !seats->queued && conn_rest(conn, seats->idle_ms)) {
        put(L, 1, seats, conn);
        return 0;
    }
    lua_pushvalue(L, lua_upvalueindex(OTHERWISE));
    lua_pushvalue(L, 1);
    lua_call(L, 1, 0);
    return 0;
}

/* native.on_close(fn): fn(conn) then, unless it just rests */
int pg_on_close(lua_State *L) {
    luaL_checktype(L, 1, LUA_TFUNCTION);
    luaL_getmetatable(L, CONN_TYPE);
    lua_pushvalue(L, -1);
    lua_pushvalue(L, 1);
    lua_pushcclosure(L, leave, 2);
    lua_setfield(L, -2, "__close");
    return 0;
}

static bool is_of(lua_State *L, int at, int class) {
    if (!lua_getmetatable(L, at))
        return false;
    bool same = lua_rawequal(L, -1, lua_upvalueindex(class));
    lua_pop(L, 1);
    return same;
}

/* Pushes those of the pool at 1. */
static struct seats *push_seats(lua_State *L) {
    if (!lua_istable(L, 1) || !is_of(L, 1, POOL))
        return NULL;
    lua_rawgeti(L, 1, 1);
    return is_of(L, -1, SEATS) ? lua_touserdata(L, -1) : NULL;
}

static int return_all(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    return lua_gettop(L);
}

static int ask_otherwise(lua_State *L, int arguments) {
    lua_settop(L, arguments);
    lua_pushvalue(L, lua_upvalueindex(OTHERWISE));
    lua_insert(L, 1);
    lua_callk(L, arguments, LUA_MULTRET, 0, return_all);
    return lua_gettop(L);
}

/* db:query(sql, ...), where a connection rests. */
static int query(lua_State *L) {
    int arguments = lua_gettop(L);
    if (lua_type(L, 2) != LUA_TSTRING)
        return ask_otherwise(L, arguments);
    struct seats *seats = push_seats(L);
    struct conn *conn = seats != NULL ? seats->resting : NULL;
    if (conn == NULL || !conn_open(conn))
        return ask_otherwise(L, arguments);
    lua_getiuservalue(L, -1, 1);
    take_top(L, seats);
    lua_replace(L, 1);
    lua_toclose(L, 1); /* else it is garbage */
    lua_settop(L, arguments);
    lua_pushnil(L); /* the stack of ask() */
    lua_pushnil(L);
    lua_rotate(L, 2, 2);
    return ask(L, conn, seats->wants, seats->timeout_ms);
}

/* native.query(pool, fn): db:query of the class of pools; fn where that has to wait for a
 * connection, or refuses what it gets */
int pg_query(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    luaL_getmetatable(L, CONN_TYPE);
    lua_pushvalue(L, 2);
    lua_pushvalue(L, 1);
    luaL_getmetatable(L, SEATS_TYPE);
    lua_pushcclosure(L, query, 4);
    return 1;
}

static const luaL_Reg methods[] = {
    {"add", seats_add},     {"put", seats_put},     {"take", seats_take},
    {"count", seats_count}, {"queue", seats_queue}, {"close", seats_close},
    {NULL, NULL},
};

void add_seats_class(lua_State *L) {
    add_class(L, SEATS_TYPE, methods);
}
