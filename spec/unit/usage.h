/* SPDX-License-Identifier: Apache-2.0 */
/* What connections leave behind: no descriptor, no thread, no memory. */
#ifndef LUNATS_SPEC_UNIT_USAGE_H
#define LUNATS_SPEC_UNIT_USAGE_H

#include <malloc.h>

#include "host/dial/dial.h"
#include "spec/unit/link.h"

#define WARM_UP 20 /* times, before what is there is counted */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
/* The sanitizers keep freed memory for a while, so the size of the process tells nothing. */
size_t __sanitizer_get_current_allocated_bytes(void);
static inline size_t allocated(void) {
    return __sanitizer_get_current_allocated_bytes();
}
enum { by_sanitizer = true };
#else
static inline size_t allocated(void) {
    return mallinfo2().uordblks;
}
enum { by_sanitizer = false };
#endif

/* So does valgrind, which does not count for mallinfo2() either: it looks itself. */
static inline bool by_valgrind(void) {
    const char *preload = getenv("LD_PRELOAD");
    return preload != NULL && strstr(preload, "vgpreload") != NULL;
}

static inline int count_entries(const char *path) {
    DIR *d = opendir(path);
    int count = 0;
    while (d != NULL && readdir(d) != NULL)
        count++;
    if (d != NULL)
        closedir(d);
    return count;
}

static inline size_t resident(void) {
    size_t kb = 0;
    char line[256];
    FILE *f = fopen("/proc/self/status", "r");
    while (f != NULL && fgets(line, sizeof(line), f) != NULL)
        if (strncmp(line, "VmRSS:", 6) == 0)
            kb = (size_t)atol(line + 6);
    if (f != NULL)
        fclose(f);
    return kb * 1024;
}

struct usage {
    int fds, threads;
    size_t allocated, resident;
};

static inline struct usage usage(void) {
    return (struct usage){.fds = count_entries("/proc/self/fd"),
                          .threads = count_entries("/proc/self/task"),
                          .allocated = allocated(),
                          .resident = resident()};
}

#define MEMORY ((size_t)64 * 1024) /* of fluctuation */
#define RESIDENT ((size_t)3 * 1024 * 1024)

/* A thread that was joined is in /proc for a moment yet; one that was left behind ends soon. */
static inline void check_as_before(const struct usage *before) {
    struct usage after = usage();
    for (int i = 0; i < 1000 && (after.threads > before->threads || after.fds > before->fds ||
                                 dial_left_behind() > 0);
         i++) {
        run_until(NULL, 10);
        after = usage();
    }
    CHECK_INT(after.fds, before->fds);
    CHECK(after.threads <= before->threads);
    CHECK_INT(dial_left_behind(), 0);
    if (by_valgrind())
        return;
    if (after.allocated > before->allocated + MEMORY)
        test_fail(__FILE__, __LINE__, "%zu bytes more are allocated",
                  after.allocated - before->allocated);
    /* That of an emulator has what it has translated as well. */
    if (!by_sanitizer && !test_is_emulated() && after.resident > before->resident + RESIDENT)
        test_fail(__FILE__, __LINE__, "the process has grown by %zu bytes",
                  after.resident - before->resident);
}

#endif
