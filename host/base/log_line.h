/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A record of the log as a line of text or JSON. Part of the module log; nobody else includes
 * it.
 *
 * A line has a bounded length: what is too long is cut, and says so where it is cut. Characters
 * that could move the cursor, colour a terminal or change the order of what it shows are
 * written as escapes.
 */
#ifndef LUNATS_BASE_LOG_LINE_H
#define LUNATS_BASE_LOG_LINE_H

#include "host/base/log.h"

#define LOG_LINE_FIXED 2048 /* longer lines are composed on the heap */

/* A line that is being composed. */
struct log_line {
    char *data;
    size_t len, size;
    size_t limit; /* strings end here; a few bytes more may follow */
    bool full;    /* out of memory: what did not fit is missing */
    char fixed[LOG_LINE_FIXED];
};

/* Composes the record, with a line break at the end. log_line_free() in any case. */
void log_line_compose(struct log_line *line, const struct log_record *record,
                      enum log_format format, bool colours);
void log_line_free(struct log_line *line);

#endif
