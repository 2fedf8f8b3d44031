/* SPDX-License-Identifier: Apache-2.0 */
#include "host/link/arrivals.h"

#include <string.h>

static void forget(struct arrivals *arrivals, uint64_t handled) {
    unsigned gone = 0;
    while (gone < arrivals->count && arrivals->marks[gone].end <= handled)
        gone++;
    arrivals->count -= gone;
    if (gone > 0)
        memmove(arrivals->marks, arrivals->marks + gone,
                arrivals->count * sizeof(arrivals->marks[0]));
}

/* Two become one, with the time of the first of them. */
static void merge(struct arrivals *arrivals) {
    for (unsigned i = 0; i < ARRIVALS_MARKS / 2; i++) {
        const struct arrival *two = &arrivals->marks[(size_t)2 * i];
        arrivals->marks[i] = (struct arrival){.end = two[1].end, .when = two[0].when};
    }
    arrivals->count = ARRIVALS_MARKS / 2;
}

void arrivals_note(struct arrivals *arrivals, uint64_t handled, uint64_t end, uint64_t now) {
    forget(arrivals, handled);
    if (arrivals->count > 0 && arrivals->marks[arrivals->count - 1].end >= end)
        return;
    if (arrivals->count == ARRIVALS_MARKS)
        merge(arrivals);
    arrivals->marks[arrivals->count++] = (struct arrival){.end = end, .when = now};
}

struct arrival arrivals_find(const struct arrivals *arrivals, uint64_t position) {
    unsigned i = 0;
    while (i + 1 < arrivals->count && arrivals->marks[i].end <= position)
        i++;
    return arrivals->marks[i];
}
