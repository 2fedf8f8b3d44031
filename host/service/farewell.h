/* SPDX-License-Identifier: Apache-2.0 */
/* The second part of a stop: the on_stop hooks run, within a bound. */
#ifndef LUNATS_SERVICE_FAREWELL_H
#define LUNATS_SERVICE_FAREWELL_H

#include <stdbool.h>
#include <stdint.h>

#include "host/base/clock.h"
#include "host/script/script.h"

/* Embedded in the service; all zero is idle. */
struct farewell {
    /* Borrowed until the end. */
    const char *name; /* for the log */
    struct clock *clock;
    struct script *script;
    uint32_t bound_ms;
    /* Once, unless it is cancelled: the hooks have ended, or were cut. They have failed when
     * one of them did, or was cut. */
    void (*on_done)(struct farewell *farewell, bool failed);

    bool running;
    struct clock_timer deadline;
};

void farewell_begin(struct farewell *farewell);

/* Ends one that runs, without on_done(); its hooks end with the script. */
void farewell_cancel(struct farewell *farewell);

#endif
