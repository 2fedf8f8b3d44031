/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the manager that has started this process is told, mostly systemd (Type=notify): that
 * all services run, that they reload, that they stop, in a few words how they are, and, if it
 * wants to hear that (WatchdogSec=), that the loop turns. The loop tells it, and no thread: a
 * loop that is held up is silent.
 *
 * All functions take NULL, when nobody wants to be told, and do nothing then.
 */
#ifndef LUNATS_NOTIFIER_H
#define LUNATS_NOTIFIER_H

#include <stdint.h>

#include <uv.h>

#include "host/services.h"

struct notifier;

/* Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, and removes them: they are not for what
 * we start. Returns NULL when nobody wants to be told, or cannot be, which the log says. The
 * caller hands it to notifier_close(). `services` is borrowed until then. */
struct notifier *notifier_open(uv_loop_t *loop, const struct services *services);

/* Something about the services has changed: tells what is new. */
void notifier_look(struct notifier *notifier);

/* The manager has asked for a reload, which has begun if there is anything to do. */
void notifier_asked(struct notifier *notifier);

/* The process stops, and takes `ms` at most for that. */
void notifier_stopping(struct notifier *notifier, uint64_t ms);

/* The memory goes with the loop. */
void notifier_close(struct notifier *notifier);

#endif
