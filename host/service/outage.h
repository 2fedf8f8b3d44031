/* SPDX-License-Identifier: Apache-2.0 */
/* What the log says of a connection that comes and goes. */
#ifndef LUNATS_SERVICE_OUTAGE_H
#define LUNATS_SERVICE_OUTAGE_H

#include <stdbool.h>

#include "host/link/link.h"

/* Why a service has not started: a line for the log that says what to do about it. No line
 * shows a password or token. */
void outage_first(char *out, size_t size, const struct link_options *to, const char *reason);

/* With --retry a missing server is no failure, but nobody shall wonder why nothing happens. */
void outage_log_waiting(const char *name, const struct link_options *to);

/* One connection; all zero at first. */
struct outage {
    bool connected_once, lost;
};

/*
 * Logs a change of the state as link_events.on_state() tells it: that the connection is lost,
 * each reason why it does not come, and that it is there again. `name` is the service's.
 */
void outage_log(struct outage *outage, const char *name, const struct link *link,
                enum link_state state, const char *text);

#endif
