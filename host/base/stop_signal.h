/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SIGINT and SIGTERM of the process: the first one stops it in order, a second one ends it at
 * once. The handler itself does the latter, since a loop that is stuck never sees the first.
 */
#ifndef LUNATS_BASE_STOP_SIGNAL_H
#define LUNATS_BASE_STOP_SIGNAL_H

#include <stdbool.h>

#include <uv.h>

/* Signals that come so close together are one stop: `timeout` of coreutils sends its signal to
 * the child and to the group, to which the child belongs. */
#define STOP_SIGNAL_SAME_MS 500

struct stop_signal_hooks {
    uv_async_t *async; /* sent at the first one */
    /* Both run in the handler, on any thread. Either may be NULL. */
    void (*first)(int signum);
    void (*second)(int signum); /* the process ends after it */
    unsigned orphan_s; /* a worker whose parent has died is killed when that many seconds were
                        * not enough for a stop; 0: never */
};

/* SIGHUP does the same with `hangup`, unless somebody wants the process to survive it (nohup).
 */
void stop_signal_begin(const struct stop_signal_hooks *hooks, bool hangup);
void stop_signal_end(void);

/* The signal that came; 0: none yet. */
int stop_signal_last(void);

/* "interrupted", "terminated" or "hang-up". */
const char *stop_signal_text(int signum);

#endif
