/* SPDX-License-Identifier: Apache-2.0 */
/* core.folder(): what is in a folder, to tell where a module is that was not found; and
 * core.is_below(): whether a file is in one. */
#include <dirent.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "bindings/bindings.h"
#include "bindings/lib/lib.h"

#define FOLDER_TYPE "lunats.folder"
#define ENTRIES_MAX 1000

/* Belongs to the collector, so that it is closed when memory runs out on the way. */
static int folder_gc(lua_State *L) {
    DIR **folder = luaL_checkudata(L, 1, FOLDER_TYPE);
    if (*folder != NULL)
        closedir(*folder);
    *folder = NULL;
    return 0;
}

/* core.folder(path) -> { name = whether it may be a folder, ... } of at most 1000 | nil */
static int core_folder(lua_State *L) {
    const char *path = luaL_checkstring(L, 1);
    DIR **folder = lua_newuserdatauv(L, sizeof(*folder), 0);
    *folder = NULL;
    luaL_setmetatable(L, FOLDER_TYPE);
    *folder = opendir(path);
    if (*folder == NULL)
        return 0;
    lua_newtable(L);
    struct dirent *entry;
    for (int i = 0; i < ENTRIES_MAX && (entry = readdir(*folder)) != NULL; i++) {
        if (entry->d_name[0] == '.')
            continue;
        lua_pushboolean(L, entry->d_type != DT_REG); /* links and unknown ones may be */
        lua_setfield(L, -2, entry->d_name);
    }
    closedir(*folder);
    *folder = NULL;
    return 1;
}

/* core.is_below(folder, path) -> whether that file is there, links followed */
static int core_is_below(lua_State *L) {
    char folder[PATH_MAX], path[PATH_MAX];
    size_t len;
    const char *name = luaL_checklstring(L, 2, &len);
    bool found = realpath(luaL_checkstring(L, 1), folder) != NULL && strlen(name) == len &&
                 realpath(name, path) != NULL;
    if (found) {
        len = strcmp(folder, "/") == 0 ? 0 : strlen(folder);
        found = strncmp(path, folder, len) == 0 && path[len] == '/';
    }
    lua_pushboolean(L, found);
    return 1;
}

void bindings_folder(lua_State *L) {
    static const luaL_Reg methods[] = {{"__gc", folder_gc}, {NULL, NULL}};
    add_class(L, FOLDER_TYPE, methods);
    lua_pushcfunction(L, core_folder);
    lua_setfield(L, -2, "folder");
    lua_pushcfunction(L, core_is_below);
    lua_setfield(L, -2, "is_below");
}
