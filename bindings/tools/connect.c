/* SPDX-License-Identifier: Apache-2.0 */
#include "bindings/tools/connect.h"

#include "bindings/lib/lib.h"

static const struct option known[] = {
    {"servers", "table"},
    {"user", "string"},
    {"password", "string"},
    {"token", "string"},
    {"creds", "string"},
    {"nkey", "string"},
    {"tls_ca", "string"},
    {"tls_cert", "string"},
    {"tls_key", "string"},
    {"tls_name", "string"},
    {"tls_first", "boolean"},
    {"inbox_prefix", "string"},
    {"connect_timeout", "number"},
    {"ping_interval", "number"},
    {"max_control_line", "number"},
    {"js_prefix", "string"},
    {NULL, NULL},
};

/* The table holds the string, so it stays when it leaves the stack. */
static const char *text_field(lua_State *L, int arg, const char *name) {
    const char *text = lua_getfield(L, arg, name) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
    lua_pop(L, 1);
    return text;
}

static bool flag_field(lua_State *L, int arg, const char *name) {
    lua_getfield(L, arg, name);
    bool on = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return on;
}

/* Seconds as milliseconds; 0 when absent. */
static uint32_t ms_field(lua_State *L, int arg, const char *name) {
    uint64_t ms = option_ms(L, arg, name, 0);
    return ms < UINT32_MAX ? (uint32_t)ms : UINT32_MAX;
}

static uint32_t bytes_field(lua_State *L, int arg, const char *name) {
    lua_Integer bytes = 0;
    if (lua_getfield(L, arg, name) != LUA_TNIL)
        bytes = luaL_checkinteger(L, -1);
    lua_pop(L, 1);
    if (bytes < 0 || bytes > INT32_MAX)
        luaL_error(L, "connect: %s is out of range", name);
    return (uint32_t)bytes;
}

static size_t check_servers(lua_State *L, int arg, const char **servers) {
    lua_getfield(L, arg, "servers");
    size_t count = lua_istable(L, -1) ? (size_t)lua_rawlen(L, -1) : 0;
    if (count < 1 || count > CONNECT_SERVERS)
        luaL_error(L, "connect: servers must be a list of 1 to %d URLs", CONNECT_SERVERS);
    for (size_t i = 0; i < count; i++) {
        if (lua_rawgeti(L, -1, (lua_Integer)i + 1) != LUA_TSTRING)
            luaL_error(L, "connect: server %d is not a URL", (int)i + 1);
        servers[i] = lua_tostring(L, -1);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return count;
}

void check_connect_options(lua_State *L, int arg, struct connect_options *out) {
    luaL_checktype(L, arg, LUA_TTABLE);
    check_options(L, arg, "connect", known);
    out->link = (struct link_options){
        .servers = out->servers,
        .server_count = check_servers(L, arg, out->servers),
        .user = text_field(L, arg, "user"),
        .password = text_field(L, arg, "password"),
        .token = text_field(L, arg, "token"),
        .creds = text_field(L, arg, "creds"),
        .nkey = text_field(L, arg, "nkey"),
        .tls_ca = text_field(L, arg, "tls_ca"),
        .tls_cert = text_field(L, arg, "tls_cert"),
        .tls_key = text_field(L, arg, "tls_key"),
        .tls_name = text_field(L, arg, "tls_name"),
        .tls_first = flag_field(L, arg, "tls_first"),
        .inbox_prefix = text_field(L, arg, "inbox_prefix"),
        .connect_timeout_ms = ms_field(L, arg, "connect_timeout"),
        .ping_interval_ms = ms_field(L, arg, "ping_interval"),
        .max_control_line = bytes_field(L, arg, "max_control_line"),
    };
    out->js_prefix = out->link.api_prefix = text_field(L, arg, "js_prefix");
}
