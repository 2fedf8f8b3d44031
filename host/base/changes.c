/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/changes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct change {
    struct list_node node;
    char *path;
};

static void free_change(struct change *change) {
    list_remove(&change->node);
    free(change->path);
    free(change);
}

static char *join(const char *folder, const char *name) {
    size_t room = strlen(folder) + strlen(name) + 2;
    char *path = malloc(room);
    bool slash = folder[0] != '\0' && folder[strlen(folder) - 1] != '/';
    if (path != NULL)
        snprintf(path, room, "%s%s%s", folder, slash ? "/" : "", name);
    return path;
}

static bool has(struct list *changes, const char *path) {
    list_each (struct change, at, changes, node)
        if (strcmp(at->path, path) == 0)
            return true;
    return false;
}

void changes_add(struct list *changes, const char *folder, const char *name) {
    char *path = join(folder, name);
    struct change *change =
        path == NULL || has(changes, path) ? NULL : calloc(1, sizeof(*change));
    if (change == NULL) {
        free(path);
        return;
    }
    change->path = path;
    list_push_back(changes, &change->node);
}

char *changes_take(struct list *changes) {
    char *path = NULL;
    list_each (struct change, at, changes, node)
        if (access(at->path, F_OK) == 0) {
            path = at->path;
            at->path = NULL;
            break;
        }
    changes_clear(changes);
    return path;
}

void changes_clear(struct list *changes) {
    list_each (struct change, at, changes, node)
        free_change(at);
}
