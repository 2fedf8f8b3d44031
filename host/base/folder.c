/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/folder.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <uv.h>

static bool ends_with(const char *name, const char *suffix) {
    size_t len = strlen(name), tail = strlen(suffix);
    return len > tail && strcmp(name + len - tail, suffix) == 0;
}

static bool is_script_name(const char *name) {
    return name[0] != '.' && ends_with(name, FOLDER_SUFFIX) && !ends_with(name, "_spec.lua");
}

static int is_script(const struct dirent *entry) {
    return is_script_name(entry->d_name);
}

/* Bytes, not letters: the order must not depend on the locale. */
static int by_name(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* The path of an entry; NULL for no memory. */
static char *join(const char *folder, const char *name) {
    char *path = NULL;
    const char *slash = folder[strlen(folder) - 1] == '/' ? "" : "/";
    return asprintf(&path, "%s%s%s", folder, slash, name) < 0 ? NULL : path;
}

static int collect(const char *folder, struct dirent **entries, int n, char **paths,
                   size_t *count) {
    for (int i = 0; i < n; i++) {
        struct stat st;
        char *path = join(folder, entries[i]->d_name);
        if (path == NULL)
            return UV_ENOMEM;
        if (stat(path, &st) == 0 && S_ISREG(st.st_mode))
            paths[(*count)++] = path;
        else
            free(path);
    }
    return 0;
}

int folder_scripts(const char *folder, char ***paths, size_t *count) {
    struct dirent **entries;
    int n = scandir(folder, &entries, is_script, by_name);
    if (n < 0)
        return uv_translate_sys_error(errno);
    *count = 0;
    *paths = calloc((size_t)n + 1, sizeof(**paths));
    int rc = *paths != NULL ? collect(folder, entries, n, *paths, count) : UV_ENOMEM;
    for (int i = 0; i < n; i++)
        free(entries[i]);
    free(entries);
    if (rc < 0)
        folder_free(*paths, *count);
    return rc;
}

void folder_free(char **paths, size_t count) {
    for (size_t i = 0; paths != NULL && i < count; i++)
        free(paths[i]);
    free(paths);
}

bool folder_has(const char *folder, const char *path) {
    size_t len = strlen(folder);
    if (strncmp(path, folder, len) != 0)
        return false;
    const char *name = path + len + (folder[len - 1] != '/' && path[len] == '/');
    return name > path && name[-1] == '/' && strchr(name, '/') == NULL && is_script_name(name);
}
