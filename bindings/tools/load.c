/* SPDX-License-Identifier: Apache-2.0 */
/*
 * core.load_service(): loads a script in a lua_State of its own, as for a start, and asks it
 * what it has declared. Nothing connects, no hook runs. For `lunats check`.
 */
#include <stdlib.h>
#include <string.h>

#include "bindings/bindings.h"
#include "bindings/lib/lib.h"

#define LOADED_TYPE "lunats.loaded"

struct loaded {
    char *failure; /* owned; why the script cannot be loaded */
    char *result;  /* owned; what the question was answered with */
    size_t len;
};

static void on_error(void *owner, const char *text) {
    struct loaded *loaded = owner;
    if (loaded->failure == NULL)
        loaded->failure = strdup(text);
}

/* The prelude has made the list what the script describes itself with. */
static void ask(struct service *service, struct loaded *loaded) {
    char *text;
    size_t len;
    int rc = script_exchange(service_script(service), SCRIPT_DESCRIBE, NULL, 0, &text, &len);
    if (rc == LN_OK) {
        loaded->result = text;
        loaded->len = len;
        return;
    }
    on_error(loaded, text != NULL ? text : status_text(rc));
    free(text);
}

/* The texts belong to a userdata, so that nothing is lost when Lua runs out of memory. */
static int loaded_gc(lua_State *L) {
    struct loaded *loaded = luaL_checkudata(L, 1, LOADED_TYPE);
    free(loaded->failure);
    free(loaded->result);
    loaded->failure = loaded->result = NULL;
    return 0;
}

/* core.load_service(path, safe_libs) -> JSON of lunats.commands.declared | nil, text */
static int core_load_service(lua_State *L) {
    struct script *script = script_of(L);
    struct service_options options = {
        .path = luaL_checkstring(L, 1),
        .offline = true,
        .open = service_options(script_service(script))->open,
        .clock = service_clock(script_service(script)),
        .caches = service_options(script_service(script))->caches,
        .web = service_options(script_service(script))->web,
        /* Timers and subscriptions leave nothing behind that could be listed: their
         * declarations are noted from the beginning. */
        .prelude = "require('lunats.commands.declared').watch()",
        .safe_libs = lua_toboolean(L, 2),
        .limits = {.start_ms = LIMITS_START_MS}, /* as it will have where it is served */
        .on_error = on_error,
    };
    struct loaded *loaded = lua_newuserdatauv(L, sizeof(*loaded), 0);
    memset(loaded, 0, sizeof(*loaded));
    luaL_setmetatable(L, LOADED_TYPE);
    options.owner = loaded;
    struct service *service = NULL;
    int rc = service_open(&service, script_loop(script), script_scheduler(script), &options);
    if (rc == LN_OK) {
        if (service_stopping(service))
            on_error(loaded, "os.exit() was called at the top level: what comes behind it was "
                             "not looked at");
        else
            ask(service, loaded);
        service_discard(service);
    }
    if (loaded->result != NULL) {
        lua_pushlstring(L, loaded->result, loaded->len);
        return 1;
    }
    lua_pushnil(L);
    lua_pushstring(L, loaded->failure != NULL ? loaded->failure : status_text(rc));
    return 2;
}

void bindings_load(lua_State *L) {
    static const luaL_Reg methods[] = {{"__gc", loaded_gc}, {NULL, NULL}};
    add_class(L, LOADED_TYPE, methods);
    lua_pushcfunction(L, core_load_service);
    lua_setfield(L, -2, "load_service");
}
