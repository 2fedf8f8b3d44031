/* SPDX-License-Identifier: Apache-2.0 */
#include "host/host.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/admin/admin.h"
#include "host/base/clock.h"
#include "host/base/log.h"
#include "host/base/output.h"
#include "host/base/url.h"
#include "host/base/worker.h"
#include "host/broker/broker.h"
#include "host/cache/cache.h"
#include "host/dial/dial.h"
#include "host/notifier.h"
#include "host/script/watchdog.h"
#include "host/service/service.h"
#include "host/services.h"
#include "host/settings.h"
#include "host/signals.h"
#include "host/thread/crew.h"
#include "host/trace/exporter.h"
#include "host/web/web.h"
#include "host/welcome.h"

struct host {
    uv_loop_t loop;
    uv_async_t interrupt; /* SIGINT or SIGTERM came; SIGHUP where there is nothing to reload */
    uv_timer_t printer;   /* while what was logged or printed waits for its reader */
    const struct options *options;
    const struct host_hooks *hooks;
    struct scheduler *scheduler;
    struct caches *caches;     /* of app.cache */
    struct clock *clock;       /* real time, for all that is on the loop */
    struct admin *admin;       /* NULL: none, or closing */
    struct web *web;           /* what scripts serve by HTTP; NULL: closing */
    struct exporter *exporter; /* of traces; NULL: none, or closing */
    struct broker *broker;
    char *broker_url; /* owned; of the private server */
    const char *servers[1];
    char source[80]; /* Lua chunk of a command that is written in Lua; "": the user's scripts */
    struct services *services;
    struct herald *herald;       /* tells the manager how we are; NULL: nobody wants that */
    uv_signal_t hangup, inquiry; /* SIGUSR1: what runs? */
    int status;
    bool finishing;
    bool terminal; /* `dev` was started from one, with which it ends */
    bool greeting; /* `dev` in a terminal has yet to say what there is */
};

static bool is_private(const struct host *host) {
    return host->options->connection == OPTIONS_PRIVATE;
}

/* ---- end ---- */

#define PRINT_MS 10     /* between two looks at a reader that was too slow */
#define EXPORT_MS 1000  /* for the last traces, at the end */
#define HTTP_MS 1000    /* for clients to read their last answers */
#define THREADS_MS 5000 /* for what app.thread has begun, at the end */
#define READER_MS 1000  /* without a sign of a reader, at the end: nobody reads any more */

static bool serves(const struct host *host) {
    return options_command_serves(host->options->command);
}

static void on_printer(uv_timer_t *timer) {
    if (log_drain())
        uv_timer_stop(timer);
}

static void on_waiting(void *owner) {
    struct host *host = owner;
    uv_timer_start(&host->printer, on_printer, PRINT_MS, PRINT_MS);
}

/* What services log and print never waits for its reader. */
static void open_output(struct host *host) {
    uv_timer_init(&host->loop, &host->printer); /* cannot fail */
    uv_unref((uv_handle_t *)&host->printer);
    if (!serves(host))
        return;
    output_never_wait();
    log_on_waiting(on_waiting, host);
}

/* The end waits for readers that read. What io.write has left in its buffer would wait for ever
 * for one that does not. */
static void end_output(const struct host *host) {
    log_end();
    if (output_flush(READER_MS))
        log_drain();
    struct pollfd ready = {.fd = STDOUT_FILENO, .events = POLLOUT};
    if (!output_waits() && __fpending(stdout) > 0 && poll(&ready, 1, READER_MS) == 0)
        _exit(host->status);
}

static void close_handles(struct host *host) {
    log_on_waiting(NULL, NULL);
    uv_close((uv_handle_t *)&host->printer, NULL);
    signals_release();
    uv_close((uv_handle_t *)&host->interrupt, NULL);
    uv_close((uv_handle_t *)&host->hangup, NULL);
    uv_close((uv_handle_t *)&host->inquiry, NULL);
    if (serves(host))
        signals_ignore_late();
}

static void on_broker_stopped(void *owner) {
    close_handles(owner);
}

static void stop_broker(void *owner) {
    struct host *host = owner;
    if (host->broker != NULL)
        broker_stop(host->broker, on_broker_stopped, host);
    else
        close_handles(host);
    host->broker = NULL;
}

static void close_admin(void *owner) {
    struct host *host = owner;
    if (host->admin != NULL)
        admin_close(host->admin, stop_broker, host);
    else
        stop_broker(host);
    host->admin = NULL;
}

static void close_exporter(void *owner) {
    struct host *host = owner;
    struct exporter *exporter = host->exporter;
    host->exporter = NULL;
    if (exporter != NULL)
        exporter_close(exporter, EXPORT_MS, close_admin, host);
    else
        close_admin(host);
}

static void say_stopping(const struct host *host) {
    herald_stopping(host->herald, (uint64_t)(host->options->drain_timeout * 1000));
}

/* All services are gone: the loop runs out of handles and host_run() goes on. */
static void finish(struct host *host) {
    if (host->finishing)
        return;
    host->finishing = true;
    say_stopping(host);
    herald_close(host->herald);
    host->herald = NULL;
    services_discard(host->services);
    struct web *web = host->web;
    host->web = NULL;
    web_close(web, HTTP_MS, close_exporter, host);
}

static void on_ended(void *owner, int status) {
    struct host *host = owner;
    if (host->status == EXIT_OK)
        host->status = status;
    const struct options *options = host->options;
    if (host->status == EXIT_NO_CONNECTION && options->server_config != NULL &&
        is_private(host) && !options->identity_given)
        log_error(NULL,
                  "if %s has users of its own, --user and --password (or --creds, --token, "
                  "--nkey) say which one to be",
                  options->server_config);
    finish(host);
}

static void on_change(void *owner) {
    struct host *host = owner;
    notifier_look(host->herald, host->services);
    if (!host->greeting)
        return;
    const struct welcome welcome = {
        .server = host->broker_url,
        .page = host->admin != NULL ? admin_url(host->admin) : NULL,
        .http = web_url(host->web),
        .web = host->web,
    };
    host->greeting = !welcome_print(&welcome, host->services);
}

static void stop(struct host *host, int status) {
    say_stopping(host);
    if (worker_self() != NULL && host->web != NULL)
        web_quiesce(host->web); /* other workers go on */
    if (services_stop(host->services, status))
        return;
    if (host->status == EXIT_OK && !host->finishing)
        host->status = status;
    finish(host); /* still waiting for the private server, or about to end anyway */
}

static void on_interrupt(uv_async_t *handle) {
    struct host *host = handle->data;
    int signum;
    const char *text = signals_take(&signum);
    if (serves(host)) /* others end before anybody has read it */
        log_info(NULL, "%s: stopping (once more to end at once)", text);
    /* A service has done its work; tests that did not run have not passed. */
    stop(host, serves(host) ? EXIT_OK : 128 + signum);
}

/* ---- reload ---- */

static bool has_terminal(void) {
    int fd = open("/dev/tty", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static void on_hangup(uv_signal_t *handle, int signum) {
    (void)signum;
    struct host *host = handle->data;
    if (host->terminal && !has_terminal()) { /* closed: nobody will ever press Ctrl-C */
        log_info(NULL, "the terminal is gone: stopping");
        stop(host, EXIT_OK);
        return;
    }
    if (services_reload(host->services))
        log_info(NULL, "hang-up: reloading");
    notifier_asked(host->herald, host->services);
}

static void on_inquiry(uv_signal_t *handle, int signum) {
    (void)signum;
    const struct host *host = handle->data;
    services_describe(host->services);
}

/* ---- start ---- */

/* The commands that are written in Lua see the command line as core.options. */
static int give_options(const struct host *host, struct service *service) {
    lua_State *L = script_lua(service_script(service));
    lua_pushcfunction(L, host->hooks->take_options);
    lua_pushlightuserdata(L, (void *)(uintptr_t)host->options);
    int rc = lua_pcall(L, 1, 0, 0);
    lua_settop(L, 0);
    if (rc == LUA_OK)
        return LN_OK;
    service_discard(service);
    return LN_ENOMEM; /* nothing else can go wrong */
}

static int open_service(void *owner, const char *path, const struct service_options *events,
                        struct service **out) {
    struct host *host = owner;
    const struct options *options = host->options;
    struct service_options service = {
        .path = path,
        .runner = !options_command_serves(options->command),
        .own_errors = options->command != OPTIONS_LUA,
        .offline = options->connection == OPTIONS_OFFLINE || options->command == OPTIONS_DOCTOR,
        .clock = host->clock,
        .drain_timeout = options->drain_timeout,
        .limits = settings_limits(options),
        .log_subject = serves(host) ? options->log_subject : NULL,
        .count_collections = options->admin != NULL,
        .keep_errors = options->admin != NULL,
        .short_errors = options->errors == OPTIONS_ERRORS_SHORT,
        .safe_libs = options->safe_libs && options_command_serves(options->command),
        .exporter = host->exporter,
        .caches = host->caches,
        .web = host->web,
        .open = host->hooks->open_bindings,
        .on_started = events->on_started,
        .on_change = events->on_change,
        .on_reconnected = events->on_reconnected,
        .on_stopped = events->on_stopped,
        .on_file = events->on_file,
        .owner = events->owner,
        .argc = (int)options->arg_count,
        .argv = options->args,
    };
    if (host->source[0] != '\0') {
        service.source = host->source;
        service.source_len = strlen(host->source);
        if (options_lua_file(options) == NULL) /* whose name the service has otherwise */
            service.name = options_command_name(options->command);
    }
    if (options->console && serves(host)) /* `check` only wants to know */
        service.prelude = "require('lunats.console')";
    service.js_prefix = options->js_prefix;
    settings_link(options, is_private(host) ? host->servers : NULL, &service.link);
    service.link.retry |= events->link.retry;
    int rc = service_open(out, &host->loop, host->scheduler, &service);
    return rc == LN_OK && service.source != NULL ? give_options(host, *out) : rc;
}

static struct service *next_service(const void *owner, const struct service *after) {
    return services_next(((const struct host *)owner)->services, after);
}

static int reload_service(const void *owner, struct service *service, service_reload_fn on_done,
                          void *done_owner) {
    return services_reload_one(((const struct host *)owner)->services, service, on_done,
                               done_owner);
}

static bool count_traces(const void *owner, struct exporter_stats *out) {
    const struct host *host = owner;
    if (host->exporter != NULL)
        exporter_get_stats(host->exporter, out);
    return host->exporter != NULL;
}

static void look_for_services(const void *owner) {
    services_look(((const struct host *)owner)->services);
}

static void on_orphaned(void *owner) {
    log_warn(NULL, "the parent of this worker has died: stopping");
    stop(owner, EXIT_OK);
}

/* The parent of a worker has the port, and asks for its pages. */
static int open_channel(struct host *host, struct admin_options *admin,
                        const struct worker *worker) {
    char error[256];
    admin->address = NULL;
    admin->channel = worker->channel;
    admin->on_orphaned = on_orphaned;
    admin->orphan_owner = host;
    admin->control = true;
    admin->look = look_for_services;
    if (admin_open(&host->admin, &host->loop, admin, error, sizeof(error)) == LN_OK)
        return EXIT_OK;
    log_error(NULL, "%s", error);
    return EXIT_SCRIPT;
}

/* Before anything connects: an operator sees what it waits for. */
static int open_admin(struct host *host) {
    const struct options *options = host->options;
    const struct worker *worker = worker_self();
    struct admin_options admin = {
        .address = options->admin,
        .token_file = options->admin_token,
        .control = options->control,
        .caches = host->caches,
        .next = next_service,
        .reload = reload_service,
        .traces = count_traces,
        .web = &host->web,
        .owner = host,
    };
    char error[1024];
    if (worker != NULL)
        return open_channel(host, &admin, worker);
    if (options->admin == NULL)
        return EXIT_OK;
    int rc = admin_open(&host->admin, &host->loop, &admin, error, sizeof(error));
    if (rc == UV_ENOENT && !options->admin_given) { /* nobody has asked for it */
        log_info(NULL, "no admin port: %s", error);
        return EXIT_OK;
    }
    if (rc < 0) {
        log_error(NULL, "admin port: %s", error);
        return EXIT_SCRIPT;
    }
    log_info(NULL, "admin port at %s", admin_url(host->admin));
    if (admin_is_public(host->admin))
        log_warn(NULL, "the admin port can be reached from other machines: whoever gets there "
                       "can read what it shows");
    return EXIT_OK;
}

/* Before the services start, too: clients are told to come again. */
static int open_http(struct host *host) {
    char error[1024];
    if (web_listen(host->web, error, sizeof(error)) == LN_OK)
        return EXIT_OK;
    log_error(NULL, "--http: %s", error);
    return EXIT_SCRIPT;
}

/* A worker shares the port with others, so that it takes requests only once it serves them. */
static void on_running(void *owner) {
    struct host *host = owner;
    if (worker_self() != NULL && host->web != NULL && open_http(host) != EXIT_OK)
        stop(host, EXIT_SCRIPT);
}

/* Where the environment asks for traces, `dev` does without a module that is not installed. */
static int open_exporter(struct host *host) {
    struct trace_settings settings;
    char error[1024] = "out of memory", url[512];
    const char *given = host->options->otlp;
    if (!serves(host))
        return EXIT_OK;
    int rc = trace_settings_read(&settings, given, error, sizeof(error));
    if (rc < 0)
        trace_settings_free(&settings);
    if (rc == LN_OK && settings.url != NULL)
        rc = exporter_open(&host->exporter, &host->loop, &settings, error, sizeof(error));
    if (rc == UV_ENOENT && given == NULL && host->options->command == OPTIONS_DEV) {
        log_info(NULL, "no traces: %s", error);
        return EXIT_OK;
    }
    if (rc < 0) {
        log_error(NULL, "traces: %s", error);
        return rc == LN_EINVAL ? EXIT_USAGE : EXIT_SCRIPT;
    }
    if (host->exporter != NULL)
        log_info(NULL, "traces go to %s",
                 url_shown(exporter_settings(host->exporter)->url, url, sizeof(url)));
    return EXIT_OK;
}

static int load_all(struct host *host) {
    const struct options *options = host->options;
    const char *module = options_command_module(options->command);
    if (module != NULL)
        snprintf(host->source, sizeof(host->source), "return require('%s')(...)", module);
    const char *path = options_lua_file(options);
    if (module != NULL && path == NULL)
        path = options_command_name(options->command);
    return services_load(host->services, path);
}

static void on_broker_ready(void *owner, int status, const char *url, const char *text) {
    struct host *host = owner;
    char shown[PATH_MAX];
    if (status == LN_OK && !signals_came()) {
        if (host->options->identity_given) /* of the server's configuration, not ours */
            url = url_shown(url, shown, sizeof(shown));
        host->broker_url = strdup(url);
        host->servers[0] = host->broker_url;
        log_info(NULL, "private nats-server at %s", url);
        services_start(host->services);
        return;
    }
    if (status != LN_OK && !signals_came()) {
        const char *advice = status == UV_EADDRINUSE ? "; choose another one with --port"
                             : status == UV_EBUSY    ? "; choose another one with --store"
                                                     : "";
        log_error(NULL, "%s%s", text, advice);
        host->status = EXIT_NO_CONNECTION;
    }
    finish(host);
}

static void on_broker_exit(void *owner, int status, const char *text) {
    (void)owner, (void)status;
    log_error(NULL, "the private nats-server ended: %s", text);
}

static void start_broker(struct host *host) {
    struct broker_options options = {
        .port = (int)host->options->port,
        .dir = host->options->store,
        .config_include = host->options->server_config,
    };
    int rc = broker_open(&host->broker, &host->loop, &options, on_broker_ready, on_broker_exit,
                         host);
    if (rc < 0)
        on_broker_ready(host, rc, NULL, status_text(rc));
}

static void watch_signals(struct host *host) {
    uv_async_init(&host->loop, &host->interrupt, on_interrupt);
    host->interrupt.data = host;
    uv_unref((uv_handle_t *)&host->interrupt);
    uv_signal_init(&host->loop, &host->hangup);
    host->hangup.data = host;
    uv_unref((uv_handle_t *)&host->hangup);
    uv_signal_init(&host->loop, &host->inquiry);
    host->inquiry.data = host;
    uv_unref((uv_handle_t *)&host->inquiry);
    signals_catch(&host->interrupt, scheduler_watchdog(host->scheduler), !serves(host),
                  (unsigned)host->options->drain_timeout + WORKER_STOP_S);
    host->terminal = host->options->command == OPTIONS_DEV && has_terminal();
    host->greeting = host->terminal && isatty(STDERR_FILENO);
    if (serves(host)) {
        uv_signal_start(&host->hangup, on_hangup, SIGHUP);
        uv_signal_start(&host->inquiry, on_inquiry, SIGUSR1);
    }
}

/* What is there before any script. */
static int open_parts(struct host *host) {
    const struct worker *worker = worker_self();
    const struct services_hooks parts = {.open = open_service,
                                         .on_running = on_running,
                                         .on_ended = on_ended,
                                         .on_change = on_change,
                                         .owner = host};
    const struct web_options web = {
        .loop = serves(host) ? &host->loop : NULL,
        .address = host->options->http,
        .late = !host->options->http_given,
        .fd = worker != NULL && worker->http > 0 ? worker->http : 0,
    };
    int rc = uv_loop_init(&host->loop);
    if (rc == LN_OK)
        rc = scheduler_open(&host->scheduler, serves(host) ? &host->loop : NULL);
    if (rc == LN_OK)
        rc = clock_open(&host->clock, &host->loop, false);
    if (rc == LN_OK)
        rc = caches_open(&host->caches, &host->loop);
    if (rc == LN_OK)
        rc = web_open(&host->web, &web);
    if (rc == LN_OK)
        rc = services_open(&host->services, &host->loop, host->options, &parts);
    return rc;
}

int host_run(const struct options *options, const struct host_hooks *hooks) {
    struct host host = {.options = options, .hooks = hooks};
    if (options->origin != NULL)
        log_printf(serves(&host) ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG, NULL,
                   "connection settings from %s", options->origin);
    int rc = open_parts(&host);
    if (rc < 0) {
        log_error(NULL, "cannot start: %s", status_text(rc));
        return EXIT_SCRIPT;
    }
    struct watchdog *dog = scheduler_watchdog(host.scheduler);
    watchdog_end_process(dog, (uint32_t)(options->stall_exit * 1000), EXIT_STALL);
    watch_signals(&host);
    if (serves(&host))
        host.herald = herald_open(&host.loop);
    open_output(&host);
    host.status = open_exporter(&host);
    if (host.status == EXIT_OK)
        host.status = load_all(&host);
    if (host.status == EXIT_OK)
        host.status = open_admin(&host);
    if (host.status == EXIT_OK && worker_self() == NULL)
        host.status = open_http(&host);
    if (host.status != EXIT_OK) {
        finish(&host);
    } else if (is_private(&host)) {
        start_broker(&host);
    } else {
        services_start(host.services);
    }
    uv_run(&host.loop, UV_RUN_DEFAULT);
    services_free(host.services);
    caches_close(host.caches);
    clock_close(host.clock); /* what specs have opened needs it to the last */
    scheduler_close(host.scheduler);
    uv_run(&host.loop, UV_RUN_DEFAULT);
    uv_loop_close(&host.loop);
    free(host.broker_url);
    bool alone = crews_end(THREADS_MS);
    end_output(&host);
    alone &= dial_close_library();
    if (!alone) {
        fflush(NULL);
        _exit(host.status); /* exit handlers would run beside threads, of nats.c for one */
    }
    return host.status;
}
