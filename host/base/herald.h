/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the manager that has started this process is told, mostly systemd (Type=notify): that it
 * is ready, that it reloads, that it stops, in a few words how it is, and, if the manager wants
 * to hear that (WatchdogSec=), that the loop turns. The loop tells it, and no thread: a loop
 * that is held up is silent.
 *
 * All functions take NULL, when nobody wants to be told, and do nothing then.
 */
#ifndef LUNATS_BASE_HERALD_H
#define LUNATS_BASE_HERALD_H

#include <stdint.h>

#include <uv.h>

struct herald;

/* Only ever forward, but for HERALD_RELOADING, which comes and goes. */
enum herald_phase { HERALD_STARTING, HERALD_READY, HERALD_RELOADING, HERALD_STOPPING };

/* Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, and removes them: they are not for what
 * we start. Returns NULL when nobody wants to be told, or cannot be, which the log says. The
 * caller hands it to herald_close(). */
struct herald *herald_open(uv_loop_t *loop);

/* That was told last; of NULL HERALD_STOPPING, after which there is nothing to tell. */
enum herald_phase herald_phase(const struct herald *herald);

void herald_ready(struct herald *herald);
/* Again is fine: it is what comes after the question that counts. */
void herald_reloading(struct herald *herald);
/* The process takes `ms` at most to stop. */
void herald_stopping(struct herald *herald, uint64_t ms);

/* How it is, if that is new. */
void herald_status(struct herald *herald, const char *status);

/* The memory goes with the loop. */
void herald_close(struct herald *herald);

#endif
