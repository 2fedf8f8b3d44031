/* SPDX-License-Identifier: Apache-2.0 */
#include "host/service/uplink.h"

#include <stdio.h>

#include "host/base/container_of.h"
#include "host/base/log.h"
#include "host/service/bounds.h"
#include "host/service/internal.h"
#include "host/service/outage.h"
#include "host/service/vitals.h"
#include "host/service/voice.h"

/*
 * Bytes already published get this long to reach the server when a service closes, and less
 * when the server seems to hang: all in all a stop without handlers takes less than 2 s.
 */
#define CLOSE_FLUSH_MS 1500
#define HUNG_FLUSH_MS 250

/* The server confirms subscriptions within this time, or the round trip is repeated. */
#define CONFIRM_MS 10000

/* ---- confirming ---- */

static void confirm(struct uplink *uplink);

static void on_pong(struct link_call *call, int status, struct message *reply) {
    (void)reply;
    struct uplink *uplink = container_of(call, struct uplink, confirm);
    if (!uplink->confirming)
        return;
    if (status != LN_OK) {
        if (link_is_connected(uplink->link)) /* otherwise on_state() goes on */
            confirm(uplink);
        return;
    }
    uplink->confirming = false;
    uplink->on_confirmed(uplink);
}

static void confirm(struct uplink *uplink) {
    link_call_cancel(&uplink->confirm);
    link_flush(uplink->link, &uplink->confirm, service_clock(uplink->service), CONFIRM_MS,
               on_pong);
}

void uplink_confirm(struct uplink *uplink) {
    uplink->confirming = true;
    confirm(uplink);
}

void uplink_stop_confirming(struct uplink *uplink) {
    uplink->confirming = false;
    link_call_cancel(&uplink->confirm);
}

/* ---- what happens to it ---- */

static void connected_again(struct service *service, const struct link *link) {
    const struct service_options *options = service_options(service);
    outage_log_over(service_name(service), NULL, link);
    if (options->on_reconnected != NULL)
        options->on_reconnected(options->owner, service);
}

static void on_state(void *owner, enum link_state state, int status, const char *text) {
    struct uplink *uplink = owner;
    struct service *service = uplink->service;
    bool first = service_state(service) == SERVICE_CONNECTING;
    if (first && service_stopping(service))
        return; /* about to close; the strings of the options may be gone with their script */
    vitals_connection(service_vitals(service), uplink->link, state, text);
    service_changed(service);
    if (state == LINK_DISCONNECTED)
        outage_log_lost(service_name(service), NULL, uplink->link, text);
    else if (first && (state == LINK_CONNECTED || state == LINK_CLOSED))
        uplink->on_first(uplink, state == LINK_CONNECTED ? LN_OK : status, text);
    else if (state == LINK_CONNECTED)
        connected_again(service, uplink->link);
    if (state == LINK_CONNECTED && uplink->confirming)
        confirm(uplink);
}

static void on_retry(void *owner, const char *url, int status, const char *text) {
    const struct uplink *uplink = owner;
    (void)status;
    outage_log_retry(service_name(uplink->service), NULL, url, text);
}

static void on_error(void *owner, int status, const char *text) {
    const struct uplink *uplink = owner;
    struct service *service = uplink->service;
    if (!voice_refused(service_voice(service), text))
        log_error(service_name(service), "%s", text != NULL ? text : status_text(status));
}

static void on_lame_duck(void *owner) {
    const struct uplink *uplink = owner;
    log_warn(service_name(uplink->service), "the server is going away (lame duck)");
    vitals_lame_duck(service_vitals(uplink->service));
}

/* ---- life ---- */

int uplink_open(struct uplink *uplink, uv_loop_t *loop) {
    static const struct link_events events = {
        .on_state = on_state,
        .on_retry = on_retry,
        .on_error = on_error,
        .on_lame_duck = on_lame_duck,
    };
    struct service *service = uplink->service;
    struct link_options options = service_options(service)->link;
    if (options.name == NULL) {
        snprintf(uplink->name, sizeof(uplink->name), "%s/%s", service_name(service),
                 service_instance(service));
        options.name = uplink->name;
    }
    bounds_set(service, service_script(service), &options);
    options.api_prefix = service_options(service)->js_prefix;
    return link_open(&uplink->link, loop, service_clock(service), &options, &events, uplink);
}

static void on_closed(void *owner, size_t unsent) {
    struct uplink *uplink = owner;
    uplink->link = NULL;
    outage_log_unsent(service_name(uplink->service), NULL, unsent);
    uplink->on_closed(uplink);
}

void uplink_close(struct uplink *uplink, bool hung) {
    uplink_stop_confirming(uplink);
    link_close(uplink->link, hung ? HUNG_FLUSH_MS : CLOSE_FLUSH_MS, on_closed, uplink);
}
