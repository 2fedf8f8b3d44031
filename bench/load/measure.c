/* SPDX-License-Identifier: Apache-2.0 */
/* The CPU time and the memory of the processes that are measured. */
#include "load.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double seconds_of(clockid_t clock) {
    struct timespec now;
    return clock_gettime(clock, &now) != 0 ? NAN
                                           : (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

double now(void) {
    return seconds_of(CLOCK_MONOTONIC);
}

static struct watched {
    char *name;
    pid_t pid;
    clockid_t clock;
    double before;
} watched[8];
static int watched_count;
static double own_before;

void watch(char *text) {
    char *equals = strchr(text, '=');
    struct watched *one = &watched[watched_count];
    if (equals == NULL || watched_count == 8)
        fail("-p NAME=PID", NATS_INVALID_ARG);
    *equals = '\0';
    one->name = text;
    one->pid = (pid_t)atol(equals + 1);
    if (clock_getcpuclockid(one->pid, &one->clock) != 0)
        fail("there is no such process", NATS_INVALID_ARG);
    watched_count++;
}

void begin_measure(void) {
    for (int i = 0; i < watched_count; i++)
        watched[i].before = seconds_of(watched[i].clock);
    own_before = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
}

long memory_of(pid_t pid, const char *key) {
    char path[64], line[256];
    long kib = -1;
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return kib;
    while (kib < 0 && fgets(line, sizeof(line), file) != NULL)
        if (strncmp(line, key, strlen(key)) == 0)
            kib = atol(line + strlen(key) + 1);
    fclose(file);
    return kib;
}

void print_measure(int64_t count, double took, int64_t wrong) {
    double own = seconds_of(CLOCK_PROCESS_CPUTIME_ID) - own_before;
    printf("{\"count\":%" PRId64 ",\"seconds\":%.6f,\"wrong\":%" PRId64 ",\"load_cpu\":%.6f",
           count, took, wrong, own);
    for (int i = 0; i < watched_count; i++) {
        const struct watched *one = &watched[i];
        printf(",\"%s_cpu\":%.6f,\"%s_kib\":%ld", one->name,
               seconds_of(one->clock) - one->before, one->name, memory_of(one->pid, "VmHWM"));
    }
}
