/* SPDX-License-Identifier: Apache-2.0 */
/* Whom a function of the bindings works for: the script's own connection, or a further one. */
#include <string.h>

#include "bindings/lib/lib.h"

/*
 * Registry table: id -> handle, for the messages that have come over it. Its values are weak: a
 * handle that nobody can reach is closed. `n` is the last id.
 */
static const char handles_key = 'c';

static void push_handles(lua_State *L) {
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &handles_key) == LUA_TTABLE)
        return;
    lua_pop(L, 1);
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "v");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &handles_key);
}

struct connection_handle *push_new_handle(lua_State *L) {
    struct connection_handle *handle = lua_newuserdatauv(L, sizeof(*handle), 1);
    memset(handle, 0, sizeof(*handle));
    push_handles(L); /* handle, handles */
    lua_getfield(L, -1, "n");
    handle->id = (unsigned)lua_tointeger(L, -1) + 1;
    lua_pushinteger(L, handle->id);
    lua_setfield(L, -3, "n");
    lua_pushvalue(L, -3);
    lua_rawseti(L, -3, handle->id);
    lua_pop(L, 2);
    return handle;
}

static const struct connection_handle *handle_of(lua_State *L) {
    const struct connection_handle *handle = lua_touserdata(L, lua_upvalueindex(1));
    if (handle != NULL && handle->connection == NULL) /* only in finalizers */
        raise_error(L, "the connection is gone");
    return handle;
}

struct who check_who(lua_State *L) {
    const struct connection_handle *handle = handle_of(L);
    struct script *script = script_of(L);
    if (handle != NULL)
        return (struct who){
            .link = connection_link(handle->connection),
            .intake = connection_intake(handle->connection),
            .resources = connection_resources(handle->connection),
            .js_prefix = handle->js_prefix,
            .id = handle->id,
        };
    const struct service *service = script_service(script);
    return (struct who){
        .link = service_link(service),
        .intake = service_intake(service),
        .resources = script_resources(script),
        .js_prefix = service_js_prefix(service),
    };
}

static struct link *check_own_link(lua_State *L) {
    const struct service *service = script_service(script_of(L));
    struct link *link = service_link(service);
    if (link == NULL && service_state(service) == SERVICE_LOADED)
        raise_error(L, "there is no connection yet at the top level of a script; use it in "
                       "app.on_start, a task, a timer or a handler");
    if (link == NULL)
        raise_error(L, "there is no connection: the script runs without a server "
                       "(`lunats lua` connects to one with -s URL)");
    return link;
}

struct link *check_link_of(lua_State *L, const struct connection_handle *handle) {
    return handle == NULL ? check_own_link(L) : connection_link(handle->connection);
}

struct link *check_link(lua_State *L) {
    return check_link_of(L, handle_of(L));
}

struct link *push_message_link(lua_State *L, unsigned id) {
    if (id == 0) {
        lua_pushnil(L);
        return check_own_link(L);
    }
    push_handles(L);
    lua_rawgeti(L, -1, id);
    lua_remove(L, -2);
    const struct connection_handle *handle = lua_touserdata(L, -1);
    return handle != NULL && handle->connection != NULL ? connection_link(handle->connection)
                                                        : NULL;
}
