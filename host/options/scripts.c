/* SPDX-License-Identifier: Apache-2.0 */
/* The scripts that the user names: files, and folders that stand for their files. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <uv.h>

#include "host/base/folder.h"
#include "host/base/nearest.h"
#include "host/options/parser.h"

/* Adds the scripts of a folder to a list, and the folder to those that are known. */
static int expand_folder(struct parser *p, const char *path, char ***list, size_t *count) {
    struct options *o = p->out;
    char **files;
    size_t n;
    int rc = folder_scripts(path, &files, &n);
    if (rc < 0)
        return options_fail(p, "cannot read the directory %s: %s", path, uv_strerror(rc));
    bool ok = options_list_add(&o->folders, &o->folder_count, path, strlen(path));
    for (size_t i = 0; i < n && ok; i++)
        ok = options_list_add(list, count, files[i], strlen(files[i]));
    folder_free(files, n);
    if (!ok)
        return options_fail_memory(p);
    return n > 0 ? 0 : options_fail(p, "no scripts (*.lua) in the directory %s", path);
}

/* Of a path: its folder, "." if it has none, and its name without ".lua". False: too long. */
static bool split(const char *path, char *folder, char *stem, size_t size) {
    const char *slash = strrchr(path, '/'), *name = slash != NULL ? slash + 1 : path;
    size_t len = strlen(name), suffix = strlen(FOLDER_SUFFIX);
    if (len > suffix && strcmp(name + len - suffix, FOLDER_SUFFIX) == 0)
        len -= suffix;
    int in_folder = slash != NULL ? (int)(name - path) : 1;
    return snprintf(folder, size, "%.*s", in_folder, slash != NULL ? path : ".") < (int)size &&
           snprintf(stem, size, "%.*s", (int)len, name) < (int)size;
}

/* There is no script at this path: says so, and which one of its folder may be meant. */
static int no_script(struct parser *p, const char *path) {
    char folder[PATH_MAX], stem[PATH_MAX];
    char **files = NULL;
    size_t n = 0;
    if (!split(path, folder, stem, PATH_MAX) || folder_scripts(folder, &files, &n) < 0)
        return options_fail(p, "cannot open the script %s: %s", path, strerror(ENOENT));
    struct nearest nearest = nearest_to(stem);
    for (size_t i = 0; i < n; i++) {
        files[i][strlen(files[i]) - strlen(FOLDER_SUFFIX)] = '\0';
        nearest_try(&nearest, strrchr(files[i], '/') + 1);
    }
    int rc = nearest.best != NULL
                 ? options_fail(p, "cannot open the script %s: %s (did you mean %s%s?)", path,
                                strerror(ENOENT), nearest.best, FOLDER_SUFFIX)
                 : options_fail(p, "cannot open the script %s: %s", path, strerror(ENOENT));
    folder_free(files, n);
    return rc;
}

static int add_script(struct parser *p, const char *path, char ***list, size_t *count) {
    struct stat st;
    if (p->out->command == OPTIONS_LUA && strcmp(path, "-") == 0) /* the standard input */
        return options_list_add(list, count, path, 1) ? 0 : options_fail_memory(p);
    if (path[0] == '\0' || (stat(path, &st) < 0 && errno == ENOENT))
        return no_script(p, path);
    if (stat(path, &st) < 0)
        return options_fail(p, "cannot open the script %s: %s", path, strerror(errno));
    if (S_ISDIR(st.st_mode) && p->out->command != OPTIONS_LUA)
        return expand_folder(p, path, list, count);
    if (S_ISDIR(st.st_mode) || access(path, R_OK) < 0)
        return options_fail(p, "cannot open the script %s: %s", path,
                            strerror(S_ISDIR(st.st_mode) ? EISDIR : errno));
    return options_list_add(list, count, path, strlen(path)) ? 0 : options_fail_memory(p);
}

/* `lunats dev` in a project. */
static int take_this_folder(struct parser *p) {
    struct options *o = p->out;
    char **files = NULL;
    size_t n = 0;
    if (folder_scripts(".", &files, &n) == 0)
        folder_free(files, n);
    if (n == 0)
        return options_fail(p, "no SCRIPT given, and there are no scripts (*.lua) here");
    return expand_folder(p, ".", &o->scripts, &o->script_count);
}

int options_resolve_scripts(struct parser *p) {
    struct options *o = p->out;
    char **list = NULL;
    size_t count = 0;
    int rc = 0;
    if (!options_takes_scripts(o->command))
        return 0;
    if (o->command == OPTIONS_LUA && (o->code.count > 0 || o->interactive) &&
        o->script_count == 0)
        return 0;
    if (o->command == OPTIONS_DEV && o->script_count == 0)
        return take_this_folder(p);
    if (o->script_count == 0)
        return options_fail(p, "no %s given: lunats %s [options] %s",
                            o->command == OPTIONS_LUA ? "FILE, -e CODE or -i" : "SCRIPT",
                            options_commands[o->command].name,
                            options_commands[o->command].arguments);
    for (size_t i = 0; i < o->script_count && rc == 0; i++)
        rc = add_script(p, o->scripts[i], &list, &count);
    if (rc != 0) {
        options_list_free(list, &count);
        return rc;
    }
    options_list_free(o->scripts, &o->script_count);
    o->scripts = list;
    o->script_count = count;
    return 0;
}
