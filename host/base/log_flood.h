/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines that are repeated all the time. Part of the module log; nobody else includes it.
 *
 * The same line is one of the same service and level, with the same text and the same fields of
 * its own. In texts of warnings and errors numbers do not count, unless they follow a colon, as
 * numbers of lines do; nor does the id of an error. So much of it is written in a second, the
 * rest is counted, and the count is told when the second is over. What is remembered is
 * bounded: of more lines at a time than that none is held back.
 */
#ifndef LUNATS_BASE_LOG_FLOOD_H
#define LUNATS_BASE_LOG_FLOOD_H

#include "host/base/log.h"

/* A line that was not written each time. */
struct log_flood {
    enum log_level level;
    const char *service; /* NULL: the process itself */
    const char *text;    /* the beginning of its message */
    uint64_t hidden;     /* so often */
    uint64_t ms;         /* within that time */
};

/* How often in a second; 0: there is no limit. */
void log_flood_limit(unsigned per_second);

/* Whether the record is to be written; else it has been counted. `now_ms` has no leaps. */
bool log_flood_admits(const struct log_record *record, uint64_t now_ms);

/* Something is counted that has not been told. */
bool log_flood_counts(void);

/* Takes the next one whose second is over, or any if `all`. Valid until the next call. */
bool log_flood_next(uint64_t now_ms, bool all, struct log_flood *out);

#endif
