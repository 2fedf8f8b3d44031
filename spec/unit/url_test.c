/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/url.h"

#include "spec/unit/test.h"

static void nothing_secret_is_shown(void) {
    static const char *const cases[][2] = {
        {"nats://host:4222", "nats://host:4222"},
        {"nats://alice:s3cret@host:4222", "nats://host:4222"},
        {"nats://t0ken@host", "nats://host"},
        {"tls://alice:s3c@ret@[::1]:4222", "tls://[::1]:4222"},
        {"nats://alice:s3cret/x@host:1", "nats://host:1"},
        {"nats://alice:s://x@host:1", "nats://host:1"},
        {"alice:s3cret@host", "host"},
        {"alice:s3cret://@host", "host"},
        {"", ""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char shown[64];
        CHECK_STR(url_shown(cases[i][0], shown, sizeof(shown)), cases[i][1]);
    }
}

static void it_is_cut_to_the_room_there_is(void) {
    char shown[8];
    CHECK_STR(url_shown("nats://a:b@host:4222", shown, sizeof(shown)), "nats://");
}

struct expected {
    const char *url, *host, *port, *user, *password, *token;
    bool tls;
};

static void all_forms_are_read(void) {
    static const struct expected cases[] = {
        {"nats://h:1", "h", "1", NULL, NULL, NULL, false},
        {"h", "h", "4222", NULL, NULL, NULL, false},
        {" TLS://h:4443/ ", "h", "4443", NULL, NULL, NULL, true},
        {"nats://", "localhost", "4222", NULL, NULL, NULL, false},
        {"nats://[::1]:7", "::1", "7", NULL, NULL, NULL, false},
        {"nats://[fe80::1]", "fe80::1", "4222", NULL, NULL, NULL, false},
        {"::1", "::1", "4222", NULL, NULL, NULL, false},
        {"nats://u:p@h", "h", "4222", "u", "p", NULL, false},
        {"nats://u:@h", "h", "4222", "u", "", NULL, false},
        {"nats://t0k%40n@h", "h", "4222", NULL, NULL, "t0k@n", false},
        {"nats://a%20b:p%40s:s/x#y?@h:9", "h", "9", "a b", "p@s:s/x#y?", NULL, false},
        {"nats://u:p@ss@h", "h", "4222", "u", "p@ss", NULL, false},
        {"nats://u:100%@h", "h", "4222", "u", "100%", NULL, false},
        {"nats://u:%zz%C3%a4%00@h", "h", "4222", "u", "%zz\xc3\xa4%00", NULL, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct expected *want = &cases[i];
        struct url url;
        CHECK_STR(url_read(&url, want->url), NULL);
        CHECK_STR(url.host, want->host);
        CHECK_STR(url.port, want->port);
        CHECK_STR(url.user, want->user);
        CHECK_STR(url.password, want->password);
        CHECK_STR(url.token, want->token);
        CHECK_INT(url.tls, want->tls);
        url_free(&url);
    }
}

static void what_is_wrong_is_said_without_secrets(void) {
    static const char *const urls[] = {
        "ws://h",      "http://h",        "nats://h:0",  "nats://h:65536", "nats://h:x",
        "nats://[::1", "nats://u:s3cret", "nats://h:1x", "nats://a b",     "nats://[a]b]:1",
        "::2%a]b",     "nats://a\nb:1",   "nats://a\\b"};
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        struct url url;
        const char *fault = url_read(&url, urls[i]);
        CHECK(fault != NULL && strstr(fault, "s3cret") == NULL);
        url_free(&url);
    }
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    RUN(all_forms_are_read);
    RUN(what_is_wrong_is_said_without_secrets);
    RUN(nothing_secret_is_shown);
    RUN(it_is_cut_to_the_room_there_is);
    return test_end();
}
