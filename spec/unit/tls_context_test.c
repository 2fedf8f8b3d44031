/* SPDX-License-Identifier: Apache-2.0 */
/* Contexts of TLS: which connections share one, and what is said of files that cannot be used.
 */
#include "host/tls/context.h"

#include <stdlib.h>
#include <unistd.h>

#include "host/base/status.h"
#include "spec/unit/certificates.h"
#include "spec/unit/test.h"

static char text[256];

static SSL_CTX *get(struct tls_files files) {
    SSL_CTX *context = NULL;
    int rc = tls_context(&context, &files, text, sizeof(text));
    return rc == LN_OK ? context : NULL;
}

static bool refused(struct tls_files files, const char *words) {
    SSL_CTX *context = NULL;
    int rc = tls_context(&context, &files, text, sizeof(text));
    bool ok = rc == LN_EINVAL && context == NULL && strstr(text, words) != NULL;
    if (!ok)
        printf("# %d: %s\n", rc, text);
    SSL_CTX_free(context);
    return ok;
}

static void the_same_files_share_one(void) {
    SSL_CTX *a = get((struct tls_files){.ca = ca_path}),
            *b = get((struct tls_files){.ca = ca_path});
    CHECK(a != NULL);
    CHECK(a == b);
    SSL_CTX_free(a);
    SSL_CTX_free(b);
    a = get((struct tls_files){.ca = ca_path}); /* also when nobody has it */
    CHECK(a == b);
    SSL_CTX_free(a);
}

static void other_files_and_another_trust_have_their_own(void) {
    SSL_CTX *all[4];
    all[0] = get((struct tls_files){.ca = ca_path});
    all[1] = get((struct tls_files){.ca = cert_path("ca2.pem")});
    all[2] = get((struct tls_files){.ca = ca_path, .any_peer = true});
    all[3] = get((struct tls_files){
        .ca = ca_path, .cert = cert_path("cert.pem"), .key = cert_path("key.pem")});
    for (int i = 0; i < 4; i++) {
        CHECK(all[i] != NULL);
        for (int j = 0; j < i; j++)
            CHECK(all[i] != all[j]);
    }
    for (int i = 0; i < 4; i++)
        SSL_CTX_free(all[i]);
}

static void a_file_that_has_changed_is_read_anew(void) {
    in_cert_dir("cp ca.pem moving.pem");
    const struct tls_files files = {.ca = cert_path("moving.pem")};
    SSL_CTX *before = get(files);
    in_cert_dir("cp ca2.pem other.pem && mv other.pem moving.pem");
    SSL_CTX *after = get(files);
    CHECK(before != NULL && after != NULL);
    CHECK(before != after);
    SSL_CTX_free(before);
    SSL_CTX_free(after);
}

/* More than are kept: those of the past go, what is in use stays. */
static void only_a_few_are_kept(void) {
    SSL_CTX *first = get((struct tls_files){.ca = ca_path});
    CHECK(first != NULL);
    for (int i = 0; i < 20; i++) {
        char path[128];
        in_cert_dir("cp ca.pem copy%d.pem", i);
        snprintf(path, sizeof(path), "%s/copy%d.pem", cert_dir, i);
        SSL_CTX *one = get((struct tls_files){.ca = path});
        CHECK(one != NULL);
        SSL_CTX_free(one);
    }
    SSL *ssl = SSL_new(first);
    CHECK(ssl != NULL);
    SSL_free(ssl);
    SSL_CTX *again = get((struct tls_files){.ca = ca_path});
    CHECK(again != NULL && again != first);
    SSL_CTX_free(first);
    SSL_CTX_free(again);
}

static void names_that_are_too_long_are_not_remembered(void) {
    char path[1500], *at = path;
    at += snprintf(at, sizeof(path), "%s", cert_dir);
    while (at < path + 1100)
        at += snprintf(at, sizeof(path) - (size_t)(at - path), "/.");
    snprintf(at, sizeof(path) - (size_t)(at - path), "/ca.pem");
    SSL_CTX *a = get((struct tls_files){.ca = path}), *b = get((struct tls_files){.ca = path});
    CHECK(a != NULL && b != NULL && a != b);
    SSL_CTX_free(a);
    SSL_CTX_free(b);
}

static void files_that_cannot_be_used_are_told(void) {
    CHECK(refused((struct tls_files){.ca = "/nowhere/ca.pem"}, "/nowhere/ca.pem"));
    in_cert_dir("echo nonsense > nonsense.pem");
    CHECK(refused((struct tls_files){.ca = cert_path("nonsense.pem")}, "nonsense.pem"));
    CHECK(refused((struct tls_files){.ca = ca_path,
                                     .cert = cert_path("cert.pem"),
                                     .key = cert_path("ca.key")},
                  ""));
    CHECK(refused((struct tls_files){.ca = ca_path,
                                     .cert = cert_path("nonsense.pem"),
                                     .key = cert_path("key.pem")},
                  "nonsense.pem"));
    SSL_CTX *good = get((struct tls_files){.ca = ca_path});
    CHECK(good != NULL); /* nothing of that is left */
    SSL_CTX_free(good);
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    make_certificates();
    make_second_authority();
    RUN(the_same_files_share_one);
    RUN(other_files_and_another_trust_have_their_own);
    RUN(a_file_that_has_changed_is_read_anew);
    RUN(only_a_few_are_kept);
    RUN(names_that_are_too_long_are_not_remembered);
    RUN(files_that_cannot_be_used_are_told);
    remove_certificates();
    return test_end();
}
