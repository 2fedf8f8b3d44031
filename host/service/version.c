/* SPDX-License-Identifier: Apache-2.0 */
/* Loading a version of the script, and what versions tell their service. */
#include <stdio.h>

#include "host/base/log.h"
#include "host/service/connection.h"
#include "host/service/internal.h"
#include "host/service/slow.h"

static void on_error(void *owner, const struct script_error *error) {
    service_failed(owner, error);
}

static void on_warning(void *owner, const char *text) {
    const struct service *service = owner;
    log_write(LOG_LEVEL_WARN, service_name(service), text, NULL, 0);
}

/* Of its connections: what they have brought, their buffers and their listeners. */
static size_t other_memory(void *owner) {
    struct service *service = owner;
    const struct link *link = service_link(service);
    return service_messages(service)->bytes + (link != NULL ? link_memory(link) : 0) +
           connections_memory(service_connections(service)) +
           intake_memory(service_intake(service));
}

/* Why a service ends must not be a riddle. Under test it is an error, where it says failure. */
static void tell_exit(struct service *service, int status, const char *where) {
    const struct service_options *options = service_options(service);
    char text[512];
    snprintf(text, sizeof(text), "%sos.exit(%d) was called: stopping", where, status);
    if (status != 0 && options->on_error != NULL)
        options->on_error(options->owner, text);
    else
        log_write(status != 0 ? LOG_LEVEL_WARN : LOG_LEVEL_INFO, service_name(service), text,
                  NULL, 0);
}

static void on_exit(void *owner, struct script *script, int status, const char *where) {
    struct service *service = owner;
    if (service_take_exit(service, script, status, where))
        return;
    if (!service_options(service)->runner && !service_stopping(service))
        tell_exit(service, status, where);
    service_stop(service, status);
}

static void on_file(void *owner, const char *path) {
    struct service *service = owner;
    const struct service_options *options = service_options(service);
    if (options->on_file != NULL)
        options->on_file(options->owner, service, path);
}

int service_load(struct service *service, const char *source, size_t source_len,
                 const char *saved, size_t saved_len, struct script **out) {
    const struct service_options *from = service_options(service);
    struct script_options options = {
        .path = from->path,
        .source = source,
        .source_len = source_len,
        .saved = saved,
        .saved_len = saved_len,
        .argc = from->argc,
        .argv = from->argv,
        .manual_clock = from->manual_clock,
        .limits = from->limits,
        .as_fiber = from->runner,
        .open = from->open,
        .prelude = from->prelude,
        .safe_libs = from->safe_libs,
        .service = service,
        .real_clock = from->clock,
        .on_error = on_error,
        .on_warning = on_warning,
        .other_memory = other_memory,
        .on_exit = on_exit,
        .on_file = on_file,
        .owner = service,
    };
    int rc = script_open(out, service_loop(service), service_scheduler(service), &options);
    if (rc == LN_OK && !from->runner)
        slow_watch(*out);
    return rc;
}
