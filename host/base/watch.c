/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file, or a pattern in a folder, is an entry. An entry has a step for each name that decides
 * where its path leads, links on the way included; a folder, which is a uv_fs_event, has the
 * steps in it. Events only say where to look: when a burst is over, the entries it touched are
 * resolved anew and compared with what stat() said before. After an event that names the file
 * itself its content is compared, too: two writes of the same length within one tick of the
 * file system's clock look the same to stat(), and events tell again what has been seen
 * already.
 *
 * With polling an entry has a poll in the place of steps.
 *
 * Memory: the watch lives until its timer is closed, a folder until its uv_fs_event is; it is
 * closed with its last step. An entry owns its steps, or its poll.
 */
#include "host/base/watch.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/changes.h"
#include "host/base/list.h"
#include "host/base/poll.h"
#include "host/base/resolve.h"
#include "host/base/signature.h"
#include "host/base/status.h"

#define QUIET_MS 40   /* a burst is over after that long without an event */
#define BURST_MS 1000 /* or after that long at all */
#define RETRY_MS 200  /* how often to look where no events come from */
#define EMPTY_MS 1000 /* a file that is empty so long is meant to be */

struct entry {
    struct list_node node;
    struct watch *watch;
    char *path;    /* as the owner named it */
    char *suffix;  /* any file in the folder `path` whose name ends so; NULL: the file itself */
    bool removals; /* of such files count, too */
    struct signature before;
    struct poll *poll; /* NULL: events tell */
    struct list steps;
    struct step *leaf; /* the file, or the folder with the files; NULL: it is not there */
    bool touched;      /* by an event of this burst */
    bool named;        /* the leaf was */
    uint64_t emptied;  /* when the file was found empty; 0: it is not */
    bool blind;        /* events do not tell all of its changes */
};

struct step {
    struct list_node in_folder, in_entry;
    struct folder *folder;
    struct entry *entry;
    char name[];
};

struct folder {
    uv_fs_event_t event; /* first: closed by on_folder_closed() */
    struct watch *watch;
    struct list_node node;
    char *path;
    struct signature before; /* of the folder itself: it may be replaced by another one */
    struct list steps;
    int status; /* of starting the event */
};

struct watch {
    uv_timer_t timer; /* first: closed by on_watch_closed() */
    watch_change_fn on_change;
    void *owner;
    unsigned poll_ms; /* 0: events tell */
    struct list entries, folders, changes;
    uint64_t burst; /* when it began; 0: there is none */
};

static bool ends_with(const char *name, const char *suffix) {
    size_t len = strlen(name), tail = strlen(suffix);
    return name[0] != '.' && len >= tail && strcmp(name + len - tail, suffix) == 0;
}

/* ---- events ---- */

static void on_quiet(uv_timer_t *timer);

static void touch(struct watch *watch) {
    uint64_t now = uv_now(watch->timer.loop);
    if (watch->burst == 0)
        watch->burst = now > 0 ? now : 1;
    uint64_t end = watch->burst + BURST_MS;
    uint64_t left = end > now ? end - now : 0;
    uv_timer_start(&watch->timer, on_quiet, left < QUIET_MS ? left : QUIET_MS, 0);
}

/* libuv calls what happens to a folder itself by the folder's name. */
static bool is_itself(const struct folder *folder, const char *name) {
    const char *slash = strrchr(folder->path, '/');
    return strcmp(name, slash != NULL ? slash + 1 : folder->path) == 0;
}

/* Others (a log beside the script) must neither begin a burst nor keep it from ending. */
static bool concerns(struct step *step, const char *name) {
    struct entry *entry = step->entry;
    bool leaf = step == entry->leaf;
    if (leaf && entry->suffix != NULL) {
        if (!ends_with(name, entry->suffix))
            return false;
        changes_add(&entry->watch->changes, entry->path, name);
        if (entry->removals) /* the folder is told unless the file is there */
            entry->touched = entry->named = true;
        return true;
    }
    if (strcmp(step->name, name) != 0)
        return false;
    entry->touched = true;
    entry->named |= leaf;
    return true;
}

static void on_event(uv_fs_event_t *event, const char *name, int events, int status) {
    (void)events;
    struct folder *folder = event->data;
    if (folder == NULL)
        return;
    bool itself = name == NULL || status != 0 || is_itself(folder, name);
    bool wanted = itself;
    list_each (struct step, at, &folder->steps, in_folder) {
        if (itself)
            at->entry->touched = true;
        if (name != NULL && status == 0)
            wanted |= concerns(at, name);
    }
    if (wanted)
        touch(folder->watch);
}

/* ---- folders ---- */

static void on_folder_closed(uv_handle_t *handle) {
    struct folder *folder = (struct folder *)handle;
    free(folder->path);
    free(folder);
}

static void close_folder(struct folder *folder) {
    list_remove(&folder->node);
    folder->event.data = NULL;
    uv_close((uv_handle_t *)&folder->event, on_folder_closed);
}

/* Listens to a folder (again, if it is another one than before). */
static void arm(struct folder *folder) {
    struct signature now = signature_of(folder->path);
    if (folder->status == 0 && signature_same_file(&folder->before, &now))
        return;
    uv_fs_event_stop(&folder->event);
    folder->before = now;
    folder->status = uv_fs_event_start(&folder->event, on_event, folder->path, 0);
}

static int open_folder(struct watch *watch, const char *path, struct folder **out) {
    struct folder *folder = calloc(1, sizeof(*folder));
    if (folder == NULL)
        return LN_ENOMEM;
    folder->watch = watch;
    folder->path = strdup(path);
    int rc =
        folder->path == NULL ? LN_ENOMEM : uv_fs_event_init(watch->timer.loop, &folder->event);
    if (rc < 0) {
        free(folder->path);
        free(folder);
        return rc;
    }
    folder->event.data = folder;
    list_push_front(&watch->folders, &folder->node);
    *out = folder;
    return LN_OK;
}

static int find_folder(struct watch *watch, const char *path, struct folder **out) {
    int rc = LN_OK;
    *out = NULL;
    list_each (struct folder, at, &watch->folders, node)
        if (strcmp(at->path, path) == 0)
            *out = at;
    if (*out == NULL)
        rc = open_folder(watch, path, out);
    if (rc == LN_OK)
        arm(*out);
    return rc;
}

/* ---- entries ---- */

static int add_step(void *owner, const char *path, const char *name) {
    struct entry *entry = owner;
    struct step *step = calloc(1, sizeof(*step) + strlen(name) + 1);
    if (step == NULL)
        return LN_ENOMEM;
    int rc = find_folder(entry->watch, path, &step->folder);
    if (rc < 0) {
        free(step);
        return rc;
    }
    strcpy(step->name, name);
    step->entry = entry;
    entry->leaf = step;
    entry->blind |= step->folder->status < 0;
    list_push_back(&step->folder->steps, &step->in_folder);
    list_push_back(&entry->steps, &step->in_entry);
    return LN_OK;
}

static void drop_steps(struct list *steps) {
    list_each (struct step, step, steps, in_entry) {
        list_remove(&step->in_folder);
        list_remove(&step->in_entry);
        if (list_empty(&step->folder->steps))
            close_folder(step->folder);
        free(step);
    }
}

/* Watches the way to the entry as it is at present. What is missing is waited for. */
static int resolve(struct entry *entry) {
    char real[PATH_MAX];
    struct list old = {0};
    list_move(&old, &entry->steps);
    entry->blind = false;
    entry->leaf = NULL;
    int rc = resolve_path(entry->path, add_step, entry, real);
    if (rc == LN_OK && entry->suffix != NULL)
        rc = add_step(entry, real, "");
    if (rc < 0)
        entry->leaf = NULL;
    entry->blind |= rc < 0 && rc != UV_ENOENT;
    drop_steps(&old); /* behind the new ones: folders of both stay open */
    return rc;
}

static struct signature look_at(const struct entry *entry) {
    return entry->suffix != NULL ? signature_of(entry->path) : signature_read(entry->path);
}

/* Editors empty a file before they write it: that is one change, when there is something in it
 * again. */
static bool is_being_written(struct entry *entry, const struct signature *now) {
    uint64_t time = uv_now(entry->watch->timer.loop);
    bool was_empty = entry->before.there && entry->before.size == 0;
    if (entry->suffix != NULL || now->size > 0 || was_empty) {
        entry->emptied = 0;
        return false;
    }
    if (entry->emptied == 0)
        entry->emptied = time > 0 ? time : 1;
    return time - entry->emptied < EMPTY_MS;
}

static bool differs(const struct entry *entry, const struct signature *now, bool named) {
    if (entry->suffix != NULL && entry->poll == NULL)
        return named || !signature_same_file(now, &entry->before);
    return !signature_same(now, &entry->before) ||
           (named && now->content != entry->before.content);
}

/* Notes what has changed. */
static void compare(struct entry *entry) {
    bool named = entry->named;
    entry->touched = entry->named = false;
    if (entry->poll == NULL)
        resolve(entry); /* before the file is looked at: nothing is missed in between */
    struct signature now = look_at(entry);
    if (!now.there)
        return; /* the old signature stays: what comes instead differs from it */
    if (is_being_written(entry, &now)) {
        entry->touched = true;
        entry->named = named;
        return;
    }
    bool changed = differs(entry, &now, named);
    entry->before = now;
    if (changed)
        changes_add(&entry->watch->changes, "", entry->path);
}

static void tell(struct watch *watch) {
    char *path = changes_take(&watch->changes);
    if (path != NULL)
        watch->on_change(watch->owner, path);
    free(path);
}

static void on_quiet(uv_timer_t *timer) {
    struct watch *watch = timer->data;
    bool again = false;
    watch->burst = 0;
    list_each (struct entry, at, &watch->entries, node) {
        if (at->touched || at->blind)
            compare(at);
        again |= at->blind || at->touched;
    }
    if (again)
        uv_timer_start(timer, on_quiet, RETRY_MS, 0);
    tell(watch);
}

/* ---- what is watched ---- */

static void free_entry(struct entry *entry) {
    list_remove(&entry->node);
    poll_close(entry->poll);
    drop_steps(&entry->steps);
    free(entry->suffix);
    free(entry->path);
    free(entry);
}

static struct entry *new_entry(struct watch *watch, const char *path, const char *suffix) {
    struct entry *entry = calloc(1, sizeof(*entry));
    if (entry == NULL)
        return NULL;
    entry->watch = watch;
    entry->path = strdup(path);
    entry->suffix = suffix != NULL ? strdup(suffix) : NULL;
    if (entry->path == NULL || (suffix != NULL && entry->suffix == NULL)) {
        free_entry(entry);
        return NULL;
    }
    return entry;
}

static bool is_entry(const struct entry *entry, const char *path, const char *suffix) {
    if (strcmp(entry->path, path) != 0 || (entry->suffix == NULL) != (suffix == NULL))
        return false;
    return suffix == NULL || strcmp(entry->suffix, suffix) == 0;
}

static void on_difference(void *owner, bool first) {
    struct entry *entry = owner;
    entry->touched = true; /* the first time for what was between its look and ours */
    entry->named |= !first;
    touch(entry->watch);
}

/* Events or looks begin; the signature is taken afterwards. */
static int begin(struct entry *entry) {
    if (entry->watch->poll_ms > 0)
        return poll_open(&entry->poll, entry->watch->timer.loop, entry->path,
                         entry->watch->poll_ms, on_difference, entry);
    int rc = resolve(entry);
    if (rc == LN_OK && entry->suffix != NULL)
        rc = entry->leaf->folder->status; /* only events tell of the files in it */
    return rc == UV_ENOENT && entry->suffix == NULL ? LN_OK : rc;
}

static int add(struct watch *watch, const char *path, const char *suffix, bool removals) {
    list_each (struct entry, at, &watch->entries, node) {
        if (!is_entry(at, path, suffix))
            continue;
        at->before = look_at(at);
        return LN_OK;
    }
    struct entry *entry = new_entry(watch, path, suffix);
    if (entry == NULL)
        return LN_ENOMEM;
    entry->removals = removals;
    int rc = begin(entry);
    if (rc < 0) {
        free_entry(entry);
        return rc;
    }
    entry->before = look_at(entry);
    list_push_front(&watch->entries, &entry->node);
    if (entry->blind && !uv_is_active((uv_handle_t *)&watch->timer))
        uv_timer_start(&watch->timer, on_quiet, RETRY_MS, 0);
    return LN_OK;
}

int watch_add(struct watch *watch, const char *path) {
    return add(watch, path, NULL, false);
}

int watch_add_folder(struct watch *watch, const char *path, const char *suffix, bool removals) {
    return add(watch, path, suffix, removals);
}

static bool is_among(const char *path, const char *const *paths, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (strcmp(path, paths[i]) == 0)
            return true;
    return false;
}

void watch_keep(struct watch *watch, const char *const *paths, size_t count) {
    list_each (struct entry, entry, &watch->entries, node)
        if (entry->suffix == NULL && !is_among(entry->path, paths, count))
            free_entry(entry);
}

/* ---- life ---- */

int watch_open(struct watch **out, uv_loop_t *loop, unsigned poll_ms, watch_change_fn on_change,
               void *owner) {
    struct watch *watch = calloc(1, sizeof(*watch));
    if (watch == NULL)
        return LN_ENOMEM;
    int rc = uv_timer_init(loop, &watch->timer);
    if (rc < 0) {
        free(watch);
        return rc;
    }
    watch->timer.data = watch;
    watch->poll_ms = poll_ms;
    watch->on_change = on_change;
    watch->owner = owner;
    *out = watch;
    return LN_OK;
}

void watch_clear(struct watch *watch) {
    list_each (struct entry, entry, &watch->entries, node)
        free_entry(entry);
    changes_clear(&watch->changes);
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
