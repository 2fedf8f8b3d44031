/* SPDX-License-Identifier: Apache-2.0 */
#include "bindings/embedded.h"

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <lauxlib.h>

/* A compiled text is not needed any more. Who reads it again gets it from the file. */
static void let_go(void) {
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), begin = (uintptr_t)embedded_text;
    uintptr_t end = (begin + embedded_size) & ~(page - 1);
    begin = (begin + page - 1) & ~(page - 1);
    if (begin < end)
        madvise((void *)begin, end - begin, MADV_DONTNEED);
}

bool embedded_push(lua_State *L, const char *module) {
    const struct embedded_script *at = embedded_scripts;
    while (at->module != NULL && strcmp(at->module, module) != 0)
        at++;
    if (at->module == NULL)
        return false;
    const char *name = lua_pushfstring(L, "=lunats/%s", at->path + strlen("scripts/"));
    int rc = luaL_loadbufferx(L, (const char *)embedded_text + at->start, at->size, name, "t");
    let_go();
    if (rc != LUA_OK)
        lua_error(L);
    lua_remove(L, -2);
    return true;
}
