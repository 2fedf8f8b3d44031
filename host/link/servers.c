/* SPDX-License-Identifier: Apache-2.0 */
#include "host/link/servers.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define BACKOFF_FIRST_MS 50u
#define BACKOFF_MAX_MS 4000u
#define URL_MAX 1024
#define DEFAULT_PORT "4222"

struct servers {
    struct list list; /* the one to try next in front, of those that are due */
    size_t count;     /* of those that were ever put into it */
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

static int hex_value(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The byte of an escape like %40; 0 when there is none. */
static char escaped(const char *at, const char *end) {
    int high = *at == '%' && end - at > 2 ? hex_value(at[1]) : -1;
    int low = high >= 0 ? hex_value(at[2]) : -1;
    return (char)(low >= 0 ? high << 4 | low : 0);
}

/* A copy with escapes decoded; a percent sign that begins none stays what it is. */
static char *decode(const char *text, size_t len) {
    const char *end = text + len;
    char *out = malloc(len + 1), *to = out;
    while (out != NULL && text < end) {
        char byte = escaped(text, end);
        *to++ = byte != '\0' ? byte : *text;
        text += byte != '\0' ? 3 : 1;
    }
    if (out != NULL)
        *to = '\0';
    return out;
}

static bool read_user(struct server *server, const char *at, const char *end) {
    const char *colon = memchr(at, ':', (size_t)(end - at));
    if (at == end)
        return true;
    if (colon == NULL)
        return (server->token = decode(at, (size_t)(end - at))) != NULL;
    server->user = decode(at, (size_t)(colon - at));
    server->password = decode(colon + 1, (size_t)(end - colon - 1));
    return server->user != NULL && server->password != NULL;
}

/* Returns what is wrong with it, or NULL. */
static const char *read_port(struct server *server, const char *at, const char *end) {
    char digits[16] = DEFAULT_PORT;
    if (end > at)
        snprintf(digits, sizeof(digits), "%.*s", (int)(end - at), at);
    char *rest;
    long port = strtol(digits, &rest, 10);
    if (*rest != '\0' || digits[0] < '0' || digits[0] > '9') {
        server->port[0] = '\0';
        return "the port is no number (in user and password , is %2C, : is %3A, @ is %40, / is "
               "%2F)";
    }
    if (port < 1 || port > 65535)
        return "the port must be a number from 1 to 65535";
    snprintf(server->port, sizeof(server->port), "%ld", port);
    return NULL;
}

static const char *read_address(struct server *server, const char *at, const char *end) {
    const char *slash = memchr(at, '/', (size_t)(end - at));
    end = slash != NULL ? slash : end;
    const char *close = *at == '[' ? memchr(at, ']', (size_t)(end - at)) : NULL;
    const char *from = close != NULL ? close + 1 : at;
    const char *colon = memchr(from, ':', (size_t)(end - from));
    const char *host_end = close != NULL ? close : colon != NULL ? colon : end;
    if (close == NULL && colon != NULL &&
        memchr(colon + 1, ':', (size_t)(end - colon - 1)) != NULL)
        host_end = end, colon = NULL; /* an IPv6 address without brackets and port */
    at += close != NULL;
    server->host = host_end > at ? strndup(at, (size_t)(host_end - at)) : strdup("localhost");
    server->tls_host = server->host != NULL ? strdup(server->host) : NULL;
    if (server->tls_host == NULL)
        return "out of memory";
    return read_port(server, colon != NULL ? colon + 1 : end, end);
}

static const char *read_url(struct server *server, const char *at) {
    at += strspn(at, " \t");
    const char *end = at + strlen(at), *mark = strstr(at, "://");
    while (end > at && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    size_t scheme = mark != NULL ? (size_t)(mark - at) : 0;
    if (scheme == 3 && strncasecmp(at, "tls", 3) == 0)
        server->tls = true;
    else if (mark != NULL && !(scheme == 4 && strncasecmp(at, "nats", 4) == 0))
        return "only nats:// and tls:// are served";
    at = mark != NULL ? mark + 3 : at;
    const char *sign = end;
    while (sign > at && *sign != '@')
        sign--;
    if (sign < end && *sign == '@') {
        if (!read_user(server, at, sign))
            return "out of memory";
        at = sign + 1;
    }
    return read_address(server, at, end);
}

void server_url(const struct server *server, char *out, size_t size) {
    if (server->fault != NULL && server->port[0] == '\0') {
        snprintf(out, size, "%s://...", server->tls ? "tls" : "nats");
        return;
    }
    bool brackets = server->host != NULL && strchr(server->host, ':') != NULL;
    snprintf(out, size, "%s://%s%s%s:%s", server->tls ? "tls" : "nats", brackets ? "[" : "",
             server->host != NULL ? server->host : "", brackets ? "]" : "", server->port);
}

/* ---- the list ---- */

static void server_free(struct server *server) {
    list_remove(&server->node);
    free(server->host);
    free(server->user);
    free(server->password);
    free(server->token);
    free(server->tls_host);
    free(server->fault);
    free(server);
}

static struct server *server_new(const char *url) {
    struct server *server = calloc(1, sizeof(*server));
    const char *fault = server != NULL ? read_url(server, url) : NULL;
    if (fault != NULL && (server->fault = strdup(fault)) == NULL) {
        server_free(server);
        return NULL;
    }
    return server;
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

bool servers_failed(struct servers *servers, struct server *server, uint64_t now,
                    const char *reason) {
    bool news = strncmp(server->reason, reason, sizeof(server->reason) - 1) != 0;
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
    server->tls = server->tls || tls;
    list_each (struct server, at, &servers->list, node)
        at->reason[0] = '\0';
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

/* An announced server is as this one in everything but its address. Its certificate is for the
 * host that was configured, unless it is announced by a name of its own. */
static bool inherit(struct server *server, const struct server *from) {
    server->announced = true;
    server->tls = from->tls;
    server->user = from->user != NULL ? strdup(from->user) : NULL;
    server->password = from->password != NULL ? strdup(from->password) : NULL;
    server->token = from->token != NULL ? strdup(from->token) : NULL;
    if (is_ip(server->host) && !is_ip(from->tls_host)) {
        free(server->tls_host);
        server->tls_host = strdup(from->tls_host);
    }
    return server->tls_host != NULL && (server->user == NULL) == (from->user == NULL) &&
           (server->password == NULL) == (from->password == NULL) &&
           (server->token == NULL) == (from->token == NULL);
}

static struct server *find(struct servers *servers, const struct server *like) {
    list_each (struct server, server, &servers->list, node)
        if (server->host != NULL && strcasecmp(server->host, like->host) == 0 &&
            strcmp(server->port, like->port) == 0)
            return server;
    return NULL;
}

/* False when it was not new, or memory is short. */
static bool learn(struct servers *servers, const char *url) {
    struct server *server = server_new(url), *known = NULL;
    if (server == NULL)
        return false;
    if (server->fault == NULL)
        known = find(servers, server);
    if (known != NULL)
        known->named = true;
    if (server->fault == NULL && known == NULL && inherit(server, servers->connected)) {
        server->named = true;
        insert(servers, server);
        return true;
    }
    server_free(server);
    return false;
}

bool servers_learn(struct servers *servers, struct info *info) {
    char url[URL_MAX];
    bool news = false;
    if (info->urls == NULL || servers->connected == NULL)
        return false; /* not told: nothing is known to have changed */
    list_each (struct server, server, &servers->list, node)
        server->named = !server->announced || server == servers->connected;
    while (info_next_url(info, url, sizeof(url)))
        news = learn(servers, url) || news;
    list_each (struct server, server, &servers->list, node)
        if (!server->named)
            server_free(server);
    return news;
}
