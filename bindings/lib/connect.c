/* SPDX-License-Identifier: Apache-2.0 */
#include "bindings/lib/connect.h"

#include <string.h>

#include "bindings/lib/lib.h"
#include "host/base/url.h"

static const struct option known[] = {
    {"servers", "table"},          {"user", "string"},          {"password", "string"},
    {"token", "string"},           {"creds", "string"},         {"nkey", "string"},
    {"tls_ca", "string"},          {"tls_cert", "string"},      {"tls_key", "string"},
    {"tls_name", "string"},        {"tls_first", "boolean"},    {"inbox_prefix", "string"},
    {"connect_timeout", "number"}, {"ping_interval", "number"}, {"max_control_line", "number"},
    {"js_prefix", "string"},       {"name", "string"},          {"label", "string"},
    {"retry", "boolean"},          {"timeout", "number"},       {NULL, NULL},
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
    return short_ms(option_ms(L, arg, name, 0));
}

static uint32_t bytes_field(lua_State *L, const char *what, int arg, const char *name) {
    lua_Integer bytes = 0;
    if (lua_getfield(L, arg, name) != LUA_TNIL)
        bytes = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : -1;
    lua_pop(L, 1);
    if (bytes < 0 || bytes > INT32_MAX)
        raise_error(L, "%s: %s is out of range", what, name);
    return (uint32_t)bytes;
}

/* The URL that is at fault, without what may be a part of a password: one with a blank or a
 * comma in it is cut there, before the '@', and looks like a port then. */
static const char *show_faulty(const char *server, char *out, size_t size) {
    url_shown(server, out, size);
    char *colon = strrchr(out, ':');
    bool scheme = colon != NULL && strncmp(colon, "://", 3) == 0;
    if (colon != NULL && !scheme && strchr(server, '@') == NULL)
        colon[1] = '\0';
    return out;
}

static size_t check_servers(lua_State *L, const char *what, int arg, const char **servers) {
    lua_getfield(L, arg, "servers");
    size_t count = lua_istable(L, -1) ? (size_t)lua_rawlen(L, -1) : 0;
    if (count < 1 || count > CONNECT_SERVERS)
        raise_error(L, "%s: servers must be a list of 1 to %d URLs", what, CONNECT_SERVERS);
    for (size_t i = 0; i < count; i++) {
        if (lua_rawgeti(L, -1, (lua_Integer)i + 1) != LUA_TSTRING)
            raise_error(L, "%s: server %d is not a URL", what, (int)i + 1);
        servers[i] = lua_tostring(L, -1);
        struct url url;
        char shown[256];
        const char *fault = url_read(&url, servers[i]);
        url_free(&url);
        if (fault != NULL)
            raise_error(L, "%s: server '%s': %s", what,
                        show_faulty(servers[i], shown, sizeof(shown)), fault);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return count;
}

void check_connect_options(lua_State *L, const char *what, int arg,
                           struct connect_options *out) {
    luaL_checktype(L, arg, LUA_TTABLE);
    check_options(L, arg, what, known);
    out->link = (struct link_options){
        .servers = out->servers,
        .server_count = check_servers(L, what, arg, out->servers),
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
        .name = text_field(L, arg, "name"),
        .retry = flag_field(L, arg, "retry"),
        .inbox_prefix = text_field(L, arg, "inbox_prefix"),
        .connect_timeout_ms = ms_field(L, arg, "connect_timeout"),
        .ping_interval_ms = ms_field(L, arg, "ping_interval"),
        .max_control_line = bytes_field(L, what, arg, "max_control_line"),
    };
    const char *prefix = out->link.inbox_prefix;
    if (prefix != NULL && !link_subject_ok(prefix, strlen(prefix)))
        raise_error(L, "%s: invalid inbox_prefix '%s'", what, prefix);
    out->label = text_field(L, arg, "label");
    out->js_prefix = out->link.api_prefix = text_field(L, arg, "js_prefix");
}
