/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that clients may have: ordinary ones inside of a folder. Where a path really leads is
 * asked of the descriptor, after it was opened, so no link that changes meanwhile leads out.
 */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bindings/http/http.h"
#include "bindings/lib/lib.h"

struct file {
    int fd; /* -1: taken */
};

static bool is_inside(const char *folder, int fd) {
    char link[64], real[PATH_MAX];
    size_t len = strlen(folder);
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t got = readlink(link, real, sizeof(real) - 1);
    if (got <= 0)
        return false;
    real[got] = '\0';
    return strcmp(folder, "/") == 0 ||
           ((size_t)got > len && memcmp(real, folder, len) == 0 && real[len] == '/');
}

/* http.real_folder(path) -> the path without links | nil: there is no such folder */
int http_real_folder(lua_State *L) {
    char real[PATH_MAX];
    struct stat st;
    size_t len;
    const char *path = luaL_checklstring(L, 1, &len);
    bool found = strlen(path) == len && realpath(path, real) != NULL && stat(real, &st) == 0 &&
                 S_ISDIR(st.st_mode);
    lua_pushstring(L, found ? real : NULL);
    return 1;
}

static void set_number(lua_State *L, const char *name, lua_Integer value) {
    lua_pushinteger(L, value);
    lua_setfield(L, -2, name);
}

/*
 * http.open_file(folder, path) -> file, { size =, mtime =, nanoseconds =, inode = }
 *                               | nil, "folder" | "none"
 * The folder is a real path; what is wrong with a file is nobody's business.
 */
int http_open_file(lua_State *L) {
    const char *folder = luaL_checkstring(L, 1);
    lua_settop(L, 2);
    const char *path = lua_pushfstring(L, "%s/%s", folder, luaL_checkstring(L, 2));
    struct stat st;
    struct file *file = lua_newuserdatauv(L, sizeof(*file), 0);
    file->fd = -1;
    luaL_setmetatable(L, HTTP_FILE_TYPE);
    file->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (file->fd < 0 || fstat(file->fd, &st) < 0 || !is_inside(folder, file->fd) ||
        !S_ISREG(st.st_mode)) {
        bool is_folder = file->fd >= 0 && fstat(file->fd, &st) == 0 && S_ISDIR(st.st_mode);
        lua_pushnil(L);
        lua_pushstring(L, is_folder ? "folder" : "none");
        return 2;
    }
    lua_createtable(L, 0, 4);
    set_number(L, "size", (lua_Integer)st.st_size);
    set_number(L, "mtime", (lua_Integer)st.st_mtim.tv_sec);
    set_number(L, "nanoseconds", (lua_Integer)st.st_mtim.tv_nsec);
    set_number(L, "inode", (lua_Integer)st.st_ino);
    return 2;
}

bool take_http_file(lua_State *L, int index, struct http_file *out) {
    struct file *file = luaL_testudata(L, index, HTTP_FILE_TYPE);
    if (file == NULL || file->fd < 0)
        return false;
    out->fd = file->fd;
    file->fd = -1;
    return true;
}

static int file_gc(lua_State *L) {
    struct file *file = luaL_checkudata(L, 1, HTTP_FILE_TYPE);
    if (file->fd >= 0)
        close(file->fd);
    file->fd = -1;
    return 0;
}

void http_file_class(lua_State *L) {
    static const luaL_Reg methods[] = {{"__gc", file_gc}, {"__close", file_gc}, {NULL, NULL}};
    add_class(L, HTTP_FILE_TYPE, methods);
}
