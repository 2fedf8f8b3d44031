/* SPDX-License-Identifier: Apache-2.0 */
/* The server's side of a link: how to reach it and prove who we are, what it tells of itself.
 */
#include "host/link/internal.h"
#include "host/link/nkey.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

/* ---- facts about the connected server ---- */

/* "nats://user:pass@host" without what is secret. */
static void copy_url(char *out, size_t size, const char *url) {
    const char *host = strstr(url, "://");
    size_t scheme = host == NULL ? 0 : (size_t)(host + 3 - url);
    const char *at = strrchr(url + scheme, '@');
    copy_text(out, size < scheme + 1 ? size : scheme + 1, url);
    size_t used = strlen(out);
    copy_text(out + used, size - used, at == NULL ? url + scheme : at + 1);
}

void link_learn_info(struct link *link, struct conn *conn) {
    char url[512] = "";
    struct link_info *info = &link->info;
    memset(info, 0, sizeof(*info));
    natsConnection_GetConnectedUrl(conn->nats, url, sizeof(url));
    copy_url(info->url, sizeof(info->url), url);
    natsConnection_GetConnectedServerId(conn->nats, info->server_id, sizeof(info->server_id));
    natsConnection_GetClientID(conn->nats, &info->client_id);
    info->max_payload = natsConnection_GetMaxPayload(conn->nats);
    char *ip = NULL;
    if (natsConnection_GetClientIP(conn->nats, &ip) == NATS_OK && ip != NULL)
        copy_text(info->client_ip, sizeof(info->client_ip), ip);
    free(ip);
}

/* Credentials in the first configured URL hold for the servers that the cluster announces. */
static char *with_userinfo(const char *configured, const char *url) {
    const char *start = strstr(configured, "://");
    const char *host = strstr(url, "://");
    start = start == NULL ? configured : start + 3;
    host = host == NULL ? url : host + 3;
    const char *at = strrchr(start, '@');
    size_t size = strlen(configured) + strlen(url) + 1;
    char *out = malloc(size);
    if (out != NULL)
        snprintf(out, size, "%.*s%.*s%s", (int)(host - url), url,
                 at == NULL ? 0 : (int)(at + 1 - start), start, host);
    return out;
}

/* The next attempt shall also try the servers that the cluster told us of. */
void link_learn_servers(struct link *link, struct conn *conn) {
    char **found = NULL;
    int count = 0;
    if (link->connecting ||
        natsConnection_GetDiscoveredServers(conn->nats, &found, &count) != NATS_OK)
        return;
    size_t total = link->server_count;
    char **all = calloc(total + (size_t)count + 1, sizeof(*all));
    for (size_t i = 0; all != NULL && i < total; i++)
        all[i] = link->servers[i];
    for (int i = 0; all != NULL && i < count; i++)
        if ((all[total] = with_userinfo(link->servers[0], found[i])) != NULL)
            total++;
    if (all != NULL && count > 0)
        natsOptions_SetServers(link->options, (const char **)(void *)all, (int)total);
    for (size_t i = link->server_count; all != NULL && i < total; i++)
        free(all[i]);
    free(all);
    for (int i = 0; i < count; i++)
        free(found[i]);
    free(found);
}

/* ---- how to connect ---- */

static natsStatus set_security(natsOptions *to, const struct link_options *from) {
    natsStatus s = NATS_OK;
    if (from->user != NULL)
        s = natsOptions_SetUserInfo(to, from->user,
                                    from->password != NULL ? from->password : "");
    if (s == NATS_OK && from->token != NULL)
        s = natsOptions_SetToken(to, from->token);
    if (s == NATS_OK && from->creds != NULL)
        s = natsOptions_SetUserCredentialsFromFiles(to, from->creds, NULL);
    char key[NKEY_PUBLIC_SIZE];
    if (s == NATS_OK && from->nkey != NULL)
        s = nkey_public_from_file(from->nkey, key) == LN_OK
                ? natsOptions_SetNKeyFromSeed(to, key, from->nkey)
                : NATS_INVALID_ARG;
    bool tls = from->tls_ca != NULL || from->tls_cert != NULL;
    if (s == NATS_OK && tls)
        s = natsOptions_SetSecure(to, true);
    if (s == NATS_OK && from->tls_ca != NULL)
        s = natsOptions_LoadCATrustedCertificates(to, from->tls_ca);
    if (s == NATS_OK && from->tls_cert != NULL)
        s = natsOptions_LoadCertificatesChain(to, from->tls_cert, from->tls_key);
    return s;
}

natsStatus link_set_options(struct link *link, const struct link_options *from) {
    natsOptions *to = link->options;
    link->direct = !from->by_nats;
    link->signs = from->creds != NULL || from->nkey != NULL;
    natsStatus s = natsOptions_SetServers(to, (const char **)(void *)link->servers,
                                          (int)link->server_count);
    if (s == NATS_OK && from->name != NULL)
        s = natsOptions_SetName(to, from->name);
    if (s == NATS_OK)
        s = natsOptions_SetTimeout(to, link->connect_timeout);
    if (s == NATS_OK)
        s = natsOptions_SetSendAsap(to, true);
    if (s == NATS_OK)
        s = natsOptions_SetPingInterval(to, 0); /* its timer thread would close the socket */
    if (s == NATS_OK)
        s = natsOptions_SetAllowReconnect(to, false);
    if (s == NATS_OK)
        s = set_security(to, from);
    return s;
}
