/* SPDX-License-Identifier: Apache-2.0 */
#include "host/service/reload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/container_of.h"
#include "host/base/log.h"
#include "host/service/connection.h"
#include "host/service/event.h"
#include "host/service/internal.h"
#include "host/service/slow.h"

/* on_start of a new version may take so long, and the confirmation of its subscriptions. */
#define START_MS 30000
#define CONFIRM_MS 10000

/* Only ever forward: a failure overtakes everything else. */
enum stage {
    STAGE_NONE,
    STAGE_LOADING,
    STAGE_STARTING, /* on_start hooks run */
    STAGE_SUBSCRIBING,
    STAGE_SWITCHING,
    STAGE_FAILED,
};

struct reload {
    struct service *service;
    struct list retiring;
    struct reload_counts counts;

    /* The transaction; all below is zero when there is none. */
    enum stage stage, wanted; /* what goes on, and what the next turn of the loop begins */
    struct script *next;
    struct link_call confirm;
    struct clock_timer turn, limit;
    char *source; /* owned; NULL: the file */
    size_t source_len;
    uint64_t began;
    char reason[512]; /* of a failure; "" = the last error of the script */
    service_reload_fn on_done;
    void *owner;
};

/* A version whose handlers still run. */
struct retiring {
    struct reload *reload;
    struct script *script;
    struct list_node node;
    struct clock_timer turn, deadline;
};

static void load(struct reload *reload);
static void subscribe(struct reload *reload);
static void switch_over(struct reload *reload);
static void fail(struct reload *reload);

/* ---- stages: begun from the loop, outside of all fibers ---- */

static void on_turn(struct clock_timer *timer) {
    struct reload *reload = container_of(timer, struct reload, turn);
    reload->stage = reload->wanted;
    switch (reload->stage) {
    case STAGE_LOADING:
        load(reload);
        break;
    case STAGE_SUBSCRIBING:
        subscribe(reload);
        break;
    case STAGE_SWITCHING:
        switch_over(reload);
        break;
    case STAGE_FAILED:
        fail(reload);
        break;
    case STAGE_NONE:
    case STAGE_STARTING: /* goes on by itself when the hooks have ended */
        break;
    }
}

static void go(struct reload *reload, enum stage stage) {
    if (stage <= reload->wanted)
        return;
    reload->wanted = stage;
    reload->turn.fire = on_turn;
    clock_arm(service_clock(reload->service), &reload->turn, 0);
}

static void go_fail(struct reload *reload, const char *reason) {
    if (*reload->reason == '\0' && reason != NULL)
        snprintf(reload->reason, sizeof(reload->reason), "%s", reason);
    go(reload, STAGE_FAILED);
}

/* ---- the end of a transaction ---- */

static void finish(struct reload *reload, int status, const char *text) {
    service_reload_fn on_done = reload->on_done;
    void *owner = reload->owner;
    struct service *service = reload->service;
    clock_disarm(service_clock(reload->service), &reload->turn);
    clock_disarm(service_clock(reload->service), &reload->limit);
    link_call_cancel(&reload->confirm);
    free(reload->source);
    reload->source = NULL;
    reload->reason[0] = '\0';
    reload->stage = reload->wanted = STAGE_NONE;
    if (on_done != NULL)
        on_done(owner, status, text);
    service_changed(service);
}

static void undo(struct reload *reload) {
    struct script *next = reload->next;
    reload->next = NULL; /* closing it ends its hooks: see on_start_end() */
    intake_forget_next(service_intake(reload->service));
    if (next != NULL)
        script_close(next);
}

static void fail(struct reload *reload) {
    struct service *service = reload->service;
    char text[1024];
    const char *reason = reload->reason, *last = service_last_error(service);
    if (*reason == '\0')
        reason = last != NULL ? last : "out of memory";
    snprintf(text, sizeof(text), "%s", reason);
    reload->counts.failed++;
    reload->counts.last_failed = true;
    reload->counts.not_started = reload->next != NULL && reload->stage != STAGE_SWITCHING;
    undo(reload);
    log_warn(service_name(service), "reload failed, the running version goes on%s%s",
             *reload->reason != '\0' ? ": " : "", reload->reason);
    event_publish(service, "reload_failed");
    script_tell(service_script(service),
                &(struct script_error){.text = text, .kind = "reload"});
    finish(reload, LN_ESCRIPT, text);
}

void reload_refuse(struct reload *reload, const char *reason) {
    if (reload->stage != STAGE_NONE)
        go_fail(reload, reason);
}

static bool is_retiring(const struct reload *reload, const struct script *script) {
    list_each (struct retiring, at, &reload->retiring, node)
        if (at->script == script)
            return true;
    return false;
}

bool reload_take_exit(struct reload *reload, const struct script *script, int status,
                      const char *where) {
    /* While a version is loaded or closed, reload->next does not name it. A finalizer may exit
     * when there is no reload any more. */
    if (reload == NULL || reload->stage == STAGE_NONE ||
        script == service_script(reload->service) || is_retiring(reload, script))
        return false;
    char reason[sizeof(reload->reason)];
    snprintf(reason, sizeof(reason), "%sthe new version called os.exit(%d)", where, status);
    go_fail(reload, reason);
    return true;
}

void reload_abort(struct reload *reload) {
    if (reload->wanted == STAGE_NONE)
        return;
    undo(reload);
    finish(reload, LN_ECANCELLED, "the reload was given up");
}

/* ---- retiring ---- */

static void close_retired(struct retiring *retiring) {
    struct reload *reload = retiring->reload;
    list_remove(&retiring->node);
    clock_disarm(service_clock(reload->service), &retiring->turn);
    clock_disarm(service_clock(reload->service), &retiring->deadline);
    script_close(retiring->script);
    free(retiring);
    if (list_empty(&reload->retiring))
        service_retired(reload->service);
}

void reload_each(const struct reload *reload,
                 void (*each)(void *owner, struct script *script, const char *what),
                 void *owner) {
    if (reload->next != NULL)
        each(owner, reload->next, ", a new version");
    list_each (struct retiring, at, &reload->retiring, node)
        each(owner, at->script, ", a version before");
}

bool reload_retiring(const struct reload *reload) {
    return !list_empty(&reload->retiring);
}

void reload_close_retiring(struct reload *reload) {
    struct list_node *node;
    while ((node = list_first(&reload->retiring)) != NULL)
        close_retired(list_item(node, struct retiring, node));
}

static void on_idle(void *owner);

static void on_retired(struct clock_timer *timer) {
    struct retiring *retiring = container_of(timer, struct retiring, turn);
    struct fibers *fibers = script_fibers(retiring->script);
    const struct intake *intake = service_intake(retiring->reload->service);
    if (fibers_count(fibers, FIBER_HANDLER) > 0)
        fibers_on_idle(fibers, FIBER_HANDLER, on_idle, retiring);
    else if (!intake_serves(intake, retiring->script) &&
             connections_drained(service_connections(retiring->reload->service),
                                 retiring->script))
        close_retired(retiring);
}

static void on_idle(void *owner) {
    struct retiring *retiring = owner;
    retiring->turn.fire = on_retired;
    clock_arm(service_clock(retiring->reload->service), &retiring->turn, 0);
}

void reload_drained(struct reload *reload) {
    if (reload == NULL)
        return;
    /* A handler that the drained queue started may have been the last one. */
    list_each (struct retiring, at, &reload->retiring, node)
        fibers_on_idle(script_fibers(at->script), FIBER_HANDLER, on_idle, at);
}

static void on_retire_deadline(struct clock_timer *timer) {
    struct retiring *retiring = container_of(timer, struct retiring, deadline);
    struct fibers *fibers = script_fibers(retiring->script);
    size_t handlers = fibers_count(fibers, FIBER_HANDLER);
    log_warn(service_name(retiring->reload->service),
             "%zu handler%s of the version before did not finish within %g s", handlers,
             handlers == 1 ? "" : "s", service_drain_ms(retiring->reload->service) / 1000.0);
    slow_tell_cut(retiring->script);
    fibers_cancel(fibers, FIBER_HANDLER);
    close_retired(retiring);
}

static void retire(struct reload *reload, struct script *script, struct retiring *retiring) {
    struct clock *clock = service_clock(reload->service);
    retiring->reload = reload;
    retiring->script = script;
    list_push_front(&reload->retiring, &retiring->node);
    script_set_state(script, SCRIPT_RETIRING);
    script_drain_resources(script);
    fibers_cancel(script_fibers(script), FIBER_BACKGROUND);
    retiring->deadline.fire = on_retire_deadline;
    clock_arm(clock, &retiring->deadline, service_drain_ms(reload->service));
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
    if (status != LN_ECANCELLED && service_script(service) == script &&
        !service_stopping(service))
        script_run_phase(script, SCRIPT_RUN, on_run_end, script);
}

/* Copies app.state and the phases of timers. */
static int copy_state(struct reload *reload) {
    struct script *old = service_script(reload->service);
    char *saved = NULL, *unused = NULL;
    size_t len, unused_len;
    int rc = script_exchange(old, SCRIPT_SAVE, NULL, 0, &saved, &len);
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

/* What it has declared since intake_prepare(). */
static void subscribe_late(struct service *service, struct script *script) {
    struct intake *intake = service_intake(service);
    struct listener *failed;
    int rc = intake_subscribe(intake, script, false, &failed);
    if (rc < 0)
        log_error(service_name(service), "cannot listen to %s: %s",
                  listener_options(failed)->subject, status_text(rc));
}

static void log_reloaded(const struct reload *reload, const struct script *script) {
    const char *version = script_about(script)->version;
    bool has_version = strcmp(version, "0.0.0") != 0;
    log_info(service_name(reload->service), "reloaded%s%s in %llu ms",
             has_version ? ", version " : "", has_version ? version : "",
             (unsigned long long)(clock_now(service_clock(reload->service)) - reload->began));
}

static void switch_over(struct reload *reload) {
    struct service *service = reload->service;
    struct retiring *retiring = calloc(1, sizeof(*retiring));
    if (retiring == NULL || copy_state(reload) != LN_OK) {
        free(retiring);
        fail(reload);
        return;
    }
    struct script *old = service_script(service), *next = reload->next;
    reload->next = NULL;
    clock_follow(script_clock(next), script_clock(old));
    intake_switch(service_intake(service), service_drain_ms(service));
    service_set_script(service, next);
    script_set_state(next, SCRIPT_RUNNING);
    script_begin_resources(next); /* takes over what the old version still has */
    retire(reload, old, retiring);
    reload->counts.done++;
    reload->counts.last_failed = reload->counts.not_started = false;
    log_reloaded(reload, next);
    event_publish(service, "reloaded");
    subscribe_late(service, next);
    script_run_phase(next, SCRIPT_RELOADED, on_reloaded_end, next);
    finish(reload, LN_OK, NULL);
}

/* ---- before the switch ---- */

static void on_confirmed(struct link_call *call, int status, struct message *reply) {
    (void)reply;
    struct reload *reload = container_of(call, struct reload, confirm);
    if (status == LN_OK) /* every refusal has been told before: see link_flush() */
        go(reload, STAGE_SWITCHING);
    else
        go_fail(reload, "the server did not confirm the subscriptions");
}

static void confirm(struct reload *reload) {
    struct service *service = reload->service;
    int rc = link_flush(service_link(service), &reload->confirm, service_clock(service),
                        CONFIRM_MS, on_confirmed);
    if (rc < 0)
        go_fail(reload, status_text(rc));
}

/* A version that has something in app.state that cannot be copied would be the last one. */
static bool can_be_reloaded(struct reload *reload) {
    char *why = NULL;
    bool can = script_can_save(reload->next, &why);
    if (!can)
        snprintf(reload->reason, sizeof(reload->reason),
                 "%s, so the version after this one could not take over",
                 why != NULL ? why : "app.state");
    free(why);
    return can;
}

static void subscribe(struct reload *reload) {
    struct service *service = reload->service;
    struct intake *intake = service_intake(service);
    struct listener *failed;
    clock_disarm(service_clock(service), &reload->limit);
    /* A file that is being written is empty at first, which is a valid script. */
    if (listener_next(intake, reload->next, NULL) == NULL &&
        listener_next(intake, service_script(service), NULL) != NULL) {
        go_fail(reload, "the new version declares no listener: is the file complete?");
        return;
    }
    if (!can_be_reloaded(reload)) {
        go(reload, STAGE_FAILED);
        return;
    }
    int rc = intake_prepare(intake, reload->next, &failed);
    if (rc < 0) {
        snprintf(reload->reason, sizeof(reload->reason), "cannot subscribe to %s: %s",
                 listener_options(failed)->subject, status_text(rc));
        go(reload, STAGE_FAILED);
        return;
    }
    confirm(reload);
}

static void on_start_end(struct fiber *fiber, void *arg, int status, const char *text) {
    (void)fiber;
    struct reload *reload = arg;
    if (reload->next == NULL || reload->stage != STAGE_STARTING)
        return; /* given up meanwhile */
    if (text != NULL)
        script_report(reload->next, text);
    if (status == LN_OK)
        go(reload, STAGE_SUBSCRIBING);
    else
        go_fail(reload, NULL);
}

static void on_limit(struct clock_timer *timer) {
    struct reload *reload = container_of(timer, struct reload, limit);
    snprintf(reload->reason, sizeof(reload->reason), "on_start took longer than %d s",
             START_MS / 1000);
    fibers_cancel(script_fibers(reload->next), FIBER_PHASE);
}

static int load_next(struct reload *reload) {
    struct service *service = reload->service;
    char *saved = NULL;
    size_t len = 0;
    int rc = script_exchange(service_script(service), SCRIPT_SAVE, NULL, 0, &saved, &len);
    if (rc == LN_OK)
        rc = service_load(service, reload->source, reload->source_len, saved, len,
                          &reload->next);
    else
        snprintf(reload->reason, sizeof(reload->reason), "%s", saved ? saved : "no memory");
    free(saved);
    return rc;
}

static void load(struct reload *reload) {
    struct service *service = reload->service;
    if (service_stopping(service)) {
        reload_abort(reload);
        return;
    }
    if (load_next(reload) < 0) {
        reload->next = NULL;
        fail(reload);
        return;
    }
    if (reload->wanted == STAGE_FAILED) /* it called os.exit() */
        return;
    clock_follow(script_clock(reload->next), script_clock(service_script(service)));
    reload->limit.fire = on_limit;
    clock_arm(service_clock(service), &reload->limit, START_MS);
    reload->stage = reload->wanted = STAGE_STARTING;
    if (script_run_phase(reload->next, SCRIPT_START, on_start_end, reload) < 0)
        fail(reload);
}

/* ---- life ---- */

int reload_begin(struct reload *reload, const char *source, size_t source_len,
                 service_reload_fn on_done, void *owner) {
    if (reload->wanted != STAGE_NONE)
        return LN_EFULL;
    if (source != NULL) {
        reload->source = malloc(source_len + 1);
        if (reload->source == NULL)
            return LN_ENOMEM;
        memcpy(reload->source, source, source_len);
    }
    reload->source_len = source_len;
    reload->began = clock_now(service_clock(reload->service));
    reload->on_done = on_done;
    reload->owner = owner;
    go(reload, STAGE_LOADING);
    service_changed(reload->service);
    return LN_OK;
}

int reload_open(struct reload **out, struct service *service) {
    struct reload *reload = calloc(1, sizeof(*reload));
    if (reload == NULL)
        return LN_ENOMEM;
    reload->service = service;
    *out = reload;
    return LN_OK;
}

bool reload_under_way(const struct reload *reload) {
    return reload != NULL && reload->wanted != STAGE_NONE;
}

struct reload_counts reload_count(const struct reload *reload) {
    return reload != NULL ? reload->counts : (struct reload_counts){0};
}

void reload_close(struct reload *reload) {
    if (reload == NULL)
        return;
    reload_abort(reload);
    reload_close_retiring(reload);
    free(reload);
}
