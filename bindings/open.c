/* SPDX-License-Identifier: Apache-2.0 */
#include "bindings/open.h"

#include <lauxlib.h>

#include "bindings/bindings.h"
#include "bindings/embedded.h"
#include "bindings/json/json.h"
#include "bindings/lib/lib.h"
#include "host/base/module.h"

/* package.searchers */
static int search_embedded(lua_State *L) {
    const char *name = luaL_checkstring(L, 1);
    if (!embedded_push(L, name)) /* else without a path: no file of it could change */
        lua_pushfstring(L, "no module '%s' in the binary", name);
    return 1;
}

/* core.module(name, globals) -> the chunk of a module of scripts/, which sees these globals */
static int core_module(lua_State *L) {
    const char *name = luaL_checkstring(L, 1);
    luaL_checktype(L, 2, LUA_TTABLE);
    if (!embedded_push(L, name))
        return luaL_error(L, "no module '%s' in the binary", name);
    lua_pushvalue(L, 2);
    lua_setupvalue(L, -2, 1); /* _ENV */
    return 1;
}

/* core.confine(globals, loaded): what is loaded from here on sees these globals, and finds
 * these modules with the `require` of Lua. */
static int core_confine(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    lua_setfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_rawseti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
    return 0;
}

/* core.globals() -> those of the script */
static int core_globals(lua_State *L) {
    lua_pushglobaltable(L);
    return 1;
}

/* core.native(name) -> what an optional module gives to scripts; an error says what to install
 */
static int core_native(lua_State *L) {
    const struct module *module;
    char error[1024];
    const char *name = luaL_checkstring(L, 1);
    if (module_load(&module, name, error, sizeof(error)) < 0)
        return raise_error(L, "%s", error);
    if (module->open == NULL)
        return raise_error(L, "the module %s has nothing for scripts", name);
    lua_pushcfunction(L, module->open);
    lua_call(L, 0, 1);
    return 1;
}

/* Right after the preload searcher: a file of the script's folder cannot hide our modules. */
static void add_searcher(lua_State *L) {
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "searchers"); /* package, searchers */
    for (lua_Integer i = (lua_Integer)lua_rawlen(L, -1); i >= 2; i--) {
        lua_rawgeti(L, -1, i);
        lua_rawseti(L, -2, i + 1);
    }
    lua_pushcfunction(L, search_embedded);
    lua_rawseti(L, -2, 2);
    lua_pop(L, 2);
}

static int open_core(lua_State *L) {
    lua_newtable(L);
    bindings_msg(L);
    bindings_app(L);
    bindings_cache(L);
    bindings_codec(L);
    bindings_fiber(L);
    bindings_coroutine(L);
    bindings_send(L);
    bindings_broker(L);
    bindings_hosted(L);
    bindings_input(L);
    bindings_load(L);
    bindings_loop(L);
    bindings_folder(L);
    bindings_nearest(L);
    bindings_vitals(L);
    bindings_metrics(L);
    bindings_process(L);
    bindings_terminal(L);
    bindings_doctor(L);
    bindings_watch(L);
    bindings_tcp(L);
    bindings_time(L);
    bindings_listen(L);
    bindings_gate(L);
    bindings_expiry(L);
    bindings_guard(L);
    bindings_wait(L);
    bindings_slice(L);
    bindings_log(L);
    bindings_nats(L);
    bindings_js(L);
    bindings_thread(L);
    bindings_http(L);
    bindings_digest(L);
    bindings_connect(L);
    bindings_http_out(L);
    lua_pushcfunction(L, core_confine);
    lua_setfield(L, -2, "confine");
    lua_pushcfunction(L, core_globals);
    lua_setfield(L, -2, "globals");
    lua_pushcfunction(L, core_native);
    lua_setfield(L, -2, "native");
    lua_pushcfunction(L, core_module);
    lua_setfield(L, -2, "module");
    lua_pushliteral(L, LN_VERSION);
    lua_setfield(L, -2, "version");
    return 1;
}

static void require(lua_State *L, const char *module) {
    lua_getglobal(L, "require");
    lua_pushstring(L, module);
    lua_call(L, 1, 1);
}

int bindings_open(lua_State *L) {
    luaL_requiref(L, "lunats.core", open_core, 0);
    luaL_requiref(L, "lunats.json", luaopen_lunats_json, 0);
    lua_pop(L, 2);
    add_searcher(L);
    require(L, "lunats.app"); /* app */
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_pushvalue(L, -2);
    lua_setfield(L, -2, "app"); /* require "app" */
    lua_pop(L, 1);
    lua_setglobal(L, "app");
    return 0;
}
