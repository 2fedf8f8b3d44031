/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/terminal.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <uv.h>

#include "host/base/status.h"

/* Another screen without a cursor, and back. */
static const char enter[] = "\033[?1049h\033[?25l";
static const char leave[] = "\033[?25h\033[?1049l";

static struct {
    struct termios before;
    volatile sig_atomic_t taken;
    volatile sig_atomic_t screen;
    bool guarded; /* handlers are in place */
} terminal;

static void put(const char *sequence, size_t len) {
    ssize_t written = write(STDOUT_FILENO, sequence, len);
    (void)written; /* a terminal that is gone needs nothing */
}

void terminal_give_back(void) {
    int saved = errno;
    if (!terminal.taken)
        return;
    terminal.taken = 0;
    if (terminal.screen)
        put(leave, sizeof(leave) - 1);
    tcsetattr(STDIN_FILENO, TCSANOW, &terminal.before);
    errno = saved;
}

/* Its disposition is the default again when this runs. */
static void on_fatal(int signum) {
    terminal_give_back();
    raise(signum);
}

/* What ends the process without unwinding it. Handlers that others have set stay. */
static void guard(void) {
    static const int fatal[] = {SIGQUIT, SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    struct sigaction action = {.sa_handler = on_fatal, .sa_flags = (int)SA_RESETHAND};
    struct sigaction before;
    if (terminal.guarded)
        return;
    terminal.guarded = true;
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++)
        if (sigaction(fatal[i], NULL, &before) == 0 && before.sa_handler == SIG_DFL)
            sigaction(fatal[i], &action, NULL);
    atexit(terminal_give_back);
}

int terminal_take(enum terminal_use use) {
    struct termios raw;
    if (!isatty(STDOUT_FILENO) || tcgetattr(STDIN_FILENO, &raw) < 0)
        return UV_ENOTTY;
    if (!terminal.taken)
        terminal.before = raw;
    raw.c_iflag &= ~(tcflag_t)IXON;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    if (use == TERMINAL_LINE)
        raw.c_lflag &= ~(tcflag_t)(ISIG | IEXTEN);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    guard();
    terminal.screen = use == TERMINAL_SCREEN;
    terminal.taken = 1;
    if (tcsetattr(STDIN_FILENO, TCSANOW, &raw) < 0) {
        terminal.taken = 0;
        return uv_translate_sys_error(errno);
    }
    if (use == TERMINAL_SCREEN)
        put(enter, sizeof(enter) - 1);
    return LN_OK;
}

bool terminal_size(int *columns, int *rows) {
    struct winsize size;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0)
        return false;
    *columns = size.ws_col > 0 ? size.ws_col : 80;
    *rows = size.ws_row > 0 ? size.ws_row : 24;
    return true;
}
