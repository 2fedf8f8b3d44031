/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The terminal of the process, while a command reads its keys or fills its screen. However the
 * process ends, short of SIGKILL, the terminal is as it was.
 *
 * There is one terminal, so all of this belongs to the process.
 */
#ifndef LUNATS_BASE_TERMINAL_H
#define LUNATS_BASE_TERMINAL_H

#include <stdbool.h>

enum terminal_use {
    TERMINAL_LINE,   /* keys come as they are pressed, Ctrl-C and the like as well */
    TERMINAL_SCREEN, /* keys too, but those of signals are signals; a screen of its own */
};

/* Takes it, again after the process was stopped as well. LN_OK, or a code of libuv: UV_ENOTTY
 * unless standard input and output are a terminal. */
int terminal_take(enum terminal_use use);

/* Gives it back; nothing happens if it was not taken. Handlers of signals may call it. */
void terminal_give_back(void);

/* Its size in characters; false: the standard output is no terminal. */
bool terminal_size(int *columns, int *rows);

#endif
