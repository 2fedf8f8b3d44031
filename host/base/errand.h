/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Something that may block, in a thread of its own: a name that is looked up, files that are
 * read. libuv's own threads are few, shared with files that are watched, and waited for at the
 * end of the process; these are not: one that hangs is left behind.
 */
#ifndef LUNATS_BASE_ERRAND_H
#define LUNATS_BASE_ERRAND_H

#include <uv.h>

struct errand;

struct errand_kind {
    void (*work)(void *arg); /* in the thread */
    void (*drop)(void *arg); /* the last to see it, in either thread; also if it never ran */
    /* From the loop; `arg` is borrowed for the call. The errand is gone. */
    void (*on_done)(void *owner, void *arg);
};

/*
 * Takes `arg`, also when it fails. A few run at once, others wait for their turn. `kind` is
 * borrowed, mostly static. Without a thread on_done() comes without work(). *out is borrowed
 * until on_done(). LN_OK, LN_ENOMEM or a code of libuv.
 */
int errand_start(struct errand **out, uv_loop_t *loop, const struct errand_kind *kind,
                 void *arg, void *owner);

/* on_done() does not come any more. */
void errand_abandon(struct errand *errand);

#endif
