/* SPDX-License-Identifier: Apache-2.0 */
/* A worker as a process: this program once more, with the same arguments. */
#ifndef LUNATS_SUPERVISOR_SPAWN_H
#define LUNATS_SUPERVISOR_SPAWN_H

#include <sys/types.h>

#include "host/base/worker.h"

/*
 * Starts it, in a process group of its own, so that a signal of the terminal goes to the parent
 * alone, and with nothing of ours but standard output and error, its connection and the socket
 * of app.http. `worker` says who it is; its connection is made here: *fd is our end and the
 * caller's, as *pid is his to wait for. LN_OK, LN_ENOMEM or a code of libuv.
 */
int spawn_worker(const struct worker *worker, char *const *arguments, pid_t *pid, int *fd);

#endif
