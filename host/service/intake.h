/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inner side of a service: its fields, and the path of a message from a subscription to the
 * handlers. Shared by service.c (life) and inbound.c (messages) only; everybody else uses
 * service.h.
 */
#ifndef LUNATS_SERVICE_INTAKE_H
#define LUNATS_SERVICE_INTAKE_H

#include "host/service/service.h"

#define SERVICE_INSTANCE_SIZE 23

/* One NATS subscription and the listeners that share it. */
struct subscription {
    struct service *service;
    struct subscription *next, **prev;
    struct listener *listeners; /* by sibling */
    size_t count;
    struct listener *successors; /* of the version that is about to take over */
    size_t successor_count;
    bool fresh; /* made for successors: paused until they take over */
    struct link_sub *sub;
    bool paused;
    bool declared; /* by the time the service started: it cannot do without */
    bool draining;
    bool ending;   /* the only listener was stopped and goes with the subscription */
    char *subject; /* owned */
    char *queue;   /* owned; NULL = none */
};

/* A message with the handlers it goes to. */
struct inbound {
    struct inbound *next; /* in service->spare */
    struct service *service;
    struct message *msg;
    size_t jobs_left;
    bool answered;
    int error_code;   /* of the first failure; 0 = none */
    char *error_text; /* owned */
    size_t capacity;  /* of jobs */
    struct job jobs[];
};

struct service {
    struct service_options options;
    uv_loop_t *loop;
    struct scheduler *scheduler;
    uv_timer_t stepper, deadline;
    int handles; /* of the two above, while they close */
    void (*step)(struct service *);
    struct clock *clock; /* real time, whatever the clock of the script is */
    struct script *script;
    struct link *link;
    struct link_call confirm;
    enum service_state state;
    bool started, stop_wanted, handlers_done;
    int exit_status;
    char *name; /* owned */
    char instance[SERVICE_INSTANCE_SIZE];
    uint64_t errors, reloads, failed_reloads;
    char *last_error;          /* owned; of the script */
    struct reload *reload;     /* under way, or NULL */
    struct retiring *retiring; /* versions whose handlers still run */
    struct subscription *subscriptions;
    size_t draining;       /* subscriptions that are being drained */
    size_t inflight;       /* messages in handlers */
    struct inbound *spare; /* for messages with one handler, the usual case */
};

/* Loads a version of the script; see struct script_options for `saved`. */
int service_load(struct service *service, const char *source, size_t source_len,
                 const char *saved, size_t saved_len, struct script **out);

/* Publishes lunats.events.<service>.<instance>.<event>. */
void service_publish_event(struct service *service, const char *event);

/* The last retiring version is gone (reload.c tells service.c). */
void service_retired(struct service *service);

/* Ends a reload that is under way, and closes the versions that retire, at once. */
void reload_abort(struct service *service);
void reload_close_retiring(struct service *service);

/* The server refuses what the next version wants (inbound.c tells reload.c). */
void reload_refuse(struct service *service, const char *reason);

/* A subscription that only a retiring version used is drained (inbound.c tells reload.c). */
void reload_drained(struct service *service);

/* All subscriptions have been drained (inbound.c tells service.c). */
void service_drained(struct service *service);

/* A message has left its handlers (inbound.c tells service.c). */
void service_message_done(struct service *service);

/* Drains all subscriptions, then calls service_drained(), possibly at once. */
void inbound_drain(struct service *service, uint32_t timeout_ms);

/*
 * Pairs the listeners of the next version with the subscriptions, making those that are
 * missing. On failure nothing is left of it and `text` says which subject; see
 * inbound_forget_next().
 */
int inbound_prepare(struct service *service, struct script *next, char *text, size_t size);
void inbound_forget_next(struct service *service);

/* Whether the next version has brought subscriptions of its own. */
bool inbound_has_fresh(const struct service *service);

/* The next version takes over: between two messages. Subscriptions that it does not use are
 * drained by the old one. */
void inbound_switch(struct service *service, uint32_t timeout_ms);

/* Subscriptions whose messages still go to this script. */
size_t inbound_count(const struct service *service, const struct script *script);

/* Ends them at once. */
void inbound_drop(struct service *service, const struct script *script);

/* Drops the subscriptions: their listeners belong to a script that is about to be closed. */
void inbound_forget_listeners(struct service *service);

/* Frees the pool. */
void inbound_free_spare(struct service *service);

#endif
