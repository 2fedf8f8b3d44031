/* SPDX-License-Identifier: Apache-2.0 */
/* The command line, for the commands that are written in Lua. */
#include "bindings/tools/options.h"

#include <fcntl.h>
#include <unistd.h>

#include "bindings/lib/lib.h"

static void push_list(lua_State *L, char *const *list, size_t count) {
    lua_createtable(L, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        lua_pushstring(L, list[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

static void push_words(lua_State *L, char *const *words) {
    size_t count = 0;
    while (words != NULL && words[count] != NULL)
        count++;
    push_list(L, words, count);
}

static void set_number(lua_State *L, const char *name, lua_Number value) {
    lua_pushnumber(L, value);
    lua_setfield(L, -2, name);
}

static void set_text(lua_State *L, const char *name, const char *text) {
    lua_pushstring(L, text); /* nil for NULL */
    lua_setfield(L, -2, name);
}

static void set_flag(lua_State *L, const char *name, bool on) {
    lua_pushboolean(L, on);
    lua_setfield(L, -2, name);
}

static void set_integer(lua_State *L, const char *name, lua_Integer value) {
    lua_pushinteger(L, value);
    lua_setfield(L, -2, name);
}

/* core.private_file(path): makes a file that only this user reads, unless something is there.
 * Whoever opens it next learns what is wrong. */
static int core_private_file(lua_State *L) {
    int fd = open(luaL_checkstring(L, 1), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0)
        close(fd);
    return 0;
}

/* The server as app.connect() takes it, for a command that connects by itself. */
static void set_connection(lua_State *L, const struct options *options) {
    lua_newtable(L);
    push_list(L, options->servers, options->server_count);
    lua_setfield(L, -2, "server");
    set_text(L, "name", options->name);
    set_text(L, "user", options->user);
    set_text(L, "password", options->password);
    set_text(L, "token", options->token);
    set_text(L, "creds", options->creds);
    set_text(L, "nkey", options->nkey);
    set_text(L, "tls_ca", options->tls_ca);
    set_text(L, "tls_cert", options->tls_cert);
    set_text(L, "tls_key", options->tls_key);
    set_text(L, "tls_name", options->tls_name);
    set_flag(L, "tls_first", options->tls_first);
    set_text(L, "inbox_prefix", options->inbox_prefix);
    set_text(L, "js_prefix", options->js_prefix);
    set_number(L, "connect_timeout", options->connect_timeout);
    lua_setfield(L, -2, "connection");
}

int bindings_take_options(lua_State *L) {
    const struct options *options = lua_touserdata(L, 1);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_getfield(L, -1, "lunats.core"); /* loaded, core */
    lua_newtable(L);                    /* loaded, core, options */
    push_list(L, options->scripts, options->script_count);
    lua_setfield(L, -2, "scripts");
    push_list(L, options->args, options->arg_count);
    lua_setfield(L, -2, "args");
    push_list(L, options->inherited, options->inherited_count);
    lua_setfield(L, -2, "inherited");
    push_list(L, options->headers.items, options->headers.count);
    lua_setfield(L, -2, "headers");
    push_list(L, options->code.items, options->code.count);
    lua_setfield(L, -2, "code");
    push_words(L, options->words);
    lua_setfield(L, -2, "words");
    set_flag(L, "interactive", options->interactive);
    set_flag(L, "offline", options->connection == OPTIONS_OFFLINE);
    set_flag(L, "watch", options->watch);
    set_flag(L, "coverage", options->coverage);
    set_flag(L, "once", options->once);
    set_flag(L, "permissions", options->permissions);
    set_flag(L, "safe_libs", options->safe_libs);
    set_flag(L, "json", options->json);
    set_flag(L, "all", options->all);
    set_flag(L, "dry_run", options->dry_run);
    set_flag(L, "force", options->force);
    set_flag(L, "control", options->control);
    set_flag(L, "console", options->console);
    set_integer(L, "jobs", options->jobs);
    set_integer(L, "workers", options->workers);
    set_integer(L, "count", options->count);
    set_integer(L, "replies", options->replies);
    set_text(L, "output", options->output);
    set_text(L, "inbox_prefix", options->inbox_prefix);
    set_text(L, "js_prefix", options->js_prefix);
    set_text(L, "log_subject", options->log_subject);
    set_text(L, "level", options->level);
    set_text(L, "template", options->template);
    set_text(L, "of_stream", options->of_stream);
    set_text(L, "of_consumer", options->of_consumer);
    set_text(L, "of_subject", options->of_subject);
    set_text(L, "reason", options->reason);
    set_text(L, "to", options->to);
    set_text(L, "origin", options->origin);
    set_text(L, "log_level", log_level_name(options->log_level));
    set_number(L, "watch_poll", options->watch_poll);
    set_number(L, "seconds", options->seconds);
    set_number(L, "timeout", options->timeout);
    set_number(L, "interval", options->interval);
    if (options->command == OPTIONS_DOCTOR)
        set_connection(L, options);
    set_number(L, "since", options->since);
    lua_setfield(L, -2, "options");
    lua_pushcfunction(L, core_private_file);
    lua_setfield(L, -2, "private_file");
    return 0;
}
