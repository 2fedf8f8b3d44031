/* SPDX-License-Identifier: Apache-2.0 */
#include "host/service/delivery.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/unique.h"
#include "host/link/message.h"
#include "host/script/memory.h"
#include "host/script/title.h"
#include "host/service/internal.h"
#include "host/service/keys.h"
#include "host/trace/tracer.h"

/* Longest text of an error reply; headers of a message share 64 KiB. */
#define ERROR_TEXT_MAX 1024

/* Letters and digits of the id of an error: 47 bits, found in any log by a search. */
#define ERROR_ID_LEN 8

struct delivery {
    struct delivery *next; /* in deliveries->spare */
    struct deliveries *deliveries;
    struct message *msg; /* owned */
    size_t job_count, jobs_left;
    bool answered;
    int error_code;     /* of the first failure; 0 = none */
    double retry_after; /* what it says, in seconds; negative: nothing */
    char *error_text;   /* owned */
    size_t capacity;    /* of jobs */
    struct job jobs[];
};

/* ---- life ---- */

struct delivery *delivery_new(struct deliveries *deliveries, struct message *msg, size_t jobs) {
    struct delivery *delivery = deliveries->spare;
    if (delivery != NULL && jobs == 1) {
        deliveries->spare = delivery->next;
    } else {
        delivery = calloc(1, sizeof(*delivery) + jobs * sizeof(struct job));
        if (delivery == NULL)
            return NULL;
        delivery->capacity = jobs;
    }
    delivery->deliveries = deliveries;
    delivery->msg = msg;
    delivery->answered = false;
    delivery->job_count = delivery->jobs_left = 0;
    deliveries->count++;
    return delivery;
}

void delivery_add(struct delivery *delivery, struct listener *listener) {
    bool traced = delivery->msg->headers != NULL || delivery->deliveries->tracer != NULL;
    delivery->jobs[delivery->job_count++] =
        (struct job){.delivery = delivery, .listener = listener, .traced = traced};
    delivery->jobs_left++;
}

static inline __attribute__((always_inline)) void give_back(struct delivery *delivery) {
    struct deliveries *deliveries = delivery->deliveries;
    message_free(delivery->msg);
    if (delivery->error_code != 0) {
        free(delivery->error_text);
        delivery->error_text = NULL;
        delivery->error_code = 0;
    }
    if (delivery->capacity == 1) {
        delivery->next = deliveries->spare;
        deliveries->spare = delivery;
    } else {
        free(delivery);
    }
    if (--deliveries->count == 0)
        deliveries->on_idle(deliveries);
}

void deliveries_free(struct deliveries *deliveries) {
    while (deliveries->spare != NULL) {
        struct delivery *delivery = deliveries->spare;
        deliveries->spare = delivery->next;
        free(delivery);
    }
}

/* ---- running ---- */

static void send_error(const struct delivery *delivery, const struct job *job) {
    if (delivery->answered || delivery->error_code == 0)
        return;
    const char *text = delivery->error_text ? delivery->error_text : "internal error";
    const char *reply = delivery->msg->reply;
    if (reply_error_after(delivery->deliveries->link, reply, delivery->error_code, text,
                          delivery->retry_after) == LN_EANSWER)
        job_refused(job, reply);
}

/* What the handler has returned is no message: a function, a table with itself in it. */
static void unsendable(const struct job *job, const char *trace) {
    const char *where = job->listener->options.where,
               *end = strstr(trace, "\nstack traceback:");
    char text[ERROR_TEXT_MAX];
    snprintf(text, sizeof(text), "the result of the handler at %s cannot be sent: %.*s",
             where != NULL ? where : "?", end != NULL ? (int)(end - trace) : (int)strlen(trace),
             trace);
    job_raised(job, &(struct script_error){.text = text}, text);
}

static void on_job_end(struct fiber *fiber, void *arg, int status, const char *text) {
    (void)fiber;
    struct job *job = arg;
    struct delivery *delivery = job->delivery;
    if (status == LN_ESCRIPT && job->replying)
        unsendable(job, text);
    else if (status == LN_ESCRIPT)
        job_raised(job, &(struct script_error){.text = text}, text);
    else if (status == LN_ECANCELLED)
        job_failed(job, 503, "the service is stopping");
    if (job->holder != NULL)
        *job->holder = NULL;
    struct listener_keys *keys = NULL;
    if (job->turn != NULL) {
        keys = keys_hold(job->listener->keys);
        keys_done(job);
    }
    uint64_t now = clock_precise();
    endpoint_count(job->listener->endpoint, now - delivery->msg->received);
    if (job->trace != NULL)
        trace_handled(job->trace, job->listener->span_label, delivery->msg->subject, now);
    bool last = --delivery->jobs_left == 0;
    if (last)
        send_error(delivery, job);
    delivery->deliveries->on_job_end(job->listener); /* it may be gone afterwards */
    if (last)
        give_back(delivery);
    if (keys != NULL) {
        keys_go_on(keys);
        keys_release(keys);
    }
}

void job_cancel(struct job *job) {
    on_job_end(NULL, job, LN_ECANCELLED, NULL);
}

void job_drop(struct job *job) {
    struct delivery *delivery = job->delivery;
    if (--delivery->jobs_left > 0)
        return;
    send_error(delivery, job);
    give_back(delivery);
}

static void without_fiber(struct job *job) {
    char why[MEMORY_TEXT];
    memory_explain(script_memory(job->listener->script), why);
    on_job_end(NULL, job, LN_ESCRIPT, why);
}

static void write_title(const void *arg, char *out, size_t size) {
    job_title(arg, out, size);
}

static bool is_awaited(const void *arg) {
    return job_wants_reply(arg);
}

static size_t job_facts(const void *arg, struct log_field out[LOG_CONTEXT_MAX]) {
    const struct job *job = arg;
    const struct message *msg = job->delivery->msg;
    out[0] = log_text("listener", job->listener->options.name);
    out[1] = log_text("subject", msg->subject);
    return 2;
}

const struct fiber_role job_role = {on_job_end, write_title, is_awaited, job_facts};

static inline void start(struct job *job) {
    const struct listener *listener = job->listener;
    struct fibers *fibers = script_fibers(listener->script);
    int rc = fiber_spawn(fibers, FIBER_HANDLER, listener->options.body, job, on_job_end);
    if (rc == LN_ECLOSED)
        job_cancel(job); /* it has waited for one that was cut off */
    else if (rc < 0)
        without_fiber(job);
}

void job_start(struct job *job) {
    start(job);
}

void delivery_start(struct delivery *delivery) {
    size_t count = delivery->job_count;
    for (size_t i = 0; i < count; i++) { /* it lives until the last job has ended */
        struct job *job = &delivery->jobs[i];
        if (job->listener->keys != NULL)
            keys_add(job);
        else
            start(job);
    }
}

void job_begin_trace(struct job *job, struct fibers *fibers) {
    const struct message *msg = job->delivery->msg;
    struct tracer *tracer = job->delivery->deliveries->tracer;
    struct listener *listener = job->listener;
    if (tracer == NULL) {
        job->trace = trace_pass(msg->headers, msg->headers_len);
    } else {
        if (listener->span_label == NULL)
            listener->span_label =
                span_label(listener->options.subject, listener->options.queue, NULL);
        job->trace =
            trace_handle(tracer, msg->headers, msg->headers_len, ORIGIN_SENDER, msg->received);
    }
    if (job->trace != NULL)
        fiber_set_trace(fibers_current(fibers), job->trace); /* which owns it */
}

/* ---- what a job tells ---- */

struct message *job_msg(const struct job *job) {
    return job->delivery->msg;
}

struct link *job_link(const struct job *job) {
    return job->delivery->deliveries->link;
}

void job_title(const struct job *job, char *out, size_t size) {
    const char *name = job->listener->options.name, *subject = job->delivery->msg->subject;
    if (strcmp(name, subject) == 0)
        snprintf(out, size, "listener %s", name);
    else
        snprintf(out, size, "listener %s (%s)", name, subject);
}

void job_hold(struct job *job, struct job **holder) {
    job->holder = holder;
    *holder = job;
}

bool job_wants_reply(const struct job *job) {
    return !job->delivery->answered && job->delivery->msg->reply != NULL;
}

void job_answered(const struct job *job) {
    job->delivery->answered = true;
}

void job_refused(const struct job *job, const char *subject) {
    struct listener *listener = job->listener;
    answer_refused(&listener->refusals, service_name(script_service(listener->script)),
                   "listener", listener->options.name, subject);
}

/* `label` stands in front of the text. */
static void report(const struct job *job, const char *label, const struct script_error *error) {
    struct script_error full = *error;
    char title[TITLE_SIZE], *text = NULL;
    job_title(job, title, sizeof(title));
    int len = asprintf(&text, "%s: %s%s", title, label, error->text);
    if (len >= 0)
        full.text = text;
    full.kind = "listener";
    full.name = job->listener->options.name;
    full.subject = job->delivery->msg->subject;
    script_report_error(job->listener->script, &full);
    if (len >= 0)
        free(text);
}

void job_report(const struct job *job, const struct script_error *error) {
    report(job, "", error);
}

void job_raised(const struct job *job, const struct script_error *error, const char *text) {
    const struct script *script = job->listener->script;
    char id[UNIQUE_SIZE] = "", told[40], label[48] = "";
    struct script_error full = *error;
    bool hide = service_options(script_service(script))->short_errors;
    if (hide && unique_name(id) == LN_OK) {
        id[ERROR_ID_LEN] = '\0';
        full.id = id;
    }
    snprintf(told, sizeof(told), "internal error %s", id);
    if (hide)
        snprintf(label, sizeof(label), "%s: ", told);
    report(job, label, &full);
    trace_failed(job->trace, text, error->text);
    job_failed(job, 500, hide ? told : text);
}

void job_failed(const struct job *job, int code, const char *text) {
    struct delivery *delivery = job->delivery;
    if (!job->failed) {
        delivery->jobs[job - delivery->jobs].failed = true;
        endpoint_failed(job->listener->endpoint, code, text);
        trace_answered(job->trace, code, text);
    }
    if (delivery->error_code != 0)
        return;
    delivery->error_code = code;
    delivery->retry_after = -1;
    delivery->error_text = strdup(text);
}

void job_failed_for(const struct job *job, int code, const char *text, double seconds) {
    bool first = job->delivery->error_code == 0;
    job_failed(job, code, text);
    if (first)
        job->delivery->retry_after = seconds;
}

int reply_error(struct link *link, const char *reply, int code, const char *text) {
    return reply_error_after(link, reply, code, text, -1);
}

int reply_error_after(struct link *link, const char *reply, int code, const char *text,
                      double seconds) {
    char line[ERROR_TEXT_MAX], number[16], after[32];
    if (reply == NULL)
        return LN_OK;
    if (link == NULL)
        return LN_ECLOSED;
    if (!link_may_answer(link, reply))
        return LN_EANSWER;
    /* A header value is one line: the first of the text. */
    snprintf(line, sizeof(line), "%.*s", (int)strcspn(text, "\r\n"), text);
    snprintf(number, sizeof(number), "%d", code);
    snprintf(after, sizeof(after), "%.3f", seconds);
    struct link_header headers[] = {
        {"Nats-Service-Error", line},
        {"Nats-Service-Error-Code", number},
        {"Retry-After", after},
    };
    struct link_out out = {
        .subject = reply, .headers = headers, .header_count = seconds >= 0 ? 3 : 2};
    return link_publish(link, &out);
}
