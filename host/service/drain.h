/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first part of a stop: subscriptions are drained, then tasks and timers cancelled, then
 * handlers in flight finish. It ends when all of that is done, at its bound, or when nothing is
 * waited for but a server that hangs.
 */
#ifndef LUNATS_SERVICE_DRAIN_H
#define LUNATS_SERVICE_DRAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "host/base/clock.h"
#include "host/service/intake.h"
#include "host/service/reload.h"

/* Embedded in the service; all zero is idle. */
struct drain {
    /* What is drained; borrowed until the end. */
    const char *name; /* for the log */
    struct clock *clock;
    struct link *link; /* NULL: runs offline */
    struct intake *intake;
    const struct list *connections; /* of the service, those of other versions among them */
    struct script *script;
    struct reload *reload; /* versions that retire finish, too */
    uint32_t bound_ms;
    void (*on_done)(struct drain *drain);

    bool server_hangs; /* the result: to it nothing has to be sent any more */

    bool running, handlers_done;
    struct clock_timer deadline, look;
    uint32_t silent_ms;       /* for so long the server has been silent */
    struct link_stats before; /* at the last look */
};

/* on_done() is called once. */
void drain_begin(struct drain *drain, struct service *service, struct reload *reload,
                 void (*on_done)(struct drain *drain));

/* What the intakes and the reload tell. Do nothing to a drain that does not run. */
void drain_subscriptions_ended(struct drain *drain);
void drain_versions_ended(struct drain *drain);

/* Ends one that runs, without on_done(). */
void drain_cancel(struct drain *drain);

#endif
