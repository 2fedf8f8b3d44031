/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watches that a server says something every so often. Two heartbeats that are missing make a
 * silence. It is real time that counts: the server knows nothing of the clock of a spec.
 */
#ifndef LUNATS_JETSTREAM_HEARTBEAT_H
#define LUNATS_JETSTREAM_HEARTBEAT_H

#include <stdbool.h>
#include <stdint.h>

#include "host/base/clock.h"

/* Embedded in whatever listens. All zero watches nothing. */
struct heartbeat {
    struct clock *clock;
    struct clock_timer timer;
    uint64_t heard; /* when something was heard last, on the clock */
    uint32_t interval_ms;
    bool suspect; /* silent for too long; a last look at the socket is under way */
    void (*on_missed)(struct heartbeat *heartbeat);
};

/* `clock` is a real one, borrowed until heartbeat_stop(). on_missed() is called once for each
 * start, from the loop, and may do anything. An interval of 0 watches nothing. */
void heartbeat_start(struct heartbeat *heartbeat, struct clock *clock, uint32_t interval_ms,
                     void (*on_missed)(struct heartbeat *heartbeat));

/* Something has come. Cheaper than arming a timer for each message. */
static inline void heartbeat_heard(struct heartbeat *heartbeat) {
    heartbeat->heard = clock_now(heartbeat->clock);
    heartbeat->suspect = false;
}

/* Does nothing to one that watches nothing. */
void heartbeat_stop(struct heartbeat *heartbeat);

#endif
