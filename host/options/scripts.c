/* SPDX-License-Identifier: Apache-2.0 */
/* The scripts that the user names: files, and folders that stand for their files. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/options/parser.h"

static int is_script(const struct dirent *entry) {
    const char *name = entry->d_name;
    size_t len = strlen(name);
    bool lua = len > 4 && strcmp(name + len - 4, ".lua") == 0;
    bool spec = len > 9 && strcmp(name + len - 9, "_spec.lua") == 0;
    return name[0] != '.' && lua && !spec;
}

/* Bytes, not letters: the order must not depend on the locale. */
static int by_name(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* Adds the scripts of a directory to a list. */
static int expand_directory(struct parser *p, const char *path, char ***list, size_t *count) {
    struct dirent **entries;
    int n = scandir(path, &entries, is_script, by_name);
    if (n < 0)
        return options_fail(p, "cannot read the directory %s: %s", path, strerror(errno));
    size_t before = *count;
    size_t len = strlen(path);
    bool ok = true;
    for (int i = 0; i < n; i++) {
        char *file = NULL;
        struct stat st;
        const char *slash = path[len - 1] == '/' ? "" : "/";
        ok = ok && asprintf(&file, "%s%s%s", path, slash, entries[i]->d_name) >= 0;
        if (ok && stat(file, &st) == 0 && S_ISREG(st.st_mode))
            ok = options_list_add(list, count, file, strlen(file));
        if (ok)
            free(file);
        free(entries[i]);
    }
    free(entries);
    if (!ok)
        return options_fail_memory(p);
    return *count > before ? 0
                           : options_fail(p, "no scripts (*.lua) in the directory %s", path);
}

static int add_script(struct parser *p, const char *path, char ***list, size_t *count) {
    struct stat st;
    if (path[0] == '\0' || stat(path, &st) < 0)
        return options_fail(p, "cannot open the script %s: %s", path,
                            strerror(path[0] == '\0' ? ENOENT : errno));
    if (S_ISDIR(st.st_mode) && p->out->command != OPTIONS_LUA)
        return expand_directory(p, path, list, count);
    if (S_ISDIR(st.st_mode) || access(path, R_OK) < 0)
        return options_fail(p, "cannot open the script %s: %s", path,
                            strerror(S_ISDIR(st.st_mode) ? EISDIR : errno));
    return options_list_add(list, count, path, strlen(path)) ? 0 : options_fail_memory(p);
}

int options_resolve_scripts(struct parser *p) {
    struct options *o = p->out;
    char **list = NULL;
    size_t count = 0;
    int rc = 0;
    if (!options_takes_scripts(o->command))
        return 0;
    if (o->script_count == 0)
        return options_fail(p, "no %s given: lunats %s [options] %s",
                            o->command == OPTIONS_LUA ? "FILE" : "SCRIPT",
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
