/* SPDX-License-Identifier: Apache-2.0 */
/* What a cluster announces, and what becomes of it. */
#include "host/dial/servers.h"

#include <stdlib.h>
#include <string.h>

#include "spec/unit/test.h"

static struct servers *servers;

static void open_one(const char *url, const char *other) {
    const char *urls[] = {url, other};
    servers_free(servers);
    servers = servers_new(urls, other != NULL ? 2 : 1, 4711);
    if (servers == NULL)
        abort();
}

/* All servers, found by letting each fail in its turn. */
static struct server *find(const char *url) {
    char shown[256];
    for (int i = 0; i < 1000; i++) {
        uint64_t wait;
        struct server *server = servers_next(servers, UINT64_MAX / 2, &wait);
        servers_failed(servers, server, 0, "x");
        server_url(server, shown, sizeof(shown));
        if (strcmp(shown, url) == 0)
            return server;
    }
    return NULL;
}

static bool inside_tls = true;

static bool announce(const char *json) {
    struct info info = {0};
    if (!info_read(json, strlen(json), &info))
        abort();
    return servers_learn(servers, &info, inside_tls);
}

#define URLS(list) "{\"connect_urls\":[" list "]}"

/* The connected one. */
static struct server *connect_to(const char *url, const char *shown, bool tls) {
    open_one(url, NULL);
    struct server *server = find(shown);
    if (server == NULL)
        abort();
    servers_connected(servers, server, tls);
    return server;
}

static void announced_ones_inherit(void) {
    connect_to("nats://u:p@h:1", "nats://h:1", false);
    CHECK(announce(URLS("\"b:2\",\"[::1]:3\"")));
    struct server *b = find("nats://b:2"), *six = find("nats://[::1]:3");
    CHECK(b != NULL && six != NULL);
    CHECK_STR(b->url.user, "u");
    CHECK_STR(b->url.password, "p");
    CHECK_STR(b->url.token, NULL);
    CHECK(b->announced && six->announced);
    CHECK(!b->url.tls);
    connect_to("nats://t0ken@h:1", "nats://h:1", false);
    CHECK(announce(URLS("\"b:2\"")));
    CHECK_STR(find("nats://b:2")->url.token, "t0ken");
    CHECK_STR(find("nats://b:2")->url.user, NULL);
}

static void announced_ones_have_tls_as_the_connection_has(void) {
    connect_to("tls://h:1", "tls://h:1", true);
    CHECK(announce(URLS("\"b:2\"")));
    CHECK(find("tls://b:2") != NULL && find("tls://b:2")->url.tls);
    /* nats:// to a server that wants TLS: from now on nothing else. */
    connect_to("nats://h:1", "nats://h:1", true);
    CHECK(announce(URLS("\"b:2\"")));
    CHECK(find("tls://b:2") != NULL);
    CHECK(find("tls://h:1") != NULL);
    CHECK(find("nats://h:1") == NULL);
}

static void the_expected_certificate_is_that_of_the_configured_host(void) {
    connect_to("tls://nats.example.com:1", "tls://nats.example.com:1", true);
    CHECK(announce(URLS("\"10.0.0.1:1\",\"[2001:db8::1]:1\",\"other.example.com:1\"")));
    struct server *four = find("tls://10.0.0.1:1"), *six = find("tls://[2001:db8::1]:1");
    CHECK_STR(four->tls_host, "nats.example.com");
    CHECK_STR(six->tls_host, "nats.example.com");
    CHECK_STR(find("tls://other.example.com:1")->tls_host, "nats.example.com");
    /* It is handed on by those that were announced. */
    servers_lost(servers, 0, true);
    servers_connected(servers, four, true);
    CHECK(announce(URLS("\"10.0.0.1:1\",\"10.0.0.2:1\"")));
    CHECK_STR(find("tls://10.0.0.2:1")->tls_host, "nats.example.com");
    CHECK_STR(find("tls://nats.example.com:1")->tls_host, "nats.example.com");
}

static void others_of_a_configured_address_have_their_own(void) {
    connect_to("tls://10.0.0.1:1", "tls://10.0.0.1:1", true);
    CHECK(announce(URLS("\"10.0.0.2:1\",\"b.example.com:1\"")));
    CHECK_STR(find("tls://10.0.0.2:1")->tls_host, "10.0.0.2");
    CHECK_STR(find("tls://b.example.com:1")->tls_host, "b.example.com");
}

/* Anybody on the way may have put them into an INFO in clear text. */
static void what_was_announced_in_clear_text_has_not(void) {
    inside_tls = false;
    connect_to("tls://10.0.0.1:1", "tls://10.0.0.1:1", true);
    CHECK_SOFT(announce(URLS("\"10.0.0.2:1\",\"evil.example.com:1\"")));
    inside_tls = true;
    CHECK_STR(find("tls://10.0.0.2:1")->tls_host, "10.0.0.1");
    CHECK_STR(find("tls://evil.example.com:1")->tls_host, "10.0.0.1");
}

static void there_is_a_bound(void) {
    static char json[200000] = "{\"connect_urls\":[";
    size_t len = strlen(json);
    for (int i = 0; i < 10000; i++)
        len += (size_t)snprintf(json + len, sizeof(json) - len, "%s\"h%d:1\"", i > 0 ? "," : "",
                                i);
    snprintf(json + len, sizeof(json) - len, "]}");
    connect_to("nats://h:1", "nats://h:1", false);
    CHECK(announce(json));
    CHECK(find("nats://h9:1") != NULL);
    CHECK(find("nats://h9999:1") == NULL);
    /* Those that are forgotten make room. */
    CHECK(announce(URLS("\"h9999:1\"")));
    CHECK(announce(URLS("\"h9998:1\",\"h9997:1\"")));
    CHECK(find("nats://h9998:1") != NULL && find("nats://h9997:1") != NULL);
}

/* A server that sends a megabyte of names again and again holds nobody up. */
static void no_more_are_looked_at(void) {
    static char json[200000] = "{\"connect_urls\":[";
    size_t len = strlen(json);
    for (int i = 0; i < 10000; i++)
        len += (size_t)snprintf(json + len, sizeof(json) - len, "\"h1:1\",");
    snprintf(json + len, sizeof(json) - len, "\"h2:1\"]}");
    connect_to("nats://h:1", "nats://h:1", false);
    CHECK(announce(json));
    CHECK(find("nats://h1:1") != NULL);
    CHECK(find("nats://h2:1") == NULL);
}

static void what_is_known_is_no_news(void) {
    connect_to("nats://Host:1", "nats://Host:1", false);
    CHECK(!announce(URLS("\"host:1\"")));
    CHECK(announce(URLS("\"b:1\",\"b:1\"")));
    CHECK(!announce(URLS("\"b:1\",\"B:1\"")));
    CHECK(announce(URLS("\"b:1\",\"b:2\"")));
    CHECK(!announce("{\"connect_urls\":[]}"));
    CHECK(!announce("{}"));
}

static void unnamed_announced_ones_are_forgotten(void) {
    connect_to("nats://h:1", "nats://h:1", false);
    CHECK(announce(URLS("\"b:1\",\"c:1\"")));
    CHECK(!announce("{\"server_id\":\"N\"}")); /* not told is not empty */
    CHECK(find("nats://b:1") != NULL && find("nats://c:1") != NULL);
    CHECK(!announce(URLS("\"c:1\"")));
    CHECK(find("nats://b:1") == NULL && find("nats://c:1") != NULL);
    CHECK(!announce(URLS("")));
    CHECK(find("nats://c:1") == NULL);
    CHECK(find("nats://h:1") != NULL);
}

static void configured_ones_and_the_connected_one_stay(void) {
    open_one("nats://h:1", "nats://i:1");
    servers_connected(servers, find("nats://h:1"), false);
    CHECK(announce(URLS("\"b:1\",\"c:1\"")));
    servers_lost(servers, 0, true);
    struct server *b = find("nats://b:1");
    servers_connected(servers, b, false);
    CHECK(!announce(URLS("\"c:1\"")));
    CHECK(find("nats://b:1") == b);
    CHECK(find("nats://h:1") != NULL && find("nats://i:1") != NULL);
    /* Once another one is connected, it is as the others are. */
    servers_lost(servers, 0, true);
    servers_connected(servers, find("nats://c:1"), false);
    CHECK(!announce(URLS("\"c:1\"")));
    CHECK(find("nats://b:1") == NULL);
}

static void nothing_is_learnt_without_a_connection(void) {
    open_one("nats://h:1", NULL);
    CHECK(!announce(URLS("\"b:1\"")));
    CHECK(find("nats://b:1") == NULL);
}

static void what_cannot_be_an_address_is_passed_over(void) {
    connect_to("nats://h:1", "nats://h:1", false);
    CHECK(announce(URLS("\"b:x\",\"b:99999\",\"ws://b:1\",\"c:1\"")));
    CHECK(find("nats://c:1") != NULL);
    uint64_t wait;
    for (int i = 0; i < 10; i++) {
        struct server *server = servers_next(servers, UINT64_MAX / 2, &wait);
        CHECK_STR(server->fault, NULL);
        servers_failed(servers, server, 0, "x");
    }
}

static void new_ones_have_not_failed(void) {
    char why[256];
    connect_to("nats://h:1", "nats://h:1", false);
    servers_failed(servers, find("nats://h:1"), 0, "refused");
    CHECK(servers_all_failed(servers, why, sizeof(why)));
    CHECK(announce(URLS("\"b:1\"")));
    CHECK(!servers_all_failed(servers, why, sizeof(why)));
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    RUN(announced_ones_inherit);
    RUN(announced_ones_have_tls_as_the_connection_has);
    RUN(the_expected_certificate_is_that_of_the_configured_host);
    RUN(others_of_a_configured_address_have_their_own);
    RUN(what_was_announced_in_clear_text_has_not);
    RUN(there_is_a_bound);
    RUN(no_more_are_looked_at);
    RUN(what_is_known_is_no_news);
    RUN(unnamed_announced_ones_are_forgotten);
    RUN(configured_ones_and_the_connected_one_stay);
    RUN(nothing_is_learnt_without_a_connection);
    RUN(what_cannot_be_an_address_is_passed_over);
    RUN(new_ones_have_not_failed);
    servers_free(servers);
    return test_end();
}
