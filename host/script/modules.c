/* SPDX-License-Identifier: Apache-2.0 */
#include "host/script/modules.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <lauxlib.h>

#include "host/base/resolve.h"

#define ROOT_MARK ".luarc.json" /* of editors that speak LuaLS: the folder of a project */
#define DEPTH_MAX 32            /* folders above the script */
#define TREE "lua_modules"
#define LUA_PARTS(folder) folder "/?.lua;" folder "/?/init.lua;"

struct folders {
    char working[PATH_MAX];  /* the working directory; "": nobody knows */
    char script[PATH_MAX];   /* of the script, absolute */
    char shown[PATH_MAX];    /* the same as the user named it */
    size_t above[DEPTH_MAX]; /* lengths of `script` at which the folders above end */
    size_t count;            /* of them */
    bool relative;           /* the script was named so */
    bool has_working;        /* the working directory is one of them */
};

/* ---- paths as texts: what links lead to is followed when files are opened ---- */

/* Takes "." and ".." out of an absolute path. */
static void normalize(char *path) {
    char *out = path;
    for (const char *at = path; *at != '\0';) {
        at += strspn(at, "/");
        size_t len = strcspn(at, "/");
        if (len == 2 && strncmp(at, "..", 2) == 0) {
            while (out > path && *--out != '/') {
            }
        } else if (len > 0 && !(len == 1 && *at == '.')) {
            *out++ = '/';
            memmove(out, at, len);
            out += len;
        }
        at += len;
    }
    *out = '\0'; /* "": the root */
}

static bool set_script(struct folders *f, const char *path) {
    char logical[PATH_MAX];
    const char *slash = strrchr(path, '/');
    int len = slash != NULL ? (int)(slash - path) : 1;
    snprintf(f->shown, sizeof(f->shown), "%.*s", len, slash != NULL ? path : ".");
    f->relative = path[0] != '/';
    if (getcwd(f->working, sizeof(f->working)) == NULL)
        f->working[0] = '\0';
    const char *from = resolve_logical(f->shown, logical);
    int written = *from == '/'
                      ? snprintf(f->script, sizeof(f->script), "%s", from)
                      : snprintf(f->script, sizeof(f->script), "%s/%s", f->working, from);
    normalize(f->script);
    return written < (int)sizeof(f->script) && (*from == '/' || f->working[0] != '\0');
}

/* ---- the folders above ---- */

/* Whoever may write into the folder above could have modules loaded: the mark has to be that of
 * the user, of root, or of the owner of the script's folder. */
static bool has_mark(const char *folder, size_t len, uid_t owner) {
    char path[PATH_MAX];
    struct stat st;
    int written = snprintf(path, sizeof(path), "%.*s/" ROOT_MARK, (int)len, folder);
    return written < (int)sizeof(path) && stat(path, &st) == 0 &&
           (st.st_uid == 0 || st.st_uid == geteuid() || st.st_uid == owner);
}

static void find_above(struct folders *f) {
    struct stat st;
    uid_t owner = stat(f->shown, &st) == 0 ? st.st_uid : geteuid();
    size_t len = strlen(f->script);
    if (has_mark(f->script, len, owner))
        return;
    while (len > 0 && f->count < DEPTH_MAX) {
        while (len > 0 && f->script[--len] != '/') {
        }
        f->above[f->count++] = len;
        if (has_mark(f->script, len, owner))
            return;
    }
    f->count = 0; /* no project */
}

/* Folder `i`, 0 is that of the script, as it is used: below the working directory without it
 * where the script was named so. */
static const char *folder(const struct folders *f, size_t i, char out[PATH_MAX]) {
    if (i == 0)
        return f->shown;
    size_t len = f->above[i - 1], working = strlen(f->working);
    bool below = f->relative && working > 0 && len >= working &&
                 strncmp(f->script, f->working, working) == 0 &&
                 (len == working || f->script[working] == '/');
    if (below && len == working)
        return ".";
    size_t from = below ? working + 1 : 0;
    snprintf(out, PATH_MAX, "%.*s", (int)(len - from), f->script + from);
    return out;
}

static bool is_working(const struct folders *f, size_t i) {
    size_t len = i == 0 ? strlen(f->script) : f->above[i - 1];
    return strlen(f->working) == len && strncmp(f->working, f->script, len) == 0;
}

/* ---- package.path ---- */

static void add(luaL_Buffer *to, const char *format, const char *folder) {
    luaL_addgsub(to, format, "@", folder);
}

static bool has_tree(const char *folder) {
    char path[PATH_MAX];
    int written = snprintf(path, sizeof(path), "%s/" TREE, folder);
    return written < (int)sizeof(path) && access(path, X_OK) == 0;
}

/* Adds something of each folder that has a tree, the working directory included. */
static void add_trees(luaL_Buffer *to, const struct folders *f, const char *format) {
    char out[PATH_MAX];
    for (size_t i = 0; i <= f->count; i++)
        if (has_tree(folder(f, i, out)))
            add(to, format, folder(f, i, out));
    if (!f->has_working && has_tree("."))
        add(to, format, ".");
}

/* Adds the parts of a path but those of the working directory, which have their place. */
static void add_rest(luaL_Buffer *to, const char *path) {
    while (*path != '\0') {
        size_t len = strcspn(path, ";");
        bool known = (len == 7 && strncmp(path, "./?.lua", len) == 0) ||
                     (len == 12 && strncmp(path, "./?/init.lua", len) == 0);
        if (len > 0 && !known) {
            luaL_addlstring(to, path, len);
            luaL_addchar(to, ';');
        }
        path += len + (path[len] == ';');
    }
}

/* Replaces a field of the table on top by the text in the buffer, without the last ";". */
static void set_field(lua_State *L, luaL_Buffer *text, const char *name) {
    if (luaL_bufflen(text) > 0)
        luaL_buffsub(text, 1);
    luaL_pushresult(text);
    lua_setfield(L, -3, name); /* below is the former value */
    lua_pop(L, 1);
}

void modules_set_path(lua_State *L, const char *script_path) {
    struct folders f = {.count = 0};
    char out[PATH_MAX];
    luaL_Buffer text;
    if (set_script(&f, script_path))
        find_above(&f);
    f.has_working = strcmp(f.shown, ".") == 0;
    for (size_t i = 0; i <= f.count; i++)
        f.has_working |= is_working(&f, i);

    lua_getglobal(L, "package");
    const char *rest = (lua_getfield(L, -1, "path"), lua_tostring(L, -1));
    luaL_buffinit(L, &text);
    for (size_t i = 0; i <= f.count; i++)
        add(&text, LUA_PARTS("@"), folder(&f, i, out));
    add_trees(&text, &f, LUA_PARTS("@/" TREE "/share/lua/5.4"));
    if (!f.has_working)
        add(&text, LUA_PARTS("@"), ".");
    add_rest(&text, rest != NULL ? rest : "");
    set_field(L, &text, "path");

    rest = (lua_getfield(L, -1, "cpath"), lua_tostring(L, -1));
    luaL_buffinit(L, &text);
    add_trees(&text, &f, "@/" TREE "/lib/lua/5.4/?.so;");
    luaL_addstring(&text, rest != NULL ? rest : "");
    luaL_addchar(&text, ';');
    set_field(L, &text, "cpath");
    lua_pop(L, 1);
}
