/* SPDX-License-Identifier: Apache-2.0 */
/* Facts about the connection, for app.nats. */
#include "bindings/bindings.h"
#include "bindings/lib/lib.h"

static struct link *link_or_null(lua_State *L) {
    return check_who(L).link;
}

static void set_integer(lua_State *L, const char *name, uint64_t value) {
    lua_pushinteger(L, (lua_Integer)value);
    lua_setfield(L, -2, name);
}

static void set_string(lua_State *L, const char *name, const char *value) {
    if (*value == '\0')
        return;
    lua_pushstring(L, value);
    lua_setfield(L, -2, name);
}

/* core.nats_status() -> "connecting" | "connected" | "disconnected" | "closed" */
static int nats_status(lua_State *L) {
    static const char *const names[] = {"connecting", "connected", "disconnected", "closed"};
    struct link *link = link_or_null(L);
    lua_pushstring(L, names[link ? link_state(link) : LINK_CLOSED]);
    return 1;
}

/* core.nats_info() -> { url =, server_id =, version =, client_ip =, client_id =, max_payload =
 * }
 */
static int nats_info(lua_State *L) {
    struct link_info info = {0};
    if (link_or_null(L) != NULL)
        link_get_info(link_or_null(L), &info);
    lua_createtable(L, 0, 6);
    set_string(L, "url", info.url);
    set_string(L, "server_id", info.server_id);
    set_string(L, "version", info.version);
    set_string(L, "client_ip", info.client_ip);
    if (info.client_id != 0)
        set_integer(L, "client_id", info.client_id);
    if (info.max_payload != 0)
        set_integer(L, "max_payload", (uint64_t)info.max_payload);
    return 1;
}

/* core.nats_stats() -> counters of the connection */
static int nats_stats(lua_State *L) {
    struct link_stats stats = {0};
    if (link_or_null(L) != NULL)
        link_get_stats(link_or_null(L), &stats);
    lua_createtable(L, 0, 9);
    set_integer(L, "in_msgs", stats.in_msgs);
    set_integer(L, "in_bytes", stats.in_bytes);
    set_integer(L, "out_msgs", stats.out_msgs);
    set_integer(L, "out_bytes", stats.out_bytes);
    set_integer(L, "reconnects", stats.reconnects);
    set_integer(L, "dropped", stats.dropped);
    set_integer(L, "buffered", stats.buffered);
    set_integer(L, "subscriptions", stats.subscriptions);
    set_integer(L, "pending_requests", stats.calls);
    return 1;
}

/* core.nats_error() -> the last thing that the server refused or that went wrong with it, or
 * nil
 */
static int nats_error(lua_State *L) {
    const struct link *link = link_or_null(L);
    const char *text = link != NULL ? link_last_error(link) : "";
    lua_pushstring(L, *text != '\0' ? text : NULL);
    return 1;
}

/* core.js_prefix() -> subject of the JetStream API: "$JS.API", "$JS.hub.API", ... */
static int js_prefix(lua_State *L) {
    lua_pushstring(L, check_who(L).js_prefix);
    return 1;
}

static const luaL_Reg functions[] = {
    {"js_prefix", js_prefix}, {"nats_status", nats_status}, {"nats_error", nats_error},
    {"nats_info", nats_info}, {"nats_stats", nats_stats},   {NULL, NULL},
};

void bindings_nats(lua_State *L) {
    luaL_setfuncs(L, functions, 0);
}
