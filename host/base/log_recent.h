/* SPDX-License-Identifier: Apache-2.0 */
/* The last lines that were written to the log, for whoever looks at it later. */
#ifndef LUNATS_BASE_LOG_RECENT_H
#define LUNATS_BASE_LOG_RECENT_H

#include <stdint.h>

#include "host/base/log.h"

#define LOG_RECENT_MAX 200       /* lines */
#define LOG_RECENT_TEXT_MAX 1024 /* bytes of one; the end of a longer one is left out */

struct log_recent_line {
    struct list_node node;
    uint64_t number; /* 1, 2, 3, ... */
    int64_t time_ms; /* Unix time in milliseconds */
    enum log_level level;
    const char *service; /* NULL: the process itself */
    char text[];         /* what stands behind time, level and service */
};

struct log_recent;

/* Keeps lines from now on. On success *out is the caller's, who hands it to
 * log_recent_close(). LN_OK or LN_ENOMEM. */
int log_recent_open(struct log_recent **out);
void log_recent_close(struct log_recent *recent);

/* What it has, the oldest first; borrowed until the next line. */
const struct list *log_recent_lines(const struct log_recent *recent);
/* The number of the latest, 0: there is none. */
uint64_t log_recent_last(const struct log_recent *recent);

#endif
