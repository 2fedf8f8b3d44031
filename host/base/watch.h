/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells that files have changed: for `lunats test --watch` and the hot reload.
 *
 * It watches the folders of the files, not the files, so that editors that save by renaming a
 * new file over the old one are seen, and the folders of all symbolic links on the way, so that
 * a link that is turned elsewhere (ConfigMaps of Kubernetes, a link to the current release) is
 * seen as well as an edit of what it leads to. A burst of events is one change; a file that is
 * gone, or empty for less than a second, has not changed until something is there again. Where
 * no events come from, a folder that may not be read for example, it looks five times a second.
 */
#ifndef LUNATS_BASE_WATCH_H
#define LUNATS_BASE_WATCH_H

#include <stdbool.h>

#include <uv.h>

struct watch;

/*
 * One call for each burst, with one of the files that have changed in it: what watch_add() got,
 * or for watch_add_folder() the folder with the name of the file; borrowed for the call. All
 * functions of this module may be called from it.
 */
typedef void (*watch_change_fn)(void *owner, const char *path);

/*
 * Opens a watch of nothing, which is told of changes by the system, or with `poll_ms` looks
 * that often for itself: other machines and virtual ones change their folders without a word.
 * The caller owns *out and gives it to watch_close().
 */
int watch_open(struct watch **out, uv_loop_t *loop, unsigned poll_ms, watch_change_fn on_change,
               void *owner);

/*
 * Watches a file that is about to be read; copies `path`. Neither the file nor its folder need
 * be there yet. Adding it again means that it is read again: what has changed before is no
 * change any more.
 */
int watch_add(struct watch *watch, const char *path);

/*
 * Watches the files directly in a folder, new ones included, whose names end with `suffix`;
 * hidden ones are left out. A folder that is replaced by another one is told itself. With
 * `removals` a file that is gone is a change of the folder. With polling only new and missing
 * names are noticed, and the folder is told. Copies.
 */
int watch_add_folder(struct watch *watch, const char *path, const char *suffix, bool removals);

/*
 * Of the files that were added, watches these and no others; folders stay. A change that has
 * not been told yet is not forgotten.
 */
void watch_keep(struct watch *watch, const char *const *paths, size_t count);

/* Watches nothing any more; a burst that is under way is forgotten. */
void watch_clear(struct watch *watch);

/* Ends it: no call of on_change afterwards. The memory goes while the loop runs on. */
void watch_close(struct watch *watch);

#endif
