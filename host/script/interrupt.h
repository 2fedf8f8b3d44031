/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ends a call that does not wait, from inside. The thread of the watchdog sends a signal to the
 * loop's thread; its handler sets a debug hook in the Lua thread that runs, and the hook, which
 * Lua calls at its next instruction, raises an error (bindings/slice.c).
 *
 * SIGURG: nobody else uses it, and one that goes astray is ignored.
 */
#ifndef LUNATS_SCRIPT_INTERRUPT_H
#define LUNATS_SCRIPT_INTERRUPT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <lua.h>

enum interrupt_level {
    INTERRUPT_NONE,   /* looks only where it is */
    INTERRUPT_ONCE,   /* an error; whoever catches it has time to clean up */
    INTERRUPT_ALWAYS, /* an error at each instruction of the script, until the call is left */
};

enum interrupt_trace {
    INTERRUPT_TRACE_NONE,
    INTERRUPT_TRACE_WANTED, /* by the watchdog */
    INTERRUPT_TRACE_READY,  /* the loop's thread has written it, and leaves it as it is */
};

#define INTERRUPT_TEXT 512
#define INTERRUPT_TRACE 2048

struct watchdog;

/* Part of a watchdog; all zero at first. */
struct interrupt {
    pthread_t thread; /* the loop's */
    lua_Hook hook;
    int exit_status;   /* of a process that stalls, after ... */
    uint32_t stall_ms; /* 0: never */

    /* Asked for by the watchdog, with a signal behind it. */
    _Atomic uint64_t turn; /* the call that is meant */
    _Atomic int level;     /* enum interrupt_level */
    _Atomic uint32_t spent_ms;
    _Atomic bool blocked; /* the loop's thread sleeps */

    /* Answered by the loop's thread. */
    _Atomic uint64_t told; /* the call in which an error has been raised */
    _Atomic int trace;     /* enum interrupt_trace: of what follows */
    bool stuck;            /* in a function in C */
    char title[INTERRUPT_TEXT], service[INTERRUPT_TEXT], lines[INTERRUPT_TRACE];

    /* The loop's. */
    volatile int in_force; /* enum interrupt_level: in the call that runs */
    lua_State *armed;      /* it has the hook, which has not been called since ... */
    unsigned signals;      /* that many signals, or ... */
    uint64_t armed_cpu;    /* this time of the thread, in nanoseconds */
    unsigned passed;       /* times that the hook has let our own code go on */
    char place[INTERRUPT_TEXT];
};

/* From the loop's thread, before it asks for anything. */
void interrupt_open(struct watchdog *dog);
void interrupt_close(struct watchdog *dog);

/* From the watchdog's thread: `spent_ms` and `blocked` are for words and for the look. */
void interrupt_ask(struct watchdog *dog, uint64_t turn, enum interrupt_level level,
                   uint32_t spent_ms, bool blocked);

/* For the hook: true if it shall raise an error; writes its message then. */
bool interrupt_due(struct watchdog *dog, lua_State *L, lua_Debug *at, char *text, size_t size);

/* The coroutine `co` does not run any more, but L does, which has resumed it. */
void interrupt_surface(struct watchdog *dog, lua_State *co, lua_State *L);

/* The call is over; L ran in it. Returns where it was ended, or NULL. */
const char *interrupt_over(struct watchdog *dog, uint64_t turn, lua_State *L);

#endif
