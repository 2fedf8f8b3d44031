/* SPDX-License-Identifier: Apache-2.0 */
#include "host/signals.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <time.h>
#include <unistd.h>

#include "host/base/terminal.h"

/* Signals that come so close together are one stop: `timeout` of coreutils sends its signal to
 * the child and to the group, to which the child belongs. */
#define SAME_STOP_MS 500

/* Of the process, as signals are. */
static struct {
    uv_async_t *async;
    struct watchdog *dog;
    atomic_llong first_ms; /* when the first came; 0: none yet */
    volatile sig_atomic_t last;
} signals;

bool signals_came(void) {
    return atomic_load(&signals.first_ms) != 0;
}

static const char *name(int signum) {
    return signum == SIGINT ? "interrupted" : signum == SIGHUP ? "hang-up" : "terminated";
}

const char *signals_take(int *signum) {
    *signum = signals.last;
    watchdog_stop_waits(signals.dog, NULL);
    return name(*signum);
}

static void on_raw_signal(int signum) {
    int saved = errno;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    long long now_ms = now.tv_sec * 1000LL + now.tv_nsec / 1000000 + 1, first_ms = 0;
    if (atomic_compare_exchange_strong(&signals.first_ms, &first_ms, now_ms)) {
        signals.last = signum;
        watchdog_stop_waits(signals.dog, name(signum));
        uv_async_send(signals.async);
    } else if (now_ms - first_ms >= SAME_STOP_MS) {
        terminal_give_back();
        _exit(128 + signum); /* the private server dies with us */
    }
    errno = saved;
}

static void set_handler(int signum, void (*handler)(int)) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(signum, &action, NULL);
}

static void set_hangup_handler(void (*handler)(int)) {
    struct sigaction action;
    if (sigaction(SIGHUP, NULL, &action) == 0 && action.sa_handler != SIG_IGN)
        set_handler(SIGHUP, handler);
}

void signals_catch(uv_async_t *async, struct watchdog *dog, bool hangup) {
    signals.async = async;
    signals.dog = dog;
    set_handler(SIGINT, on_raw_signal);
    set_handler(SIGTERM, on_raw_signal);
    if (hangup)
        set_hangup_handler(on_raw_signal);
}

void signals_release(bool hangup) {
    set_handler(SIGINT, SIG_DFL);
    set_handler(SIGTERM, SIG_DFL);
    if (hangup)
        set_hangup_handler(SIG_DFL);
}

void signals_ignore_late(void) {
    set_handler(SIGUSR1, SIG_IGN);
    set_handler(SIGHUP, SIG_IGN);
}

/* Unlike SIG_IGN, a handler ends with exec(): what a script starts is ended by the signal as
 * usual. */
static void on_pipe(int signum) {
    (void)signum;
}

void signals_survive_pipes(void) {
    set_handler(SIGPIPE, on_pipe);
}
