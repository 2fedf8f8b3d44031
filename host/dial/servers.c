/* SPDX-License-Identifier: Apache-2.0 */
#include "host/dial/servers.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define BACKOFF_FIRST_MS 50u
#define BACKOFF_MAX_MS 4000u
#define URL_MAX 1024
#define SERVERS_MAX 256 /* more are not kept, and of an INFO no more are looked at */

struct servers {
    struct list list; /* the one to try next in front, of those that are due */
    size_t count;
    struct server *connected;
    uint64_t random, hold_until;
};

static uint64_t random_below(struct servers *servers, uint64_t bound) {
    servers->random ^= servers->random << 13;
    servers->random ^= servers->random >> 7;
    servers->random ^= servers->random << 17;
    return servers->random % bound;
}

static bool is_ip(const char *host) {
    unsigned char bytes[16];
    return inet_pton(AF_INET, host, bytes) == 1 || inet_pton(AF_INET6, host, bytes) == 1;
}

/* ---- URLs ---- */

void server_url(const struct server *server, char *out, size_t size) {
    if (server->fault != NULL && server->url.port[0] == '\0') {
        snprintf(out, size, "%s://...", server->url.tls ? "tls" : "nats");
        return;
    }
    bool brackets = server->url.host != NULL && strchr(server->url.host, ':') != NULL;
    snprintf(out, size, "%s://%s%s%s:%s", server->url.tls ? "tls" : "nats", brackets ? "[" : "",
             server->url.host != NULL ? server->url.host : "", brackets ? "]" : "",
             server->url.port);
}

/* ---- the list ---- */

static void server_free(struct server *server) {
    list_remove(&server->node);
    url_free(&server->url);
    free(server->tls_host);
    free(server);
}

static struct server *server_new(const char *url) {
    struct server *server = calloc(1, sizeof(*server));
    if (server == NULL)
        return NULL;
    server->fault = url_read(&server->url, url);
    server->tls_host = strdup(server->url.host != NULL ? server->url.host : "");
    if (server->tls_host != NULL)
        return server;
    server_free(server);
    return NULL;
}

/* Somewhere in the list, so that not all clients of a cluster crowd one server. */
static void insert(struct servers *servers, struct server *server) {
    struct list_node *at = list_ends(&servers->list);
    for (uint64_t steps = random_below(servers, ++servers->count); steps > 0; steps--)
        at = at->next;
    list_insert_after(at, &server->node);
}

struct servers *servers_new(const char *const *urls, size_t count, uint64_t random) {
    struct servers *servers = calloc(1, sizeof(*servers));
    if (servers == NULL)
        return NULL;
    servers->random = random | 1;
    for (size_t i = 0; i < count; i++) {
        struct server *server = server_new(urls[i]);
        if (server == NULL) {
            servers_free(servers);
            return NULL;
        }
        insert(servers, server);
    }
    return servers;
}

void servers_free(struct servers *servers) {
    if (servers == NULL)
        return;
    list_each (struct server, server, &servers->list, node)
        server_free(server);
    free(servers);
}

/* ---- whose turn it is ---- */

static uint64_t backoff(struct servers *servers, unsigned failures) {
    uint64_t ms = BACKOFF_FIRST_MS << (failures < 8 ? failures : 8);
    if (ms > BACKOFF_MAX_MS)
        ms = BACKOFF_MAX_MS;
    return ms / 2 + random_below(servers, ms / 2 + 1);
}

struct server *servers_next(struct servers *servers, uint64_t now, uint64_t *wait) {
    struct server *best = list_item(list_first(&servers->list), struct server, node);
    list_each (struct server, server, &servers->list, node)
        if (server->not_before < best->not_before && best->not_before > now)
            best = server;
    uint64_t due =
        best->not_before > servers->hold_until ? best->not_before : servers->hold_until;
    *wait = due > now ? due - now : 0;
    return best;
}

static uint64_t hash(const char *text) {
    uint64_t h = 14695981039346656037u;
    for (; *text != '\0'; text++)
        h = (h ^ (unsigned char)*text) * 1099511628211u;
    return h;
}

/* Whether it is a new one; the oldest are forgotten. */
static bool remember(struct server *server, uint64_t reason) {
    for (unsigned i = 0; i < server->told_count && i < SERVER_REASONS; i++)
        if (server->told[i] == reason)
            return false;
    server->told[server->told_count++ % SERVER_REASONS] = reason;
    return true;
}

bool servers_failed(struct servers *servers, struct server *server, uint64_t now,
                    const char *reason) {
    bool news = remember(server, hash(reason));
    snprintf(server->reason, sizeof(server->reason), "%s", reason);
    server->not_before = now + backoff(servers, server->failures++);
    list_push_back(&servers->list, &server->node);
    return news;
}

bool servers_all_failed(const struct servers *servers, char *out, size_t size) {
    bool several = list_next(&servers->list, list_first(&servers->list)) != NULL;
    size_t len = 0;
    *out = '\0';
    list_each (struct server, server, &servers->list, node) {
        char url[256];
        if (server->reason[0] == '\0')
            return false;
        server_url(server, url, sizeof(url));
        int n = snprintf(out + len, size - len, "%s%s%s%s", len > 0 ? "; " : "",
                         several ? url : "", several ? ": " : "", server->reason);
        len = len + (size_t)n < size ? len + (size_t)n : size - 1;
    }
    return true;
}

void servers_connected(struct servers *servers, struct server *server, bool tls) {
    servers->connected = server;
    server->url.tls = server->url.tls || tls;
    list_each (struct server, at, &servers->list, node) {
        at->reason[0] = '\0';
        at->told_count = 0;
    }
}

void servers_lost(struct servers *servers, uint64_t now, bool lasted) {
    struct server *server = servers->connected;
    servers->connected = NULL;
    if (server == NULL)
        return;
    if (lasted)
        server->failures = 0;
    server->not_before = now + backoff(servers, server->failures++);
    list_push_back(&servers->list, &server->node);
}

void servers_hold(struct servers *servers, uint64_t until) {
    servers->hold_until = until;
}

/* ---- what the cluster announces ---- */

/*
 * An announced server is as this one in everything but its address. It must show the
 * certificate of the host that was configured: whoever can change an INFO in clear text could
 * announce a server of his own, with a certificate of his own. Only when an address was
 * configured, which is no name for a cluster, and the INFO came inside of TLS, it is its own
 * host's.
 */
static bool inherit(struct server *server, const struct server *from, bool authentic) {
    server->announced = true;
    server->url.tls = from->url.tls;
    free(server->url.user);
    free(server->url.password);
    free(server->url.token);
    server->url.user = from->url.user != NULL ? strdup(from->url.user) : NULL;
    server->url.password = from->url.password != NULL ? strdup(from->url.password) : NULL;
    server->url.token = from->url.token != NULL ? strdup(from->url.token) : NULL;
    if (!authentic || !is_ip(from->tls_host)) {
        free(server->tls_host);
        server->tls_host = strdup(from->tls_host);
    }
    return server->tls_host != NULL && (server->url.user == NULL) == (from->url.user == NULL) &&
           (server->url.password == NULL) == (from->url.password == NULL) &&
           (server->url.token == NULL) == (from->url.token == NULL);
}

static struct server *find(struct servers *servers, const struct server *like) {
    list_each (struct server, server, &servers->list, node)
        if (server->url.host != NULL && strcasecmp(server->url.host, like->url.host) == 0 &&
            strcmp(server->url.port, like->url.port) == 0)
            return server;
    return NULL;
}

/* A server as the INFO names it; NULL when it cannot be read. */
static struct server *read_announced(const char *url) {
    struct server *server = server_new(url);
    if (server == NULL || server->fault == NULL)
        return server;
    server_free(server);
    return NULL;
}

static void mark_named(struct servers *servers, struct info info) {
    char url[URL_MAX];
    list_each (struct server, server, &servers->list, node)
        server->named = !server->announced || server == servers->connected;
    for (int i = 0; i < SERVERS_MAX && info_next_url(&info, url, sizeof(url)); i++) {
        struct server *server = read_announced(url);
        struct server *known = server != NULL ? find(servers, server) : NULL;
        if (known != NULL)
            known->named = true;
        if (server != NULL)
            server_free(server);
    }
}

static void forget_unnamed(struct servers *servers) {
    list_each (struct server, server, &servers->list, node) {
        if (server->named)
            continue;
        server_free(server);
        servers->count--;
    }
}

bool servers_learn(struct servers *servers, struct info *info, bool authentic) {
    char url[URL_MAX];
    bool news = false;
    if (info->urls == NULL || servers->connected == NULL)
        return false; /* not told: nothing is known to have changed */
    mark_named(servers, *info);
    forget_unnamed(servers);
    for (int i = 0; i < SERVERS_MAX && servers->count < SERVERS_MAX; i++) {
        if (!info_next_url(info, url, sizeof(url)))
            break;
        struct server *server = read_announced(url);
        bool new = server != NULL &&find(servers, server) == NULL;
        if (new &&inherit(server, servers->connected, authentic)) {
            insert(servers, server);
            news = true;
        } else if (server != NULL) {
            server_free(server);
        }
    }
    return news;
}
