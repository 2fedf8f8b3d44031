/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/stop_signal.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "host/base/worker.h"

static struct {
    struct stop_signal_hooks hooks;
    atomic_llong first_ms; /* when the first came; 0: none yet */
    volatile sig_atomic_t last;
    bool hangup;
} stop;

int stop_signal_last(void) {
    return atomic_load(&stop.first_ms) != 0 ? stop.last : 0;
}

const char *stop_signal_text(int signum) {
    return signum == SIGINT ? "interrupted" : signum == SIGHUP ? "hang-up" : "terminated";
}

/* A parent passes on what may have come to its workers directly, too. */
static bool is_passed_on(const siginfo_t *info) {
    const struct worker *worker = worker_self();
    return worker != NULL && (info->si_pid == worker->parent || worker_is_orphan());
}

static void on_signal(int signum, siginfo_t *info, void *context) {
    (void)context;
    int saved = errno;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (worker_is_orphan() && stop.hooks.orphan_s > 0)
        alarm(stop.hooks.orphan_s);
    long long now_ms = now.tv_sec * 1000LL + now.tv_nsec / 1000000 + 1, first_ms = 0;
    if (atomic_compare_exchange_strong(&stop.first_ms, &first_ms, now_ms)) {
        stop.last = signum;
        if (stop.hooks.first != NULL)
            stop.hooks.first(signum);
        uv_async_send(stop.hooks.async);
    } else if (now_ms - first_ms >= STOP_SIGNAL_SAME_MS && !is_passed_on(info)) {
        if (stop.hooks.second != NULL)
            stop.hooks.second(signum);
        _exit(128 + signum);
    }
    errno = saved;
}

static void set_handler(int signum, bool on) {
    struct sigaction action = {.sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    if (on) {
        action.sa_sigaction = on_signal;
        action.sa_flags |= SA_SIGINFO;
    } else {
        action.sa_handler = SIG_DFL;
    }
    sigaction(signum, &action, NULL);
}

static void set_handlers(bool on) {
    struct sigaction action;
    set_handler(SIGINT, on);
    set_handler(SIGTERM, on);
    if (stop.hangup && sigaction(SIGHUP, NULL, &action) == 0 && action.sa_handler != SIG_IGN)
        set_handler(SIGHUP, on);
}

void stop_signal_begin(const struct stop_signal_hooks *hooks, bool hangup) {
    stop.hooks = *hooks;
    stop.hangup = hangup;
    set_handlers(true);
}

void stop_signal_end(void) {
    set_handlers(false);
}
