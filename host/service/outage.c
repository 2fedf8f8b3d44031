/* SPDX-License-Identifier: Apache-2.0 */
#include "host/service/outage.h"

#include <stdio.h>

#include "host/base/log.h"
#include "host/base/status.h"
#include "host/base/url.h"

void outage_first(char *out, size_t size, const struct link_options *to, int status,
                  const char *reason) {
    char server[256];
    bool several = to->server_count > 1; /* the reason names them */
    snprintf(out, size, "cannot connect to %s: %s%s",
             several ? "a server" : url_shown(to->servers[0], server, sizeof(server)), reason,
             status != LN_ENOSERVER
                 ? ""
                 : " (start a nats-server there, give another one with --server, wait for it "
                   "with --retry, or use a private one with --embedded)");
}

void outage_log_retry(const char *name, const char *url, const char *reason) {
    log_warn(name, "waiting for a server at %s: %s", url, reason);
}

void outage_log_lost(const char *name, const struct link *link, const char *reason) {
    size_t count = link_unsent(link);
    char unsent[64] = "";
    if (count > 0)
        snprintf(unsent, sizeof(unsent), " with %zu bytes not sent", count);
    log_warn(name, "connection lost (%s)%s, reconnecting", reason, unsent);
}

void outage_log_over(const char *name, const struct link *link) {
    struct link_info info;
    link_get_info(link, &info);
    log_info(name, "connected again to %s", info.url);
}
