/* SPDX-License-Identifier: Apache-2.0 */
#include "host/service/outage.h"

#include <stdio.h>

#include "host/base/log.h"
#include "host/base/status.h"
#include "host/base/url.h"

#define PREFIX_SIZE 320

void outage_first(char *out, size_t size, const struct link_options *to, bool serves,
                  int status, const char *reason) {
    char server[256];
    bool several = to->server_count > 1; /* the reason names them */
    int len = snprintf(out, size, "cannot connect to %s: %s",
                       several ? "a server" : url_shown(to->servers[0], server, sizeof(server)),
                       reason);
    const char *advice = "";
    if (status == LN_ENOSERVER && serves)
        advice =
            " (start a nats-server there, give another one with --server, wait for it with "
            "--retry, or use a private one with --embedded)";
    else if (status == LN_ENOSERVER)
        advice = " (start a nats-server there, give another one with --server, as `lunats dev` "
                 "prints it, or wait for it with --retry)";
    else if (status == LN_EAUTH)
        advice = " (--user, --token, --creds, --nkey or the whole URL say who we are)";
    if (len > 0 && (size_t)len < size)
        snprintf(out + len, size - (size_t)len, "%s", advice);
}

/* What the lines of this connection begin with. */
static const char *prefix_of(const char *connection, char out[PREFIX_SIZE]) {
    *out = '\0';
    if (connection != NULL)
        snprintf(out, PREFIX_SIZE, "connection %s: ", connection);
    return out;
}

void outage_log_retry(const char *service, const char *connection, const char *url,
                      const char *reason) {
    char prefix[PREFIX_SIZE];
    log_warn(service, "%swaiting for a server at %s: %s", prefix_of(connection, prefix), url,
             reason);
}

void outage_log_lost(const char *service, const char *connection, const struct link *link,
                     const char *reason) {
    size_t count = link_unsent(link);
    char prefix[PREFIX_SIZE], unsent[64] = "";
    if (count > 0)
        snprintf(unsent, sizeof(unsent), " with %zu bytes not sent", count);
    log_warn(service, "%sconnection lost (%s)%s, reconnecting", prefix_of(connection, prefix),
             reason, unsent);
}

void outage_log_over(const char *service, const char *connection, const struct link *link) {
    struct link_info info;
    char prefix[PREFIX_SIZE];
    link_get_info(link, &info);
    log_info(service, "%sconnected again to %s", prefix_of(connection, prefix), info.url);
}

void outage_log_unsent(const char *service, const char *connection, size_t bytes) {
    char prefix[PREFIX_SIZE];
    if (bytes > 0)
        log_warn(service, "%s%zu bytes that were published could not be sent",
                 prefix_of(connection, prefix), bytes);
}
