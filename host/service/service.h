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

struct service;

enum service_state {
    SERVICE_LOADED, /* the script is loaded; nothing runs */
    SERVICE_CONNECTING,
    SERVICE_STARTING,    /* on_start hooks run */
    SERVICE_SUBSCRIBING, /* waiting for the server's confirmation */
    SERVICE_RUNNING,
    SERVICE_DRAINING, /* subscriptions end, handlers finish */
    SERVICE_STOPPING, /* on_stop hooks run */
    SERVICE_CLOSING,  /* the connection closes */
};

/* Exit statuses of the process, as on_stopped() gives them. */
enum { EXIT_OK = 0, EXIT_SCRIPT = 1, EXIT_USAGE = 2, EXIT_NO_CONNECTION = 3 };

struct service_options {
    const char *path;   /* script file */
    const char *source; /* its text instead of the file's, or NULL */
    size_t source_len;
    const char *name; /* NULL: the script's file name without ".lua" */
    int argc;
    char *const *argv;
    bool runner; /* `lunats lua` and `lunats test`: the chunk itself runs as a fiber
                  * after the connection is there, and its end stops the service */
    struct script *client_of; /* no script of its own: a further connection of this one, which
                               * is borrowed; see service_abandon() */
    unsigned client_id;       /* of such a client, 1 or more; what service_client_id() gives */
    bool offline;             /* never connect (a runner without a server) */
    bool manual_clock;
    double drain_timeout; /* seconds */
    struct link_options link;
    const char *js_prefix; /* subject of the JetStream API; NULL: "$JS.API" */
    lua_CFunction open;    /* opens the bindings */
    /* A version of the script loads this file. May be NULL. */
    void (*on_file)(void *owner, struct service *service, const char *path);
    /* The service runs. May be NULL. */
    void (*on_started)(void *owner, struct service *service);
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

/* The script that a client borrowed is about to be closed: its subscriptions end now, the
 * connection closes, on_stopped() follows. */
void service_abandon(struct service *service);

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

/* ---- for the bindings ---- */

struct link *service_link(const struct service *service); /* NULL when offline */
const char *service_name(const struct service *service);
const char *service_instance(const struct service *service);
const char *service_js_prefix(const struct service *service); /* subject of the JetStream API */
enum service_state service_state(const struct service *service);
struct script *service_script(const struct service *service);
unsigned service_client_id(const struct service *service);

/*
 * Sets the name (app.config); copies. LN_EINVAL when it cannot be part of a subject, LN_ECLOSED
 * when the service has started under another one.
 */
int service_set_name(struct service *service, const char *name);

/* Whether a version can go into events as it is. */
bool service_version_ok(const char *version);

/* Whether this subject is subscribed for another version of the script, which `script` is about
 * to replace. */
bool service_takes_over(const struct service *service, const struct script *script,
                        const char *subject);

/*
 * Subscribes a listener that was declared while the service runs (the others are subscribed by
 * the start). Returns what link_subscribe() does.
 */
int service_listen(struct service *service, struct listener *listener);

/* Ends a listener: drained if it is subscribed, then removed and freed. */
void service_unlisten(struct listener *listener);

/* ---- messages on their way ---- */

struct inbound;

/* One message for one listener: what a listener's body gets. */
struct job {
    struct inbound *inbound;
    struct listener *listener;
    struct job **holder; /* see job_hold() */
};

/* The service whose subscription brought the message. */
struct service *job_service(const struct job *job);

/* The message; borrowed until the body ends. */
struct message *job_msg(const struct job *job);

/*
 * Sets *holder to the job until it ends, and to NULL then: for what a script may keep longer.
 * The memory of the holder must stay until the body has ended; one holder per job.
 */
void job_hold(struct job *job, struct job **holder);

/* Nobody has answered this message yet and it wants an answer. */
bool job_wants_reply(const struct job *job);
/* Says that the reply has been sent. */
void job_answered(const struct job *job);

/*
 * The handler failed (or returned an error): counts it and, when all handlers of the message
 * are done and none has answered, sends an error reply with this code and text. `text` is
 * copied.
 */
void job_failed(const struct job *job, int code, const char *text);

/* Sends an error reply (Nats-Service-Error, Nats-Service-Error-Code) to `reply`. */
int service_reply_error(struct service *service, const char *reply, int code, const char *text);

#endif
