/* SPDX-License-Identifier: Apache-2.0 */
/* Which servers there are, and which one is next. */
#include "host/dial/servers.h"

#include <stdlib.h>
#include <string.h>

#include "spec/unit/test.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct servers *servers;

static void open_with(const char *const *urls, size_t count) {
    servers_free(servers);
    servers = servers_new(urls, count, 4711);
    if (servers == NULL)
        abort();
}

#define OPEN(...)                                                                              \
    open_with((const char *const[]){__VA_ARGS__}, COUNT(((const char *const[]){__VA_ARGS__})))

static struct server *next_at(uint64_t now) {
    uint64_t wait;
    return servers_next(servers, now, &wait);
}

static struct server *only(const char *url) {
    OPEN(url);
    return next_at(0);
}

static const char *shown(const struct server *server) {
    static char url[256];
    server_url(server, url, sizeof(url));
    return url;
}

/* ---- URLs ---- */

static void an_address_is_read(void) {
    static const struct {
        const char *url, *host, *port, *shown;
        bool tls;
    } cases[] = {
        {"localhost", "localhost", "4222", "nats://localhost:4222", false},
        {"h:1", "h", "1", "nats://h:1", false},
        {"nats://h", "h", "4222", "nats://h:4222", false},
        {"nats://h:65535", "h", "65535", "nats://h:65535", false},
        {"nats://h:", "h", "4222", "nats://h:4222", false},
        {"nats://h/", "h", "4222", "nats://h:4222", false},
        {"nats://h:4333/", "h", "4333", "nats://h:4333", false},
        {"nats://:4333", "localhost", "4333", "nats://localhost:4333", false},
        {"NATS://h:4333", "h", "4333", "nats://h:4333", false},
        {"tls://h:4333", "h", "4333", "tls://h:4333", true},
        {"TLS://h:4333", "h", "4333", "tls://h:4333", true},
        {"Tls://h", "h", "4222", "tls://h:4222", true},
        {" \tnats://h:4333\t ", "h", "4333", "nats://h:4333", false},
        {"10.0.0.1", "10.0.0.1", "4222", "nats://10.0.0.1:4222", false},
        {"[::1]:4333", "::1", "4333", "nats://[::1]:4333", false},
        {"tls://[::1]", "::1", "4222", "tls://[::1]:4222", true},
        {"nats://::1", "::1", "4222", "nats://[::1]:4222", false},
        {"2001:db8::2:3", "2001:db8::2:3", "4222", "nats://[2001:db8::2:3]:4222", false},
        {"nats://u:p@[fe80::1%eth0]:1", "fe80::1%eth0", "1", "nats://[fe80::1%eth0]:1", false},
        {"h:0004333", "h", "4333", "nats://h:4333", false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct server *server = only(cases[i].url);
        CHECK_STR(server->fault, NULL);
        CHECK_STR(server->url.host, cases[i].host);
        CHECK_STR(server->tls_host, cases[i].host);
        CHECK_STR(server->url.port, cases[i].port);
        CHECK_STR(shown(server), cases[i].shown);
        CHECK_INT(server->url.tls, cases[i].tls);
        CHECK(!server->announced);
        CHECK_STR(server->reason, "");
    }
}

static void user_and_password_are_read(void) {
    static const struct {
        const char *url, *user, *password, *token;
    } cases[] = {
        {"nats://h:1", NULL, NULL, NULL},
        {"nats://@h:1", NULL, NULL, NULL},
        {"nats://u:p@h:1", "u", "p", NULL},
        {"u:p@h:1", "u", "p", NULL},
        {"nats://u:@h:1", "u", "", NULL},
        {"nats://:p@h:1", "", "p", NULL},
        {"nats://u:p@q@h:1", "u", "p@q", NULL},
        {"nats://u:p:q@h:1", "u", "p:q", NULL},
        {"nats://u:p/q?r#s@h:1", "u", "p/q?r#s", NULL},
        {"nats://u:%40%3a%3A%2F%23%3F%25%2c@h:1", "u", "@::/#?%,", NULL},
        {"nats://%75ser:a%20b@h:1", "user", "a b", NULL},
        {"nats://u:%c3%bc@h:1", "u", "\xc3\xbc", NULL},
        {"nats://u:100%@h:1", "u", "100%", NULL},
        {"nats://u:%4@h:1", "u", "%4", NULL},
        {"nats://u:%g0%0g@h:1", "u", "%g0%0g", NULL},
        {"nats://u:a%00b@h:1", "u", "a%00b", NULL}, /* no string holds it */
        {"nats://t0ken@h:1", NULL, NULL, "t0ken"},
        {"nats://t%3Ak@h:1", NULL, NULL, "t:k"},
        {"tls://u:p@[::1]:1", "u", "p", NULL},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct server *server = only(cases[i].url);
        CHECK_STR(server->fault, NULL);
        CHECK_STR(server->url.user, cases[i].user);
        CHECK_STR(server->url.password, cases[i].password);
        CHECK_STR(server->url.token, cases[i].token);
        CHECK_STR(server->url.port, "1");
    }
}

static void what_is_wrong_with_a_url_is_said(void) {
    static const struct {
        const char *url, *fault;
    } cases[] = {
        {"h:0", "1 to 65535"},
        {"h:99999", "1 to 65535"},
        {"h:65536", "1 to 65535"},
        {"h:18446744073709551617", "1 to 65535"},
        {"h:x", "no number"},
        {"h:4222x", "no number"},
        {"h:-1", "no number"},
        {"h:+1", "no number"},
        {"h: 1", "no number"},
        {"h:1 2", "no number"},
        {"h:0x10", "no number"},
        {"h:4222,other:4222", "no number"},
        {"[::1]:x", "no number"},
        {"[::1]4333", "behind ]"},
        {"[::1]x", "behind ]"},
        {"h:00000000000004333000", "1 to 65535"},
        {"[::1", "without its ]"},
        {"ws://h", "only nats:// and tls://"},
        {"wss://h", "only nats:// and tls://"},
        {"http://h", "only nats:// and tls://"},
        {"://h", "only nats:// and tls://"},
        {"natsx://h", "only nats:// and tls://"},
        {"nats ://h", "only nats:// and tls://"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct server *server = only(cases[i].url);
        if (server->fault == NULL || strstr(server->fault, cases[i].fault) == NULL)
            test_fail(__FILE__, __LINE__, "%s: \"%s\"", cases[i].url,
                      server->fault != NULL ? server->fault : "fine");
    }
}

/* Also where the URL cannot be read, and it is not known what of it is the secret. */
static void nothing_secret_is_shown(void) {
    static const char *const urls[] = {
        "nats://u:s3cret@h:1",
        "nats://s3cret@h",
        "tls://u:s3c@ret@[::1]:1",
        "nats://u:s3cret/x@h:1",
        "nats://u:s3cret#x@h:1",
        "nats://u:s3cret?x@h:1",
        "u:s3cret@h:x",
        "u:s3cret@h:99999",
        "ws://u:s3cret@h",
        "u:s3cret",
        "nats://u:s3cret",
        "u:s3://cret@h",
        "nats://u:1s3cret:2@h",
        "nats://u:s3cret@h/x@y",
        "nats://u:s3cret@",
        "nats://u:s3:cret", /* it began before a comma, and the host is behind that */

    };
    for (size_t i = 0; i < COUNT(urls); i++) {
        const struct server *server = only(urls[i]);
        const char *url = shown(server);
        if (strstr(url, "s3c") != NULL || strstr(url, "ret") != NULL || strchr(url, '@') ||
            (server->fault != NULL && strstr(server->fault, "s3c") != NULL))
            test_fail(__FILE__, __LINE__, "%s is shown as %s", urls[i], url);
    }
}

static void a_shown_url_is_cut_to_its_room(void) {
    char out[12];
    server_url(only("nats://host.example.com:4222"), out, sizeof(out));
    CHECK_STR(out, "nats://host");
}

/* ---- order and back-off ---- */

static void configured_servers_are_in_a_random_order(void) {
    static const char *const urls[] = {"a", "b", "c"};
    int first[3] = {0};
    for (uint64_t seed = 1; seed <= 300; seed++) {
        servers_free(servers);
        servers = servers_new(urls, 3, seed * 0x9e3779b97f4a7c15u);
        CHECK(servers != NULL);
        first[next_at(0)->url.host[0] - 'a']++;
    }
    for (int i = 0; i < 3; i++)
        CHECK(first[i] > 50);
}

static void those_that_failed_go_to_the_back(void) {
    struct server *seen[3];
    uint64_t wait;
    OPEN("a", "b", "c");
    for (int i = 0; i < 3; i++) {
        seen[i] = servers_next(servers, 1000, &wait);
        CHECK_INT(wait, 0);
        CHECK(servers_next(servers, 1000, &wait) == seen[i]); /* it only looks */
        for (int j = 0; j < i; j++)
            CHECK(seen[i] != seen[j]);
        CHECK(servers_failed(servers, seen[i], 1000, "refused"));
    }
    servers_next(servers, 1000, &wait);
    CHECK(wait >= 25 && wait <= 50);
    /* Much later all of them are due, and it is the turn of the first. */
    for (int i = 0; i < 3; i++) {
        CHECK(servers_next(servers, 9000, &wait) == seen[i]);
        CHECK_INT(wait, 0);
        servers_failed(servers, seen[i], 9000, "refused");
    }
}

static void one_that_is_due_comes_before_one_that_is_not(void) {
    OPEN("a", "b");
    struct server *first = next_at(0);
    uint64_t wait;
    for (int i = 0; i < 10; i++)
        servers_failed(servers, first, 0, "refused");
    struct server *second = next_at(0);
    CHECK(second != first);
    servers_failed(servers, second, 0, "refused");
    CHECK(servers_next(servers, 60, &wait) == second);
    CHECK_INT(wait, 0);
}

static void the_back_off_grows_up_to_a_bound(void) {
    struct server *server = only("a");
    uint64_t wait, limit = 50, now = 0;
    for (int i = 0; i < 40; i++) {
        servers_failed(servers, server, now, "refused");
        CHECK(servers_next(servers, now, &wait) == server);
        CHECK(wait >= limit / 2 && wait <= limit);
        uint64_t rest;
        servers_next(servers, now + wait - 1, &rest);
        CHECK_INT(rest, 1);
        servers_next(servers, now + wait, &rest);
        CHECK_INT(rest, 0);
        now += wait;
        limit = limit * 2 < 4000 ? limit * 2 : 4000;
    }
    CHECK_INT(limit, 4000);
}

static void the_back_off_is_not_the_same_for_all(void) {
    uint64_t least = UINT64_MAX, most = 0, wait;
    struct server *server = only("a");
    for (int i = 0; i < 10; i++)
        servers_failed(servers, server, 0, "refused");
    for (int i = 0; i < 50; i++) {
        servers_failed(servers, server, 0, "refused");
        servers_next(servers, 0, &wait);
        least = wait < least ? wait : least;
        most = wait > most ? wait : most;
    }
    CHECK(most - least > 500);
}

static void only_a_connection_that_lasted_resets_the_back_off(void) {
    struct server *server = only("a");
    uint64_t wait;
    for (int i = 0; i < 10; i++)
        servers_failed(servers, server, 0, "refused");
    servers_connected(servers, server, false);
    servers_lost(servers, 0, false);
    servers_next(servers, 0, &wait);
    CHECK(wait >= 2000 && wait <= 4000);
    servers_connected(servers, server, false);
    servers_lost(servers, 0, true);
    servers_next(servers, 0, &wait);
    CHECK(wait >= 25 && wait <= 50);
}

static void another_server_is_tried_first_after_a_loss(void) {
    OPEN("a", "b");
    struct server *server = next_at(0);
    servers_connected(servers, server, false);
    servers_lost(servers, 5000, true);
    CHECK(next_at(5000) != server);
    servers_lost(servers, 5000, true); /* none is connected */
}

static void all_are_held_back(void) {
    OPEN("a", "b");
    uint64_t wait;
    servers_hold(servers, 700);
    servers_next(servers, 100, &wait);
    CHECK_INT(wait, 600);
    servers_next(servers, 700, &wait);
    CHECK_INT(wait, 0);
    servers_failed(servers, next_at(0), 0, "refused");
    servers_failed(servers, next_at(0), 0, "refused");
    servers_next(servers, 0, &wait);
    CHECK_INT(wait, 700);
}

/* ---- reasons ---- */

static void a_reason_is_news_once(void) {
    OPEN("a", "b");
    struct server *one = next_at(0);
    CHECK(servers_failed(servers, one, 0, "refused"));
    CHECK(!servers_failed(servers, one, 0, "refused"));
    struct server *other = next_at(0);
    CHECK(other != one);
    CHECK(servers_failed(servers, other, 0, "refused"));
    CHECK(servers_failed(servers, one, 0, "timeout"));
    CHECK(!servers_failed(servers, one, 0, "timeout"));
    servers_connected(servers, other, false);
    servers_lost(servers, 0, true);
    CHECK(servers_failed(servers, one, 0, "timeout"));
    CHECK(servers_failed(servers, other, 0, "refused"));
}

static void a_long_reason_is_news_once_too(void) {
    char reason[600];
    struct server *server = only("a");
    memset(reason, 'x', sizeof(reason));
    reason[sizeof(reason) - 1] = '\0';
    CHECK(servers_failed(servers, server, 0, reason));
    CHECK(!servers_failed(servers, server, 0, reason));
    CHECK_INT(strlen(server->reason), sizeof(server->reason) - 1);
    CHECK(servers_failed(servers, server, 0, "x"));
    CHECK(!servers_failed(servers, server, 0, reason)); /* whatever came between */
    for (int i = 0; i < SERVER_REASONS; i++) {
        snprintf(reason, sizeof(reason), "reason %d", i);
        CHECK(servers_failed(servers, server, 0, reason));
    }
    CHECK(servers_failed(servers, server, 0, "x")); /* forgotten by now */
}

static void all_have_failed_when_each_one_has(void) {
    char why[256];
    OPEN("nats://u:s3cret@a", "tls://b:1");
    CHECK(!servers_all_failed(servers, why, sizeof(why)));
    servers_failed(servers, next_at(0), 0, "refused");
    CHECK(!servers_all_failed(servers, why, sizeof(why)));
    servers_failed(servers, next_at(0), 0, "timeout");
    CHECK(servers_all_failed(servers, why, sizeof(why)));
    CHECK(strstr(why, "nats://a:4222: ") != NULL && strstr(why, "tls://b:1: ") != NULL);
    CHECK(strstr(why, "refused") != NULL && strstr(why, "timeout") != NULL);
    CHECK(strstr(why, "; ") != NULL && strstr(why, "s3cret") == NULL);
    for (size_t size = 1; size < sizeof(why); size++) {
        char *exact = malloc(size);
        CHECK(servers_all_failed(servers, exact, size));
        size_t len = strlen(exact);
        free(exact);
        CHECK(len < size);
    }
    servers_connected(servers, next_at(0), false);
    CHECK(!servers_all_failed(servers, why, sizeof(why)));
    servers_failed(servers, only("a"), 0, "refused");
    CHECK(servers_all_failed(servers, why, sizeof(why)));
    CHECK_STR(why, "refused"); /* the only one needs no name */
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    RUN(an_address_is_read);
    RUN(user_and_password_are_read);
    RUN(what_is_wrong_with_a_url_is_said);
    RUN(nothing_secret_is_shown);
    RUN(a_shown_url_is_cut_to_its_room);
    RUN(configured_servers_are_in_a_random_order);
    RUN(those_that_failed_go_to_the_back);
    RUN(one_that_is_due_comes_before_one_that_is_not);
    RUN(the_back_off_grows_up_to_a_bound);
    RUN(the_back_off_is_not_the_same_for_all);
    RUN(only_a_connection_that_lasted_resets_the_back_off);
    RUN(another_server_is_tried_first_after_a_loss);
    RUN(all_are_held_back);
    RUN(a_reason_is_news_once);
    RUN(a_long_reason_is_news_once_too);
    RUN(all_have_failed_when_each_one_has);
    servers_free(servers);
    return test_end();
}
