/* SPDX-License-Identifier: Apache-2.0 */
/* The class of sockets, but for what has files of its own. */
#include "bindings/tcp/tcp.h"

#include "bindings/bindings.h"
#include "host/base/container_of.h"

#define IDLE_S 60
#define KEEP 30 /* for each key */

/* ---- errors ---- */

static const char *word_of(int status) {
    switch (status) {
    case UV_EOF:
    case UV_ECONNRESET:
    case UV_EPIPE:
    case UV_ECANCELED:
        return "closed";
    case UV_ECONNREFUSED:
    case UV_ENOENT: /* no such Unix socket */
        return "refused";
    case UV_EHOSTUNREACH:
    case UV_ENETUNREACH:
    case UV_EADDRNOTAVAIL:
        return "unreachable";
    case UV_ETIMEDOUT:
        return "timeout";
    case UV_EAI_AGAIN:
    case UV_EAI_FAIL:
    case UV_EAI_NODATA:
    case UV_EAI_NONAME:
        return "unknown_host";
    case LN_EINVAL:
        return "tls"; /* files, or a name for a certificate */
    default:
        return status_word(status);
    }
}

int push_refusal(lua_State *L, int at, const char *what, int status, const char *why) {
    lua_pushnil(L);
    lua_getiuservalue(L, at, LABEL);
    lua_pushfstring(L, "%s %s: %s", what, lua_tostring(L, -1), why);
    push_error(L, word_of(status), lua_tostring(L, -1));
    lua_pushstring(L, why);
    lua_setfield(L, -2, "detail");
    lua_replace(L, -3);
    lua_pop(L, 1);
    return 2;
}

int fail_call(lua_State *L, struct fiber *fiber, const char *what, int status,
              const char *why) {
    push_refusal(L, 1, what, status, why);
    return wait_to_fail(L, fiber, 2);
}

/* ---- the socket ---- */

struct box *check_box(lua_State *L) {
    return luaL_checkudata(L, 1, BOX_TYPE);
}

void check_free(lua_State *L, const struct io *io, const char *what) {
    if (io != NULL)
        raise_error(L, "%s: another fiber %s this socket already", what,
                    io->kind == IO_CONNECT ? "starts TLS on"
                    : io->kind == IO_WRITE ? "writes to"
                                           : "reads from");
}

void box_drop(struct box *box, bool orderly) {
    struct tcp_socket *socket = box->socket;
    if (socket == NULL)
        return;
    box->socket = NULL;
    script_remove_resource(&box->resource);
    tcp_close(socket, orderly);
}

/* socket:shutdown() -> true: nothing will be written any more */
static int box_shutdown(lua_State *L) {
    struct box *box = check_box(L);
    check_free(L, box->writing, "socket:shutdown");
    if (box->socket != NULL)
        tcp_shutdown(box->socket);
    lua_pushboolean(L, 1);
    return 1;
}

/* socket:close() -> true: what was written is sent; calls of others end */
static int box_close(lua_State *L) {
    struct box *box = check_box(L);
    box_drop(box, true);
    if (box->reading != NULL)
        fiber_wake(box->reading->fiber, LN_ECLOSED);
    if (box->writing != NULL)
        fiber_wake(box->writing->fiber, LN_ECLOSED);
    lua_pushboolean(L, 1);
    return 1;
}

static int box_gc(lua_State *L) {
    box_drop(check_box(L), true);
    return 0;
}

/* socket:settimeout(seconds): of each call from now on */
static int box_settimeout(lua_State *L) {
    check_box(L)->timeout_ms = check_ms(L, 2);
    return 0;
}

/* socket:buffered() -> bytes that have come and were not read */
static int box_buffered(lua_State *L) {
    const struct box *box = check_box(L);
    size_t len = 0;
    if (box->socket != NULL)
        tcp_bytes(box->socket, &len);
    lua_pushinteger(L, (lua_Integer)len);
    return 1;
}

/* socket:reused() -> how often it has come from the pool */
static int box_reused(lua_State *L) {
    lua_pushinteger(L, check_box(L)->uses);
    return 1;
}

static int refuse_keep(lua_State *L, struct box *box) {
    const struct tcp_socket *socket = box->socket;
    int rc = socket == NULL ? LN_ECLOSED : tcp_status(socket);
    const char *why = rc == LN_OK      ? "bytes wait to be read or sent"
                      : socket == NULL ? status_text(rc)
                                       : tcp_reason(socket);
    push_refusal(L, 1, "cannot keep the connection to", rc == LN_OK ? LN_EFULL : rc, why);
    if (rc == LN_OK) {
        lua_pushliteral(L, "busy");
        lua_setfield(L, -2, "code");
    }
    box_drop(box, true);
    return 2;
}

/*
 * socket:keep([seconds = 60], [most = 30]) -> true | nil, err
 * Back to the pool, of those of this kind so many at most. The socket is closed either way.
 */
static int box_keep(lua_State *L) {
    struct box *box = check_box(L);
    uint64_t idle_ms = lua_isnoneornil(L, 2) ? IDLE_S * 1000 : check_ms(L, 2);
    lua_Integer most = luaL_optinteger(L, 3, KEEP);
    luaL_argcheck(L, most > 0, 3, "a number of connections expected");
    check_free(L, box->reading, "socket:keep");
    check_free(L, box->writing, "socket:keep");
    if (box->socket == NULL || !tcp_at_rest(box->socket))
        return refuse_keep(L, box);
    lua_getiuservalue(L, 1, KEY);
    size_t len;
    const char *key = lua_tolstring(L, -1, &len);
    struct tcp_socket *socket = box->socket;
    box->socket = NULL;
    script_remove_resource(&box->resource);
    int rc =
        tcp_pool_keep(&box->home->pool, socket, key, len, box->uses + 1, idle_ms, (size_t)most);
    if (rc < 0)
        return push_refusal(L, 1, "cannot keep the connection to", rc, status_text(rc));
    lua_pushboolean(L, 1);
    return 1;
}

static int box_tostring(lua_State *L) {
    const struct box *box = check_box(L);
    lua_getiuservalue(L, 1, LABEL);
    lua_pushfstring(L, "socket (%s%s)", lua_tostring(L, -1),
                    box->socket == NULL ? ", closed" : "");
    return 1;
}

static const luaL_Reg methods[] = {
    {"read", box_read},
    {"write", box_write},
    {"starttls", box_starttls},
    {"shutdown", box_shutdown},
    {"close", box_close},
    {"settimeout", box_settimeout},
    {"buffered", box_buffered},
    {"reused", box_reused},
    {"keep", box_keep},
    {"__tostring", box_tostring},
    {"__close", box_close},
    {"__gc", box_gc},
    {NULL, NULL},
};

void bindings_tcp(lua_State *L) {
    add_class(L, BOX_TYPE, methods);
    lua_pushcfunction(L, core_tcp_connect);
    lua_setfield(L, -2, "tcp_connect");
}
