/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Warnings of a lua_State: warn(), and errors in finalizers. They come from anywhere, from
 * within the collector too, where nothing of Lua may be called: so they are kept here and told
 * in the next turn of the loop, within a bound. Embedded in its owner.
 */
#ifndef LUNATS_SCRIPT_WARNINGS_H
#define LUNATS_SCRIPT_WARNINGS_H

#include <stdbool.h>
#include <stddef.h>

#include "host/base/clock.h"

/* Bytes of all that is kept for one turn of the loop. */
#define WARNINGS_MAX 4096

struct warnings {
    struct clock *clock; /* borrowed; real */
    struct clock_timer turn;
    void (*on_warning)(void *owner, const char *text);
    void *owner;
    char text[WARNINGS_MAX]; /* each ends with a zero, the last may be unfinished */
    size_t len;
    size_t begun;    /* where the unfinished one begins */
    bool unfinished; /* more of it follows */
    bool off;        /* by warn("@off") */
    size_t lost;     /* that found no room */
    bool losing;     /* the unfinished one is one of these */
};

/* Tells `on_warning` of each, with text that is borrowed for the call; NULL: nobody. */
void warnings_open(struct warnings *warnings, struct clock *clock,
                   void (*on_warning)(void *owner, const char *text), void *owner);

/* Tells what is left. For after the end of the lua_State, whose finalizers are heard, too. */
void warnings_close(struct warnings *warnings);

/* A lua_WarnFunction, with the struct warnings as `ud`. */
void warnings_take(void *ud, const char *message, int to_be_continued);

#endif
