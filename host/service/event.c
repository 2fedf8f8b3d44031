/* SPDX-License-Identifier: Apache-2.0 */
#include "host/service/event.h"

#include <stdio.h>

#include "host/base/log.h"
#include "host/base/worker.h"

void event_publish(const struct service *service, const char *event) {
    const struct worker *worker = worker_self();
    char subject[256], body[768], more[192] = "";
    struct link *link = service_link(service);
    const char *name = service_name(service), *instance = service_instance(service);
    if (!link_is_connected(link))
        return;
    snprintf(subject, sizeof(subject), "lunats.events.%s.%s.%s", name, instance, event);
    if (worker != NULL)
        snprintf(more, sizeof(more),
                 ",\"worker\":%u,\"workers\":%u,\"restarts\":%u,\"last_end\":\"%s\"",
                 worker->number, worker->count, worker->restarts, worker->ended);
    int len = snprintf(body, sizeof(body),
                       "{\"service\":\"%s\",\"instance\":\"%s\",\"version\":\"%s\"%s}", name,
                       instance, script_about(service_script(service))->version, more);
    struct link_out out = {.subject = subject, .data = body, .len = (size_t)len};
    link_publish(link, &out);
}

void event_started(const struct service *service) {
    struct link_info info;
    event_publish(service, "started");
    link_get_info(service_link(service), &info);
    log_info(service_name(service), "started, connected to %s", info.url);
}

void event_stopped(const struct service *service) {
    event_publish(service, "stopped");
    log_info(service_name(service), "stopped");
}
