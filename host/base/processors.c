/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/processors.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST 256
#define ROOT "/sys/fs/cgroup"

/* Half a processor is one, and a half more is rounded down: as the limit is for all of them. */
static unsigned bounded(unsigned cpus, double quota, double period) {
    if (!(quota > 0) || !(period > 0) || quota / period >= cpus)
        return cpus;
    return quota < period ? 1 : (unsigned)(quota / period);
}

unsigned processors_granted(unsigned cpus, const char *v2, const char *quota,
                            const char *period) {
    double most, span;
    if (v2 != NULL && sscanf(v2, "%lf %lf", &most, &span) == 2)
        cpus = bounded(cpus, most, span);
    if (quota != NULL && period != NULL)
        cpus = bounded(cpus, strtod(quota, NULL), strtod(period, NULL));
    return cpus;
}

static const char *read_line(const char *folder, const char *name, char *out, size_t size) {
    char path[1024];
    if (snprintf(path, sizeof(path), ROOT "%s/%s", folder, name) >= (int)sizeof(path))
        return NULL;
    FILE *file = fopen(path, "re");
    char *line = file != NULL ? fgets(out, (int)size, file) : NULL;
    if (file != NULL)
        fclose(file);
    return line;
}

static unsigned granted_in(unsigned cpus, const char *folder) {
    char v2[64], quota[64], period[64], v1[600];
    cpus = processors_granted(cpus, read_line(folder, "cpu.max", v2, sizeof(v2)), NULL, NULL);
    if (snprintf(v1, sizeof(v1), "/cpu%s", folder) >= (int)sizeof(v1))
        return cpus;
    return processors_granted(cpus, NULL,
                              read_line(v1, "cpu.cfs_quota_us", quota, sizeof(quota)),
                              read_line(v1, "cpu.cfs_period_us", period, sizeof(period)));
}

/* The group of this process and those around it, each of which may grant less. */
static unsigned granted(unsigned cpus) {
    char line[512];
    FILE *file = fopen("/proc/self/cgroup", "re");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        char *folder = strstr(line, ":/");
        if (folder == NULL || (strncmp(line, "0::", 3) != 0 && strstr(line, "cpu") == NULL))
            continue;
        folder++;
        folder[strcspn(folder, "\n")] = '\0';
        for (char *end = folder + strlen(folder); end != NULL; end = strrchr(folder, '/')) {
            *end = '\0';
            cpus = granted_in(cpus, folder);
        }
    }
    if (file != NULL)
        fclose(file);
    return granted_in(cpus, "");
}

unsigned processors(void) {
    cpu_set_t set;
    unsigned cpus = 1;
    if (sched_getaffinity(0, sizeof(set), &set) == 0)
        cpus = (unsigned)CPU_COUNT(&set);
    if (cpus > MOST)
        cpus = MOST;
    return granted(cpus > 0 ? cpus : 1);
}
