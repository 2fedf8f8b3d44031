/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What lasts over the versions of a script: its name, its connection, its subscriptions, its
 * counters - and the version that runs now.
 *
 * Start: script loaded -> connected -> on_start hooks, one by one -> listeners subscribed and
 * confirmed by the server -> tasks and timers -> `started` event.
 * Stop: listeners drained -> tasks and timers cancelled -> handlers in flight finished, within
 * the drain bound -> on_stop hooks -> `stopped` event -> everything written -> closed.
 */
#ifndef LUNATS_SERVICE_H
#define LUNATS_SERVICE_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "host/link/link.h"
#include "host/script/script.h"
#include "host/service/intake.h"

struct service;

/* Only ever forward, and any of them may be left out. */
enum service_state {
    SERVICE_LOADED, /* the script is loaded; nothing runs */
    SERVICE_CONNECTING,
    SERVICE_STARTING,    /* on_start hooks run */
    SERVICE_SUBSCRIBING, /* waiting for the server's confirmation */
    SERVICE_RUNNING,
    SERVICE_DRAINING, /* subscriptions end, handlers finish */
    SERVICE_STOPPING, /* on_stop hooks run */
    SERVICE_CLOSING,  /* the connection closes */
    SERVICE_CLOSED,
};

/* Exit statuses of the process, as on_stopped() gives them. */
enum { EXIT_OK = 0, EXIT_SCRIPT = 1, EXIT_USAGE = 2, EXIT_NO_CONNECTION = 3, EXIT_STALL = 4 };

struct service_options {
    const char *path;   /* script file */
    const char *source; /* its text instead of the file's, or NULL */
    size_t source_len;
    const char *name; /* NULL: the script's file name without ".lua" */
    int argc;
    char *const *argv;
    bool runner;          /* `lunats lua` and `lunats test`: the chunk itself runs as a fiber
                           * after the connection is there, and its end stops the service */
    bool own_errors;      /* of a runner that counts its errors itself: they are not in its
                           * exit status */
    bool offline;         /* never connect (a runner without a server) */
    struct clock *clock;  /* the real one of the loop; borrowed until on_stopped() */
    bool manual_clock;    /* the script has a clock of its own either way */
    double drain_timeout; /* seconds */
    struct script_limits limits;
    struct link_options link;
    bool count_collections;  /* for metrics: vitals->collections */
    bool keep_errors;        /* the last ones are kept in its vitals */
    bool short_errors;       /* senders are not told the text of a raised error, only its id */
    const char *js_prefix;   /* subject of the JetStream API; NULL: "$JS.API" */
    lua_CFunction open;      /* opens the bindings */
    const char *log_subject; /* its lines are published below it, too; NULL: they are not */
    const char *prelude;     /* Lua that runs before each version of the script, or NULL */
    struct caches *caches;   /* of the process (host/cache); borrowed until on_stopped() */
    struct web *web;         /* where its routes belong (host/web); the same. NULL: none */
    bool safe_libs;          /* see struct script_options */
    struct exporter *exporter; /* of traces (host/trace); borrowed until on_stopped(). NULL:
                                * nothing is recorded */
    /* A version of the script loads this file. May be NULL. */
    void (*on_file)(void *owner, struct service *service, const char *path);
    /* The service runs. May be NULL. */
    void (*on_started)(void *owner, struct service *service);
    /* Its state, its connection or a reload may have changed. It may change nothing. May be
     * NULL. */
    void (*on_change)(void *owner, struct service *service);
    /* There is a connection again after it was lost. May be NULL. */
    void (*on_reconnected)(void *owner, struct service *service);
    /* The service has ended; its memory goes when this returns. status: enum above, or what the
     * script gave to os.exit(). */
    void (*on_stopped)(void *owner, struct service *service, int status);
    /* An error that the script did not handle, or why the start failed: instead of the log.
     * `text` is borrowed for the call. May be NULL. */
    void (*on_error)(void *owner, const char *text);
    void *owner;
};

/*
 * Loads the script. Strings of the options are borrowed until on_stopped(). Returns LN_OK (then
 * *out must be given to service_start() or service_discard()), LN_ESCRIPT (logged),
 * LN_ENOMEM or, without random bytes for its instance id, a code of libuv.
 */
int service_open(struct service **out, uv_loop_t *loop, struct scheduler *scheduler,
                 const struct service_options *options);

/* Frees a service that was never started. */
void service_discard(struct service *service);

/* Connects and goes on from there; what happens is told by on_started() and on_stopped(). */
int service_start(struct service *service);

/*
 * Stops in order; on_stopped() follows. `status` is the exit status to report unless something
 * fails on the way. Calling it again changes nothing.
 */
void service_stop(struct service *service, int status);

/* service_stop() was called, perhaps by os.exit() of the script. */
bool service_stopping(const struct service *service);

/* ---- reload (./reload.c) ---- */

/* How a reload ended: LN_OK, or a failure with the reason; text is borrowed for the call. */
typedef void (*service_reload_fn)(void *owner, int status, const char *text);

/*
 * Loads the script again, or `source` instead of its file (NULL: the file), starts the new
 * version next to the running one, and lets it take over. Any failure leaves the running
 * version in place. on_done may be NULL; it is always called later, from the loop. Returns
 * LN_OK, LN_ECLOSED when the service does not run, LN_EFULL while a reload is under way.
 */
int service_reload(struct service *service, const char *source, size_t source_len,
                   service_reload_fn on_done, void *owner);

/* Those that are over, since the start. */
struct reload_counts {
    uint64_t done, failed;
    bool last_failed;
    bool not_started; /* it failed in its hooks or subscriptions, as they do without a server */
};

/* ---- what runs (./describe.c) ---- */

/* Writes into the log what each version of the script does: fibers, listeners, timers, ... It
 * blocks nothing and changes nothing. From the loop, outside of fibers. */
void service_describe(const struct service *service);

/* ---- for the bindings ---- */

struct link *service_link(const struct service *service); /* NULL when offline */
struct intake *service_intake(const struct service *service);
/* Further connections of all versions of the script, see connection_next(). */
struct list *service_connections(struct service *service);
const char *service_name(const struct service *service);
const char *service_instance(const struct service *service);
double service_started(const struct service *service);      /* Unix time */
struct clock *service_clock(const struct service *service); /* real time, always */
/* As it was given them, with the passwords in the URLs of its servers; borrowed. */
const struct service_options *service_options(const struct service *service);
const char *service_js_prefix(const struct service *service); /* subject of the JetStream API */
enum service_state service_state(const struct service *service);
struct reload_counts service_reloads(const struct service *service); /* ./describe.c */
bool service_reloading(const struct service *service);               /* ./describe.c */
struct vitals *service_vitals(struct service *service);              /* ./vitals.h */
struct voice *service_voice(struct service *service);                /* ./voice.h */
struct script *service_script(const struct service *service);
/* Bytes of the messages, and answers of others, that it has got and still has. */
struct tally *service_messages(const struct service *service);
/* Records what its handlers do; NULL: nothing does. */
struct tracer *service_tracer(const struct service *service);

/*
 * Sets the name (app.config); copies. LN_EINVAL when it cannot be part of a subject, LN_ECLOSED
 * when the service has started under another one.
 */
int service_set_name(struct service *service, const char *name);

/* The bound of a drain in milliseconds. */
uint32_t service_drain_ms(const struct service *service);

#endif
