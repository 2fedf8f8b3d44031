/* SPDX-License-Identifier: Apache-2.0 */
/* What a service tells everybody on the wire about itself. */
#ifndef LUNATS_SERVICE_EVENT_H
#define LUNATS_SERVICE_EVENT_H

#include "host/link/link.h"

/*
 * Publishes lunats.events.<service>.<instance>.<event>. News is not kept for later: does
 * nothing while there is no connection.
 */
void event_publish(struct link *link, const char *service, const char *instance,
                   const char *version, const char *event);

#endif
