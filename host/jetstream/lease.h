/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lease that this process holds: the last value of a key of a bucket, which it writes anew,
 * on the loop, after each third of the lease's time. Each write expects the revision of the one
 * before, so it fails once somebody else has written; a write whose answer is missing is sent
 * again under the same id, and the server tells what became of the first one.
 *
 * It ends by this process's own clock after two thirds of the time since the last confirmed
 * write was sent. Others may take it over when they have seen no write for the whole time.
 */
#ifndef LUNATS_JETSTREAM_LEASE_H
#define LUNATS_JETSTREAM_LEASE_H

#include <stdbool.h>
#include <stdint.h>

#include "host/base/clock.h"
#include "host/link/link.h"

struct lease;

/* What another version of the script needs to go on with it. Times are clock_now(). */
struct lease_state {
    int64_t revision;   /* of the last confirmed write */
    uint64_t number;    /* of the write that is under way, or comes next: 1, 2, ... */
    uint64_t confirmed; /* when the confirmed write was sent */
    uint64_t sent;      /* when the write under way was sent first; 0: none is */
};

struct lease_options {
    const char *subject; /* of the key; checked by link_subject_ok() */
    const char *value;   /* what is written: who holds it */
    const char *id;      /* of the holder, part of the ids of writes; a header value */
    uint64_t ttl_ms;     /* at most INT32_MAX */
    struct lease_state state;
    /* The lease is over: called once, and never after lease_release(). It may close it. */
    void (*on_lost)(void *owner, const char *why);
    void *owner;
};

/*
 * Goes on with a lease that has been acquired. Strings are copied; link and clock are borrowed
 * until lease_close(). On success *out is the caller's, who hands it to lease_close(). Returns
 * LN_OK or LN_ENOMEM.
 */
int lease_open(struct lease **out, struct link *link, struct clock *clock,
               const struct lease_options *options);

/* Whether it may be relied on at this moment. */
bool lease_holds(const struct lease *lease);

void lease_get_state(const struct lease *lease, struct lease_state *out);

/*
 * Gives it back: deletes the key, once the answer to a write under way has come, so that others
 * need not wait. Until then lease_close() prevents it.
 */
void lease_release(struct lease *lease);

/* Frees it. The key stays; who has no further use for the lease releases it first. */
void lease_close(struct lease *lease);

#endif
