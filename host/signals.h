/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The signals that end the process. Their handler is called in whatever thread, at whatever
 * time: it wakes the loop, and ends the process itself at the second one, since a script in an
 * endless loop never lets the loop see the first.
 */
#ifndef LUNATS_SIGNALS_H
#define LUNATS_SIGNALS_H

#include <stdbool.h>

#include <uv.h>

#include "host/script/watchdog.h"

/* SIGINT and SIGTERM wake `async`; `dog` says what a stop waits for. Both are borrowed until
 * signals_release(). `hangup`: SIGHUP is one of them, unless somebody wants us to survive it
 * (nohup). */
void signals_catch(uv_async_t *async, struct watchdog *dog, bool hangup);

/* They do what they do by default again; with `hangup` as it was. */
void signals_release(bool hangup);

/* At the end of what handles SIGHUP and SIGUSR1: they would end us with another status. */
void signals_ignore_late(void);

/* One has come; by now the loop may know of it or not. */
bool signals_came(void);

/* The loop knows of it. Returns a few words for the log; borrowed, static. */
const char *signals_take(int *signum);

/* Writing to what nobody reads is an error, and no signal. */
void signals_survive_pipes(void);

#endif
