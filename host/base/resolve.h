/* SPDX-License-Identifier: Apache-2.0 */
/* Finds out where a path leads, and at which places it may be turned elsewhere. */
#ifndef LUNATS_BASE_RESOLVE_H
#define LUNATS_BASE_RESOLVE_H

#include <limits.h>

/*
 * A name in a folder that decides where the path leads: a symbolic link, what is missing, or
 * the file itself. `folder` has no links in it, but is relative if the path is; both strings
 * are borrowed for the call. Whoever begins to watch the name here misses nothing: it is read
 * afterwards. A negative result ends the walk.
 */
typedef int (*resolve_step_fn)(void *owner, const char *folder, const char *name);

/*
 * Calls on_step for the places of a path from the left to the right, the links of links
 * included. `real` gets the path without links. UV_ENOENT: the name of the last step is
 * missing; or the code of another error, or of on_step.
 */
int resolve_path(const char *path, resolve_step_fn on_step, void *owner, char real[PATH_MAX]);

/*
 * A relative path, from the folder as the user has entered it: when links lead to the working
 * directory, the path gets $PWD in front, so that it follows them when they are turned.
 * Returns `out`, or `path` when there is nothing to do.
 */
const char *resolve_logical(const char *path, char out[PATH_MAX]);

#endif
