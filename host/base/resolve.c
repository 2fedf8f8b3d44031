/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/resolve.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <uv.h>

#define LINKS_MAX 40 /* as Linux has it */

struct walk {
    char *done;          /* without links; "": the working directory */
    char rest[PATH_MAX]; /* still to go */
    resolve_step_fn on_step;
    void *owner;
    int links;
};

/* Takes the first name off `rest`; false at the end of the path. */
static bool next_name(struct walk *walk, char name[PATH_MAX]) {
    const char *from = walk->rest + strspn(walk->rest, "/");
    size_t len = strcspn(from, "/");
    memcpy(name, from, len);
    name[len] = '\0';
    memmove(walk->rest, from + len, strlen(from + len) + 1);
    return len > 0;
}

/* done/name; ".." takes the last name off, which is a folder and no link. */
static int append(const char *done, const char *name, char out[PATH_MAX]) {
    const char *slash = strrchr(done, '/');
    const char *last = slash != NULL ? slash + 1 : done;
    if (strcmp(name, "..") == 0 && *last != '\0' && strcmp(last, "..") != 0) {
        size_t len = slash == NULL ? 0 : slash == done ? 1 : (size_t)(slash - done);
        memmove(out, done, len);
        out[len] = '\0';
        return 0;
    }
    int len = snprintf(out, PATH_MAX, "%s%s%s", done, *last == '\0' ? "" : "/", name);
    return len < PATH_MAX ? 0 : UV_ENAMETOOLONG;
}

/* Goes on with where a link leads. */
static int follow(struct walk *walk, const char *target) {
    char rest[PATH_MAX];
    if (++walk->links > LINKS_MAX)
        return UV_ELOOP;
    if (snprintf(rest, sizeof(rest), "%s%s", target, walk->rest) >= PATH_MAX)
        return UV_ENAMETOOLONG;
    strcpy(walk->rest, rest);
    if (*target == '/')
        strcpy(walk->done, "/");
    return 0;
}

static ssize_t read_link(const char *path, char target[PATH_MAX]) {
    ssize_t len = readlink(path, target, PATH_MAX - 1);
    if (len >= 0)
        target[len] = '\0';
    return len;
}

static int step(struct walk *walk, const char *name) {
    char here[PATH_MAX], target[PATH_MAX];
    int rc = append(walk->done, name, here);
    if (rc < 0)
        return rc;
    if (strcmp(name, "..") == 0) {
        strcpy(walk->done, here);
        return 0;
    }
    bool last = walk->rest[strspn(walk->rest, "/")] == '\0';
    bool link = read_link(here, target) >= 0;
    if (link || errno == ENOENT || last) {
        rc = walk->on_step(walk->owner, *walk->done == '\0' ? "." : walk->done, name);
        if (rc < 0)
            return rc;
        link = read_link(here, target) >= 0;
    }
    if (link)
        return follow(walk, target);
    if (errno != EINVAL) /* which says that it is there and no link */
        return uv_translate_sys_error(errno);
    strcpy(walk->done, here);
    return 0;
}

int resolve_path(const char *path, resolve_step_fn on_step, void *owner, char real[PATH_MAX]) {
    struct walk walk = {.done = real, .on_step = on_step, .owner = owner};
    char name[PATH_MAX];
    if (strlen(path) >= PATH_MAX)
        return UV_ENAMETOOLONG;
    strcpy(walk.rest, path);
    strcpy(real, *path == '/' ? "/" : "");
    while (next_name(&walk, name)) {
        int rc = strcmp(name, ".") == 0 ? 0 : step(&walk, name);
        if (rc < 0)
            return rc;
    }
    if (*real == '\0')
        strcpy(real, ".");
    return 0;
}

const char *resolve_logical(const char *path, char out[PATH_MAX]) {
    char physical[PATH_MAX];
    const char *folder = getenv("PWD");
    struct stat there, here;
    if (*path == '/' || folder == NULL || *folder != '/' ||
        getcwd(physical, sizeof(physical)) == NULL || strcmp(folder, physical) == 0)
        return path;
    if (stat(folder, &there) < 0 || stat(".", &here) < 0 || there.st_dev != here.st_dev ||
        there.st_ino != here.st_ino) /* of another process, which has gone elsewhere */
        return path;
    return append(folder, path, out) < 0 ? path : out;
}
