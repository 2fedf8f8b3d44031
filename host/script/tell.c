/* SPDX-License-Identifier: Apache-2.0 */
#include "host/script/tell.h"

#include "host/script/memory.h"
#include "host/script/pool.h"

struct call {
    int watcher;
    const struct script_error *error;
};

/* Stack of the protected body. */
enum { AT_CALL = 1, AT_VALUE = 2, AT_FACTS = 3 };

static void set_field(lua_State *L, const char *name, const char *value) {
    if (value == NULL)
        return;
    lua_pushstring(L, value);
    lua_setfield(L, AT_FACTS, name);
}

static int body(lua_State *L) {
    const struct call *call = lua_touserdata(L, AT_CALL);
    const struct script_error *error = call->error;
    if (!lua_istable(L, AT_FACTS)) {
        lua_newtable(L);
        lua_replace(L, AT_FACTS);
    }
    set_field(L, "kind", error->kind);
    set_field(L, "name", error->name);
    set_field(L, "subject", error->subject);
    set_field(L, "id", error->id);
    lua_rawgeti(L, LUA_REGISTRYINDEX, call->watcher);
    lua_pushstring(L, error->text);
    lua_pushvalue(L, AT_VALUE);
    lua_pushvalue(L, AT_FACTS);
    lua_call(L, 3, 0);
    return 0;
}

/* There is room on both stacks. */
static void push_from(lua_State *L, lua_State *from, int index) {
    if (from == NULL || index == 0) {
        lua_pushnil(L);
        return;
    }
    lua_pushvalue(from, index);
    if (from != L)
        lua_xmove(from, L, 1);
}

void tell_error(lua_State *L, int watcher, const struct script_error *error) {
    struct call call = {watcher, error};
    if (!lua_checkstack(L, 4) || (error->L != NULL && !lua_checkstack(error->L, 1)))
        return;
    lua_pushcfunction(L, body);
    lua_pushlightuserdata(L, &call);
    push_from(L, error->L, error->value);
    push_from(L, error->L, error->facts);
    struct memory *memory = pool_memory_of(L);
    size_t before = memory_enter(memory, MEMORY_RESERVE);
    if (lua_pcall(L, 3, 0, 0) != LUA_OK)
        lua_pop(L, 1);
    memory_leave(memory, before);
}
