/* SPDX-License-Identifier: Apache-2.0 */
/* What the manager of the process is told (host/base/herald.h) of the services: that all of
 * them run, that one reloads, and in a few words how they are. */
#ifndef LUNATS_NOTIFIER_H
#define LUNATS_NOTIFIER_H

#include "host/base/herald.h"
#include "host/services.h"

/* Something about the services has changed: tells what is new. */
void notifier_look(struct herald *herald, const struct services *services);

/* The manager has asked for a reload, which has begun if there is anything to do. */
void notifier_asked(struct herald *herald, const struct services *services);

#endif
