/* SPDX-License-Identifier: Apache-2.0 */
#include "host/link/nkey.h"

#include <string.h>

#include "host/base/status.h"
#include "spec/unit/test.h"

/* The pair that the documentation of nats-server uses. */
#define SEED "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY"
#define PUBLIC "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"

static int of(const char *text, char out[NKEY_PUBLIC_SIZE]) {
    return nkey_public(text, strlen(text), out);
}

static void the_public_key_follows_from_the_seed(void) {
    char out[NKEY_PUBLIC_SIZE];
    CHECK_INT(of(SEED, out), LN_OK);
    CHECK(strcmp(out, PUBLIC) == 0);
    CHECK_INT(of("# a comment\n" SEED "\n", out), LN_OK);
    CHECK(strcmp(out, PUBLIC) == 0);
}

static void anything_else_is_refused(void) {
    static const char *const texts[] = {
        "",
        "SU",
        PUBLIC,
        "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3V",
        "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VA",
        "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3V1",
        "SAACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY",
    };
    char out[NKEY_PUBLIC_SIZE];
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        CHECK_INT(of(texts[i], out), LN_EINVAL);
    CHECK(nkey_public_from_file("/nowhere/at/all", out) < 0);
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    RUN(the_public_key_follows_from_the_seed);
    RUN(anything_else_is_refused);
    return test_end();
}
