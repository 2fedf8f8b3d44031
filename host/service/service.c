/* SPDX-License-Identifier: Apache-2.0 */
#include "host/service/service.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/container_of.h"
#include "host/base/log.h"
#include "host/service/intake.h"

/* Bytes already published get this long to reach the server when a service closes. */
#define CLOSE_FLUSH_MS 2000

/* The server confirms subscriptions within this time, or the flush is repeated. */
#define CONFIRM_MS 10000

/* A start that waits for a server says so after this time. */
#define WAITING_MS 500

static void step_later(struct service *service, void (*step)(struct service *));
static void close_all(struct service *service);

/* ---- name, version, instance ---- */

#define NAME_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
#define VERSION_CHARS NAME_CHARS ".+"
#define NAME_LENGTH 64

/* Names are tokens of subjects and, like versions, go into JSON as they are. */
static bool name_ok(const char *name, const char *allowed) {
    size_t len = strlen(name);
    return len > 0 && len <= NAME_LENGTH && strspn(name, allowed) == len;
}

/* "examples/order book.lua" -> "order_book" */
static char *name_from_path(const char *path) {
    const char *slash = strrchr(path, '/');
    char *name = strdup(slash ? slash + 1 : path);
    if (name == NULL)
        return NULL;
    char *dot = strrchr(name, '.');
    if (dot != NULL && dot != name)
        *dot = '\0';
    if (strlen(name) > NAME_LENGTH)
        name[NAME_LENGTH] = '\0';
    for (char *at = name; *at != '\0'; at++)
        if (strchr(NAME_CHARS, *at) == NULL)
            *at = '_';
    return name;
}

/* 22 random characters: what tells this run of the service from every other one. */
static int make_instance(char out[SERVICE_INSTANCE_SIZE]) {
    static const char digits[] =
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    unsigned char bytes[SERVICE_INSTANCE_SIZE];
    int rc = uv_random(NULL, NULL, bytes, sizeof(bytes), 0, NULL);
    if (rc < 0)
        return rc;
    for (int i = 0; i < SERVICE_INSTANCE_SIZE - 1; i++)
        out[i] = digits[bytes[i] % 62];
    out[SERVICE_INSTANCE_SIZE - 1] = '\0';
    return LN_OK;
}

static int set_text(char **field, const char *text) {
    char *copied = strdup(text);
    if (copied == NULL)
        return LN_ENOMEM;
    free(*field);
    *field = copied;
    return LN_OK;
}

int service_set_name(struct service *service, const char *name) {
    if (!name_ok(name, NAME_CHARS))
        return LN_EINVAL;
    if (service->state != SERVICE_LOADED)
        return strcmp(name, service->name) == 0 ? LN_OK : LN_ECLOSED;
    return set_text(&service->name, name);
}

bool service_version_ok(const char *version) {
    return name_ok(version, VERSION_CHARS);
}

/* ---- events on the wire ---- */

void service_publish_event(struct service *service, const char *event) {
    char subject[256], body[512];
    if (!link_is_connected(service->link))
        return; /* news, not to be kept for later */
    snprintf(subject, sizeof(subject), "lunats.events.%s.%s.%s", service->name,
             service->instance, event);
    int len = snprintf(body, sizeof(body),
                       "{\"service\":\"%s\",\"instance\":\"%s\",\"version\":\"%s\"}",
                       service->name, service->instance, script_version(service->script));
    struct link_out out = {.subject = subject, .data = body, .len = (size_t)len};
    link_publish(service->link, &out);
}

/* ---- start ---- */

static void on_script_error(void *owner, const char *text) {
    struct service *service = owner;
    service->errors++;
    free(service->last_error);
    service->last_error = strdup(text);
    if (service->options.on_error != NULL)
        service->options.on_error(service->options.owner, text);
    else
        log_write(LOG_LEVEL_ERROR, service->name, text, NULL, 0);
}

static void on_script_exit(void *owner, int status) {
    struct service *service = owner;
    service_stop(service, status);
}

static void fail(struct service *service, int exit_status) {
    if (service->exit_status == EXIT_OK)
        service->exit_status = exit_status;
    step_later(service, close_all);
}

static void on_main_end(struct fiber *fiber, void *arg, int status, const char *text) {
    (void)fiber;
    struct service *service = arg;
    if (text != NULL)
        on_script_error(service, text);
    service_stop(service, status == LN_ESCRIPT ? EXIT_SCRIPT : EXIT_OK);
}

static void on_run_end(struct fiber *fiber, void *arg, int status, const char *text) {
    (void)fiber;
    if (status == LN_ESCRIPT)
        on_script_error(arg, text);
}

static void run_main(struct service *service) {
    service->state = SERVICE_RUNNING;
    script_set_state(service->script, SCRIPT_RUNNING);
    if (service->options.on_started != NULL)
        service->options.on_started(service->options.owner, service);
    script_run_phase(service->script, SCRIPT_RUN, on_run_end, service); /* timers and tasks */
    if (script_run_main(service->script, on_main_end, service) < 0)
        service_stop(service, EXIT_SCRIPT);
}

static void run(struct service *service) {
    service->state = SERVICE_RUNNING;
    /* First: it subscribes to what the event promises. */
    if (service->options.on_started != NULL)
        service->options.on_started(service->options.owner, service);
    service_publish_event(service, "started");
    struct link_info info;
    link_get_info(service->link, &info);
    log_info(service->name, "started, connected to %s", info.url);
    script_begin_resources(service->script);
    script_run_phase(service->script, SCRIPT_RUN, on_run_end, service);
}

static void confirm(struct service *service);

static void on_confirmed(struct link_call *call, int status, struct message *reply) {
    (void)reply;
    struct service *service = container_of(call, struct service, confirm);
    if (service->state != SERVICE_SUBSCRIBING)
        return;
    if (status == LN_OK)
        run(service);
    else if (link_is_connected(service->link)) /* otherwise on_state() confirms again */
        confirm(service);
}

static void confirm(struct service *service) {
    link_flush(service->link, &service->confirm, service->clock, CONFIRM_MS, on_confirmed);
}

static void subscribe_all(struct service *service) {
    if (service->stop_wanted) { /* since the end of the last hook */
        close_all(service);
        return;
    }
    service->state = SERVICE_SUBSCRIBING;
    script_set_state(service->script, SCRIPT_RUNNING);
    struct listener *listener = script_listeners(service->script);
    for (; listener != NULL; listener = listener->next) {
        if (listener->foreign || listener->gone)
            continue;
        int rc = service_listen(service, listener);
        if (rc < 0) {
            char line[512];
            snprintf(line, sizeof(line), "cannot subscribe to %s: %s", listener->subject,
                     rc == LN_ENATS ? link_last_error(service->link) : status_text(rc));
            on_script_error(service, line);
            fail(service, EXIT_SCRIPT);
            return;
        }
    }
    confirm(service);
}

static void on_start_end(struct fiber *fiber, void *arg, int status, const char *text) {
    (void)fiber;
    struct service *service = arg;
    if (text != NULL)
        on_script_error(service, text);
    if (status != LN_ESCRIPT && service->stop_wanted) /* it was cut, or ended just in time */
        step_later(service, close_all);
    else if (status != LN_OK)
        fail(service, EXIT_SCRIPT);
    else
        step_later(service, subscribe_all);
}

static void on_connected(struct service *service) {
    uv_timer_stop(&service->deadline);
    if (service->options.client_of != NULL) {
        service->state = SERVICE_RUNNING;
        if (service->options.on_started != NULL)
            service->options.on_started(service->options.owner, service);
        return;
    }
    if (service->options.runner) {
        run_main(service);
        return;
    }
    service->state = SERVICE_STARTING;
    if (script_run_phase(service->script, SCRIPT_START, on_start_end, service) < 0)
        fail(service, EXIT_SCRIPT);
}

static void on_first_failure(struct service *service, const char *text) {
    const struct link_options *to = &service->options.link;
    char line[1024];
    snprintf(line, sizeof(line),
             "cannot connect to %s%s: %s (start a nats-server there, give another one with "
             "--server, wait for it with --retry, or use a private one with --embedded)",
             to->servers[0], to->server_count > 1 ? " or the others" : "", text);
    on_script_error(service, line);
    service->exit_status = EXIT_NO_CONNECTION;
    step_later(service, close_all);
}

static void log_lost(const struct service *service, const char *text) {
    size_t count = link_unsent(service->link);
    char unsent[64] = "";
    if (count > 0)
        snprintf(unsent, sizeof(unsent), " with %zu bytes not sent", count);
    log_warn(service->name, "connection lost (%s)%s, reconnecting", text, unsent);
}

static void on_state(void *owner, enum link_state state, int status, const char *text) {
    struct service *service = owner;
    struct link_info info;
    (void)status;
    if (service->state == SERVICE_CONNECTING && service->stop_wanted)
        return; /* about to close; the strings of the options may be gone with their script */
    switch (state) {
    case LINK_CONNECTED:
        link_get_info(service->link, &info);
        if (service->state == SERVICE_CONNECTING) {
            on_connected(service);
        } else {
            log_info(service->name, "connected again to %s", info.url);
            if (service->state == SERVICE_SUBSCRIBING && service->confirm.link == NULL)
                confirm(service);
        }
        break;
    case LINK_DISCONNECTED:
        log_lost(service, text != NULL ? text : "");
        break;
    case LINK_CLOSED:
        if (service->state == SERVICE_CONNECTING)
            on_first_failure(service, text ? text : status_text(status));
        break;
    case LINK_CONNECTING:
        break;
    }
}

static void on_link_error(void *owner, int status, const char *text) {
    struct service *service = owner;
    log_error(service->name, "%s", text ? text : status_text(status));
}

static void on_lame_duck(void *owner) {
    struct service *service = owner;
    log_warn(service->name, "the server is going away (lame duck)");
}

/* ---- stop ---- */

static void on_link_closed(void *owner, size_t unsent) {
    struct service *service = owner;
    service->link = NULL;
    if (unsent > 0)
        log_warn(service->name, "%zu bytes that were published could not be sent", unsent);
    step_later(service, service_discard);
}

static void drop_script(struct service *service) {
    reload_abort(service);
    reload_close_retiring(service);
    inbound_forget_listeners(service);
    if (service->script != NULL && service->options.client_of == NULL)
        script_close(service->script);
    service->script = NULL;
}

/* The end of every way through a service. Runs outside of fibers. */
static void close_all(struct service *service) {
    service->state = SERVICE_CLOSING;
    uv_timer_stop(&service->deadline);
    link_call_cancel(&service->confirm);
    drop_script(service);
    if (service->link != NULL)
        link_close(service->link, CLOSE_FLUSH_MS, on_link_closed, service);
    else
        step_later(service, service_discard);
}

static void on_stop_end(struct fiber *fiber, void *arg, int status, const char *text) {
    (void)fiber;
    struct service *service = arg;
    if (text != NULL)
        on_script_error(service, text);
    if (status == LN_ESCRIPT && service->exit_status == EXIT_OK)
        service->exit_status = EXIT_SCRIPT;
    if (service->link != NULL && !service->options.runner) {
        service_publish_event(service, "stopped");
        log_info(service->name, "stopped");
    }
    step_later(service, close_all);
}

static void on_stop_deadline(uv_timer_t *timer) {
    struct service *service = timer->data;
    log_warn(service->name, "on_stop took longer than %g s and was cut",
             service->options.drain_timeout);
    if (service->exit_status == EXIT_OK)
        service->exit_status = EXIT_SCRIPT;
    fibers_cancel(script_fibers(service->script), FIBER_PHASE);
    step_later(service, close_all); /* unless the fiber ended by the cancellation */
}

static uint64_t drain_ms(const struct service *service) {
    return (uint64_t)(service->options.drain_timeout * 1000);
}

static void run_stop_hooks(struct service *service) {
    if (service->state != SERVICE_DRAINING)
        return;
    reload_close_retiring(service);
    service->state = SERVICE_STOPPING;
    fibers_on_idle(script_fibers(service->script), FIBER_HANDLER, NULL, NULL);
    uv_timer_start(&service->deadline, on_stop_deadline, drain_ms(service), 0);
    if (script_run_phase(service->script, SCRIPT_STOP, on_stop_end, service) < 0)
        step_later(service, close_all);
}

static void on_handlers_done(void *owner) {
    struct service *service = owner;
    service->handlers_done = true;
    if (service->retiring == NULL)
        step_later(service, run_stop_hooks);
}

void service_retired(struct service *service) {
    if (service->state == SERVICE_DRAINING && service->handlers_done)
        step_later(service, run_stop_hooks);
}

void service_drained(struct service *service) {
    struct fibers *fibers = script_fibers(service->script);
    fibers_cancel(fibers, FIBER_BACKGROUND);
    fibers_on_idle(fibers, FIBER_HANDLER, on_handlers_done, service);
}

static void on_drain_deadline(uv_timer_t *timer) {
    struct service *service = timer->data;
    struct fibers *fibers = script_fibers(service->script);
    size_t handlers = fibers_count(fibers, FIBER_HANDLER);
    if (handlers > 0)
        log_warn(service->name, "%zu handlers did not finish within %g s and are cut", handlers,
                 service->options.drain_timeout);
    else
        log_warn(service->name, "the server did not end the subscriptions within %g s",
                 service->options.drain_timeout);
    fibers_cancel(fibers, FIBER_BACKGROUND);
    fibers_cancel(fibers, FIBER_HANDLER);
    step_later(service, run_stop_hooks);
}

static void drain(struct service *service) {
    if (service->state == SERVICE_DRAINING)
        return;
    service->state = SERVICE_DRAINING;
    reload_abort(service);
    uv_timer_start(&service->deadline, on_drain_deadline, drain_ms(service), 0);
    script_drain_resources(service->script);
    inbound_drain(service, (uint32_t)drain_ms(service));
}

/* The handlers of a client run in a script that goes on: the last one to end closes it. */
static void close_client(struct service *service) {
    service->state = SERVICE_DRAINING;
    inbound_forget_listeners(service);
    service_message_done(service);
}

void service_message_done(struct service *service) {
    if (service->inflight == 0 && service->state == SERVICE_DRAINING &&
        service->options.client_of != NULL)
        step_later(service, close_all);
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
        step_later(service, close_all);
        break;
    case SERVICE_STARTING: /* on_start_end() goes on; a hook that does not wait is let finish */
        fibers_cancel(script_fibers(service->script), FIBER_PHASE);
        break;
    case SERVICE_SUBSCRIBING:
    case SERVICE_RUNNING:
        step_later(service, service->options.client_of != NULL ? close_client : drain);
        break;
    default:
        break;
    }
}

void service_abandon(struct service *service) {
    drop_script(service);
    service_stop(service, EXIT_OK);
}

/* ---- life ---- */

/* Steps run from the loop, outside of all fibers and callbacks, the latest one asked for. */
static void on_step(uv_timer_t *timer) {
    struct service *service = timer->data;
    void (*step)(struct service *) = service->step;
    service->step = NULL;
    if (step != NULL)
        step(service);
}

static void step_later(struct service *service, void (*step)(struct service *)) {
    if (service->state == SERVICE_CLOSING && step != service_discard)
        return; /* nothing overtakes the end */
    if (service->step == close_all && step != service_discard)
        return;
    service->step = step;
    uv_timer_start(&service->stepper, on_step, 0, 0);
}

static void on_timer_closed(uv_handle_t *handle) {
    struct service *service = handle->data;
    if (--service->handles > 0)
        return;
    void (*on_stopped)(void *, struct service *, int) = service->options.on_stopped;
    void *owner = service->options.owner;
    int status = service->exit_status;
    if (service->started && on_stopped != NULL)
        on_stopped(owner, service, status);
    free(service->name);
    free(service->last_error);
    free(service);
}

void service_discard(struct service *service) {
    drop_script(service);
    inbound_free_spare(service);
    clock_close(service->clock);
    service->handles = 2;
    uv_close((uv_handle_t *)&service->stepper, on_timer_closed);
    uv_close((uv_handle_t *)&service->deadline, on_timer_closed);
}

static void on_script_file(void *owner, const char *path) {
    struct service *service = owner;
    if (service->options.on_file != NULL)
        service->options.on_file(service->options.owner, service, path);
}

int service_load(struct service *service, const char *source, size_t source_len,
                 const char *saved, size_t saved_len, struct script **out) {
    const struct service_options *from = &service->options;
    struct script_options options = {
        .path = from->path,
        .source = source,
        .source_len = source_len,
        .saved = saved,
        .saved_len = saved_len,
        .argc = from->argc,
        .argv = from->argv,
        .manual_clock = from->manual_clock,
        .as_fiber = from->runner,
        .open = from->open,
        .service = service,
        .on_error = on_script_error,
        .on_exit = on_script_exit,
        .on_file = on_script_file,
        .owner = service,
    };
    return script_open(out, service->loop, service->scheduler, &options);
}

int service_open(struct service **out, uv_loop_t *loop, struct scheduler *scheduler,
                 const struct service_options *options) {
    struct service *service = calloc(1, sizeof(*service));
    if (service == NULL)
        return LN_ENOMEM;
    service->options = *options;
    service->loop = loop;
    service->scheduler = scheduler;
    service->name = options->name ? strdup(options->name) : name_from_path(options->path);
    int rc = service->name != NULL ? make_instance(service->instance) : LN_ENOMEM;
    if (rc == LN_OK)
        rc = clock_open(&service->clock, loop, false);
    if (rc < 0) {
        free(service->name);
        free(service);
        return rc;
    }
    uv_timer_init(loop, &service->stepper);
    uv_timer_init(loop, &service->deadline);
    service->stepper.data = service->deadline.data = service;
    if (options->client_of != NULL)
        service->script = options->client_of;
    else
        rc = service_load(service, options->source, options->source_len, NULL, 0,
                          &service->script);
    if (rc < 0) {
        service_discard(service);
        return rc;
    }
    *out = service;
    return LN_OK;
}

/* With --retry a missing server is no failure, but nobody shall wonder why nothing happens. */
static void on_still_connecting(uv_timer_t *timer) {
    struct service *service = timer->data;
    log_warn(service->name, "waiting for a server at %s%s", service->options.link.servers[0],
             service->options.link.server_count > 1 ? " or the others" : "");
}

int service_start(struct service *service) {
    service->started = true;
    service->state = SERVICE_CONNECTING;
    if (service->stop_wanted) { /* os.exit() at the top level of the script */
        step_later(service, close_all);
        return LN_OK;
    }
    if (service->options.offline) {
        step_later(service, on_connected);
        return LN_OK;
    }
    struct link_options options = service->options.link;
    if (options.name == NULL)
        options.name = service->name;
    if (options.retry)
        uv_timer_start(&service->deadline, on_still_connecting, WAITING_MS, 0);
    struct link_events events = {
        .on_state = on_state,
        .on_error = on_link_error,
        .on_lame_duck = on_lame_duck,
    };
    return link_open(&service->link, service->loop, &options, &events, service);
}

/* ---- what the bindings ask ---- */

struct link *service_link(const struct service *service) {
    return service->link;
}

const char *service_name(const struct service *service) {
    return service->name;
}

const char *service_instance(const struct service *service) {
    return service->instance;
}

const char *service_js_prefix(const struct service *service) {
    const char *prefix = service->options.js_prefix;
    return prefix != NULL ? prefix : "$JS.API";
}

enum service_state service_state(const struct service *service) {
    return service->state;
}

unsigned service_client_id(const struct service *service) {
    return service->options.client_id;
}

struct script *service_script(const struct service *service) {
    return service->script;
}
