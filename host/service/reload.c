/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reload: a transaction that puts a new version of the script in the place of the running one.
 *
 *   load the source in a fresh lua_State -> its on_start hooks -> subscribe what is new,
 * paused, and wait for the server's confirmation -> between two turns of the loop: copy the
 * state, give the subscriptions to the new listeners -> its on_reload hooks, tasks and timers
 *
 * The old version serves all the while. Any failure before the switch undoes what was done and
 * leaves it in place. After the switch it retires: tasks and timers are cancelled, handlers in
 * flight finish within the drain bound, subscriptions that nobody wants any more are drained,
 * then its state is closed. The counters belong to the service and go on.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/container_of.h"
#include "host/base/log.h"
#include "host/service/intake.h"

/* on_start of a new version may take so long, and the confirmation of its subscriptions. */
#define START_MS 30000
#define CONFIRM_MS 10000

/* A refusal takes another way than the confirmation, over a thread of nats.c. */
#define REFUSAL_MS 20

struct reload {
    struct service *service;
    struct script *next;
    struct link_call confirm;
    struct clock_timer step, limit;
    void (*on_step)(struct reload *);
    char *source; /* owned; NULL: the file */
    size_t source_len;
    uint64_t began;
    char reason[512]; /* of a failure; "" = the last error of the script */
    service_reload_fn on_done;
    void *owner;
};

struct retiring {
    struct service *service;
    struct script *script;
    struct retiring *next;
    struct clock_timer step, deadline;
};

static uint32_t drain_ms(const struct service *service) {
    return (uint32_t)(service->options.drain_timeout * 1000);
}

/* ---- steps: from the loop, outside of all fibers ---- */

static void on_step(struct clock_timer *timer) {
    struct reload *reload = container_of(timer, struct reload, step);
    reload->on_step(reload);
}

static void step_after(struct reload *reload, uint64_t ms, void (*step)(struct reload *)) {
    reload->on_step = step;
    reload->step.fire = on_step;
    clock_arm(reload->service->clock, &reload->step, ms);
}

static void step_later(struct reload *reload, void (*step)(struct reload *)) {
    step_after(reload, 0, step);
}

/* ---- the end of a transaction ---- */

static void free_reload(struct reload *reload) {
    struct service *service = reload->service;
    clock_disarm(service->clock, &reload->step);
    clock_disarm(service->clock, &reload->limit);
    link_call_cancel(&reload->confirm);
    service->reload = NULL;
    free(reload->source);
    free(reload);
}

static void finish(struct reload *reload, int status, const char *text) {
    service_reload_fn on_done = reload->on_done;
    void *owner = reload->owner;
    free_reload(reload);
    if (on_done != NULL)
        on_done(owner, status, text);
}

static void undo(struct reload *reload) {
    struct service *service = reload->service;
    inbound_forget_next(service);
    if (reload->next != NULL)
        script_close(reload->next);
    reload->next = NULL;
}

static void fail(struct reload *reload) {
    struct service *service = reload->service;
    char text[1024];
    const char *reason = reload->reason;
    if (*reason == '\0')
        reason = service->last_error != NULL ? service->last_error : "out of memory";
    snprintf(text, sizeof(text), "%s", reason);
    undo(reload);
    service->failed_reloads++;
    log_warn(service->name, "reload failed, the running version goes on%s%s",
             *reload->reason != '\0' ? ": " : "", reload->reason);
    service_publish_event(service, "reload_failed");
    finish(reload, LN_ESCRIPT, text);
}

static void fail_later(struct reload *reload, const char *reason) {
    if (*reload->reason == '\0' && reason != NULL)
        snprintf(reload->reason, sizeof(reload->reason), "%s", reason);
    step_later(reload, fail);
}

void reload_refuse(struct service *service, const char *reason) {
    if (service->reload != NULL)
        fail_later(service->reload, reason);
}

void reload_abort(struct service *service) {
    struct reload *reload = service->reload;
    if (reload == NULL)
        return;
    undo(reload);
    finish(reload, LN_ECANCELLED, "the reload was given up");
}

/* ---- retiring ---- */

static void close_retired(struct retiring *retiring) {
    struct service *service = retiring->service;
    struct retiring **at = &service->retiring;
    while (*at != retiring)
        at = &(*at)->next;
    *at = retiring->next;
    clock_disarm(service->clock, &retiring->step);
    clock_disarm(service->clock, &retiring->deadline);
    inbound_drop(service, retiring->script);
    script_close(retiring->script);
    free(retiring);
    if (service->retiring == NULL)
        service_retired(service);
}

void reload_close_retiring(struct service *service) {
    while (service->retiring != NULL)
        close_retired(service->retiring);
}

static void on_idle(void *owner);

static void on_retired(struct clock_timer *timer) {
    struct retiring *retiring = container_of(timer, struct retiring, step);
    struct fibers *fibers = script_fibers(retiring->script);
    if (fibers_count(fibers, FIBER_HANDLER) > 0)
        fibers_on_idle(fibers, FIBER_HANDLER, on_idle, retiring);
    else if (inbound_count(retiring->service, retiring->script) == 0)
        close_retired(retiring);
}

static void on_idle(void *owner) {
    struct retiring *retiring = owner;
    retiring->step.fire = on_retired;
    clock_arm(retiring->service->clock, &retiring->step, 0);
}

void reload_drained(struct service *service) {
    for (struct retiring *at = service->retiring; at != NULL; at = at->next) {
        /* A handler that the drained queue started may have been the last one. */
        fibers_on_idle(script_fibers(at->script), FIBER_HANDLER, on_idle, at);
    }
}

static void on_retire_deadline(struct clock_timer *timer) {
    struct retiring *retiring = container_of(timer, struct retiring, deadline);
    struct service *service = retiring->service;
    struct fibers *fibers = script_fibers(retiring->script);
    log_warn(service->name,
             "%zu handlers of the version before did not finish within %g s and are cut",
             fibers_count(fibers, FIBER_HANDLER), service->options.drain_timeout);
    fibers_cancel(fibers, FIBER_HANDLER);
    close_retired(retiring);
}

static void retire(struct service *service, struct script *script, struct retiring *retiring) {
    retiring->service = service;
    retiring->script = script;
    retiring->next = service->retiring;
    service->retiring = retiring;
    script_set_state(script, SCRIPT_RETIRING);
    script_drain_resources(script);
    fibers_cancel(script_fibers(script), FIBER_BACKGROUND);
    retiring->deadline.fire = on_retire_deadline;
    clock_arm(service->clock, &retiring->deadline, drain_ms(service));
    fibers_on_idle(script_fibers(script), FIBER_HANDLER, on_idle, retiring);
}

/* ---- the switch ---- */

static void on_run_end(struct fiber *fiber, void *arg, int status, const char *text) {
    (void)fiber;
    if (status == LN_ESCRIPT)
        script_report(arg, text);
}

/* Tasks and timers, unless the hooks took so long that this version is not wanted any more. */
static void on_reloaded_end(struct fiber *fiber, void *arg, int status, const char *text) {
    struct script *script = arg;
    const struct service *service = script_service(script);
    on_run_end(fiber, arg, status, text);
    if (status != LN_ECANCELLED && service->script == script && !service->stop_wanted)
        script_run_phase(script, SCRIPT_RUN, on_run_end, script);
}

/* Copies app.state and the phases of timers. */
static int copy_state(struct reload *reload) {
    struct service *service = reload->service;
    char *saved = NULL, *unused = NULL;
    size_t len, unused_len;
    int rc = script_exchange(service->script, SCRIPT_SAVE, NULL, 0, &saved, &len);
    if (rc == LN_OK && saved != NULL)
        rc = script_exchange(reload->next, SCRIPT_RESTORE, saved, len, &unused, &unused_len);
    if (rc != LN_OK)
        snprintf(reload->reason, sizeof(reload->reason), "%s",
                 unused != NULL  ? unused
                 : saved != NULL ? saved
                                 : status_text(rc));
    free(unused);
    free(saved);
    return rc;
}

/* What it has declared since inbound_prepare(). */
static void subscribe_late(struct service *service, struct script *script) {
    struct listener *at = script_listeners(script);
    for (; at != NULL; at = at->next) {
        if (at->subscription != NULL || at->foreign || at->gone)
            continue;
        int rc = service_listen(service, at);
        if (rc < 0)
            log_error(service->name, "cannot listen to %s: %s", at->subject, status_text(rc));
    }
}

static void switch_over(struct reload *reload) {
    struct service *service = reload->service;
    struct retiring *retiring = calloc(1, sizeof(*retiring));
    if (retiring == NULL || copy_state(reload) != LN_OK) {
        free(retiring);
        fail(reload);
        return;
    }
    struct script *old = service->script, *next = reload->next;
    reload->next = NULL;
    clock_follow(script_clock(next), script_clock(old));
    inbound_switch(service, drain_ms(service));
    service->script = next;
    script_set_state(next, SCRIPT_RUNNING);
    script_begin_resources(next); /* takes over what the old version still has */
    retire(service, old, retiring);
    service->reloads++;
    log_info(service->name, "reloaded%s%s in %llu ms",
             strcmp(script_version(next), "0.0.0") != 0 ? ", version " : "",
             strcmp(script_version(next), "0.0.0") != 0 ? script_version(next) : "",
             (unsigned long long)(clock_now(service->clock) - reload->began));
    service_publish_event(service, "reloaded");
    subscribe_late(service, next);
    script_run_phase(next, SCRIPT_RELOADED, on_reloaded_end, next);
    finish(reload, LN_OK, NULL);
}

/* ---- before the switch ---- */

static void confirm(struct reload *reload);

static void on_confirmed(struct link_call *call, int status, struct message *reply) {
    (void)reply;
    struct reload *reload = container_of(call, struct reload, confirm);
    if (status == LN_OK && *reload->reason == '\0')
        step_after(reload, inbound_has_fresh(reload->service) ? REFUSAL_MS : 0, switch_over);
    else
        fail_later(reload, "the server did not confirm the subscriptions");
}

static void confirm(struct reload *reload) {
    struct service *service = reload->service;
    int rc =
        link_flush(service->link, &reload->confirm, service->clock, CONFIRM_MS, on_confirmed);
    if (rc < 0)
        fail_later(reload, status_text(rc));
}

static void subscribe(struct reload *reload) {
    clock_disarm(reload->service->clock, &reload->limit);
    /* A file that is being written is empty at first, which is a valid script. */
    if (script_listeners(reload->next) == NULL &&
        script_listeners(reload->service->script) != NULL) {
        snprintf(reload->reason, sizeof(reload->reason),
                 "the new version declares no listener: is the file complete?");
        fail(reload);
        return;
    }
    if (inbound_prepare(reload->service, reload->next, reload->reason, sizeof(reload->reason)) <
        0)
        fail(reload);
    else
        confirm(reload);
}

static void on_start_end(struct fiber *fiber, void *arg, int status, const char *text) {
    (void)fiber;
    struct reload *reload = arg;
    struct service *service = reload->service;
    if (service->reload != reload || reload->next == NULL)
        return; /* given up meanwhile */
    if (text != NULL)
        script_report(reload->next, text);
    if (status == LN_OK)
        step_later(reload, subscribe);
    else
        fail_later(reload, NULL);
}

static void on_limit(struct clock_timer *timer) {
    struct reload *reload = container_of(timer, struct reload, limit);
    snprintf(reload->reason, sizeof(reload->reason), "on_start took longer than %d s",
             START_MS / 1000);
    fibers_cancel(script_fibers(reload->next), FIBER_PHASE);
}

static void load(struct reload *reload) {
    struct service *service = reload->service;
    if (service->stop_wanted) {
        reload_abort(service);
        return;
    }
    char *saved = NULL;
    size_t len = 0;
    int rc = script_exchange(service->script, SCRIPT_SAVE, NULL, 0, &saved, &len);
    if (rc == LN_OK)
        rc = service_load(service, reload->source, reload->source_len, saved, len,
                          &reload->next);
    else
        snprintf(reload->reason, sizeof(reload->reason), "%s", saved ? saved : "no memory");
    free(saved);
    if (rc < 0) {
        reload->next = NULL;
        fail(reload);
        return;
    }
    clock_follow(script_clock(reload->next), script_clock(service->script));
    reload->limit.fire = on_limit;
    clock_arm(service->clock, &reload->limit, START_MS);
    if (script_run_phase(reload->next, SCRIPT_START, on_start_end, reload) < 0)
        fail(reload);
}

int service_reload(struct service *service, const char *source, size_t source_len,
                   service_reload_fn on_done, void *owner) {
    if (service->state != SERVICE_RUNNING || service->options.runner ||
        service->options.client_of != NULL)
        return LN_ECLOSED;
    if (service->reload != NULL)
        return LN_EFULL;
    struct reload *reload = calloc(1, sizeof(*reload));
    if (reload == NULL)
        return LN_ENOMEM;
    if (source != NULL) {
        reload->source = malloc(source_len + 1);
        if (reload->source == NULL) {
            free(reload);
            return LN_ENOMEM;
        }
        memcpy(reload->source, source, source_len);
        reload->source_len = source_len;
    }
    reload->service = service;
    reload->began = clock_now(service->clock);
    reload->on_done = on_done;
    reload->owner = owner;
    service->reload = reload;
    step_later(reload, load);
    return LN_OK;
}
