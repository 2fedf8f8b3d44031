/* SPDX-License-Identifier: Apache-2.0 */
/* The signals that end the process (host/base/stop_signal.h), where scripts run: a watchdog
 * says what a stop waits for, and a terminal is given back. */
#ifndef LUNATS_SIGNALS_H
#define LUNATS_SIGNALS_H

#include <stdbool.h>

#include <uv.h>

#include "host/script/watchdog.h"

/* SIGINT and SIGTERM wake `async`; `dog` says what a stop waits for. Both are borrowed until
 * signals_release(). `hangup`: SIGHUP is one of them, unless somebody wants us to survive it
 * (nohup). `orphan_s`: see stop_signal.h. */
void signals_catch(uv_async_t *async, struct watchdog *dog, bool hangup, unsigned orphan_s);

/* They do what they do by default again. */
void signals_release(void);

/* At the end of what handles SIGHUP and SIGUSR1: they would end us with another status. */
void signals_ignore_late(void);

/* One has come; by now the loop may know of it or not. */
bool signals_came(void);

/* The loop knows of it. Returns a few words for the log; borrowed, static. */
const char *signals_take(int *signum);

/* First of all: writing to what nobody reads is an error, and no signal; and who asks what runs
 * before anything does gets no answer, rather than ending us. */
void signals_begin(void);

#endif
