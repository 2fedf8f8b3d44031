/* SPDX-License-Identifier: Apache-2.0 */
/* What follows from the options of a service. */
#include "host/service/service.h"

uint32_t service_drain_ms(const struct service *service) {
    return (uint32_t)(service_options(service)->drain_timeout * 1000);
}

const char *service_js_prefix(const struct service *service) {
    const char *prefix = service_options(service)->js_prefix;
    return prefix != NULL ? prefix : "$JS.API";
}
