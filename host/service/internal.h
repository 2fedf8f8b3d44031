/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder know of each other. */
#ifndef LUNATS_SERVICE_INTERNAL_H
#define LUNATS_SERVICE_INTERNAL_H

#include "host/base/list.h"
#include "host/link/answer.h"
#include "host/service/delivery.h"
#include "host/service/endpoint.h"
#include "host/service/intake.h"
#include "host/service/service.h"

/* ---- a listener: intake.c, listener.c, delivery.c ---- */

struct listener_keys;
struct reload;
struct subscription;
struct tracer;

struct listener {
    struct script_resource resource; /* its script closes it */
    struct intake *intake;
    struct script *script;
    struct listener **holder;          /* NULL: nobody holds it */
    struct subscription *subscription; /* NULL while not subscribed */
    struct list_node declared;         /* in the intake, in the order of declaration */
    struct list_node shared;           /* in the subscription */
    struct listener_options options;   /* the strings are owned */
    uint32_t running;                  /* handlers that run */
    bool gone;                         /* freed when no handler runs any more */
    struct endpoint *endpoint;         /* its numbers */
    size_t bytes;                      /* of memory, with all that belongs to it */
    char *endpoint_name;               /* owned; unique among the listeners of its script */
    struct span_label *span_label;     /* owned; made when it is first needed */
    struct answer_log refusals;
    struct listener_keys *keys; /* see keys.h; NULL: without order by keys */
};

/* ---- messages in handlers: delivery.c, for intake.c ---- */

struct deliveries {
    struct link *link;      /* borrowed; NULL: no reply can be sent */
    struct tracer *tracer;  /* borrowed; NULL: nothing is recorded */
    struct delivery *spare; /* for messages with one handler, the usual case */
    size_t count;
    /* A handler has ended. */
    void (*on_job_end)(struct listener *listener);
    /* The last message has left its handlers. */
    void (*on_idle)(struct deliveries *deliveries);
};

/* Takes `msg`, which goes to `jobs` listeners: delivery_add() each of them, then start. Returns
 * NULL without memory; the message stays the caller's then. */
struct delivery *delivery_new(struct deliveries *deliveries, struct message *msg, size_t jobs);
void delivery_add(struct delivery *delivery, struct listener *listener);
void delivery_start(struct delivery *delivery);

/* Runs the body. The listener counts it as running already. */
void job_start(struct job *job);
/* Ends a job whose body never begins, with an error for the sender; it counts as running. */
void job_cancel(struct job *job);
/* The same without a word; it does not count. */
void job_drop(struct job *job);

/* Of the fibers of jobs. */
extern const struct fiber_role job_role;

/* Frees what is kept for later. */
void deliveries_free(struct deliveries *deliveries);

/* ---- subscriptions: intake.c, for listener.c ---- */

/* A script that is about to be closed, or an intake, lets go of it at once. */
void subscription_leave(struct listener *listener);
/* Lets go without losing a message. False: the subscription is drained first and will call
 * listener_retire(). */
bool subscription_stop(struct listener *listener, uint32_t timeout_ms);
/* For the log: "listener NAME: ...". */
__attribute__((format(printf, 3, 4))) void listener_tell(const struct listener *listener,
                                                         int status, const char *format, ...);
/* Messages that wait for a handler, and those that were dropped; NULL: none. */
void subscription_get_stats(const struct subscription *subscription,
                            struct link_sub_stats *out);
/* Frees it once no handler runs any more. */
void listener_retire(struct listener *listener);
/* A retired one whose last handler has ended. */
void listener_free_if_idle(struct listener *listener);
void listener_free(struct listener *listener);
/* Puts a new listener, which has its options, behind the others. LN_OK or LN_ENOMEM. */
int intake_add(struct intake *intake, struct listener *listener);
/* Of one that was added, once it has no subscription. */
void intake_remove(struct listener *listener);

/* ---- a service: service.c, for reload.c and version.c ---- */

/* Loads a version of the script (version.c); see struct script_options for `saved`. */
int service_load(struct service *service, const char *source, size_t source_len,
                 const char *saved, size_t saved_len, struct script **out);

/* This version serves from now on. */
void service_set_script(struct service *service, struct script *script);

/* Of its versions. */
const struct reload *service_reload_state(const struct service *service);

/* What runs its versions; borrowed. */
uv_loop_t *service_loop(const struct service *service);
struct scheduler *service_scheduler(const struct service *service);

/* An error of the script, or why the start has failed: counted, and told by the log or to
 * on_error() of the options. */
void service_failed(struct service *service, const struct script_error *error);

/* os.exit() was called, see struct script_options: true when it is a new version that has not
 * taken over, whose reload fails with that. False: the service is to end. */
bool service_take_exit(struct service *service, const struct script *script, int status,
                       const char *where);

/* Tells on_change() of the options (describe.c). */
void service_changed(struct service *service);

/* The last error of the script, or NULL. */
const char *service_last_error(const struct service *service);

/* The last retiring version is gone. */
void service_retired(struct service *service);

/* ---- and for connection.c ---- */

/* Nothing comes in over one of them any more. */
void service_connection_drained(struct service *service);
/* One has left the list. */
void service_connection_closed(struct service *service);

#endif
