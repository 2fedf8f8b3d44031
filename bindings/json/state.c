/* SPDX-License-Identifier: Apache-2.0 */
/* What the codec keeps for each Lua state. */
#include <string.h>

#include "bindings/json/internal.h"
#include "bindings/json/json.h"

static const void *set_mark(lua_State *L, int state, int slot, const char *name) {
    lua_createtable(L, 0, 1); /* metatable */
    const void *mark = lua_topointer(L, -1);
    lua_pushstring(L, name);
    lua_setfield(L, -2, "__name");
    lua_setiuservalue(L, state, slot); /* - */
    return mark;
}

struct json_state *json_push_state(lua_State *L) {
    static const char key = 0; /* its address is the key */
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &key) == LUA_TUSERDATA)
        return lua_touserdata(L, -1);
    lua_pop(L, 1);
    struct json_state *state = lua_newuserdatauv(L, sizeof(*state), JSON_SLOT_LAST);
    int index = lua_gettop(L);
    memset(state, 0, sizeof(*state));
    state->array_mark = set_mark(L, index, JSON_SLOT_ARRAY, "json.array");
    state->object_mark = set_mark(L, index, JSON_SLOT_OBJECT, "json.object");
    lua_createtable(L, JSON_CACHED_KEYS, 0);
    lua_setiuservalue(L, index, JSON_SLOT_KEYS);
    lua_pushvalue(L, index);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &key); /* last: only a complete one is found */
    return state;
}

enum json_mark json_get_mark(lua_State *L, int idx) {
    if (!lua_getmetatable(L, idx))
        return JSON_MARK_NONE;
    const void *mark = lua_topointer(L, -1);
    const struct json_state *state = json_push_state(L);
    lua_pop(L, 2);
    if (mark == state->array_mark)
        return JSON_MARK_ARRAY;
    return mark == state->object_mark ? JSON_MARK_OBJECT : JSON_MARK_OTHER;
}

void json_set_mark(lua_State *L, enum json_mark mark) {
    if (mark == JSON_MARK_NONE)
        return;
    json_push_state(L);
    lua_getiuservalue(L, -1, mark == JSON_MARK_ARRAY ? JSON_SLOT_ARRAY : JSON_SLOT_OBJECT);
    lua_setmetatable(L, -3);
    lua_pop(L, 1);
}
