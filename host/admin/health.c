/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether the process lives, and whether it is ready. A service is ready when it has started,
 * its connection is up, its server does not go away, none of its consumers is missing, and none
 * of its critical checks fails. What is not ready may be alive all the same: a restart does not
 * bring a server back.
 */
#include "host/admin/internal.h"
#include "host/service/service.h"
#include "host/service/vitals.h"

static const char json[] = "application/json";

void page_live(struct admin *admin, struct http_request *request) {
    struct text text = {0};
    text_puts(&text, "ok\n");
    admin_answer(admin, request, 200, "text/plain; charset=utf-8", &text);
}

/* ---- reasons ---- */

/* The list of reasons while it is written. */
struct reasons {
    struct text text;
    size_t count;
    struct service *service;
};

static void put_field(struct text *text, const char *name, const char *value) {
    text_printf(text, ",\"%s\":", name);
    text_json(text, value);
}

/* Begins the object of a reason: { "service": ..., "reason": ..., "detail": ... */
static void begin_reason(struct reasons *reasons, const char *reason, const char *detail) {
    struct text *text = &reasons->text;
    text_puts(text, reasons->count++ == 0 ? "{\"service\":" : ",{\"service\":");
    text_json(text, service_name(reasons->service));
    put_field(text, "reason", reason);
    put_field(text, "detail", detail);
}

static void add_reason(struct reasons *reasons, const char *reason, const char *detail) {
    begin_reason(reasons, reason, detail);
    text_puts(&reasons->text, "}");
}

static void look_at_state(struct reasons *reasons) {
    enum service_state state = service_state(reasons->service);
    if (state == SERVICE_LOADED || state == SERVICE_CONNECTING)
        add_reason(reasons, "starting", "it has no connection yet");
    else if (state == SERVICE_STARTING)
        add_reason(reasons, "starting", "its on_start hooks run");
    else if (state == SERVICE_SUBSCRIBING)
        add_reason(reasons, "starting", "it waits for the server to confirm its listeners");
    else if (state == SERVICE_DRAINING)
        add_reason(reasons, "draining", "it stops: running handlers finish");
    else if (state > SERVICE_DRAINING)
        add_reason(reasons, "stopping", "its on_stop hooks have run, or run");
}

static void look_at_connection(struct reasons *reasons) {
    struct service *service = reasons->service;
    const struct link *link = service_link(service);
    if (link == NULL || service_state(service) <= SERVICE_CONNECTING)
        return;
    if (!link_is_connected(link))
        add_reason(reasons, "disconnected",
                   "the connection to NATS is lost; it is tried again");
    else if (service_vitals(service)->lame_duck)
        add_reason(reasons, "lame_duck", "its NATS server is about to go away");
}

/* Without a connection nobody hears of any consumer, and that has been said. */
static void look_at_readers(struct reasons *reasons) {
    const struct link *link = service_link(reasons->service);
    if (link == NULL || !link_is_connected(link))
        return;
    list_each (struct reader, at, &service_vitals(reasons->service)->readers, node) {
        if (at->state == READER_OK)
            continue;
        begin_reason(reasons,
                     at->state == READER_SILENT ? "consumer_silent" : "consumer_missing",
                     at->why);
        put_field(&reasons->text, "stream", at->stream);
        put_field(&reasons->text, "consumer", at->consumer);
        text_puts(&reasons->text, "}");
    }
}

static void look_at_checks(struct reasons *reasons) {
    list_each (struct health_check, at, &service_vitals(reasons->service)->checks, node) {
        if (!at->critical || at->health == HEALTH_OK)
            continue;
        begin_reason(reasons, "health",
                     at->health == HEALTH_UNKNOWN ? "it has not been checked yet" : at->why);
        put_field(&reasons->text, "check", at->name);
        text_puts(&reasons->text, "}");
    }
}

static void look_at_service(struct reasons *reasons) {
    look_at_state(reasons);
    look_at_connection(reasons);
    look_at_readers(reasons);
    look_at_checks(reasons);
}

bool health_is_ready(struct service *service) {
    struct reasons reasons = {.service = service};
    look_at_service(&reasons);
    text_free(&reasons.text);
    return reasons.count == 0;
}

/* Writes what speaks against being ready; the list is [] when nothing does. */
static void collect(const struct admin *admin, struct reasons *reasons) {
    size_t services = 0;
    text_puts(&reasons->text, "[");
    while ((reasons->service = admin_next(admin, reasons->service)) != NULL) {
        services++;
        look_at_service(reasons);
    }
    if (services == 0) {
        text_puts(&reasons->text,
                  "{\"service\":null,\"reason\":\"stopping\",\"detail\":\"no service runs\"}");
        reasons->count++;
    }
    text_puts(&reasons->text, "]");
}

bool health_write(const struct admin *admin, struct text *text) {
    struct reasons reasons = {0};
    collect(admin, &reasons);
    bool ready = reasons.count == 0;
    text_printf(text, "\"ready\":%s,\"reasons\":", ready ? "true" : "false");
    if (reasons.text.failed)
        text->failed = true;
    else
        text_put(text, reasons.text.bytes, reasons.text.len);
    text_free(&reasons.text);
    return ready;
}

void page_ready(struct admin *admin, struct http_request *request) {
    struct text text = {0};
    text_puts(&text, "{");
    bool ready = health_write(admin, &text);
    text_puts(&text, "}\n");
    admin_answer(admin, request, ready ? 200 : 503, json, &text);
}

/* ---- each check ---- */

static void put_check(struct text *text, const struct health_check *check) {
    static const char *const words[] = {"unknown", "ok", "failed"};
    text_puts(text, "{\"name\":");
    text_json(text, check->name);
    put_field(text, "status", words[check->health]);
    text_printf(text, ",\"critical\":%s", check->critical ? "true" : "false");
    if (check->why != NULL)
        put_field(text, "why", check->why);
    if (check->checked_at > 0)
        text_printf(text, ",\"checked_at\":%.3f", check->checked_at);
    text_puts(text, "}");
}

const char *health_state(const struct service *service) {
    static const char *const states[] = {
        [SERVICE_LOADED] = "starting",   [SERVICE_CONNECTING] = "starting",
        [SERVICE_STARTING] = "starting", [SERVICE_SUBSCRIBING] = "starting",
        [SERVICE_RUNNING] = "running",   [SERVICE_DRAINING] = "draining",
        [SERVICE_STOPPING] = "stopping", [SERVICE_CLOSING] = "stopping",
        [SERVICE_CLOSED] = "stopping",
    };
    return states[service_state(service)];
}

static void put_service(struct text *text, struct service *service) {
    const struct link *link = service_link(service);
    text_puts(text, "{\"name\":");
    text_json(text, service_name(service));
    const struct script *script = service_script(service); /* NULL: it closes */
    put_field(text, "version", script != NULL ? script_about(script)->version : NULL);
    put_field(text, "instance", service_instance(service));
    put_field(text, "state", health_state(service));
    text_printf(text, ",\"connected\":%s,\"checks\":[",
                link != NULL && link_is_connected(link) ? "true" : "false");
    size_t count = 0;
    list_each (struct health_check, at, &service_vitals(service)->checks, node) {
        text_puts(text, count++ > 0 ? "," : "");
        put_check(text, at);
    }
    text_puts(text, "]}");
}

void page_health(struct admin *admin, struct http_request *request) {
    struct text text = {0};
    struct service *service = NULL;
    size_t count = 0;
    text_puts(&text, "{\"status\":\"ok\",\"services\":[");
    while ((service = admin_next(admin, service)) != NULL) {
        text_puts(&text, count++ > 0 ? "," : "");
        put_service(&text, service);
    }
    text_puts(&text, "]}\n");
    admin_answer(admin, request, 200, json, &text);
}
