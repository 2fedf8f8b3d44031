/* SPDX-License-Identifier: Apache-2.0 */
#include "host/jetstream/heartbeat.h"

#include "host/base/container_of.h"

/* For the last look at the socket before silence is believed. */
#define LAST_LOOK_MS 50

static void on_due(struct clock_timer *timer) {
    struct heartbeat *heartbeat = container_of(timer, struct heartbeat, timer);
    uint64_t silence = clock_now(heartbeat->clock) - heartbeat->heard;
    uint64_t allowed = 2 * (uint64_t)heartbeat->interval_ms;
    if (silence < allowed) {
        clock_arm(heartbeat->clock, timer, allowed - silence);
    } else if (!heartbeat->suspect) {
        /* Timers run before sockets are read: after a long handler it may well be there. */
        heartbeat->suspect = true;
        clock_arm(heartbeat->clock, timer, LAST_LOOK_MS);
    } else {
        heartbeat->on_missed(heartbeat);
    }
}

void heartbeat_start(struct heartbeat *heartbeat, struct clock *clock, uint32_t interval_ms,
                     void (*on_missed)(struct heartbeat *heartbeat)) {
    heartbeat_stop(heartbeat);
    heartbeat->clock = clock;
    heartbeat->interval_ms = interval_ms;
    heartbeat->on_missed = on_missed;
    heartbeat->timer.fire = on_due;
    heartbeat_heard(heartbeat);
    if (interval_ms > 0)
        clock_arm(clock, &heartbeat->timer, 2 * (uint64_t)interval_ms);
}

void heartbeat_stop(struct heartbeat *heartbeat) {
    if (heartbeat->clock != NULL)
        clock_disarm(heartbeat->clock, &heartbeat->timer);
}
