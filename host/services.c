/* SPDX-License-Identifier: Apache-2.0 */
#include "host/services.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/base/folder.h"
#include "host/base/list.h"
#include "host/base/log.h"
#include "host/base/resolve.h"
#include "host/base/watch.h"
#include "host/service/trigger.h"

/* A file that is gone may be about to be replaced. */
#define GONE_MS 500

/* A script. */
struct unit {
    struct list_node node;
    struct services *services;
    struct trigger *trigger; /* NULL: of a command that does not serve */
    struct service *service; /* NULL: it is none at present */
    const char *folder;      /* in which it was found; NULL: the user has named it */
    bool late;               /* loaded while others run */
    bool runs;
    bool missing; /* its file, at the last look */
    bool leaves;  /* its file is gone for good */
    bool told;    /* that it is no service */
    char path[];
};

struct services {
    uv_timer_t again; /* first: the next look into the folders; closed by on_closed() */
    const struct options *options;
    struct services_hooks hooks;
    struct list units;
    struct watch *watch; /* of the folders; NULL: there is none */
    size_t alive;        /* services that were started */
    int status;
    bool started, stopping;
    bool running; /* all of them have been, at the same time */
};

static bool serves(const struct services *services) {
    return options_command_serves(services->options->command);
}

/* ---- a script ---- */

static void free_unit(struct unit *unit) {
    list_remove(&unit->node);
    if (unit->trigger != NULL)
        trigger_close(unit->trigger);
    free(unit);
}

static void on_change(void *owner);
static void on_again(uv_timer_t *timer);

static struct unit *add_unit(struct services *services, const char *path, const char *folder) {
    struct unit *unit = calloc(1, sizeof(*unit) + strlen(path) + 1);
    if (unit == NULL)
        return NULL;
    unit->services = services;
    unit->folder = folder;
    strcpy(unit->path, path);
    struct trigger_options options = {
        .watch = services->options->watch,
        .poll_ms = (unsigned)(services->options->watch_poll * 1000),
        .control = services->options->control,
        .on_change = on_change,
        .owner = unit,
    };
    if (serves(services) && trigger_open(&unit->trigger, services->again.loop, &options) < 0) {
        free(unit);
        return NULL;
    }
    list_push_back(&services->units, &unit->node);
    return unit;
}

static void on_file(void *owner, struct service *service, const char *path) {
    (void)service;
    const struct unit *unit = owner;
    if (unit->trigger != NULL)
        trigger_add_file(unit->trigger, path);
}

static void tell_running(struct services *services) {
    if (services->running)
        return;
    list_each (struct unit, unit, &services->units, node)
        if (unit->service != NULL && !unit->runs)
            return;
    services->running = true;
    services->hooks.on_running(services->hooks.owner);
}

static void on_started(void *owner, struct service *service) {
    struct unit *unit = owner;
    unit->runs = true;
    tell_running(unit->services);
    if (unit->trigger == NULL)
        return;
    int rc = trigger_attach(unit->trigger, service);
    if (rc < 0)
        log_error(service_name(service), "cannot wait for requests on its control subjects: %s",
                  status_text(rc));
}

static void on_reconnected(void *owner, struct service *service) {
    (void)service;
    const struct unit *unit = owner;
    if (unit->trigger != NULL)
        trigger_reconnected(unit->trigger);
}

static void tell_change(const struct services *services) {
    if (services->hooks.on_change != NULL)
        services->hooks.on_change(services->hooks.owner);
}

static void on_service_change(void *owner, struct service *service) {
    (void)service;
    tell_change(((const struct unit *)owner)->services);
}

static void stop_all(struct services *services, int status) {
    list_each (struct unit, unit, &services->units, node)
        if (unit->service != NULL)
            service_stop(unit->service, status);
}

static void warn_not_started(const struct unit *unit) {
    log_warn(NULL, "%s is not started; the others go on", unit->path);
}

static void on_stopped(void *owner, struct service *service, int status) {
    (void)service;
    struct unit *unit = owner;
    struct services *services = unit->services;
    bool alone = unit->leaves || (unit->late && !unit->runs);
    unit->service = NULL;
    if (unit->trigger != NULL)
        trigger_detach(unit->trigger);
    services->alive--;
    if (alone && !services->stopping) {
        if (unit->leaves) {
            free_unit(unit);
            uv_timer_start(&services->again, on_again, 0, 0); /* it may be there again */
        } else {
            warn_not_started(unit);
        }
        if (services->alive == 0)
            log_info(NULL, "no service is left: waiting for a script");
        tell_change(services);
        return;
    }
    if (services->status == EXIT_OK)
        services->status = status;
    services->stopping = true;
    stop_all(services, EXIT_OK); /* services of a process live and end together */
    if (services->alive == 0)
        services->hooks.on_ended(services->hooks.owner, services->status);
}

struct service *services_next(const struct services *services, const struct service *after) {
    list_each (struct unit, unit, &services->units, node) {
        if (unit->service != NULL && after == NULL)
            return unit->service;
        if (unit->service == after)
            after = NULL;
    }
    return NULL;
}

/* A script that ends itself while it is loaded has not failed, but is no service either. */
static bool is_late_exit(const struct unit *unit) {
    if (!unit->late || !service_stopping(unit->service))
        return false;
    warn_not_started(unit);
    return true;
}

/* Tells what to do about a script that declares nothing. False: it is no service. */
static bool is_service(struct unit *unit) {
    const struct script *script = service_script(unit->service);
    const char *name = service_name(unit->service);
    if (!serves(unit->services) || service_stopping(unit->service) || script_declares(script))
        return true;
    if (unit->folder != NULL) {
        log_write(unit->told ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO, name,
                  "declares no listener, timer, task or hook: a module, and no service", NULL,
                  0);
        unit->told = true;
        return false;
    }
    if (!script_returns(script)) {
        log_warn(name, "declares no listener, timer, task or hook: there is nothing to serve "
                       "(`lunats lua` runs a file once)");
        return true;
    }
    log_error(name,
              "%s is a module: it returns a value and declares no listener, timer, task or "
              "hook; name the script that requires it (`lunats lua` runs a file once)",
              unit->path);
    return false;
}

/* EXIT_OK: the script is loaded, and perhaps a service. */
static int load_unit(struct unit *unit) {
    const struct services_hooks *hooks = &unit->services->hooks;
    struct service_options events = {
        .on_file = on_file,
        .on_started = on_started,
        .on_change = on_service_change,
        .on_reconnected = on_reconnected,
        .on_stopped = on_stopped,
        .link = {.retry = unit->late}, /* the others wait for the server, too */
        .owner = unit,
    };
    unit->runs = false;
    if (unit->trigger != NULL)
        trigger_forget(unit->trigger);
    int rc = hooks->open(hooks->owner, unit->path, &events, &unit->service);
    if (rc < 0) {
        unit->service = NULL;
        if (rc != LN_ESCRIPT)
            log_error(NULL, "cannot load %s: %s", unit->path, status_text(rc));
        return EXIT_SCRIPT;
    }
    if (!is_late_exit(unit) && is_service(unit))
        return EXIT_OK;
    service_discard(unit->service);
    unit->service = NULL;
    return unit->folder != NULL ? EXIT_OK : EXIT_USAGE;
}

static void start_unit(struct unit *unit) {
    if (unit->service == NULL)
        return;
    unit->services->alive++;
    int rc = service_start(unit->service);
    if (rc < 0) {
        log_error(service_name(unit->service), "cannot start: %s", status_text(rc));
        service_stop(unit->service, EXIT_SCRIPT);
    }
}

static void load_late(struct unit *unit) {
    if (unit->service != NULL || !unit->services->started || unit->services->stopping)
        return;
    unit->late = true;
    if (load_unit(unit) != EXIT_OK)
        warn_not_started(unit);
    start_unit(unit);
}

static void on_change(void *owner) {
    load_late(owner);
}

/* ---- folders ---- */

static struct unit *find(const struct services *services, const char *path) {
    list_each (struct unit, unit, &services->units, node)
        if (strcmp(unit->path, path) == 0)
            return unit;
    return NULL;
}

/* A folder that is gone itself is about to be replaced, or its services are all that is left.
 */
static void look_for_missing(struct services *services, const char *folder) {
    list_each (struct unit, unit, &services->units, node) {
        if (unit->folder != folder || unit->leaves)
            continue;
        bool was_missing = unit->missing;
        unit->missing = access(unit->path, F_OK) < 0;
        unit->leaves = was_missing && unit->missing;
        if (unit->missing && !was_missing) {
            log_debug(NULL, "%s is missing", unit->path);
            uv_timer_start(&services->again, on_again, GONE_MS, 0);
        }
        if (!unit->leaves)
            continue;
        log_info(NULL, "%s is gone%s", unit->path, unit->service != NULL ? ": stopping" : "");
        if (unit->service != NULL)
            service_stop(unit->service, EXIT_OK);
        else
            free_unit(unit);
    }
}

static void look_into(struct services *services, const char *folder) {
    char **paths, real[PATH_MAX];
    size_t count;
    if (folder_scripts(resolve_logical(folder, real), &paths, &count) < 0)
        return;
    look_for_missing(services, folder);
    for (size_t i = 0; i < count; i++) {
        if (find(services, paths[i]) != NULL)
            continue;
        struct unit *unit = add_unit(services, paths[i], folder);
        if (unit != NULL)
            load_late(unit);
    }
    folder_free(paths, count);
}

static void look(struct services *services) {
    if (!services->started || services->stopping)
        return;
    for (size_t i = 0; i < services->options->folder_count; i++)
        look_into(services, services->options->folders[i]);
}

static void on_again(uv_timer_t *timer) {
    look((struct services *)timer);
}

static void on_folder(void *owner, const char *path) {
    (void)path;
    look(owner);
}

static void watch_folders(struct services *services) {
    const struct options *options = services->options;
    char real[PATH_MAX];
    if (!serves(services) || !options->watch || options->folder_count == 0)
        return;
    int rc = watch_open(&services->watch, services->again.loop,
                        (unsigned)(options->watch_poll * 1000), on_folder, services);
    for (size_t i = 0; i < options->folder_count && rc == 0; i++)
        rc = watch_add_folder(services->watch, resolve_logical(options->folders[i], real),
                              FOLDER_SUFFIX, true);
    if (rc < 0)
        log_warn(NULL,
                 "cannot watch for new files: %s; --watch-poll SECONDS needs nothing of "
                 "the system",
                 uv_strerror(rc));
}

/* ---- all of them ---- */

static const char *folder_of(const struct options *options, const char *path) {
    for (size_t i = 0; i < options->folder_count; i++)
        if (folder_has(options->folders[i], path))
            return options->folders[i];
    return NULL;
}

static int load_script(struct services *services, const char *path) {
    char real[PATH_MAX], found[2 * PATH_MAX];
    const char *folder = folder_of(services->options, path);
    if (folder != NULL) { /* as look_into() will name it */
        snprintf(found, sizeof(found), "%s%s", resolve_logical(folder, real),
                 path + strlen(folder));
        path = found;
    } else if (serves(services)) { /* and so reloads */
        path = resolve_logical(path, real);
    }
    struct unit *unit = add_unit(services, path, folder);
    if (unit != NULL)
        return load_unit(unit);
    log_error(NULL, "cannot load %s: out of memory", path);
    return EXIT_SCRIPT;
}

int services_load(struct services *services, const char *command) {
    const struct options *options = services->options;
    if (command != NULL)
        return load_script(services, command);
    watch_folders(services);
    bool any = false;
    for (size_t i = 0; i < options->script_count; i++) {
        int status = load_script(services, options->scripts[i]);
        if (status != EXIT_OK)
            return status;
    }
    list_each (struct unit, unit, &services->units, node)
        any |= unit->service != NULL;
    if (any)
        return EXIT_OK;
    log_error(NULL, "none of the scripts declares anything to serve");
    return EXIT_SCRIPT;
}

void services_start(struct services *services) {
    services->started = true;
    list_each (struct unit, unit, &services->units, node)
        start_unit(unit);
    tell_change(services);
    if (services->watch != NULL) /* what has come since it was loaded */
        uv_timer_start(&services->again, on_again, 0, 0);
}

bool services_reload(struct services *services) {
    bool any = list_empty(&services->units);
    list_each (struct unit, unit, &services->units, node) {
        if (unit->service == NULL) {
            load_late(unit);
            any = true;
        } else if (unit->trigger != NULL) {
            any |= trigger_pull(unit->trigger);
        }
    }
    look(services);
    return any;
}

void services_look(struct services *services) {
    list_each (struct unit, unit, &services->units, node)
        load_late(unit);
    look(services);
}

int services_reload_one(const struct services *services, const struct service *service,
                        service_reload_fn on_done, void *owner) {
    list_each (struct unit, unit, &services->units, node)
        if (unit->service == service && unit->trigger != NULL)
            return trigger_ask(unit->trigger, on_done, owner);
    return LN_ECLOSED;
}

void services_describe(const struct services *services) {
    list_each (struct unit, unit, &services->units, node)
        if (unit->service != NULL)
            service_describe(unit->service);
}

bool services_stop(struct services *services, int status) {
    services->stopping = true;
    if (services->alive == 0)
        return false;
    stop_all(services, status);
    return true;
}

void services_discard(struct services *services) {
    services->stopping = true;
    uv_timer_stop(&services->again);
    if (services->watch != NULL)
        watch_close(services->watch);
    services->watch = NULL;
    list_each (struct unit, unit, &services->units, node) {
        if (unit->service != NULL)
            service_discard(unit->service);
        free_unit(unit);
    }
}

int services_open(struct services **out, uv_loop_t *loop, const struct options *options,
                  const struct services_hooks *hooks) {
    struct services *services = calloc(1, sizeof(*services));
    if (services == NULL)
        return LN_ENOMEM;
    uv_timer_init(loop, &services->again); /* cannot fail */
    services->options = options;
    services->hooks = *hooks;
    *out = services;
    return LN_OK;
}

static void on_closed(uv_handle_t *handle) {
    free(handle);
}

void services_free(struct services *services) {
    services_discard(services);
    uv_close((uv_handle_t *)&services->again, on_closed);
}
