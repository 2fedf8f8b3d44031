/* SPDX-License-Identifier: Apache-2.0 */
#include "host/service/discovery.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/log.h"
#include "host/base/text.h"
#include "host/link/message.h"
#include "host/service/endpoint.h"
#include "host/service/internal.h"

enum { PING, INFO, STATS, VERBS };

/* Alone, with the name, with name and id. */
#define SCOPES 3

struct verb {
    struct discovery *discovery;
    int kind;
    struct link_sub *subs[SCOPES];
};

struct discovery {
    struct service *service;
    struct link *link;
    char host[UV_MAXHOSTNAMESIZE + 24]; /* where it runs: "web-1/4711" */
    bool refused;                       /* the log has been told */
    struct verb verbs[VERBS];
};

/* ---- answers ---- */

/* `metadata` of the service: what its script says, behind what made it. */
static void put_service_metadata(struct text *out, const char *host, const char *metadata) {
    text_puts(out, "{\"_nats.client.created.library\":\"lunats\","
                   "\"_nats.client.created.version\":\"" LN_VERSION "\",\"lunats.host\":");
    text_json(out, host);
    if (metadata != NULL && strcmp(metadata, "{}") != 0) {
        text_puts(out, ",");
        text_puts(out, metadata + 1);
    } else {
        text_puts(out, "}");
    }
}

/* What all three answers begin with. */
static void put_identity(struct text *out, const struct discovery *discovery,
                         const char *type) {
    const struct service *service = discovery->service;
    const struct script_about *about = script_about(service_script(service));
    text_printf(out,
                "{\"type\":\"io.nats.micro.v1.%s_response\",\"name\":\"%s\",\"id\":\"%s\","
                "\"version\":\"%s\",\"metadata\":",
                type, service_name(service), service_instance(service), about->version);
    put_service_metadata(out, discovery->host, about->metadata);
}

static void put_endpoint(struct text *out, const struct listener *listener) {
    const struct listener_options *options = listener_options(listener);
    text_printf(out, "{\"name\":\"%s\",\"subject\":", listener_endpoint_name(listener));
    text_json(out, options->subject);
    text_puts(out, ",\"queue_group\":");
    text_json(out, options->queue != NULL ? options->queue : "");
}

static void put_endpoint_info(struct text *out, const struct listener *listener) {
    const char *metadata = listener_options(listener)->metadata;
    put_endpoint(out, listener);
    text_printf(out, ",\"metadata\":%s}", metadata != NULL ? metadata : "null");
}

/* Times are whole nanoseconds. */
static void put_endpoint_stats(struct text *out, const struct listener *listener) {
    const struct endpoint *numbers = listener_endpoint(listener);
    uint64_t average = numbers->requests > 0 ? numbers->nanoseconds / numbers->requests : 0;
    put_endpoint(out, listener);
    text_printf(out, ",\"num_requests\":%" PRIu64 ",\"num_errors\":%" PRIu64 ",\"last_error\":",
                numbers->requests, numbers->errors);
    text_json(out, numbers->last_error);
    text_printf(out,
                ",\"processing_time\":%" PRIu64 ",\"average_processing_time\":%" PRIu64 "}",
                numbers->nanoseconds, average);
}

static void put_endpoints(struct text *out, const struct service *service,
                          void (*put)(struct text *out, const struct listener *listener)) {
    const struct intake *intake = service_intake(service);
    const struct script *script = service_script(service);
    struct listener *at = NULL;
    const char *comma = "";
    text_puts(out, ",\"endpoints\":[");
    while ((at = listener_next(intake, script, at)) != NULL) {
        if (listener_options(at)->hidden)
            continue;
        text_puts(out, comma);
        put(out, at);
        comma = ",";
    }
    text_puts(out, "]");
}

static void put_answer(struct text *out, const struct discovery *discovery, int kind) {
    const struct service *service = discovery->service;
    if (kind == PING) {
        put_identity(out, discovery, "ping");
    } else if (kind == INFO) {
        put_identity(out, discovery, "info");
        text_puts(out, ",\"description\":");
        text_json(out, script_about(service_script(service))->description);
        put_endpoints(out, service, put_endpoint_info);
    } else {
        put_identity(out, discovery, "stats");
        text_puts(out, ",\"started\":\"");
        text_time(out, service_started(service));
        text_puts(out, "\"");
        put_endpoints(out, service, put_endpoint_stats);
    }
    text_puts(out, "}");
}

/* What a request says is of no matter: tools send "{}". */
static void answer(const struct discovery *discovery, int kind, const char *reply) {
    struct text body = {0};
    put_answer(&body, discovery, kind);
    struct link_out out = {.subject = reply, .data = body.bytes, .len = body.len};
    int rc = body.failed ? LN_ENOMEM : link_publish(discovery->link, &out);
    text_free(&body);
    if (rc == LN_OK)
        return;
    log_warn(service_name(discovery->service), "a request of $SRV was not answered: %s",
             status_text(rc));
    reply_error(discovery->link, reply, 500, status_text(rc));
}

static void on_request(void *owner, struct message *msg) {
    const struct verb *verb = owner;
    struct discovery *discovery = verb->discovery;
    if (msg->reply != NULL && link_may_answer(discovery->link, msg->reply))
        answer(discovery, verb->kind, msg->reply);
    message_free(msg);
}

/* ---- life ---- */

static void on_error(void *owner, int status, const char *text) {
    struct discovery *discovery = ((struct verb *)owner)->discovery;
    if (discovery->refused || status == LN_EFULL)
        return;
    discovery->refused = true;
    log_warn(
        service_name(discovery->service),
        "tools cannot discover this service ($SRV): %s; allow subscribing to $SRV.>, or say "
        "discover = false in app.config",
        text != NULL ? text : status_text(status));
}

static int subscribe(struct discovery *discovery, int kind, int scope) {
    static const char *const names[VERBS] = {"PING", "INFO", "STATS"};
    const struct service *service = discovery->service;
    struct verb *verb = &discovery->verbs[kind];
    char subject[256];
    int len = snprintf(subject, sizeof(subject), "$SRV.%s", names[kind]);
    if (scope > 0)
        len += snprintf(subject + len, sizeof(subject) - (size_t)len, ".%s",
                        service_name(service));
    if (scope > 1)
        snprintf(subject + len, sizeof(subject) - (size_t)len, ".%s",
                 service_instance(service));
    verb->discovery = discovery;
    verb->kind = kind;
    static const struct link_sub_options options = {.prompt = true};
    return link_subscribe(discovery->link, subject, &options, on_request, on_error, verb,
                          &verb->subs[scope]);
}

/* The machine and the process. */
static void find_host(struct discovery *discovery) {
    char name[UV_MAXHOSTNAMESIZE];
    size_t size = sizeof(name);
    if (uv_os_gethostname(name, &size) < 0)
        strcpy(name, "?");
    snprintf(discovery->host, sizeof(discovery->host), "%s/%d", name, (int)uv_os_getpid());
}

int discovery_open(struct discovery **out, struct service *service) {
    struct discovery *discovery = calloc(1, sizeof(*discovery));
    int rc = discovery != NULL ? LN_OK : LN_ENOMEM;
    if (rc == LN_OK) {
        discovery->service = service;
        discovery->link = service_link(service);
        find_host(discovery);
    }
    for (int i = 0; rc == LN_OK && i < VERBS * SCOPES; i++)
        rc = subscribe(discovery, i / SCOPES, i % SCOPES);
    if (rc == LN_OK)
        *out = discovery;
    else
        discovery_close(&discovery);
    return rc;
}

void discovery_close(struct discovery **discovery) {
    if (*discovery == NULL)
        return;
    for (int kind = 0; kind < VERBS; kind++)
        for (int scope = 0; scope < SCOPES; scope++)
            if ((*discovery)->verbs[kind].subs[scope] != NULL)
                link_unsubscribe((*discovery)->verbs[kind].subs[scope]);
    free(*discovery);
    *discovery = NULL;
}
