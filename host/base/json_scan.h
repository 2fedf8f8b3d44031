/* SPDX-License-Identifier: Apache-2.0 */
/*
 * As much of JSON as it takes to read some members of an object: what a server tells of itself,
 * a file with settings. Looks at no more than it is asked for, allocates nothing.
 */
#ifndef LUNATS_BASE_JSON_SCAN_H
#define LUNATS_BASE_JSON_SCAN_H

#include <stddef.h>

/* All pointers lead into the text, which ends at `end` and needs no zero there. */
const char *json_skip_blanks(const char *at, const char *end);

/* Reads a string from its quote on; `out` gets what fits, with a zero, unless `size` is 0.
 * Returns what is behind it; NULL: there is no string. */
const char *json_read_string(const char *at, const char *end, char *out, size_t size);

struct json_member {
    char name[32];           /* cut if it is longer */
    const char *value, *end; /* the value is not looked at any further */
};

/*
 * Finds the first member of an object, then the next one: *at is the text at first, and belongs
 * to this function. Returns 1; 0: the object is over; -1: this is no object.
 */
int json_first_member(const char **at, const char *end, struct json_member *out);
int json_next_member(const char **at, const char *end, struct json_member *out);

#endif
