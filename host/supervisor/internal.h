/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the parent know of each other. */
#ifndef LUNATS_SUPERVISOR_INTERNAL_H
#define LUNATS_SUPERVISOR_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include <uv.h>

#include "host/admin/admin.h"
#include "host/base/address.h"
#include "host/base/clock.h"
#include "host/base/herald.h"
#include "host/base/text.h"
#include "host/options/options.h"
#include "host/supervisor/channel.h"
#include "host/supervisor/supervisor.h"

#define PARENT_TEXTS ((size_t)64 << 20) /* bytes of the answers of all workers */
#define PARENT_ASK_MS 2000              /* for a worker to answer */

/* The process of a worker. */
struct process {
    pid_t pid;               /* 0: none */
    struct channel *channel; /* NULL: none */
    bool asked;              /* whether it is ready; it has not answered yet */
    struct text metrics;     /* the last ones that it has shown */
};

struct parent {
    uv_loop_t loop;
    uv_async_t interrupt;
    uv_signal_t child, hangup, inquiry;
    uv_timer_t printer; /* while what was logged waits for its reader */
    const struct options *options;
    char **arguments; /* of workers; owned, but not its members */
    struct clock *clock;
    struct supervisor *supervisor;
    struct herald *herald; /* tells the manager how we are; NULL: nobody wants that */
    struct admin *admin;   /* NULL: none, or closing */
    struct address http_address;
    int http;                      /* listens for app.http; -1: not, or not any more */
    struct process *processes;     /* by their number, less one */
    struct text gone;              /* what the metrics of those that have ended add up to */
    char *reload_query;            /* owned; of the round of reloads; NULL: all services */
    struct http_request *reloader; /* waits for its end; NULL: nobody, or he is gone */
    struct admin_wait reload_wait;
    int status;
};

/* Of a number, 1 or more. */
static inline struct process *parent_process(struct parent *parent, unsigned number) {
    return &parent->processes[number - 1];
}

/* ---- gather.c: one question to all workers ---- */

struct answer {
    int status; /* of HTTP; 0: it does not answer */
    bool asked; /* there was a process to ask */
    struct text body;
};

/* `answers` are those of the workers 1, 2, ..., and gone after the call, but for bodies that
 * were taken. */
typedef void gather_fn(void *owner, struct answer *answers);

/* Asks all workers that run, or only one of them if `number` is not 0; on_done() follows, also
 * from inside, within PARENT_ASK_MS. LN_OK or LN_ENOMEM. */
int gather(struct parent *parent, unsigned number, const char *method, const char *target,
           gather_fn *on_done, void *owner);

/* ---- pages.c ---- */

extern const struct admin_page_entry parent_pages[];
extern const size_t parent_page_count;

/* A process is gone: what it has counted is kept. */
void parent_keep_metrics(struct parent *parent, struct process *process);

/* A round of reloads is over: tells who has asked for it. */
void parent_answer_reload(struct parent *parent, unsigned number, const char *why);

#endif
