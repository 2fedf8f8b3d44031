/* SPDX-License-Identifier: Apache-2.0 */
#include "host/service/trigger.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/clock.h"
#include "host/base/container_of.h"
#include "host/base/log.h"
#include "host/base/watch.h"
#include "host/link/answer.h"
#include "host/service/voice.h"

/* A version that could not start may have failed for lack of a server: it is tried again after
 * so long, and each time after twice as long, up to a minute. */
#define RETRY_MS 2000
#define RETRY_MAX_MS 60000

struct trigger {
    struct trigger_options options;
    struct service *service; /* NULL: it does not run */
    struct watch *watch;     /* NULL: files are not watched */
    bool again;              /* something changed during the start or the reload */
    struct clock_timer retry;
    unsigned retry_ms; /* of the last one of the version that is in the file; 0: none yet */
    struct answer_log refusals;
};

/* Somebody waits for a reload. */
struct asked {
    struct trigger *trigger;
    service_reload_fn on_done;
    void *owner;
};

/* A request to reload, until it is answered. */
struct control_request {
    struct trigger *trigger;
    char reply[];
};

/* ---- files ---- */

void trigger_add_file(struct trigger *trigger, const char *path) {
    if (trigger->watch == NULL)
        return;
    int rc = watch_add(trigger->watch, path);
    if (rc < 0)
        log_warn(NULL, "cannot watch %s: %s; --watch-poll SECONDS needs nothing of the system",
                 path, uv_strerror(rc));
}

/* The files of the version that runs now, which have been added as it loaded them, and no
 * others.
 */
static void watch_current(struct trigger *trigger) {
    if (trigger->watch == NULL)
        return;
    size_t count;
    const char *const *files = script_files(service_script(trigger->service), &count);
    watch_keep(trigger->watch, files, count);
}

static bool pull(struct trigger *trigger);

static void on_retry(struct clock_timer *timer) {
    pull(container_of(timer, struct trigger, retry));
}

static void forget_retries(struct trigger *trigger) {
    trigger->retry_ms = 0;
    if (trigger->service != NULL)
        clock_disarm(service_clock(trigger->service), &trigger->retry);
}

static void retry_later(struct trigger *trigger) {
    unsigned ms = trigger->retry_ms == 0 ? RETRY_MS : trigger->retry_ms * 2;
    trigger->retry_ms = ms < RETRY_MAX_MS ? ms : RETRY_MAX_MS;
    log_info(service_name(trigger->service), "the new version is tried again in %u s",
             trigger->retry_ms / 1000);
    trigger->retry.fire = on_retry;
    clock_arm(service_clock(trigger->service), &trigger->retry, trigger->retry_ms);
}

static void on_reloaded(void *owner, int status, const char *text) {
    (void)text;
    struct trigger *trigger = owner;
    if (status == LN_ECANCELLED)
        return; /* the service stops */
    bool again = trigger->again;
    trigger->again = false;
    if (status == LN_OK)
        watch_current(trigger);
    if (again)
        trigger_pull(trigger);
    else if (service_reloads(trigger->service).not_started)
        retry_later(trigger);
    else
        forget_retries(trigger);
}

static bool pull(struct trigger *trigger) {
    bool expected = trigger->again;
    int rc = LN_EFULL;
    if (trigger->service != NULL)
        rc = service_reload(trigger->service, NULL, 0, on_reloaded, trigger);
    if (rc == LN_EFULL)
        trigger->again = true;
    return rc == LN_OK || (rc == LN_EFULL && !expected);
}

bool trigger_pull(struct trigger *trigger) {
    forget_retries(trigger);
    return pull(trigger);
}

void trigger_reconnected(struct trigger *trigger) {
    if (trigger->service != NULL && service_reloads(trigger->service).not_started)
        trigger_pull(trigger);
}

static void on_asked_done(void *owner, int status, const char *text) {
    struct asked *asked = owner;
    asked->on_done(asked->owner, status, text);
    on_reloaded(asked->trigger, status, text);
    free(asked);
}

int trigger_ask(struct trigger *trigger, service_reload_fn on_done, void *owner) {
    if (trigger->service == NULL)
        return LN_ECLOSED;
    struct asked *asked = malloc(sizeof(*asked));
    if (asked == NULL)
        return LN_ENOMEM;
    *asked = (struct asked){trigger, on_done, owner};
    forget_retries(trigger);
    int rc = service_reload(trigger->service, NULL, 0, on_asked_done, asked);
    if (rc < 0)
        free(asked);
    return rc;
}

static void on_change(void *owner, const char *path) {
    struct trigger *trigger = owner;
    log_debug(trigger->service != NULL ? service_name(trigger->service) : NULL,
              "%s has changed", path);
    trigger_pull(trigger);
    if (trigger->service == NULL && trigger->options.on_change != NULL)
        trigger->options.on_change(trigger->options.owner);
}

/* ---- control subject ---- */

static void answer(struct trigger *trigger, const char *reply, int status, const char *text) {
    struct service *service = trigger->service;
    struct link *link = service_link(service);
    if (link == NULL || *reply == '\0')
        return;
    if (!link_may_answer(link, reply)) {
        answer_refused(&trigger->refusals, service_name(service), "control", "reload", reply);
        return;
    }
    if (status != LN_OK) {
        reply_error(link, reply, status == LN_EFULL ? 409 : 500, text);
        return;
    }
    char body[128];
    int len = snprintf(body, sizeof(body), "{\"status\":\"reloaded\",\"version\":\"%s\"}",
                       script_about(service_script(service))->version);
    link_publish(link,
                 &(struct link_out){
                     .subject = reply, .data = body, .len = (size_t)len, .checked = true});
}

static void on_control_done(void *owner, int status, const char *text) {
    struct control_request *request = owner;
    struct trigger *trigger = request->trigger;
    if (status != LN_ECANCELLED)
        answer(trigger, request->reply, status, text);
    free(request);
}

static void on_control(void *owner, struct message *msg) {
    struct trigger *trigger = owner;
    const char *reply = msg->reply ? msg->reply : "";
    struct control_request *request = malloc(sizeof(*request) + strlen(reply) + 1);
    int rc = LN_ENOMEM;
    if (request != NULL) {
        request->trigger = trigger;
        strcpy(request->reply, reply);
        rc = trigger_ask(trigger, on_control_done, request);
    }
    if (rc < 0) {
        if (*reply != '\0')
            answer(trigger, reply, rc,
                   rc == LN_EFULL ? "a reload is under way" : status_text(rc));
        free(request);
    }
    message_free(msg);
}

static int subscribe_control(struct trigger *trigger) {
    struct service *service = trigger->service;
    char subject[256];
    snprintf(subject, sizeof(subject), "lunats.control.%s.%s.reload", service_name(service),
             service_instance(service));
    struct link_sub_options options = {.prompt = true};
    struct link_sub *sub; /* ends with the link, which the trigger outlives */
    return link_subscribe(service_link(service), subject, &options, on_control, NULL, trigger,
                          &sub);
}

/* ---- life ---- */

int trigger_open(struct trigger **out, uv_loop_t *loop, const struct trigger_options *options) {
    struct trigger *trigger = calloc(1, sizeof(*trigger));
    if (trigger == NULL)
        return LN_ENOMEM;
    trigger->options = *options;
    int rc = LN_OK;
    if (options->watch)
        rc = watch_open(&trigger->watch, loop, options->poll_ms, on_change, trigger);
    if (rc < 0) {
        free(trigger);
        return rc;
    }
    *out = trigger;
    return LN_OK;
}

int trigger_attach(struct trigger *trigger, struct service *service) {
    trigger->service = service;
    int rc = trigger->options.control ? subscribe_control(trigger) : LN_OK;
    if (rc == LN_OK && trigger->options.control)
        rc = voice_listen(service_voice(service));
    watch_current(trigger);
    if (trigger->again) {
        trigger->again = false;
        trigger_pull(trigger);
    }
    return rc;
}

void trigger_detach(struct trigger *trigger) {
    forget_retries(trigger);
    trigger->service = NULL;
    trigger->again = false;
}

void trigger_forget(struct trigger *trigger) {
    trigger->again = false;
}

void trigger_close(struct trigger *trigger) {
    if (trigger->watch != NULL)
        watch_close(trigger->watch);
    free(trigger);
}
