/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When the bytes of a connection came that wait to be handled. Positions count the bytes since
 * it was opened. There are few marks whatever waits: the more it is, the coarser are the times,
 * and none is later than the truth.
 */
#ifndef LUNATS_LINK_ARRIVALS_H
#define LUNATS_LINK_ARRIVALS_H

#include <stdint.h>

#define ARRIVALS_MARKS 16

/* Zeroed at the start. */
struct arrivals {
    struct arrival {
        uint64_t end, when;
    } marks[ARRIVALS_MARKS]; /* ascending */
    unsigned count;
};

/* Those up to `end` are there at this time, and those before `handled` are of no more use. */
void arrivals_note(struct arrivals *arrivals, uint64_t handled, uint64_t end, uint64_t now);

/* The one of this byte, and of those before `end`. It is there. */
struct arrival arrivals_find(const struct arrivals *arrivals, uint64_t position);

#endif
