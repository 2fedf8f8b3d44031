/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/worker.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/base/status.h"

static struct worker self;

void worker_write(const struct worker *worker, char *out, size_t size) {
    snprintf(out, size, WORKER_VARIABLE "=%u %u %ld %d %d %u %s", worker->number, worker->count,
             (long)worker->parent, worker->channel, worker->http, worker->restarts,
             worker->ended);
}

bool worker_parse(struct worker *out, const char *text) {
    long parent;
    int end = 0;
    memset(out, 0, sizeof(*out));
    int found = sscanf(text, "%u %u %ld %d %d %u%n", &out->number, &out->count, &parent,
                       &out->channel, &out->http, &out->restarts, &end);
    if (found != 6 || text[end] != ' ' || parent <= 0 || out->channel <= STDERR_FILENO ||
        out->number == 0 || out->number > out->count ||
        (out->http != -1 && out->http <= STDERR_FILENO))
        return false;
    out->parent = (pid_t)parent;
    snprintf(out->ended, sizeof(out->ended), "%s", text + end + 1);
    return true;
}

static bool is_socket(int fd) {
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
}

int worker_begin(void) {
    struct worker read;
    const char *text = getenv(WORKER_VARIABLE);
    if (text == NULL)
        return LN_OK;
    bool valid = worker_parse(&read, text) && is_socket(read.channel) &&
                 (read.http == -1 || is_socket(read.http));
    unsetenv(WORKER_VARIABLE);
    if (!valid)
        return LN_EINVAL;
    fcntl(read.channel, F_SETFD, FD_CLOEXEC);
    if (read.http != -1)
        fcntl(read.http, F_SETFD, FD_CLOEXEC);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    self = read;
    return worker_is_orphan() ? LN_ECLOSED : LN_OK; /* it may have died before that call */
}

const struct worker *worker_self(void) {
    return self.number > 0 ? &self : NULL;
}

unsigned worker_count(void) {
    return self.number > 0 ? self.count : 1;
}

bool worker_is_orphan(void) {
    return self.number > 0 && getppid() != self.parent;
}
