/* SPDX-License-Identifier: Apache-2.0 */
/* What a service tells everybody about itself: on the wire, and in the log. */
#ifndef LUNATS_SERVICE_EVENT_H
#define LUNATS_SERVICE_EVENT_H

#include "host/service/service.h"

/*
 * Publishes lunats.events.<service>.<instance>.<event>. News is not kept for later: does
 * nothing while there is no connection.
 */
void event_publish(const struct service *service, const char *event);

/* That it serves, and that it does not any more. */
void event_started(const struct service *service);
void event_stopped(const struct service *service);

#endif
