/* SPDX-License-Identifier: Apache-2.0 */
#include "host/signals.h"

#include <signal.h>
#include <stddef.h>

#include "host/base/stop_signal.h"
#include "host/base/terminal.h"

static struct watchdog *stop_dog; /* which says what a stop waits for */

bool signals_came(void) {
    return stop_signal_last() != 0;
}

const char *signals_take(int *signum) {
    *signum = stop_signal_last();
    watchdog_stop_waits(stop_dog, NULL);
    return stop_signal_text(*signum);
}

static void on_first(int signum) {
    watchdog_stop_waits(stop_dog, stop_signal_text(signum));
}

static void on_second(int signum) {
    (void)signum;
    terminal_give_back(); /* the private server dies with us */
}

void signals_catch(uv_async_t *async, struct watchdog *dog, bool hangup, unsigned orphan_s) {
    const struct stop_signal_hooks hooks = {
        .async = async, .first = on_first, .second = on_second, .orphan_s = orphan_s};
    stop_dog = dog;
    stop_signal_begin(&hooks, hangup);
}

void signals_release(void) {
    stop_signal_end();
}

static void set_handler(int signum, void (*handler)(int)) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(signum, &action, NULL);
}

void signals_ignore_late(void) {
    set_handler(SIGUSR1, SIG_IGN);
    set_handler(SIGHUP, SIG_IGN);
}

/* Unlike SIG_IGN, a handler ends with exec(): what a script starts is ended by the signal as
 * usual. */
static void on_harmless(int signum) {
    (void)signum;
}

void signals_begin(void) {
    set_handler(SIGPIPE, on_harmless);
    set_handler(SIGUSR1, on_harmless);
}
