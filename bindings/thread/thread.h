/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of app.thread share among themselves. Nobody else includes this. */
#ifndef LUNATS_THREAD_THREAD_H
#define LUNATS_THREAD_THREAD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include <lua.h>

#include "host/thread/crew.h"

/* ---- ./account.c: memory; all from any thread ---- */

/* What the threads of a version of a script have, which counts as its memory. */
struct account {
    atomic_size_t bytes;
    atomic_size_t room; /* so many they may have; SIZE_MAX: no limit */
    atomic_uint refs;
};

/* With one reference; NULL without memory. */
struct account *account_open(void);
struct account *account_share(struct account *account);
void account_leave(struct account *account);

/* A lua_Alloc; `ud` is the account. */
void *account_alloc(void *ud, void *block, size_t old_size, size_t new_size);

/* ---- ./plain.c: values as bytes ---- */

struct plain {
    struct account *account; /* borrowed; counts the bytes */
    char *bytes;             /* owned */
    size_t len, size;
    bool refused; /* there was no memory for more */
};

/*
 * Adds the values from `first` to the top of the stack. Raises an error that names what cannot
 * be copied: "argument 2.list[3]: cannot copy a function" where `what` is "argument"; the
 * number is counted from `first` on.
 */
void plain_write(lua_State *L, struct plain *plain, int first, const char *what);

/* Pushes what was written and returns how many values; may raise (out of memory). */
int plain_push(lua_State *L, const struct plain *plain);

void plain_free(struct plain *plain);

/* ---- calls ---- */

enum outcome {
    CALL_RETURNED,  /* `out` is its results */
    CALL_RAISED,    /* `out` is a message, a traceback or nil, what was raised or nil */
    CALL_NO_MEMORY, /* `out` is nothing */
};

/* What a thread tells besides results, in the order in which it was. */
enum note { NOTE_FILE = 'f', NOTE_WARNING = 'w' };

/* One call, owned by its userdata and by the crew: the last one frees it. */
struct call {
    struct crew_job job; /* first */
    atomic_uint refs;
    struct account *account;
    struct plain in, out; /* of the caller, of the thread, and of the caller again */
    struct plain notes;   /* each a byte of `enum note`, a text, and a zero */
    enum outcome outcome;
    bool quits;                    /* nothing is called: the thread ends its state */
    struct fiber *fiber;           /* of the loop: who waits; NULL: nobody */
    struct workers *workers;       /* of the loop: of one that quits */
    const char *module, *function; /* in `names` */
    char names[];
};

/* ---- ./state.c: the Lua state of a thread; all of the thread ---- */

struct place {
    const char *path, *cpath; /* package.path and package.cpath */
    struct account *account;
};

struct state;

/* NULL without memory. */
struct state *state_open(const struct place *place);
/* Calls it and sets outcome and `out`. False: the state is of no further use. */
bool state_call(struct state *state, struct call *call);
void state_close(struct state *state);

#endif
