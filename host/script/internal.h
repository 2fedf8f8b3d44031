/* SPDX-License-Identifier: Apache-2.0 */
/* Fibers as the files of this folder see them: fiber.c runs them, scheduler.c says which one
 * and when, title.c what they are. */
#ifndef LUNATS_SCRIPT_INTERNAL_H
#define LUNATS_SCRIPT_INTERNAL_H

#include "host/base/list.h"
#include "host/base/log.h"
#include "host/script/fence.h"
#include "host/script/fiber.h"
#include "host/script/watchdog.h"
#include "host/trace/context.h"

/* Runs it until it waits or ends. Returns for how many milliseconds it has held the loop, 0 if
 * not for long. fiber.c */
uint64_t fiber_resume(struct fiber *fiber);

/* Runs it, at once or as soon as it has its turn. scheduler.c */
void fiber_make_ready(struct fiber *fiber);

/* What a fence has to do with one inside: before it goes on, and at its end. fence.c */
void fence_look(struct fiber *fiber);
void fence_leave(struct fiber *fiber);

struct scheduler {
    struct list sets;    /* of fibers, where some are ready */
    int held;            /* > 0 while a fiber runs or the host holds */
    bool fair;           /* the loop turns in between */
    bool behind;         /* some were left for the next turn: each one's time counts */
    unsigned step;       /* fibers from one look at the clock to the next, ... */
    unsigned unseen;     /* and how many of them are left */
    uint64_t began;      /* when they began to run in this turn of the loop; 0: not known */
    uint64_t seen;       /* the last look */
    struct fibers *last; /* whose fiber ran since; NULL: nobody is charged for it */
    uint64_t floor;      /* what the next one has spent */
    uv_idle_t idle;      /* active from the first look in a turn on, and while some are ready */
    struct watchdog dog;
    struct list wakes; /* struct scheduler_wake */
};

#define FIBER_KINDS 3

/* Kinds of fibers that have a role, see fibers_add_role(). */
#define ROLES 4

struct fiber {
    lua_State *L;
    struct fibers *owner;
    struct list_node node;  /* in fibers->live or fibers->pool */
    struct list_node ready; /* in fibers->ready, or in none */
    enum fiber_kind kind;
    int nargs; /* on the stack of L for the next resume */
    int wake_status;
    lua_State
        *waiter; /* where the wait has yielded; NULL before and from the continuation on */
    int blocked; /* coroutines that cannot pass a wait on, see fiber_block() */
    unsigned char cancel_tries;
    bool exposed;   /* the script knows its coroutine */
    bool in_wait;   /* between begin_wait and end_wait */
    bool woken;     /* the wait has its result */
    bool suspended; /* yielded */
    bool cancelled;
    bool doomed;    /* never resumed again, only closed */
    bool quiet;     /* see fiber_set_quiet() */
    uint64_t began; /* its first wait, milliseconds on the clock; 0: it has not waited yet */
    char *label;    /* owned; NULL: none */
    struct origin *origin;   /* what it was started in, shared; NULL: nothing */
    struct trace *trace;     /* a reference; NULL: it is part of no trace */
    uint64_t expires;        /* see fiber_expires() */
    struct fence *fence;     /* see fence.h; NULL: in none */
    struct list_node fenced; /* in fence->fibers */
    struct clock_timer deadline;
    fiber_end_fn on_end;
    void *arg;
    void (*abandon)(struct fiber *, void *area);
    _Alignas(max_align_t) unsigned char area[FIBER_WAIT_SIZE];
};

/* What the log says of the fibers that one has started, as it may end before them: its fields.
 */
struct origin {
    unsigned users;
    size_t count;
    struct log_field fields[LOG_CONTEXT_MAX]; /* the strings are in bytes */
    char bytes[];
};
/* The new fiber is started in this one; without memory nothing is said of it. title.c */
void origin_inherit(struct fiber *fiber, struct fiber *parent);
void origin_leave(struct fiber *fiber);

struct fibers {
    lua_State *aux; /* a thread for the host's own protected calls */
    struct scheduler *scheduler;
    struct clock *clock;
    struct list live, pool;
    struct list ready;            /* what runs next, first in first out */
    struct list_node turn;        /* in the queue of the scheduler, or in none */
    uint64_t spent;               /* nanoseconds for which it has held the loop, about */
    struct fiber *current;        /* the one that runs, or NULL */
    struct fiber *ending;         /* the one whose on_end is called, or NULL */
    int raised;                   /* where aux has what it has raised; 0: nothing */
    uint32_t slices[FIBER_KINDS]; /* milliseconds of a call; 0: no matter */
    size_t pooled;
    size_t count[FIBER_KINDS];
    struct {
        void (*fn)(void *owner);
        void *owner;
    } idle[FIBER_KINDS];
    void (*on_error)(void *owner, const char *text);
    void *owner;
    const struct fiber_role *roles[ROLES];
    struct fibers_watch watch;
    struct memory *memory; /* borrowed; NULL: nobody counts it */
    bool closing;
};

#endif
