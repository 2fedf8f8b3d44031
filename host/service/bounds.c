/* SPDX-License-Identifier: Apache-2.0 */
#include "host/service/bounds.h"

#include "host/base/tally.h"
#include "host/link/link.h"
#include "host/service/service.h"

/* What waits to be handled, and to be sent, leaves the script half of what it may have. */
#define MESSAGES_SHARE 2
/* Bytes that are not sent make publishers wait: that part of what the service may have, ... */
#define HIGH_WATER_SHARE 8
/* ... and no more than the usual mark. */
#define HIGH_WATER_MAX ((size_t)8 * 1024 * 1024)

static size_t high_water_of(const struct script *script) {
    size_t high_water = script_limits(script)->memory / HIGH_WATER_SHARE;
    return high_water < HIGH_WATER_MAX ? high_water : 0;
}

void bounds_set(const struct service *service, const struct script *script,
                struct link_options *options) {
    options->tally = service_messages(service);
    options->high_water = high_water_of(script);
}

void bounds_follow(struct service *service) {
    const struct script *script = service_script(service);
    struct link *link = service_link(service);
    service_messages(service)->most = script_limits(script)->memory / MESSAGES_SHARE;
    if (link != NULL)
        link_set_high_water(link, high_water_of(script));
}
