/* SPDX-License-Identifier: Apache-2.0 */
#include "bindings/guard.h"

#include "bindings/bindings.h"
#include "bindings/lib/lib.h"

const char guard_types[] = "table|number|boolean";

static const char key = 'g'; /* of the function, in the registry */

bool guard_wanted(lua_State *L, bool *tell) {
    static const char *const names[] = {"retry", "breaker", "rate", "bulkhead"};
    bool wanted = false;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        wanted = lua_getfield(L, 3, names[i]) != LUA_TNIL || wanted;
        lua_pop(L, 1);
    }
    int type = lua_getfield(L, 3, "deadline");
    if (type != LUA_TNIL && type != LUA_TBOOLEAN)
        raise_error(L, "app.request: option 'deadline' must be a boolean, not a %s",
                    lua_typename(L, type));
    *tell = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return wanted;
}

void guard_no_retry(lua_State *L, const char *what) {
    if (!lua_istable(L, 3))
        return;
    if (lua_getfield(L, 3, "retry") != LUA_TNIL)
        raise_error(L, "%s: no 'retry': those who have answered would be asked again", what);
    lua_pop(L, 1);
}

static int call_done(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    return lua_gettop(L) - 3;
}

int guard_call(lua_State *L) {
    lua_Debug running;
    lua_settop(L, 3);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &key);
    lua_getstack(L, 0, &running);
    lua_getinfo(L, "f", &running);
    for (int i = 1; i <= 3; i++)
        lua_pushvalue(L, i); /* fn, send, subject, data, opts */
    lua_callk(L, 4, LUA_MULTRET, 0, call_done);
    return call_done(L, LUA_OK, 0);
}

/* core.on_guarded(fn): fn(send, subject, data, opts) is called for such requests, in the place
 * of the function `send`, which sends. */
static int core_on_guarded(lua_State *L) {
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_settop(L, 1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &key);
    return 0;
}

static const luaL_Reg functions[] = {
    {"on_guarded", core_on_guarded},
    {NULL, NULL},
};

void bindings_guard(lua_State *L) {
    luaL_setfuncs(L, functions, 0);
}
