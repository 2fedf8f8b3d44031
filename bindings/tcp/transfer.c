/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and writing. */
#include "bindings/tcp/tcp.h"

#define READ_MAX ((lua_Integer)1 << 30)
#define READ_LARGE ((size_t)1024 * 1024) /* for which memory must not be scarce */
#define DELIMITER_MAX 1024

/* Why an operation that is over has failed; borrowed from the socket. */
static const char *reason(const struct io *io) {
    const struct tcp_socket *socket = io->box->socket;
    if (io->status == LN_ETOOLARGE)
        return io->is_line ? "the line is longer than 1 MiB" : "no delimiter within 1 MiB";
    if (socket != NULL && io->status == tcp_status(socket))
        return tcp_reason(socket);
    return status_text(io->status);
}

/* ---- reading ---- */

/* "line", "some", "until" and its delimiter, or a number of bytes. */
static void check_wish(lua_State *L, struct io *io) {
    int is_integer;
    if (lua_type(L, 2) != LUA_TSTRING) {
        lua_Integer count = lua_tointegerx(L, 2, &is_integer);
        if (!is_integer || count < 0 || count > READ_MAX)
            raise_error(L,
                        "socket:read: a number of bytes, \"line\", \"some\" or \"until\" "
                        "is expected, not %s",
                        luaL_tolstring(L, 2, NULL));
        io->kind = IO_COUNT;
        io->count = (size_t)count;
        if (io->count > READ_LARGE)
            check_memory(L, "read so much");
        return;
    }
    static const char *const names[] = {"line", "some", "until", NULL};
    int kind = luaL_checkoption(L, 2, NULL, names);
    io->kind = kind == 1 ? IO_SOME : IO_UNTIL;
    io->is_line = kind == 0;
    io->text = "\n";
    io->len = 1;
    if (kind == 1) {
        lua_Integer most = luaL_optinteger(L, 3, (lua_Integer)TCP_BUFFER);
        luaL_argcheck(L, most > 0 && most <= READ_MAX, 3, "a number of bytes expected");
        io->count = (size_t)most;
    } else if (kind == 2) {
        io->text = luaL_checklstring(L, 3, &io->len);
        luaL_argcheck(L, io->len > 0 && io->len <= DELIMITER_MAX, 3,
                      "1 to 1024 bytes expected");
    }
}

/* The result of a call that is done; what comes with it is taken when it is on the stack. */
static int push_read(lua_State *L, const struct io *io) {
    if (io->status < 0)
        return push_refusal(L, 1, "reading from", io->status, reason(io));
    size_t len;
    const char *bytes = tcp_bytes(io->box->socket, &len);
    lua_pushlstring(L, io->take > 0 ? bytes : "", io->take);
    if (io->box->socket != NULL) /* a finalizer has closed it */
        tcp_take(io->box->socket, io->take + io->skip);
    return 1;
}

static int read_done(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    struct io io;
    struct fiber *fiber = io_end_wait(L, &io);
    if (io.status == LN_OK)
        io_is_read(&io); /* it may have been closed since */
    fiber_end_wait(fiber);
    return push_read(L, &io);
}

/*
 * socket:read(n) -> n bytes | nil, err
 * socket:read("line") -> a line without its end
 * socket:read("some", [most]) -> what is there, at least one byte
 * socket:read("until", delimiter) -> what is in front of it
 */
int box_read(lua_State *L) {
    struct io io = {.box = check_box(L)};
    lua_settop(L, 3);
    check_wish(L, &io);
    lua_settop(L, 3);
    struct fiber *fiber = check_fiber(L, "socket:read");
    check_free(L, io.box->reading, "socket:read");
    if (!io_is_read(&io))
        return io_wait(L, &io, fiber, read_done);
    int pushed = push_read(L, &io);
    return pushed == 1 ? 1 : wait_to_fail(L, fiber, pushed);
}

/* ---- writing ---- */

static int push_written(lua_State *L, const struct io *io) {
    if (io->done == io->len) {
        lua_pushboolean(L, 1);
        return 1;
    }
    push_refusal(L, 1, "writing to", io->status, reason(io));
    lua_pushinteger(L, (lua_Integer)io->done);
    lua_setfield(L, -2, "written");
    return 2;
}

static int write_done(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    struct io io;
    struct fiber *fiber = io_end_wait(L, &io);
    fiber_end_wait(fiber);
    return push_written(L, &io);
}

/* socket:write(bytes) -> true | nil, err: when the system has them, or will soon */
int box_write(lua_State *L) {
    struct io io = {.box = check_box(L), .kind = IO_WRITE};
    io.text = luaL_checklstring(L, 2, &io.len);
    struct fiber *fiber = check_fiber(L, "socket:write");
    check_free(L, io.box->writing, "socket:write");
    if (!io_is_written(&io))
        return io_wait(L, &io, fiber, write_done);
    int pushed = push_written(L, &io);
    return pushed == 1 ? 1 : wait_to_fail(L, fiber, pushed);
}
