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

int main(int argc, char **argv) {
    test_begin(argc, argv);
    RUN(nothing_secret_is_shown);
    RUN(it_is_cut_to_the_room_there_is);
    return test_end();
}
