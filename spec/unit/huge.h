/* SPDX-License-Identifier: Apache-2.0 */
/* Where huge pages were asked for, as the kernel tells it. */
#ifndef LUNATS_SPEC_UNIT_HUGE_H
#define LUNATS_SPEC_UNIT_HUGE_H

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Not every kernel has them. */
static inline bool has_huge_pages(void) {
    return access("/sys/kernel/mm/transparent_hugepage", F_OK) == 0;
}

/* Whether huge pages were asked for at this address. */
static inline bool is_huge(const char *at) {
    FILE *maps = fopen("/proc/self/smaps", "r");
    char line[1024], *flags = NULL;
    bool here = false;
    uintptr_t begin, end;
    while (maps != NULL && flags == NULL && fgets(line, sizeof(line), maps) != NULL) {
        if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " ", &begin, &end) == 2)
            here = begin <= (uintptr_t)at && (uintptr_t)at < end;
        else if (here && strncmp(line, "VmFlags:", 8) == 0)
            flags = line;
    }
    if (maps != NULL)
        fclose(maps);
    return flags != NULL && strstr(flags, " hg") != NULL;
}

#endif
