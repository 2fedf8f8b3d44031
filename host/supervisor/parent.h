/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `lunats run --workers`: a process that starts others of the same command line and keeps them
 * going (./supervisor.h). It runs no Lua and has no connection to NATS. It owns the sockets of
 * --http, which workers share, and of --admin, where it answers for all of them.
 */
#ifndef LUNATS_SUPERVISOR_PARENT_H
#define LUNATS_SUPERVISOR_PARENT_H

#include "host/options/options.h"

/* Runs until all workers have ended; returns the exit status of the process. */
int parent_run(const struct options *options);

#endif
