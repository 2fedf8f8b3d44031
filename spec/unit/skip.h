/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time that passes at once: this program's clock_gettime() is the one that libuv calls, too.
 * One file of a program includes it.
 */
#ifndef LUNATS_SPEC_UNIT_SKIP_H
#define LUNATS_SPEC_UNIT_SKIP_H

#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static atomic_long skipped_ms;

int clock_gettime(clockid_t id, struct timespec *out) {
    int rc = (int)syscall(SYS_clock_gettime, id, out);
    if (rc == 0 && (id == CLOCK_MONOTONIC || id == CLOCK_MONOTONIC_COARSE)) {
        long ms = atomic_load(&skipped_ms) + out->tv_nsec / 1000000;
        out->tv_sec += ms / 1000;
        out->tv_nsec = ms % 1000 * 1000000 + out->tv_nsec % 1000000;
    }
    return rc;
}

static inline void skip_ms(long ms) {
    atomic_fetch_add(&skipped_ms, ms);
}

#endif
