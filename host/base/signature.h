/* SPDX-License-Identifier: Apache-2.0 */
/* What tells a file that has been changed or replaced from the one before. */
#ifndef LUNATS_BASE_SIGNATURE_H
#define LUNATS_BASE_SIGNATURE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

struct signature {
    bool there;
    dev_t dev;
    ino_t ino;
    off_t size;
    struct timespec mtime;
    uint64_t content; /* a hash; 0: not asked for, or not readable */
};

/* Of the file that links lead to. */
static inline struct signature signature_of(const char *path) {
    struct stat st;
    if (stat(path, &st) < 0)
        return (struct signature){.there = false};
    return (struct signature){true, st.st_dev, st.st_ino, st.st_size, st.st_mtim, 0};
}

/* The same, with the content. */
struct signature signature_read(const char *path);

/* Both are there, and one file; its content may be another one. */
static inline bool signature_same_file(const struct signature *a, const struct signature *b) {
    return a->there && b->there && a->dev == b->dev && a->ino == b->ino;
}

/* Nothing tells them apart. */
static inline bool signature_same(const struct signature *a, const struct signature *b) {
    return a->there == b->there && a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
           a->mtime.tv_sec == b->mtime.tv_sec && a->mtime.tv_nsec == b->mtime.tv_nsec;
}

#endif
