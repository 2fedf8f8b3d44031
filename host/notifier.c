/* SPDX-License-Identifier: Apache-2.0 */
#include "host/notifier.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "host/link/link.h"
#include "host/service/service.h"

#define STATUS_SIZE 256

/* What is not as it should be, or NULL. */
static const char *trouble_of(const struct service *service) {
    const struct link *link = service_link(service);
    switch (service_state(service)) {
    case SERVICE_LOADED:
    case SERVICE_CONNECTING:
        return "has no connection to NATS yet";
    case SERVICE_STARTING:
        return "its on_start hooks run";
    case SERVICE_SUBSCRIBING:
        return "waits for the server to confirm its listeners";
    case SERVICE_RUNNING:
        break;
    default:
        return "stops";
    }
    if (service_reloading(service))
        return "reloads";
    if (link != NULL && !link_is_connected(link))
        return "the connection to NATS is lost; it is tried again";
    return service_reloads(service).last_failed
               ? "the last reload failed, the version before runs"
               : NULL;
}

struct look {
    size_t services;
    bool run, reload; /* all of them; one of them */
    char status[STATUS_SIZE];
};

/* The first trouble, else the names. */
static struct look look_at(const struct services *services) {
    struct look look = {.run = true};
    char names[STATUS_SIZE - 16] = "";
    const struct service *service = NULL;
    while ((service = services_next(services, service)) != NULL) {
        const char *trouble = trouble_of(service);
        size_t len = strlen(names);
        snprintf(names + len, sizeof(names) - len, "%s%s", look.services++ > 0 ? ", " : "",
                 service_name(service));
        look.run &= service_state(service) >= SERVICE_RUNNING;
        look.reload |= service_reloading(service);
        if (trouble != NULL && look.status[0] == '\0')
            snprintf(look.status, sizeof(look.status), "%s: %s", service_name(service),
                     trouble);
    }
    look.run &= look.services > 0;
    if (look.services == 0)
        snprintf(look.status, sizeof(look.status), "no service runs");
    else if (look.status[0] == '\0')
        snprintf(look.status, sizeof(look.status), "serves %s", names);
    return look;
}

void notifier_look(struct herald *herald, const struct services *services) {
    enum herald_phase phase = herald_phase(herald);
    if (phase == HERALD_STOPPING)
        return;
    struct look look = look_at(services);
    if (phase == HERALD_READY && look.reload)
        herald_reloading(herald);
    herald_status(herald, look.status);
    phase = herald_phase(herald);
    if ((phase == HERALD_STARTING && look.run) || (phase == HERALD_RELOADING && !look.reload))
        herald_ready(herald);
}

void notifier_asked(struct herald *herald, const struct services *services) {
    enum herald_phase phase = herald_phase(herald);
    if (phase == HERALD_STARTING || phase == HERALD_STOPPING)
        return;
    herald_reloading(herald);
    notifier_look(herald, services);
}
