/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The numbers of one listener, which last over the versions of its script: the listener of the
 * next version with the same subject and queue goes on counting here.
 *
 * Counted where the thing happens; whoever shows them ($SRV, metrics) reads the fields.
 */
#ifndef LUNATS_SERVICE_ENDPOINT_H
#define LUNATS_SERVICE_ENDPOINT_H

#include <stdbool.h>
#include <stdint.h>

#include "host/base/list.h"

/* Different codes that are told apart; what comes after them is counted together, as 0. */
#define ENDPOINT_CODES 12

/* Upper bounds of the histogram's buckets, in nanoseconds; a last bucket is for all above. */
#define ENDPOINT_BOUNDS 14
extern const uint64_t endpoint_bounds[ENDPOINT_BOUNDS];

struct endpoint {
    struct list_node node; /* in its intake */
    unsigned users;        /* listeners, of all versions */
    char *subject, *queue; /* owned; queue NULL = none */

    uint64_t requests;    /* messages whose handler has ended */
    uint64_t errors;      /* of them, those that raised or returned an error */
    uint64_t nanoseconds; /* from the receipt of a message to the end of its handler, all */
    uint64_t buckets[ENDPOINT_BOUNDS + 1];
    struct {
        int code; /* of the error; 0: all others */
        uint64_t count;
    } codes[ENDPOINT_CODES + 1]; /* of the errors; unused ones have no count */
    char last_error[256];        /* "400:no such order"; "" = none */
};

/*
 * Takes the first of `list` with this subject and queue that is not taken(), or makes one. NULL
 * without memory.
 */
struct endpoint *endpoint_join(struct list *list, const char *subject, const char *queue,
                               bool (*taken)(const struct endpoint *endpoint, const void *arg),
                               const void *arg);

/* The last listener that leaves frees it. */
void endpoint_leave(struct endpoint *endpoint);

/* A handler has failed; `text` is copied, its first line. endpoint_count() follows. */
void endpoint_failed(struct endpoint *endpoint, int code, const char *text);

/* A handler has ended. */
static inline void endpoint_count(struct endpoint *endpoint, uint64_t nanoseconds) {
    size_t bucket = 0;
    while (bucket < ENDPOINT_BOUNDS && nanoseconds > endpoint_bounds[bucket])
        bucket++;
    endpoint->requests++;
    endpoint->nanoseconds += nanoseconds;
    endpoint->buckets[bucket]++;
}

#endif
