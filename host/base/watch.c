/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A folder is a uv_fs_event and lists of what is wanted in it. Events only say where to look:
 * when a burst is over, the files of the folders it touched are compared with what stat() said
 * before. An event that names a file counts as well, since two writes of the same length within
 * one tick of the file system's clock look the same to stat().
 *
 * Memory: the watch lives until its timer is closed, a folder until its uv_fs_event is.
 */
#include "host/base/watch.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "host/base/list.h"
#include "host/base/status.h"

#define QUIET_MS 40   /* a burst is over after that long without an event */
#define BURST_MS 1000 /* or after that long at all */
#define RETRY_MS 200  /* how often to look for a folder that is gone */

struct signature {
    bool there;
    dev_t dev;
    ino_t ino;
    off_t size;
    struct timespec mtime;
};

struct entry {
    struct list_node node;
    char *path;       /* as the owner named it; of a pattern: the suffix */
    const char *name; /* within path */
    struct signature before;
    bool pattern; /* any file whose name ends with path */
    bool named;   /* by an event of this burst */
};

/* A file that matched a pattern in this burst, or one about to be told. */
struct change {
    struct list_node node;
    char path[];
};

struct folder {
    uv_fs_event_t event; /* first: closed by on_folder_closed() */
    struct watch *watch;
    struct list_node node;
    char *path;
    struct signature before; /* of the folder itself: it may be replaced by another one */
    struct list entries;
    bool live;    /* the event runs */
    bool touched; /* in this burst */
};

struct watch {
    uv_timer_t timer; /* first: closed by on_watch_closed() */
    watch_change_fn on_change;
    void *owner;
    struct list folders, changes;
    uint64_t burst; /* when it began; 0: there is none */
};

/* ---- files ---- */

static struct signature look(const char *path) {
    struct stat st;
    if (stat(path, &st) < 0)
        return (struct signature){.there = false};
    return (struct signature){true, st.st_dev, st.st_ino, st.st_size, st.st_mtim};
}

static bool same(const struct signature *a, const struct signature *b) {
    return a->there == b->there && a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
           a->mtime.tv_sec == b->mtime.tv_sec && a->mtime.tv_nsec == b->mtime.tv_nsec;
}

static bool same_file(const struct signature *a, const struct signature *b) {
    return a->there && b->there && a->dev == b->dev && a->ino == b->ino;
}

static bool ends_with(const char *name, const char *suffix) {
    size_t len = strlen(name), tail = strlen(suffix);
    return name[0] != '.' && len >= tail && strcmp(name + len - tail, suffix) == 0;
}

/* "folder/name", or the name alone for folder "". */
static struct change *new_change(const char *folder, const char *name) {
    size_t room = strlen(folder) + strlen(name) + 2;
    struct change *change = calloc(1, sizeof(*change) + room);
    if (change == NULL)
        return NULL;
    bool slash = folder[0] != '\0' && folder[strlen(folder) - 1] != '/';
    snprintf(change->path, room, "%s%s%s", folder, slash ? "/" : "", name);
    return change;
}

static void add_change(struct watch *watch, struct change *change) {
    if (change == NULL)
        return;
    list_each (struct change, at, &watch->changes, node)
        if (strcmp(at->path, change->path) == 0) {
            free(change);
            return;
        }
    list_push_back(&watch->changes, &change->node);
}

static struct change *next_change(struct watch *watch) {
    return list_item(list_pop_front(&watch->changes), struct change, node);
}

/* ---- bursts ---- */

static void on_quiet(uv_timer_t *timer);

/* `wanted`: a file that is watched. Others (a log beside the script) may begin a burst, since a
 * link on the way to the file may be meant, but must not keep it from ending. */
static void touch(struct folder *folder, bool wanted) {
    struct watch *watch = folder->watch;
    uint64_t now = uv_now(watch->timer.loop);
    folder->touched = true;
    if (!wanted && watch->burst != 0)
        return;
    if (watch->burst == 0)
        watch->burst = now > 0 ? now : 1;
    uint64_t end = watch->burst + BURST_MS;
    uint64_t left = end > now ? end - now : 0;
    uv_timer_start(&watch->timer, on_quiet, left < QUIET_MS ? left : QUIET_MS, 0);
}

static void on_event(uv_fs_event_t *event, const char *name, int events, int status) {
    (void)events;
    struct folder *folder = event->data;
    if (folder == NULL)
        return;
    bool wanted = false;
    list_each (struct entry, at, &folder->entries, node) {
        if (name == NULL || status != 0)
            break;
        if (at->pattern && ends_with(name, at->path)) {
            add_change(folder->watch, new_change(folder->path, name));
            wanted = true;
        } else if (!at->pattern && strcmp(at->name, name) == 0) {
            at->named = true;
            wanted = true;
        }
    }
    touch(folder, wanted);
}

/* Starts (again) to listen to a folder, which may be another one than before. */
static int arm(struct folder *folder) {
    uv_fs_event_stop(&folder->event);
    folder->before = look(folder->path);
    int rc = uv_fs_event_start(&folder->event, on_event, folder->path, 0);
    folder->live = rc == 0;
    return rc;
}

/* Notes what has changed in a folder; false when the folder is gone. */
static bool compare(struct folder *folder) {
    struct watch *watch = folder->watch;
    struct signature now = look(folder->path);
    if (!folder->live || !same_file(&folder->before, &now))
        arm(folder); /* before the files are looked at: nothing is missed in between */
    list_each (struct entry, at, &folder->entries, node) {
        if (at->pattern)
            continue;
        struct signature file = look(at->path);
        bool changed = at->named || !same(&file, &at->before);
        at->named = false;
        if (!file.there)
            continue; /* the old signature stays: what comes instead differs from it */
        at->before = file;
        if (changed)
            add_change(watch, new_change("", at->path));
    }
    return folder->live;
}

static void tell(struct watch *watch) {
    for (struct change *change; (change = next_change(watch)) != NULL;) {
        if (look(change->path).there)
            watch->on_change(watch->owner, change->path);
        free(change);
    }
}

static void on_quiet(uv_timer_t *timer) {
    struct watch *watch = timer->data;
    bool gone = false;
    watch->burst = 0;
    list_each (struct folder, at, &watch->folders, node) {
        if (at->touched)
            at->touched = !compare(at);
        gone |= at->touched;
    }
    if (gone)
        uv_timer_start(timer, on_quiet, RETRY_MS, 0);
    tell(watch);
}

/* ---- what is watched ---- */

static void free_entry(struct entry *entry) {
    list_remove(&entry->node);
    free(entry->path);
    free(entry);
}

static void on_folder_closed(uv_handle_t *handle) {
    struct folder *folder = (struct folder *)handle;
    list_each (struct entry, entry, &folder->entries, node)
        free_entry(entry);
    free(folder->path);
    free(folder);
}

static void close_folder(struct folder *folder) {
    folder->event.data = NULL;
    uv_close((uv_handle_t *)&folder->event, on_folder_closed);
}

/* Finds or opens the folder of `len` bytes. */
static int find_folder(struct watch *watch, const char *path, size_t len, struct folder **out) {
    list_each (struct folder, at, &watch->folders, node)
        if (strlen(at->path) == len && memcmp(at->path, path, len) == 0) {
            *out = at;
            return LN_OK;
        }
    struct folder *folder = calloc(1, sizeof(*folder));
    if (folder == NULL)
        return LN_ENOMEM;
    folder->watch = watch;
    folder->path = strndup(path, len);
    int rc =
        folder->path == NULL ? LN_ENOMEM : uv_fs_event_init(watch->timer.loop, &folder->event);
    if (rc < 0) {
        free(folder->path);
        free(folder);
        return rc;
    }
    folder->event.data = folder;
    rc = arm(folder);
    if (rc < 0) {
        close_folder(folder);
        return rc;
    }
    list_push_front(&watch->folders, &folder->node);
    *out = folder;
    return LN_OK;
}

static int add_entry(struct folder *folder, const char *path, bool pattern) {
    list_each (struct entry, at, &folder->entries, node)
        if (at->pattern == pattern && strcmp(at->path, path) == 0)
            return LN_OK;
    struct entry *entry = calloc(1, sizeof(*entry));
    if (entry == NULL)
        return LN_ENOMEM;
    entry->path = strdup(path);
    if (entry->path == NULL) {
        free(entry);
        return LN_ENOMEM;
    }
    const char *slash = strrchr(entry->path, '/');
    entry->name = slash != NULL ? slash + 1 : entry->path;
    entry->pattern = pattern;
    if (!pattern)
        entry->before = look(path);
    list_push_front(&folder->entries, &entry->node);
    return LN_OK;
}

int watch_add(struct watch *watch, const char *path) {
    const char *slash = strrchr(path, '/');
    struct folder *folder = NULL;
    int rc;
    if (slash == NULL)
        rc = find_folder(watch, ".", 1, &folder);
    else
        rc = find_folder(watch, path, slash == path ? 1 : (size_t)(slash - path), &folder);
    return rc < 0 ? rc : add_entry(folder, path, false);
}

int watch_add_folder(struct watch *watch, const char *path, const char *suffix) {
    struct folder *folder = NULL;
    size_t len = strlen(path);
    while (len > 1 && path[len - 1] == '/')
        len--;
    int rc = find_folder(watch, path, len, &folder);
    return rc < 0 ? rc : add_entry(folder, suffix, true);
}

static bool is_among(const char *path, const char *const *paths, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (strcmp(path, paths[i]) == 0)
            return true;
    return false;
}

void watch_keep(struct watch *watch, const char *const *paths, size_t count) {
    list_each (struct folder, folder, &watch->folders, node) {
        list_each (struct entry, entry, &folder->entries, node)
            if (!entry->pattern && !is_among(entry->path, paths, count))
                free_entry(entry);
        if (!list_empty(&folder->entries))
            continue;
        list_remove(&folder->node);
        close_folder(folder);
    }
}

/* ---- life ---- */

int watch_open(struct watch **out, uv_loop_t *loop, watch_change_fn on_change, void *owner) {
    struct watch *watch = calloc(1, sizeof(*watch));
    if (watch == NULL)
        return LN_ENOMEM;
    int rc = uv_timer_init(loop, &watch->timer);
    if (rc < 0) {
        free(watch);
        return rc;
    }
    watch->timer.data = watch;
    watch->on_change = on_change;
    watch->owner = owner;
    *out = watch;
    return LN_OK;
}

void watch_clear(struct watch *watch) {
    list_each (struct folder, folder, &watch->folders, node) {
        list_remove(&folder->node);
        close_folder(folder);
    }
    for (struct change *change; (change = next_change(watch)) != NULL;)
        free(change);
    uv_timer_stop(&watch->timer);
    watch->burst = 0;
}

static void on_watch_closed(uv_handle_t *handle) {
    free(handle->data);
}

void watch_close(struct watch *watch) {
    watch_clear(watch);
    uv_close((uv_handle_t *)&watch->timer, on_watch_closed);
}
