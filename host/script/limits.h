/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a script may use: the options of the process say it, app.config { limits = } of a
 * version may lower it for that version. Of the two the smaller one counts.
 */
#ifndef LUNATS_SCRIPT_LIMITS_H
#define LUNATS_SCRIPT_LIMITS_H

#include <stdint.h>

struct script_limits {
    uint32_t slice_ms; /* of a call that does not wait (docs/limits.md); 0: none */
    uint32_t start_ms; /* the same at the top level, in on_start and on_stop; 0: none */
    uint64_t memory;   /* bytes, see host/script/memory.h; 0: none */
    uint64_t fibers;   /* that live at once; 0: none */
};

#define LIMITS_START_MS 30000 /* a slice that is longer counts there, too */
#define LIMITS_FIBERS 100000

/* Takes over what is given (not 0) and smaller, or given where there was none. */
void limits_lower(struct script_limits *limits, const struct script_limits *given);

#endif
