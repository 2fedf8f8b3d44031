/* SPDX-License-Identifier: Apache-2.0 */
#include "host/service/farewell.h"

#include "host/base/container_of.h"
#include "host/base/log.h"
#include "host/service/internal.h"

static void end(struct farewell *farewell, bool failed) {
    if (!farewell->running)
        return;
    farewell_cancel(farewell);
    farewell->on_done(farewell, failed);
}

static void on_end(struct fiber *fiber, void *arg, int status, const char *text) {
    (void)fiber;
    struct farewell *farewell = arg;
    if (text != NULL)
        service_failed(script_service(farewell->script), /* the hooks told theirs */
                       &(struct script_error){.text = text});
    end(farewell, status == LN_ESCRIPT);
}

static void on_deadline(struct clock_timer *timer) {
    struct farewell *farewell = container_of(timer, struct farewell, deadline);
    log_warn(farewell->name, "on_stop took longer than %g s and was cut",
             farewell->bound_ms / 1000.0);
    fibers_cancel(script_fibers(farewell->script), FIBER_PHASE);
    end(farewell, true);
}

void farewell_begin(struct farewell *farewell) {
    farewell->running = true;
    farewell->deadline.fire = on_deadline;
    clock_arm(farewell->clock, &farewell->deadline, farewell->bound_ms);
    if (script_run_phase(farewell->script, SCRIPT_STOP, on_end, farewell) < 0)
        end(farewell, true);
}

void farewell_cancel(struct farewell *farewell) {
    if (!farewell->running)
        return;
    farewell->running = false;
    clock_disarm(farewell->clock, &farewell->deadline);
}
