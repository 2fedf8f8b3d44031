/* SPDX-License-Identifier: Apache-2.0 */
#include "host/service/event.h"

#include <stdio.h>

void event_publish(struct link *link, const char *service, const char *instance,
                   const char *version, const char *event) {
    char subject[256], body[512];
    if (!link_is_connected(link))
        return;
    snprintf(subject, sizeof(subject), "lunats.events.%s.%s.%s", service, instance, event);
    int len = snprintf(body, sizeof(body),
                       "{\"service\":\"%s\",\"instance\":\"%s\",\"version\":\"%s\"}", service,
                       instance, version);
    struct link_out out = {.subject = subject, .data = body, .len = (size_t)len};
    link_publish(link, &out);
}
