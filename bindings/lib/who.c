/* SPDX-License-Identifier: Apache-2.0 */
/* Whom a function of the bindings works for: the script's own service, or one of its clients.
 */
#include <string.h>

#include "bindings/lib/lib.h"

/* Registry table: id -> userdata, which keeps a client's struct who for the messages that it
 * has received. */
static const char clients_key = 'c';

static void push_clients(lua_State *L) {
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &clients_key) == LUA_TTABLE)
        return;
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &clients_key);
}

void push_who(lua_State *L, size_t size) {
    struct who *who = lua_newuserdatauv(L, size, 1);
    memset(who, 0, size);
    push_clients(L); /* who, clients */
    who->id = (unsigned)luaL_len(L, -1) + 1;
    lua_pushvalue(L, -2);
    lua_rawseti(L, -2, who->id);
    lua_pop(L, 1);
}

struct who check_who(lua_State *L) {
    const struct who *client = lua_touserdata(L, lua_upvalueindex(1));
    if (client != NULL && client->link == NULL)
        raise_error(L, "this client is closed");
    if (client != NULL)
        return *client;
    const struct service *service = script_service(script_of(L));
    return (struct who){
        .link = service_link(service),
        .intake = service_intake(service),
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
        raise_error(L, "there is no connection: the script runs without a server");
    return link;
}

struct link *check_link(lua_State *L) {
    if (lua_touserdata(L, lua_upvalueindex(1)) != NULL)
        return check_who(L).link;
    return check_own_link(L);
}

struct link *check_client_link(lua_State *L, unsigned id) {
    if (id == 0)
        return check_own_link(L);
    push_clients(L);
    lua_rawgeti(L, -1, id);
    const struct who *client = lua_touserdata(L, -1);
    lua_pop(L, 2);
    if (client != NULL && client->link != NULL)
        return client->link;
    raise_error(L, "the client that received this message is closed");
    return NULL;
}
