/* SPDX-License-Identifier: Apache-2.0 */
/* Fibers as the log names them. */
#ifndef LUNATS_SCRIPT_TITLE_H
#define LUNATS_SCRIPT_TITLE_H

#include <stddef.h>

#include "host/base/log.h"
#include "host/script/fiber.h"

#define TITLE_SIZE 512

/* Writes what the fiber does: what its role says, its label, or that it was spawned. */
void fiber_title(const struct fiber *fiber, char *out, size_t size);

/* Who runs now, for a line about it: `what`, if it is no fiber. The service is "" if that is
 * not known. Both have that size. For handlers of signals. */
void fiber_say(const char *what, char *title, char *service, size_t size);

/* Writes where a fiber that waits does so, " at orders.lua:17"; "" if that is nowhere in the
 * script. */
void fiber_place(const struct fiber *fiber, char *out, size_t size);

/* What each line has that the fiber logs, or one that it has started: what its role says, the
 * name of its timer or task, else what it was started in. Returns how many. */
size_t fiber_facts(const struct fiber *fiber, struct log_field out[LOG_CONTEXT_MAX]);

/* The same for the fiber that runs, if one does; for log_set_context(). */
size_t fiber_log_context(struct log_field out[LOG_CONTEXT_MAX]);

#endif
