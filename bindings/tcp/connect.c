/* SPDX-License-Identifier: Apache-2.0 */
/* app.tcp.connect(), and TLS that begins later. */
#include "bindings/tcp/tcp.h"

#include <stdio.h>
#include <string.h>

#include "host/base/container_of.h"
#include "host/script/memory.h"

#define TIMEOUT_MS 10000
#define PORT_MAX 65535

/* ---- arguments ---- */

/* A string without zero bytes. */
static const char *check_text(lua_State *L, int at, const char *what) {
    size_t len;
    const char *text = lua_tolstring(L, at, &len);
    if (len == 0 || strlen(text) != len)
        raise_error(L, "%s must not be empty, or hold zero bytes", what);
    return text;
}

/* NULL: it has none. The string stays on the stack, as a finalizer may change the table. */
static const char *text_field(lua_State *L, int at, const char *name) {
    return lua_getfield(L, at, name) != LUA_TNIL ? check_text(L, -1, name) : NULL;
}

static const struct option tls_options[] = {{"ca", "string"},      {"cert", "string"},
                                            {"key", "string"},     {"server_name", "string"},
                                            {"verify", "boolean"}, {NULL, NULL}};

/* What a table of these options at `at` says; leaves its strings on the stack. */
static void check_tls(lua_State *L, int at, const char *what, struct tcp_target *target) {
    target->ca = text_field(L, at, "ca");
    target->cert = text_field(L, at, "cert");
    target->key = text_field(L, at, "key");
    target->server_name = text_field(L, at, "server_name");
    if ((target->cert == NULL) != (target->key == NULL))
        raise_error(L, "%s: cert and key belong together", what);
    target->any_peer = lua_getfield(L, at, "verify") == LUA_TBOOLEAN && !lua_toboolean(L, -1);
}

/* What a table of the options of connect() at 3 says; leaves its strings on the stack. */
static void check_connect_options(lua_State *L, struct tcp_target *target, const char **pool) {
    *pool = text_field(L, 3, "pool");
    lua_getfield(L, 3, "tls");
    int at = lua_gettop(L);
    target->tls = lua_toboolean(L, at);
    if (!lua_istable(L, at))
        return;
    check_options(L, at, "app.tcp.connect: tls", tls_options);
    check_tls(L, at, "app.tcp.connect: tls", target);
}

/* host, port or "unix:PATH". */
static void check_address(lua_State *L, struct tcp_target *target) {
    int is_integer;
    if (lua_type(L, 1) != LUA_TSTRING)
        raise_error(L, "app.tcp.connect: the host must be a string, not a %s",
                    luaL_typename(L, 1));
    const char *host = check_text(L, 1, "app.tcp.connect: the host");
    if (strncmp(host, "unix:", 5) == 0) {
        target->path = host + 5;
        if (lua_istable(L, 2)) { /* there is no port */
            lua_pushnil(L);
            lua_insert(L, 2);
        }
        if (!lua_isnoneornil(L, 2))
            raise_error(L, "app.tcp.connect: a Unix socket has no port");
        return;
    }
    target->host = host;
    lua_Integer port = lua_tointegerx(L, 2, &is_integer);
    if (!is_integer || port < 1 || port > PORT_MAX)
        raise_error(L, "app.tcp.connect: the port must be an integer from 1 to %d", PORT_MAX);
    target->port = (int)port;
}

static void on_script_close(struct script_resource *resource) {
    box_drop(container_of(resource, struct box, resource), false);
}

/* ---- connecting ---- */

static void close_home(struct script_resource *resource) {
    struct home *home = container_of(resource, struct home, resource);
    tcp_pool_close(&home->pool);
    tcp_close_all(&home->sockets);
}

/* Made when first used; it stays in the registry. */
static struct home *check_home(lua_State *L) {
    static const char key = 't';
    struct script *script = script_of(L);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &key);
    struct home *known = lua_touserdata(L, -1);
    lua_pop(L, 1);
    if (known != NULL)
        return known;
    struct home *home = lua_newuserdatauv(L, sizeof(*home), 0);
    *home = (struct home){
        .resource = {.close = close_home},
        .scheduler = script_scheduler(script),
        .sockets = {.loop = script_loop(script),
                    .clock = service_clock(script_service(script)),
                    .held = &script_memory(script)->held},
        .pool = {.clock = script_clock(script)},
    };
    lua_rawsetp(L, LUA_REGISTRYINDEX, &key);
    script_add_resource(script, &home->resource);
    return home;
}

/* Sets the user values of the box at `at`: whatever makes a difference is in the key. */
static void set_names(lua_State *L, int at, const struct tcp_target *target, const char *pool) {
    luaL_Buffer key;
    const char *parts[] = {target->host, target->path, target->ca,         target->cert,
                           target->key,  pool,         target->server_name};
    if (target->path != NULL)
        lua_pushstring(L, target->path);
    else
        lua_pushfstring(L, strchr(target->host, ':') != NULL ? "[%s]:%d" : "%s:%d",
                        target->host, target->port);
    lua_setiuservalue(L, at, LABEL);
    luaL_buffinit(L, &key);
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        luaL_addstring(&key, parts[i] != NULL ? parts[i] : "");
        luaL_addchar(&key, '\0');
    }
    lua_pushinteger(L, target->port * 4 + target->tls * 2 + target->any_peer);
    luaL_addvalue(&key);
    luaL_pushresult(&key);
    lua_setiuservalue(L, at, KEY);
}

/* The end of a wait for a connection of the box at `at`. */
static int finish_connect(lua_State *L, int at, const char *what) {
    struct io io;
    struct fiber *fiber = io_end_wait(L, &io);
    const struct tcp_socket *socket = io.box->socket;
    bool failed = io.status == LN_OK && tcp_state(socket) != TCP_OPEN;
    int rc = failed ? tcp_status(socket) : io.status;
    char why[TCP_TEXT_SIZE];
    snprintf(why, sizeof(why), "%s", failed ? tcp_reason(socket) : status_text(rc));
    fiber_end_wait(fiber); /* closes what is not open */
    if (rc < 0)
        return push_refusal(L, at, what, rc, why);
    lua_pushvalue(L, at);
    return 1;
}

static int connected(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    return finish_connect(L, 4, "cannot connect to");
}

static struct box *push_box(lua_State *L) {
    struct home *home = check_home(L);
    struct box *box = lua_newuserdatauv(L, sizeof(*box), 2);
    *box = (struct box){.home = home, .timeout_ms = TIMEOUT_MS};
    box->resource.close = on_script_close;
    luaL_setmetatable(L, BOX_TYPE);
    return box;
}

/* Whether a connection of the pool is there for the box at `at`. */
static bool take_idle(lua_State *L, int at, struct box *box) {
    size_t len;
    lua_getiuservalue(L, at, KEY);
    const char *key = lua_tolstring(L, -1, &len);
    box->socket = tcp_pool_take(&box->home->pool, key, len, &box->uses);
    lua_pop(L, 1);
    if (box->socket == NULL)
        return false;
    tcp_hand_over(box->socket, box_on_event, box);
    return true;
}

/*
 * core.tcp_connect(host, port, [{ timeout = 10, tls = true | { ca =, cert =, key =,
 * server_name =, verify = true }, pool = }]) -> socket | nil, err
 * core.tcp_connect("unix:PATH", [options])
 */
int core_tcp_connect(lua_State *L) {
    static const struct option options[] = {
        {"timeout", "number"}, {"tls", "boolean|table"}, {"pool", "string"}, {NULL, NULL}};
    struct fiber *fiber = check_fiber(L, "app.tcp.connect");
    struct tcp_target target = {0};
    const char *pool = NULL;
    check_address(L, &target);
    lua_settop(L, 3);
    struct box *box = push_box(L);
    if (check_options(L, 3, "app.tcp.connect", options))
        check_connect_options(L, &target, &pool);
    box->timeout_ms = option_ms(L, 3, "timeout", TIMEOUT_MS);
    set_names(L, 4, &target, pool);
    if (take_idle(L, 4, box)) {
        script_add_resource(script_of(L), &box->resource);
        lua_settop(L, 4);
        return 1;
    }
    int rc = tcp_open(&box->socket, &box->home->sockets, &target, box_on_event, box);
    if (rc < 0) {
        box->socket = NULL;
        push_refusal(L, 4, "cannot connect to", rc, status_text(rc));
        return wait_to_fail(L, fiber, 2);
    }
    script_add_resource(script_of(L), &box->resource);
    lua_settop(L, 4);
    const struct io io = {.box = box, .kind = IO_CONNECT};
    return io_wait(L, &io, fiber, connected);
}

static int secured(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    int pushed = finish_connect(L, 1, "no TLS with");
    if (pushed == 1)
        lua_pushboolean(L, 1);
    return pushed;
}

/* socket:starttls([{ ca =, ... }]) -> true | nil, err: as in the options of connect */
int box_starttls(lua_State *L) {
    struct box *box = check_box(L);
    struct tcp_target target = {0};
    lua_settop(L, 2);
    if (check_options(L, 2, "socket:starttls", tls_options))
        check_tls(L, 2, "socket:starttls", &target);
    struct fiber *fiber = check_fiber(L, "socket:starttls");
    check_free(L, box->reading, "socket:starttls");
    check_free(L, box->writing, "socket:starttls");
    if (box->socket == NULL)
        return fail_call(L, fiber, "no TLS with", LN_ECLOSED, status_text(LN_ECLOSED));
    if (tcp_is_secure_as(box->socket, &target)) { /* from the pool, mostly */
        lua_pushboolean(L, 1);
        return 1;
    }
    if (tcp_is_secure(box->socket))
        return fail_call(L, fiber, "no TLS with", LN_ETLS, "it has begun with other options");
    if (!tcp_at_rest(box->socket))
        return fail_call(L, fiber, "no TLS with", LN_ETLS, "bytes wait to be read or sent");
    int rc = tcp_start_tls(box->socket, &target);
    if (rc < 0) {
        box_drop(box, true);
        return fail_call(L, fiber, "no TLS with", rc, status_text(rc));
    }
    lua_settop(L, 1);
    const struct io io = {.box = box, .kind = IO_CONNECT};
    return io_wait(L, &io, fiber, secured);
}
