/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A message on its way to its handlers: one job for each listener that gets it, each run by the
 * listener's body in a fiber of its own. The sender gets one answer: the first reply, else the
 * first error.
 */
#ifndef LUNATS_SERVICE_DELIVERY_H
#define LUNATS_SERVICE_DELIVERY_H

#include <stdbool.h>

#include "host/link/link.h"

struct delivery;
struct fibers;
struct listener;
struct trace;

/* One message for one listener: what a listener's body gets. */
struct script_error;
struct job {
    struct delivery *delivery;
    struct listener *listener;
    struct job **holder;   /* see job_hold() */
    bool replying;         /* the body makes a message of what the handler has returned */
    bool failed;           /* job_failed() was called */
    bool told;             /* what the handler has raised is in the log, and its sender knows */
    struct job_turn *turn; /* see keys.h; NULL: it is not ordered by a key */
    bool traced;           /* its body calls job_begin_trace() */
    struct trace *trace;   /* of its fiber; NULL: none */
};

/* Its body shall raise why it has no key, rather than handle the message. */
bool job_key_failed(const struct job *job);

/* The message; borrowed until the body ends. */
struct message *job_msg(const struct job *job);

/* First thing in a body of a job that is `traced`, whose fiber is the running one of these:
 * that is part of the trace of the message from then on, see host/trace/context.h. */
void job_begin_trace(struct job *job, struct fibers *fibers);

/* The connection that brought it. */
struct link *job_link(const struct job *job);

/* Writes "listener orders.* (orders.created)": its name, and the subject if that is another. */
void job_title(const struct job *job, char *out, size_t size);

/*
 * Sets *holder to the job until it ends, and to NULL then: for what a script may keep longer.
 * The memory of the holder must stay until the body has ended; one holder per job.
 */
void job_hold(struct job *job, struct job **holder);

/* Nobody has answered this message yet and it wants an answer. */
bool job_wants_reply(const struct job *job);
/* Says that the reply has been sent. */
void job_answered(const struct job *job);
/* Logs that nothing was sent to this reply subject, see host/link/answer.h. */
void job_refused(const struct job *job, const char *subject);

/*
 * The handler failed (or returned an error): counts it and, when all handlers of the message
 * are done and none has answered, sends an error reply with this code and text. `text` is
 * copied.
 */
void job_failed(const struct job *job, int code, const char *text);

/* The same, and the error reply says when to come again, in seconds (Retry-After). */
void job_failed_for(const struct job *job, int code, const char *text, double seconds);

/*
 * The handler raised an error that is not meant for the sender: reports it and fails with code
 * 500 and `text`; where errors are short (see service_options), with "internal error ID"
 * instead of the text, and the report has the ID, too. Of `error` the text, without the name of
 * the listener, and what was raised are the caller's.
 */
void job_raised(const struct job *job, const struct script_error *error, const char *text);

/* Reports an error of the listener, as above. */
void job_report(const struct job *job, const struct script_error *error);

/* Sends an error reply (Nats-Service-Error, Nats-Service-Error-Code) to `reply`; does nothing
 * when it is NULL. Returns what link_publish() does, or LN_EANSWER. The other one adds the
 * header Retry-After, unless that is negative. */
int reply_error_after(struct link *link, const char *reply, int code, const char *text,
                      double seconds);
int reply_error(struct link *link, const char *reply, int code, const char *text);

#endif
