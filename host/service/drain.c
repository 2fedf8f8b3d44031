/* SPDX-License-Identifier: Apache-2.0 */
#include "host/service/drain.h"

#include "host/base/container_of.h"
#include "host/base/log.h"
#include "host/service/connection.h"
#include "host/service/slow.h"

/* A server that neither sends nor takes anything for so long, when nothing but its confirmation
 * is missing, hangs. */
#define SILENCE_MS 800
#define LOOK_MS 100

void drain_cancel(struct drain *drain) {
    if (!drain->running)
        return;
    drain->running = false;
    clock_disarm(drain->clock, &drain->deadline);
    clock_disarm(drain->clock, &drain->look);
    fibers_on_idle(script_fibers(drain->script), FIBER_HANDLER, NULL, NULL);
}

static void finish(struct drain *drain) {
    drain_cancel(drain);
    drain->on_done(drain);
}

/* Tasks and handlers that are left get no more time. */
static void cut(struct drain *drain) {
    slow_tell_cut(drain->script);
    struct fibers *fibers = script_fibers(drain->script);
    finish(drain);
    fibers_cancel(fibers, FIBER_BACKGROUND);
    fibers_cancel(fibers, FIBER_HANDLER);
}

static void on_handlers_done(void *owner) {
    struct drain *drain = owner;
    drain->handlers_done = true;
    if (!reload_retiring(drain->reload))
        finish(drain);
}

void drain_versions_ended(struct drain *drain) {
    if (drain->running && drain->handlers_done)
        finish(drain);
}

void drain_subscriptions_ended(struct drain *drain) {
    if (!drain->running || !intake_drained(drain->intake) ||
        !connections_drained(drain->connections, drain->script))
        return;
    struct fibers *fibers = script_fibers(drain->script);
    fibers_cancel(fibers, FIBER_BACKGROUND);
    fibers_on_idle(fibers, FIBER_HANDLER, on_handlers_done, drain);
}

static void on_deadline(struct clock_timer *timer) {
    struct drain *drain = container_of(timer, struct drain, deadline);
    size_t handlers = fibers_count(script_fibers(drain->script), FIBER_HANDLER);
    double seconds = drain->bound_ms / 1000.0;
    if (handlers > 0)
        log_warn(drain->name, "%zu handler%s did not finish within %g s", handlers,
                 handlers == 1 ? "" : "s", seconds);
    else
        log_warn(drain->name, "the server did not end the subscriptions within %g s", seconds);
    cut(drain);
}

static struct link_stats stats_of(const struct drain *drain) {
    struct link_stats stats = {0};
    if (drain->link != NULL)
        link_get_stats(drain->link, &stats);
    connections_add_stats(drain->connections, &stats);
    return stats;
}

/* Messages come in, or it takes what we send. */
static bool is_alive(const struct drain *drain) {
    struct link_stats stats = stats_of(drain);
    return stats.in_msgs != drain->before.in_msgs || stats.buffered < drain->before.buffered;
}

static void expect_server(struct drain *drain) {
    /* What is buffered now, the server has to take: else what tasks have published in this turn
     * would be written at its end, and look like that. */
    if (drain->link != NULL)
        link_send(drain->link);
    connections_send(drain->connections);
    drain->before = stats_of(drain);
    clock_arm(drain->clock, &drain->look, LOOK_MS);
}

static void on_look(struct clock_timer *timer) {
    struct drain *drain = container_of(timer, struct drain, look);
    bool handlers = fibers_count(script_fibers(drain->script), FIBER_HANDLER) > 0;
    if (handlers || reload_retiring(drain->reload) || is_alive(drain))
        drain->silent_ms = 0;
    else
        drain->silent_ms += LOOK_MS;
    if (drain->silent_ms < SILENCE_MS) {
        expect_server(drain);
        return;
    }
    log_warn(drain->name, "the server does not answer: its subscriptions were not drained");
    drain->server_hangs = true;
    cut(drain);
}

void drain_begin(struct drain *drain, struct service *service, struct reload *reload,
                 void (*on_done)(struct drain *drain)) {
    *drain = (struct drain){
        .name = service_name(service),
        .clock = service_clock(service),
        .link = service_link(service),
        .intake = service_intake(service),
        .connections = service_connections(service),
        .script = service_script(service),
        .reload = reload,
        .bound_ms = service_drain_ms(service),
        .on_done = on_done,
    };
    drain->running = true;
    drain->deadline.fire = on_deadline;
    clock_arm(drain->clock, &drain->deadline, drain->bound_ms);
    drain->look.fire = on_look;
    expect_server(drain);
    script_drain_resources(drain->script);
    intake_drain(drain->intake, drain->bound_ms);
}
