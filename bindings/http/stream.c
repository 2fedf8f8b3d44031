/* SPDX-License-Identifier: Apache-2.0 */
/* The function that a response with `stream` gets: write(bytes). It waits for slow clients. */
#include "bindings/http/http.h"
#include "bindings/lib/lib.h"
#include "host/base/container_of.h"

#define WRITER_TYPE "lunats.http.writer"

struct writer {
    struct exchange *exchange; /* NULL: it is over */
    struct list waiting;       /* of struct room */
};

/* A fiber that waits until the client has read enough. */
struct room {
    struct list_node node;
    struct fiber *fiber;
};
_Static_assert(sizeof(struct room) <= FIBER_WAIT_SIZE, "wait area");

static void on_room(struct exchange *exchange) {
    struct writer *writer = container_of(exchange->holder, struct writer, exchange);
    struct list waiting = {0};
    list_move(&waiting, &writer->waiting);
    for (struct list_node *node; (node = list_pop_front(&waiting)) != NULL;)
        fiber_wake(list_item(node, struct room, node)->fiber, LN_OK);
}

static void abandon(struct fiber *fiber, void *area) {
    (void)fiber;
    list_remove(&((struct room *)area)->node);
}

static int go_on(lua_State *L);

static int resumed(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    fiber_end_wait(wait_resumed(L));
    lua_settop(L, 3);
    return go_on(L);
}

/* Stack: the writer, the bytes, how many of them have been taken. */
static int go_on(lua_State *L) {
    struct writer *writer = lua_touserdata(L, 1);
    size_t len, at = (size_t)lua_tointeger(L, 3), waiting = 0;
    const char *bytes = lua_tolstring(L, 2, &len);
    while (at < len && waiting <= HTTP_STREAM_FULL) {
        size_t piece = len - at < HTTP_STREAM_FULL ? len - at : HTTP_STREAM_FULL;
        if (writer->exchange == NULL || writer->exchange->request == NULL)
            return push_failure(L, LN_ECLOSED, "the client has gone, or the stream has ended");
        waiting = exchange_write(writer->exchange, bytes + at, piece);
        if (waiting == SIZE_MAX)
            return push_failure(L, LN_ENOMEM, NULL);
        at += piece;
    }
    lua_pushinteger(L, (lua_Integer)at);
    lua_replace(L, 3);
    if (waiting > HTTP_STREAM_FULL) {
        struct fiber *fiber = check_fiber(L, "write");
        struct room *room = fiber_begin_wait(fiber, abandon);
        room->fiber = fiber;
        list_push_back(&writer->waiting, &room->node);
        return wait_yield(L, resumed);
    }
    lua_pushboolean(L, true);
    return 1;
}

/* write(bytes) -> true | nil, err */
static int writer_call(lua_State *L) {
    luaL_checkudata(L, 1, WRITER_TYPE);
    lua_settop(L, 2);
    if (lua_tostring(L, 2) == NULL)
        raise_error(L, "write: the bytes must be a string, not a %s", luaL_typename(L, 2));
    lua_pushinteger(L, 0);
    return go_on(L);
}

static int writer_gc(lua_State *L) {
    struct writer *writer = luaL_checkudata(L, 1, WRITER_TYPE);
    if (writer->exchange != NULL) {
        writer->exchange->holder = NULL;
        writer->exchange->on_room = NULL;
    }
    writer->exchange = NULL;
    return 0;
}

void push_http_writer(lua_State *L, struct exchange *exchange) {
    struct writer *writer = lua_newuserdatauv(L, sizeof(*writer), 0);
    *writer = (struct writer){0};
    luaL_setmetatable(L, WRITER_TYPE);
    writer->exchange = exchange;
    exchange->holder = &writer->exchange;
    exchange->on_room = on_room;
}

void http_stream_class(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"__call", writer_call}, {"__gc", writer_gc}, {NULL, NULL}};
    add_class(L, WRITER_TYPE, methods);
}
