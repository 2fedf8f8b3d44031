/* SPDX-License-Identifier: Apache-2.0 */
#include "host/service/service.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/container_of.h"
#include "host/base/log.h"
#include "host/base/unique.h"
#include "host/cache/cache.h"
#include "host/service/bounds.h"
#include "host/service/discovery.h"
#include "host/service/drain.h"
#include "host/service/event.h"
#include "host/service/farewell.h"
#include "host/service/identity.h"
#include "host/service/internal.h"
#include "host/service/last_words.h"
#include "host/service/outage.h"
#include "host/service/reload.h"
#include "host/service/tracing.h"
#include "host/service/uplink.h"
#include "host/service/vitals.h"
#include "host/service/voice.h"
#include "host/trace/tracer.h"

struct service {
    struct service_options options;
    uv_loop_t *loop;
    struct scheduler *scheduler;
    enum service_state state;  /* what goes on */
    enum service_state wanted; /* what the next turn of the loop begins */
    struct clock_timer turn;
    struct script *script;
    struct uplink uplink;
    struct intake *intake;
    struct list connections; /* further ones of its scripts, until they are closed */
    struct reload *reload;
    struct drain drain;
    struct last_words last_words;
    struct tally *messages; /* what all its connections have brought, wherever it is */
    struct vitals vitals;
    struct voice voice;
    struct farewell farewell;
    struct discovery *discovery; /* NULL: not shown to others */
    struct tracer *tracer;       /* NULL: nothing is recorded */
    bool started, stop_wanted;
    double started_at; /* Unix time */
    int exit_status;
    char *name;                 /* owned */
    char instance[UNIQUE_SIZE]; /* tells this run from every other one */
    uint64_t errors;
    char *last_error; /* owned; of the script */
};

static void go(struct service *service, enum service_state state);

/* ---- what happens to it ---- */

void service_failed(struct service *service, const struct script_error *error) {
    const char *text = error->text;
    service->errors++;
    free(service->last_error);
    service->last_error = strdup(text);
    if (service->options.keep_errors)
        faults_add(&service->vitals.faults, text, error->id);
    if (service->options.on_error != NULL)
        service->options.on_error(service->options.owner, text);
    else if (!error->logged)
        log_write(LOG_LEVEL_ERROR, service->name, text, NULL, 0);
}

bool service_take_exit(struct service *service, const struct script *script, int status,
                       const char *where) {
    return reload_take_exit(service->reload, script, status, where);
}

/* A phase of the script has failed. */
static void report(struct service *service, const char *kind, const char *text) {
    script_report_error(service->script, &(struct script_error){.text = text, .kind = kind});
}

static void fail(struct service *service, int exit_status) {
    if (service->exit_status == EXIT_OK)
        service->exit_status = exit_status;
    go(service, SERVICE_CLOSING);
}

/* ---- start ---- */

static void on_main_end(struct fiber *fiber, void *arg, int status, const char *text) {
    (void)fiber;
    struct service *service = arg;
    if (text != NULL)
        report(service, "main", text);
    bool failed = service->errors > 0 && !service->options.own_errors;
    service_stop(service, status == LN_ESCRIPT || failed ? EXIT_SCRIPT : EXIT_OK);
}

static void on_run_end(struct fiber *fiber, void *arg, int status, const char *text) {
    (void)fiber;
    if (status == LN_ESCRIPT)
        report(arg, NULL, text);
}

/* Said before anybody needs a reload. */
static void warn_of_state(struct service *service) {
    char *why = NULL;
    if (!script_can_save(service->script, &why))
        log_warn(service->name, "%s: this service cannot be reloaded, only started again",
                 why != NULL ? why : "app.state");
    free(why);
}

static void run(struct service *service) {
    bool runner = service->options.runner;
    script_set_state(service->script, SCRIPT_RUNNING);
    if (service->options.on_started !=
        NULL) /* first: it subscribes to what the event promises */
        service->options.on_started(service->options.owner, service);
    if (!runner) {
        warn_of_state(service);
        event_started(service);
        script_begin_resources(service->script);
    }
    script_run_phase(service->script, SCRIPT_RUN, on_run_end, service); /* timers and tasks */
    if (runner && script_run_main(service->script, on_main_end, service) < 0)
        service_stop(service, EXIT_SCRIPT);
}

static void on_confirmed(struct uplink *uplink) {
    go(container_of(uplink, struct service, uplink), SERVICE_RUNNING);
}

/* After the listeners: who is told of an endpoint can use it. */
static void discover(struct service *service) {
    if (script_about(service->script)->hidden)
        discovery_close(&service->discovery);
    else if (service->discovery == NULL && discovery_open(&service->discovery, service) < 0)
        log_warn(service->name, "out of memory: the service cannot be discovered ($SRV)");
}

static void subscribe(struct service *service) {
    struct listener *failed;
    script_set_state(service->script, SCRIPT_RUNNING);
    int rc = intake_subscribe(service->intake, service->script, true, &failed);
    if (rc == LN_OK) {
        discover(service);
        uplink_confirm(&service->uplink);
        return;
    }
    char line[512];
    snprintf(line, sizeof(line), "cannot subscribe to %s: %s",
             listener_options(failed)->subject,
             rc == LN_ENATS ? link_last_error(service->uplink.link) : status_text(rc));
    report(service, NULL, line);
    fail(service, EXIT_SCRIPT);
}

static void on_start_end(struct fiber *fiber, void *arg, int status, const char *text) {
    (void)fiber;
    struct service *service = arg;
    if (text != NULL)
        report(service, "on_start", text);
    if (status != LN_ESCRIPT && service->stop_wanted) /* it was cut, or ended just in time */
        go(service, SERVICE_CLOSING);
    else if (status != LN_OK)
        fail(service, EXIT_SCRIPT);
    else
        go(service, SERVICE_SUBSCRIBING);
}

static void run_start_hooks(struct service *service) {
    if (script_run_phase(service->script, SCRIPT_START, on_start_end, service) < 0)
        fail(service, EXIT_SCRIPT);
}

/* ---- the connection ---- */

static void on_connected(struct service *service) {
    go(service, service->options.runner ? SERVICE_RUNNING : SERVICE_STARTING);
}

static void on_first_failure(struct service *service, int status, const char *text) {
    char line[2048];
    outage_first(line, sizeof(line), &service->options.link, !service->options.runner, status,
                 text);
    service_failed(service, &(struct script_error){.text = line});
    service->exit_status = EXIT_NO_CONNECTION;
    go(service, SERVICE_CLOSING);
}

static void on_first(struct uplink *uplink, int status, const char *text) {
    struct service *service = container_of(uplink, struct service, uplink);
    if (status == LN_OK)
        on_connected(service);
    else
        on_first_failure(service, status, text);
}

static void on_closed(struct uplink *uplink) {
    service_connection_closed(container_of(uplink, struct service, uplink));
}

static int connect_to_server(struct service *service) {
    service->uplink.service = service;
    service->uplink.on_first = on_first;
    service->uplink.on_confirmed = on_confirmed;
    service->uplink.on_closed = on_closed;
    int rc = uplink_open(&service->uplink, service->loop);
    if (rc == LN_OK)
        intake_set_link(service->intake, service->uplink.link);
    return rc;
}

/* ---- what comes in ---- */

static void on_intake_error(void *owner, int status, const char *text) {
    const struct service *service = owner;
    log_write(status == LN_EFULL ? LOG_LEVEL_WARN : LOG_LEVEL_ERROR, service->name, text, NULL,
              0);
}

static void on_refused(void *owner, bool next, int status, const char *text) {
    struct service *service = owner;
    if (next)
        reload_refuse(service->reload, text);
    else if (status == LN_EPERMISSION) /* looking healthy and hearing nothing would be worse */
        service_stop(service, EXIT_SCRIPT);
}

static void on_ended(void *owner) {
    struct service *service = owner;
    reload_drained(service->reload);
}

/* ---- stop ---- */

void service_retired(struct service *service) {
    drain_versions_ended(&service->drain);
}

static void on_drained(void *owner) {
    struct service *service = owner;
    drain_subscriptions_ended(&service->drain);
}

void service_connection_drained(struct service *service) {
    reload_drained(service->reload);
    drain_subscriptions_ended(&service->drain);
}

static void on_drain_done(struct drain *drain) {
    go(container_of(drain, struct service, drain), SERVICE_STOPPING);
}

static void drain(struct service *service) {
    reload_abort(service->reload);
    drain_begin(&service->drain, service, service->reload, on_drain_done);
}

static void on_farewell_done(struct farewell *farewell, bool failed) {
    struct service *service = container_of(farewell, struct service, farewell);
    if (failed && service->exit_status == EXIT_OK)
        service->exit_status = EXIT_SCRIPT;
    if (service->uplink.link != NULL && !service->options.runner) {
        event_stopped(service);
    }
    go(service, SERVICE_CLOSING);
}

static void run_stop_hooks(struct service *service) {
    reload_close_retiring(service->reload);
    discovery_close(&service->discovery);
    service->farewell = (struct farewell){
        .name = service->name,
        .clock = service_clock(service),
        .script = service->script,
        .bound_ms = service_drain_ms(service),
        .on_done = on_farewell_done,
    };
    farewell_begin(&service->farewell);
}

static void drop_script(struct service *service) {
    reload_close(service->reload);
    service->reload = NULL;
    if (service->intake != NULL)
        intake_cut(service->intake);
    if (service->script != NULL)
        script_close(service->script);
    service->script = NULL;
}

void service_connection_closed(struct service *service) {
    if (service->state == SERVICE_CLOSING && service->uplink.link == NULL &&
        list_empty(&service->connections))
        go(service, SERVICE_CLOSED);
}

/* The end of every way through a service. */
static void close_all(struct service *service) {
    farewell_cancel(&service->farewell);
    last_words_cancel(&service->last_words);
    drain_cancel(&service->drain);
    uplink_stop_confirming(&service->uplink);
    drop_script(service);
    intake_set_link(service->intake, NULL);
    discovery_close(&service->discovery);
    if (service->uplink.link != NULL)
        uplink_close(&service->uplink, service->drain.server_hangs);
    else
        service_connection_closed(service);
}

static void on_told(struct last_words *words) {
    close_all(container_of(words, struct service, last_words));
}

static void end(struct service *service) {
    if (!last_words_wait(&service->last_words, service->script, service_clock(service),
                         service_drain_ms(service), on_told))
        close_all(service);
}

void service_stop(struct service *service, int status) {
    if (service->exit_status == EXIT_OK)
        service->exit_status = status;
    if (service->stop_wanted)
        return;
    service->stop_wanted = true;
    switch (service->state) {
    case SERVICE_LOADED: /* service_start() goes on */
        break;
    case SERVICE_CONNECTING:
        go(service, SERVICE_CLOSING);
        break;
    case SERVICE_STARTING: /* on_start_end() goes on; a hook that does not wait is let finish */
        fibers_cancel(script_fibers(service->script), FIBER_PHASE);
        break;
    case SERVICE_SUBSCRIBING:
    case SERVICE_RUNNING:
        go(service, SERVICE_DRAINING);
        break;
    default:
        break;
    }
}

/* ---- the states, begun one after the other from the loop, outside of fibers ---- */

static void begin(struct service *service) {
    switch (service->state) {
    case SERVICE_STARTING:
        run_start_hooks(service);
        break;
    case SERVICE_SUBSCRIBING:
        subscribe(service);
        break;
    case SERVICE_RUNNING:
        run(service);
        break;
    case SERVICE_DRAINING:
        drain(service);
        break;
    case SERVICE_STOPPING:
        run_stop_hooks(service);
        break;
    case SERVICE_CLOSING:
        end(service);
        break;
    case SERVICE_CLOSED:
        service_discard(service);
        break;
    case SERVICE_LOADED:
    case SERVICE_CONNECTING: /* service_start() */
        break;
    }
}

static void on_turn(struct clock_timer *timer) {
    struct service *service = container_of(timer, struct service, turn);
    service->state = service->wanted;
    bool early = service->state > SERVICE_CONNECTING && service->state < SERVICE_DRAINING;
    if (early && service->stop_wanted) /* since that state was asked for */
        service->state = service->wanted = SERVICE_CLOSING;
    bool last = service->state == SERVICE_CLOSED; /* whose beginning frees it */
    if (last)
        service_changed(service);
    begin(service);
    if (!last)
        service_changed(service);
}

/* Never back, and what is further on overtakes what was asked for before. */
static void go(struct service *service, enum service_state state) {
    if (state <= service->wanted)
        return;
    service->wanted = state;
    service->turn.fire = on_turn;
    clock_arm(service_clock(service), &service->turn, 0);
}

/* ---- life ---- */

void service_discard(struct service *service) {
    drop_script(service);
    intake_close(service->intake);
    caches_leave(service->options.caches, service);
    tracer_close(service->tracer);
    if (service->started && service->options.on_stopped != NULL)
        service->options.on_stopped(service->options.owner, service, service->exit_status);
    voice_close(&service->voice);
    vitals_free(&service->vitals);
    tally_leave(service->messages);
    free(service->name);
    free(service->last_error);
    free(service);
}

static int open_parts(struct service *service) {
    static const struct intake_events events = {
        .on_drained = on_drained,
        .on_ended = on_ended,
        .on_error = on_intake_error,
        .on_refused = on_refused,
    };
    const struct service_options *options = &service->options;
    service->name =
        options->name ? strdup(options->name) : identity_name_from_path(options->path);
    service->messages = tally_open();
    int rc = service->name != NULL && service->messages != NULL ? unique_name(service->instance)
                                                                : LN_ENOMEM;
    if (rc == LN_OK)
        rc = intake_open(&service->intake, &events, service);
    if (rc == LN_OK && options->exporter != NULL)
        rc = tracing_open(&service->tracer, service);
    if (rc == LN_OK)
        rc = reload_open(&service->reload, service);
    if (rc == LN_OK)
        rc = service_load(service, options->source, options->source_len, NULL, 0,
                          &service->script);
    if (rc == LN_OK)
        bounds_follow(service);
    return rc;
}

int service_open(struct service **out, uv_loop_t *loop, struct scheduler *scheduler,
                 const struct service_options *options) {
    struct service *service = calloc(1, sizeof(*service));
    if (service == NULL)
        return LN_ENOMEM;
    service->options = *options;
    service->loop = loop;
    service->scheduler = scheduler;
    int rc = open_parts(service);
    if (rc < 0) {
        service_discard(service);
        return rc;
    }
    *out = service;
    return LN_OK;
}

int service_start(struct service *service) {
    service->started = true;
    voice_open(&service->voice, service);
    service->started_at = clock_wall(service_clock(service));
    service->state = service->wanted = SERVICE_CONNECTING;
    if (service->stop_wanted) /* os.exit() at the top level of the script */
        go(service, SERVICE_CLOSING);
    else if (service->options.offline)
        on_connected(service);
    else
        return connect_to_server(service);
    return LN_OK;
}

int service_reload(struct service *service, const char *source, size_t source_len,
                   service_reload_fn on_done, void *owner) {
    if (service->state != SERVICE_RUNNING || service->options.runner)
        return LN_ECLOSED;
    return reload_begin(service->reload, source, source_len, on_done, owner);
}

/* ---- what others ask ---- */

int service_set_name(struct service *service, const char *name) {
    if (!identity_name_ok(name))
        return LN_EINVAL;
    if (service->state != SERVICE_LOADED)
        return strcmp(name, service->name) == 0 ? LN_OK : LN_ECLOSED;
    char *copied = strdup(name);
    if (copied == NULL)
        return LN_ENOMEM;
    free(service->name);
    service->name = copied;
    return LN_OK;
}

void service_set_script(struct service *service, struct script *script) {
    service->script = script;
    bounds_follow(service);
    discover(service);
}

bool service_stopping(const struct service *service) {
    return service->stop_wanted;
}

const char *service_last_error(const struct service *service) {
    return service->last_error;
}

uv_loop_t *service_loop(const struct service *service) {
    return service->loop;
}

struct scheduler *service_scheduler(const struct service *service) {
    return service->scheduler;
}

struct tracer *service_tracer(const struct service *service) {
    return service->tracer;
}

struct clock *service_clock(const struct service *service) {
    return service->options.clock;
}

struct link *service_link(const struct service *service) {
    return service->uplink.link;
}

struct tally *service_messages(const struct service *service) {
    return service->messages;
}

struct list *service_connections(struct service *service) {
    return &service->connections;
}

struct intake *service_intake(const struct service *service) {
    return service->intake;
}

const char *service_name(const struct service *service) {
    return service->name;
}

const char *service_instance(const struct service *service) {
    return service->instance;
}

const struct reload *service_reload_state(const struct service *service) {
    return service->reload;
}

double service_started(const struct service *service) {
    return service->started_at;
}

const struct service_options *service_options(const struct service *service) {
    return &service->options;
}

enum service_state service_state(const struct service *service) {
    return service->state;
}

struct vitals *service_vitals(struct service *service) {
    return &service->vitals;
}

struct voice *service_voice(struct service *service) {
    return &service->voice;
}

struct script *service_script(const struct service *service) {
    return service->script;
}
