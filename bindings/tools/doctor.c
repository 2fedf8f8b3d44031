/* SPDX-License-Identifier: Apache-2.0 */
/* For `lunats doctor`: what this program is made of, and whether its modules are there. */
#include <openssl/crypto.h>
#include <uv.h>

#include "bindings/bindings.h"
#include "bindings/lib/lib.h"
#include "host/base/module.h"
#include "host/dial/dial.h"

/* core.versions() -> "0.8.0 (nats.c 3.4.1, ...)", of what was built and what was loaded */
static int core_versions(lua_State *L) {
    lua_pushfstring(L, "%s (nats.c %s, libuv %s, %s, %s)", LN_VERSION, dial_library_version(),
                    uv_version_string(), LUA_RELEASE, OpenSSL_version(OPENSSL_VERSION));
    return 1;
}

/* core.module_problem(name) -> nil: it is there | what to do about it */
static int core_module_problem(lua_State *L) {
    const struct module *module;
    char error[1024];
    if (module_load(&module, luaL_checkstring(L, 1), error, sizeof(error)) == 0)
        return 0;
    lua_pushstring(L, error);
    return 1;
}

void bindings_doctor(lua_State *L) {
    lua_pushcfunction(L, core_versions);
    lua_setfield(L, -2, "versions");
    lua_pushcfunction(L, core_module_problem);
    lua_setfield(L, -2, "module_problem");
}
