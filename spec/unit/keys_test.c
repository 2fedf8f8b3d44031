/* SPDX-License-Identifier: Apache-2.0 */
/* Keys, and the files that hold them. */
#include "host/dial/keys.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <nats/nats.h>

#include "host/base/status.h"
#include "spec/unit/test.h"

/* The pair that the documentation of nats-server uses. */
#define SEED "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY"
#define PUBLIC "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"

static void the_public_key_follows_from_the_seed(void) {
    char out[NKEY_PUBLIC_SIZE];
    CHECK_INT(nkey_public(SEED, out), LN_OK);
    CHECK_STR(out, PUBLIC);
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
        CHECK_INT(nkey_public(texts[i], out), LN_EINVAL);
}

/* nats.c signs, too. */
static void signatures_are_those_of_nats(void) {
    unsigned char ours[NKEY_SIGNATURE_SIZE], *theirs = NULL;
    int len = 0;
    nats_Open(-1);
    for (int i = 0; i < 20; i++) {
        char nonce[32];
        snprintf(nonce, sizeof(nonce), "nonce %d", i);
        CHECK_INT(nkey_sign(SEED, nonce, ours), LN_OK);
        CHECK_INT(nats_Sign(SEED, nonce, &theirs, &len), NATS_OK);
        CHECK_MEM(ours, sizeof(ours), theirs, (size_t)len);
        free(theirs);
    }
    nats_CloseAndWait(2000);
}

/* ---- files ---- */

static struct keys keys;
static char text[512];

static int read_text(const char *content, bool with_jwt) {
    char path[] = "/tmp/lunats-keys.XXXXXX";
    int fd = mkstemp(path);
    if (fd < 0 || write(fd, content, strlen(content)) < 0)
        abort();
    close(fd);
    int rc = keys_read(&keys, path, with_jwt, text, sizeof(text));
    unlink(path);
    return rc;
}

#define JWT "eyJ0eXAiOiJKV1QifQ.eyJqdGkiOiJYIn0.c2ln"
#define ARMOUR(eol, indent)                                                                    \
    indent "-----BEGIN NATS USER JWT-----" eol indent JWT eol indent                           \
           "------END NATS USER JWT------" eol eol indent                                      \
           "-----BEGIN USER NKEY SEED-----" eol indent SEED eol indent                         \
           "------END USER NKEY SEED------"

static void credentials_of_all_forms_are_read(void) {
    static const char *const forms[] = {ARMOUR("\n", ""), ARMOUR("\r\n", ""),
                                        ARMOUR("\n", "   "), JWT "\n" SEED};
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        CHECK_INT(read_text(forms[i], true), LN_OK);
        CHECK_STR(keys.jwt, JWT);
        CHECK_STR(keys.seed, SEED);
        CHECK_STR(keys.public, PUBLIC);
    }
    CHECK_INT(read_text("# a comment\n\t" SEED " \r\n", false), LN_OK);
    CHECK_STR(keys.public, PUBLIC);
    keys_forget(&keys);
    CHECK_STR(keys.seed, "");
}

static void what_is_wrong_with_a_file_is_said(void) {
    CHECK_INT(read_text("", true), LN_EINVAL);
    CHECK(strstr(text, "lunats-keys") != NULL && strstr(text, "is empty") != NULL);
    CHECK_INT(read_text("hello\n", true), LN_EINVAL);
    CHECK(strstr(text, "no user JWT") != NULL);
    CHECK_INT(read_text(JWT "\n", true), LN_EINVAL);
    CHECK(strstr(text, "no valid user seed") != NULL);
    CHECK_INT(read_text(PUBLIC "\n", false), LN_EINVAL);
    CHECK_INT(keys_read(&keys, "/nowhere/at.all", true, text, sizeof(text)), LN_EINVAL);
    CHECK_STR(text, "cannot read /nowhere/at.all: No such file or directory");
    CHECK_INT(keys_read(&keys, "/tmp", true, text, sizeof(text)), LN_EINVAL);
    CHECK_STR(text, "cannot read /tmp: Is a directory");
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    RUN(the_public_key_follows_from_the_seed);
    RUN(anything_else_is_refused);
    RUN(signatures_are_those_of_nats);
    RUN(credentials_of_all_forms_are_read);
    RUN(what_is_wrong_with_a_file_is_said);
    return test_end();
}
