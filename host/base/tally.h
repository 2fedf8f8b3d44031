/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes that somebody answers for, wherever they are just now: what is counted may outlive
 * whoever counts it.
 */
#ifndef LUNATS_BASE_TALLY_H
#define LUNATS_BASE_TALLY_H

#include <stdbool.h>
#include <stddef.h>

struct tally {
    size_t bytes;
    size_t most; /* for those who ask tally_full(); 0: no limit */
    bool left;   /* by whoever has made it */
    /* tally_leave(), for optional modules, which are not linked to the host. */
    void (*leave)(struct tally *tally);
};

/* NULL without memory. The caller hands it to tally_leave(). */
struct tally *tally_open(void);

/* It is gone as soon as nothing is counted any more. Does nothing for NULL. */
void tally_leave(struct tally *tally);

static inline void tally_add(struct tally *tally, size_t bytes) {
    tally->bytes += bytes;
}

/* What was added before. */
static inline void tally_remove(struct tally *tally, size_t bytes) {
    tally->bytes -= bytes;
    if (tally->bytes == 0 && tally->left)
        tally->leave(tally);
}

/* That much more is more than there should be. `tally` may be NULL. */
static inline bool tally_full(const struct tally *tally, size_t bytes) {
    return tally != NULL && tally->most != 0 && tally->bytes + bytes > tally->most;
}

#endif
