/* SPDX-License-Identifier: Apache-2.0 */
#include "host/dial/dialler.h"

#include <stdlib.h>

#include "host/base/container_of.h"
#include "host/base/status.h"
#include "host/base/strings.h"
#include "host/dial/servers.h"

#define LEFT_BEHIND_MAX 8 /* threads that are stuck in the resolver */
#define LEFT_BEHIND_MS 1000
#define URL_SIZE 256

struct dialler {
    uv_loop_t *loop;
    struct clock *clock;
    struct clock_timer retry;
    struct dialler_events events;
    struct dial_target target; /* without what is in a server */
    struct strings strings;    /* of the target */
    struct servers *servers;
    struct server *server; /* the one that is dialled or connected */
    struct dial *dial;     /* NULL: none under way */
    bool stopped, connected;
};

static void next(struct dialler *dialler);

static void failed(struct dialler *dialler, int status, const char *text) {
    char url[URL_SIZE];
    server_url(dialler->server, url, sizeof(url));
    bool news =
        servers_failed(dialler->servers, dialler->server, clock_now(dialler->clock), text);
    dialler->events.on_failed(dialler->events.owner, url, status, text, news);
    next(dialler);
}

static void on_done(void *owner, struct dial_result *result) {
    struct dialler *dialler = owner;
    dialler->dial = NULL;
    if (result->status != LN_OK) {
        failed(dialler, result->status, result->text);
        return;
    }
    dialler->connected = true;
    servers_connected(dialler->servers, dialler->server, result->ssl != NULL);
    dialler->events.on_connected(dialler->events.owner, result);
}

static struct dial_target target_of(const struct dialler *dialler) {
    struct dial_target target = dialler->target;
    const struct url *url = &dialler->server->url;
    target.host = url->host;
    target.port = url->port;
    target.tls = url->tls;
    if (target.tls_name == NULL)
        target.tls_name = dialler->server->tls_host;
    if (url->user != NULL || url->token != NULL) {
        target.user = url->user;
        target.password = url->password;
        target.token = url->token;
    }
    return target;
}

static void next(struct dialler *dialler) {
    uint64_t wait = 0;
    if (dialler->stopped || dialler->connected || dialler->dial != NULL)
        return;
    dialler->server = servers_next(dialler->servers, clock_now(dialler->clock), &wait);
    if (wait == 0 && dial_left_behind() >= LEFT_BEHIND_MAX)
        wait = LEFT_BEHIND_MS;
    if (wait > 0) {
        clock_arm(dialler->clock, &dialler->retry, wait);
        return;
    }
    const char *fault = dialler->server->fault;
    struct dial_target target = target_of(dialler);
    int rc = fault == NULL ? dial_start(&dialler->dial, dialler->loop, dialler->clock, &target,
                                        on_done, dialler)
                           : LN_EINVAL;
    if (rc != LN_OK)
        failed(dialler, rc, fault != NULL ? fault : status_text(rc));
}

static void on_retry(struct clock_timer *timer) {
    next(container_of(timer, struct dialler, retry));
}

/* ---- what the owner tells ---- */

bool dialler_has_failed(const struct dialler *dialler, char *out, size_t size) {
    return servers_all_failed(dialler->servers, out, size);
}

void dialler_lost(struct dialler *dialler, bool lasted) {
    dialler->connected = false;
    servers_lost(dialler->servers, clock_now(dialler->clock), lasted);
    next(dialler);
}

void dialler_hold(struct dialler *dialler, uint32_t ms) {
    servers_hold(dialler->servers, clock_now(dialler->clock) + ms);
    if (dialler->dial != NULL)
        dial_abandon(dialler->dial);
    dialler->dial = NULL;
    next(dialler);
}

void dialler_learn(struct dialler *dialler, struct info *info, bool authentic) {
    servers_learn(dialler->servers, info, authentic);
}

void dialler_url(const struct dialler *dialler, char *out, size_t size) {
    *out = '\0';
    if (dialler->connected)
        server_url(dialler->server, out, size);
}

/* ---- life ---- */

static bool copy_target(struct dialler *dialler, const struct dial_target *from) {
    struct dial_target *to = &dialler->target;
    const char **fields[DIAL_STRINGS];
    *to = *from;
    dial_strings(to, fields);
    return strings_copy(&dialler->strings, fields, DIAL_STRINGS);
}

int dialler_open(struct dialler **out, uv_loop_t *loop, struct clock *clock,
                 const char *const *urls, size_t count, const struct dial_target *target,
                 const struct dialler_events *events) {
    struct dialler *dialler = calloc(1, sizeof(*dialler));
    if (dialler == NULL)
        return LN_ENOMEM;
    dialler->loop = loop;
    dialler->clock = clock;
    dialler->events = *events;
    dialler->retry.fire = on_retry;
    dialler->servers = servers_new(urls, count, uv_hrtime() ^ (uint64_t)(uintptr_t)dialler);
    if (dialler->servers == NULL || !copy_target(dialler, target)) {
        dialler_close(dialler);
        return LN_ENOMEM;
    }
    clock_arm(clock, &dialler->retry, 0);
    *out = dialler;
    return LN_OK;
}

void dialler_stop(struct dialler *dialler) {
    dialler->stopped = true;
    clock_disarm(dialler->clock, &dialler->retry);
    if (dialler->dial != NULL)
        dial_abandon(dialler->dial);
    dialler->dial = NULL;
}

void dialler_close(struct dialler *dialler) {
    if (dialler == NULL)
        return;
    dialler_stop(dialler);
    servers_free(dialler->servers);
    strings_free(&dialler->strings);
    free(dialler);
}
