/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a server says of itself and of its cluster, and the servers that follow from it. The
 * input consists of INFO lines, each as JSON; "-" in front of one: the connection is lost, and
 * the next server tells it.
 */
#include "host/dial/servers.h"

#include "spec/fuzz/fuzz.h"

#define SERVERS_MOST 260 /* the configured ones, and what is taken of announced ones */

static bool is_terminated(const char *text, size_t size) {
    return memchr(text, '\0', size) != NULL;
}

static void check_info(const struct info *info, const char *json, size_t len) {
    HOLDS(is_terminated(info->server_id, sizeof(info->server_id)));
    HOLDS(is_terminated(info->version, sizeof(info->version)));
    HOLDS(is_terminated(info->client_ip, sizeof(info->client_ip)));
    HOLDS((info->urls == NULL) == (info->urls_end == NULL));
    HOLDS(info->urls == NULL ||
          fuzz_inside(info->urls, (size_t)(info->urls_end - info->urls), json, len));
}

/* The same text again brings nothing new, and every server has a URL that can be read. */
static void check_learn(struct servers *servers, const struct info *told, bool authentic) {
    struct info info = *told;
    servers_learn(servers, &info, authentic);
    info = *told;
    HOLDS(!servers_learn(servers, &info, authentic) || told->urls == NULL);
    struct server *first = NULL;
    for (int count = 0; count <= SERVERS_MOST; count++) {
        uint64_t wait;
        struct server *server = servers_next(servers, 1000, &wait);
        char url[512];
        struct url read;
        if (server->announced && server->url.host != NULL && strlen(server->url.host) < 256) {
            server_url(server, url, sizeof(url));
            HOLDS(url_read(&read, url) == NULL);
            HOLDS(strcmp(read.port, server->url.port) == 0);
            HOLDS(strcmp(read.host, server->url.host) == 0);
            HOLDS(read.user == NULL && read.token == NULL);
            url_free(&read);
        }
        first = first != NULL ? first : server;
        servers_failed(servers, server, 1000, "no");
        if (count > 0 && server == first)
            return; /* all have had their turn */
    }
}

static void check_line(struct servers *servers, const char *line) {
    static struct info info; /* fields that are not there keep what they had */
    bool lost = *line == '-';
    size_t len = strlen(line) - lost;
    char *json = fuzz_copy(line + lost, len);
    if (lost) {
        uint64_t wait;
        servers_lost(servers, 1000, true);
        servers_connected(servers, servers_next(servers, 1000, &wait), false);
    }
    if (info_read(json, len, &info))
        check_info(&info, json, len);
    if (info.urls != NULL)
        check_learn(servers, &info, info.tls_required);
    free(json);
    info.urls = info.urls_end = NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    static const char *const urls[] = {"nats://me:secret@a.example:4222", "tls://10.0.0.1"};
    struct fuzz_input input = {(const char *)bytes, size};
    struct servers *servers = servers_new(urls, 2, size);
    uint64_t wait;
    HOLDS(servers != NULL);
    servers_connected(servers, servers_next(servers, 0, &wait), false);
    while (input.left > 0) {
        char *line = fuzz_line(&input);
        check_line(servers, line);
        free(line);
    }
    servers_free(servers);
    return 0;
}
