/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cancelling: libpq's function for it connects and blocks, so it has a thread of its own, which
 * touches nothing but what is given to it, and which nobody waits for. The connection is closed
 * beside it; a cancel that comes late finds no session with that key.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "bindings/modules/pg/internal.h"

/* Where the network swallows everything, threads stay for minutes. */
#define MOST 16

static atomic_int under_way;

static void *run(void *arg) {
    PGcancel *cancel = arg;
    char error[256];
    PQcancel(cancel, error, sizeof(error));
    PQfreeCancel(cancel);
    atomic_fetch_sub(&under_way, 1);
    return NULL;
}

void cancel_start(PGconn *pg) {
    pthread_t thread;
    pthread_attr_t detached;
    if (atomic_fetch_add(&under_way, 1) >= MOST) {
        atomic_fetch_sub(&under_way, 1);
        return;
    }
    PGcancel *cancel = PQgetCancel(pg);
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    if (cancel == NULL || pthread_create(&thread, &detached, run, cancel) != 0) {
        PQfreeCancel(cancel);
        atomic_fetch_sub(&under_way, 1);
    }
    pthread_attr_destroy(&detached);
}
