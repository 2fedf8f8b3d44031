/* SPDX-License-Identifier: Apache-2.0 */
#include "host/service/outage.h"

#include <stdio.h>

#include "host/base/log.h"
#include "host/base/url.h"

static const char *others(const struct link_options *to) {
    return to->server_count > 1 ? " or the others" : "";
}

void outage_first(char *out, size_t size, const struct link_options *to, const char *reason) {
    char server[256];
    snprintf(out, size,
             "cannot connect to %s%s: %s (start a nats-server there, give another one with "
             "--server, wait for it with --retry, or use a private one with --embedded)",
             url_shown(to->servers[0], server, sizeof(server)), others(to), reason);
}

void outage_log_waiting(const char *name, const struct link_options *to) {
    char server[256];
    log_warn(name, "waiting for a server at %s%s",
             url_shown(to->servers[0], server, sizeof(server)), others(to));
}

static void log_lost(const char *name, const struct link *link, const char *text) {
    size_t count = link_unsent(link);
    char unsent[64] = "";
    if (count > 0)
        snprintf(unsent, sizeof(unsent), " with %zu bytes not sent", count);
    log_warn(name, "connection lost (%s)%s, reconnecting", text != NULL ? text : "", unsent);
}

static void log_connected(const struct outage *outage, const char *name,
                          const struct link *link) {
    struct link_info info;
    if (!outage->connected_once)
        return; /* the start says so */
    link_get_info(link, &info);
    log_info(name, "connected again to %s", info.url);
}

void outage_log(struct outage *outage, const char *name, const struct link *link,
                enum link_state state, const char *text) {
    switch (state) {
    case LINK_CONNECTED:
        log_connected(outage, name, link);
        *outage = (struct outage){.connected_once = true};
        break;
    case LINK_DISCONNECTED:
        if (!outage->lost && outage->connected_once) {
            outage->lost = true;
            log_lost(name, link, text);
            break;
        }
        /* fall through */
    case LINK_CONNECTING: /* an attempt has failed: the link tells each reason once */
        if (text != NULL)
            log_warn(name, "cannot connect: %s", text);
        break;
    case LINK_CLOSED:
        break;
    }
}
