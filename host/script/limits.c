/* SPDX-License-Identifier: Apache-2.0 */
#include "host/script/limits.h"

static uint64_t lower(uint64_t limit, uint64_t given) {
    return given != 0 && (limit == 0 || given < limit) ? given : limit;
}

void limits_lower(struct script_limits *limits, const struct script_limits *given) {
    limits->slice_ms = (uint32_t)lower(limits->slice_ms, given->slice_ms);
    limits->start_ms = (uint32_t)lower(limits->start_ms, given->start_ms);
    limits->memory = lower(limits->memory, given->memory);
    limits->fibers = lower(limits->fibers, given->fibers);
}
