/* SPDX-License-Identifier: Apache-2.0 */
/* What the log says of a connection that comes and goes. No line shows a password or token. */
#ifndef LUNATS_SERVICE_OUTAGE_H
#define LUNATS_SERVICE_OUTAGE_H

#include "host/link/link.h"

/* Why there is no connection at the start: a line for the log that says what to do about it;
 * serves: a private server would do. */
void outage_first(char *out, size_t size, const struct link_options *to, bool serves,
                  int status, const char *reason);

/* `connection` is the name of a further one of the service, NULL for its own; all is borrowed
 * for the call. */

/* For link_events.on_retry(): each reason why the connection does not come. */
void outage_log_retry(const char *service, const char *connection, const char *url,
                      const char *reason);

void outage_log_lost(const char *service, const char *connection, const struct link *link,
                     const char *reason);
void outage_log_over(const char *service, const char *connection, const struct link *link);

/* What link_close() says of what was published; nothing is told of 0. */
void outage_log_unsent(const char *service, const char *connection, size_t bytes);

#endif
