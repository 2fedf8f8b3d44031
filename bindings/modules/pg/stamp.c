/* SPDX-License-Identifier: Apache-2.0 */
/* Timestamps as PostgreSQL writes them with DateStyle ISO. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bindings/modules/pg/internal.h"

/* Digits up to something else; false: none. */
static bool number(const char **at, int64_t *out) {
    const char *start = *at;
    for (*out = 0; **at >= '0' && **at <= '9' && *at - start < 9; (*at)++)
        *out = *out * 10 + (**at - '0');
    return *at > start;
}

static bool mark(const char **at, char wanted) {
    if (**at != wanted)
        return false;
    (*at)++;
    return true;
}

/* Days from 1970-01-01, in the Gregorian calendar, which PostgreSQL extends backwards. */
static int64_t days(int64_t year, int64_t month, int64_t day) {
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t of_era = year - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

/* "+01", "-03:30", "+00:19:32" as seconds; what is no zone is none. */
static int64_t zone(const char **at) {
    int64_t part, seconds = 0, unit = 3600, sign = **at == '-' ? -1 : 1;
    if (**at != '+' && **at != '-')
        return 0;
    do {
        (*at)++;
        if (!number(at, &part))
            break;
        seconds += part * unit;
        unit /= 60;
    } while (**at == ':');
    return sign * seconds;
}

bool read_stamp(const char *text, double *seconds) {
    int64_t year, month, day, hour, minute, second;
    const char *at = text;
    if (strcmp(text, "infinity") == 0 || strcmp(text, "-infinity") == 0) {
        *seconds = *text == '-' ? -HUGE_VAL : HUGE_VAL;
        return true;
    }
    if (!number(&at, &year) || !mark(&at, '-') || !number(&at, &month) || !mark(&at, '-') ||
        !number(&at, &day) || !mark(&at, ' ') || !number(&at, &hour) || !mark(&at, ':') ||
        !number(&at, &minute) || !mark(&at, ':') || !number(&at, &second))
        return false;
    double fraction = 0;
    if (*at == '.') {
        char *end;
        fraction = strtod(at, &end);
        at = end;
    }
    int64_t offset = zone(&at);
    if (strcmp(at, " BC") == 0) {
        year = 1 - year;
        at += 3;
    }
    int64_t whole = days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second;
    *seconds = (double)(whole - offset) + fraction;
    return *at == '\0';
}
