/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How far behind consumers are. Only the server knows that of one that gets no messages, so it
 * is asked when somebody wants the metrics: all consumers at once, for one second.
 */
#ifndef LUNATS_ADMIN_LAG_H
#define LUNATS_ADMIN_LAG_H

#include "host/admin/metrics.h"

struct admin;
struct lag;

/*
 * Asks; on_done() follows when all have answered or the time is over, possibly from inside the
 * call. `lag` is NULL when there is nothing to know; else it is the callee's, who hands it to
 * lag_free(). `owner` is passed on. Returns it while answers are awaited, else NULL.
 */
struct lag *lag_ask(struct admin *admin, void (*on_done)(void *owner, struct lag *lag),
                    void *owner);

/* Writes the families; does nothing for NULL. */
void lag_write(const struct lag *lag, struct metrics *metrics);

/* What is known of one, by its labels; false: nothing. */
bool lag_find(const struct lag *lag, const char *service, const char *stream,
              const char *consumer, double *pending, double *ack_pending);

/* Also while answers are awaited: on_done() is not called then. Does nothing for NULL. */
void lag_free(struct lag *lag);

#endif
