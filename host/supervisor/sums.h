/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The metrics of several workers as one text, in the format of Prometheus (0.0.4): counters and
 * histograms of the same name and labels are added up; gauges, and what has no type, get a
 * label that says of which worker they are.
 *
 * It reads what processes have written that run the scripts of users: a line that is none is
 * left out, and so is what would take more memory than the limit.
 */
#ifndef LUNATS_SUPERVISOR_SUMS_H
#define LUNATS_SUPERVISOR_SUMS_H

#include <stddef.h>

#include "host/base/text.h"

struct sums;

/* `limit`: bytes of memory, about. LN_OK or LN_ENOMEM. */
int sums_open(struct sums **out, size_t limit);
void sums_free(struct sums *sums);

/* Adds the text of a worker, the first of which is 1; 0: only what is added up. */
void sums_add(struct sums *sums, const char *text, size_t len, unsigned worker);

/* How many lines were left out, as they were none or there was no memory. */
size_t sums_dropped(const struct sums *sums);

void sums_write(const struct sums *sums, struct text *out);

#endif
