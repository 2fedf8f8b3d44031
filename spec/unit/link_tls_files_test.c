/* SPDX-License-Identifier: Apache-2.0 */
/* TLS: who we are, and the files that say so. */
#include "spec/unit/tls.h"

#define VERIFY "ca_file: \"%s/ca.pem\", verify: true"

static void start_verifying(void) {
    char more[256];
    snprintf(more, sizeof(more), VERIFY, cert_dir);
    server_start(&server, tls_config("server", more));
    snprintf(server.url, sizeof(server.url), "tls://127.0.0.1:%d", server.port);
}

#define CLEANED(name)                                                                          \
    static void name##_body(void);                                                             \
    static void name(void) {                                                                   \
        memset(&server, 0, sizeof(server));                                                    \
        memset(&a, 0, sizeof(a));                                                              \
        memset(&b, 0, sizeof(b));                                                              \
        name##_body();                                                                         \
        end();                                                                                 \
    }                                                                                          \
    static void name##_body(void)

/* ---- certificates of clients ---- */

CLEANED(a_client_certificate_may_be_demanded) {
    issue("client", "ca", "DNS:client");
    start_verifying();
    struct link_options o = {.tls_ca = ca_path,
                             .tls_cert = cert_path("client.pem"),
                             .tls_key = cert_path("client.key")};
    CHECK(connects_to(&a, o, server.url));
}

CLEANED(none_or_a_wrong_one_is_refused_with_the_reason) {
    issue("stranger", "ca2", "DNS:client");
    start_verifying();
    struct link_options o = {.tls_ca = ca_path};
    CHECK(fails_to(o, server.url, LN_EAUTH, "--tlscert and --tlskey"));
    o.tls_cert = cert_path("stranger.pem");
    o.tls_key = cert_path("stranger.key");
    CHECK(fails_to(o, server.url, LN_EAUTH, "the server refuses our certificate"));
}

/* One that nobody has asked for. */
CLEANED(a_client_certificate_does_no_harm) {
    issue("client", "ca2", "DNS:client");
    server_start(&server, tls_config("server", ""));
    struct link_options o = {.tls_ca = ca_path,
                             .tls_cert = cert_path("client.pem"),
                             .tls_key = cert_path("client.key")};
    snprintf(server.url, sizeof(server.url), "tls://127.0.0.1:%d", server.port);
    CHECK(connects_to(&a, o, server.url));
}

/* A refusal is not the end of a service that is to go on trying. */
CLEANED(a_refused_certificate_is_tried_again) {
    issue("renewed", "ca2", "DNS:client");
    issue("client", "ca", "DNS:client");
    start_verifying();
    struct link_options o = {.tls_ca = ca_path,
                             .tls_cert = cert_path("renewed.pem"),
                             .tls_key = cert_path("renewed.key"),
                             .retry = true};
    CHECK(open_as_is(&a, o, server.url));
    CHECK(run_count(&a.retries, 1, 30000));
    CHECK_INT(a.retry_status, LN_EAUTH);
    in_cert_dir("cp client.key renewed.key && cp client.pem renewed.pem");
    CHECK(peer_wait(&a, LINK_CONNECTED, 30000));
}

/* ---- renewal ---- */

/* Another authority, certificate and key on both sides, in the same files. */
CLEANED(renewed_files_are_used_for_the_next_connection) {
    char more[256], config[512];
    in_cert_dir("cp ca.pem used_ca.pem");
    issue("used_server", "ca", "IP:127.0.0.1");
    issue("used", "ca", "DNS:client");
    snprintf(more, sizeof(more), "ca_file: \"%s/used_ca.pem\", verify: true", cert_dir);
    snprintf(config, sizeof(config), "%s", tls_config("used_server", more));
    server_start(&server, config);
    snprintf(server.url, sizeof(server.url), "tls://127.0.0.1:%d", server.port);
    char ca[128], cert[128], key[128];
    snprintf(ca, sizeof(ca), "%s", cert_path("used_ca.pem"));
    snprintf(cert, sizeof(cert), "%s", cert_path("used.pem"));
    snprintf(key, sizeof(key), "%s", cert_path("used.key"));
    struct link_options o = {.tls_ca = ca, .tls_cert = cert, .tls_key = key, .retry = true};
    CHECK(connects_to(&a, o, server.url));
    server_kill(&server);
    CHECK(peer_wait(&a, LINK_DISCONNECTED, 30000));
    in_cert_dir("cp ca2.pem used_ca.pem");
    issue("used_server", "ca2", "IP:127.0.0.1");
    server_run(&server, config);
    a.retries = 0;
    CHECK(run_count(&a.retries, 1, 30000)); /* the client's one is still of the old authority */
    CHECK_INT(a.retry_status, LN_EAUTH);
    issue("used", "ca2", "DNS:client");
    CHECK(peer_wait(&a, LINK_CONNECTED, 30000));
    CHECK_INT(flush(a.link), LN_OK);
}

/* ---- files that cannot be used ---- */

struct file_case {
    const char *ca, *cert, *key; /* in the folder of the certificates */
    const char *says, *file;     /* the file is named */
};

/* Before anything goes to the server. */
static void check_refused(const struct file_case *c) {
    char ca[128], cert[128], key[128];
    snprintf(ca, sizeof(ca), "%s", cert_path(c->ca != NULL ? c->ca : ""));
    snprintf(cert, sizeof(cert), "%s", cert_path(c->cert != NULL ? c->cert : ""));
    snprintf(key, sizeof(key), "%s", cert_path(c->key != NULL ? c->key : ""));
    struct link_options o = {.tls_ca = c->ca != NULL ? ca : NULL,
                             .tls_cert = c->cert != NULL ? cert : NULL,
                             .tls_key = c->key != NULL ? key : NULL};
    struct peer p;
    char url[64];
    snprintf(url, sizeof(url), "tls://127.0.0.1:%d", fake.port);
    CHECK(open_as_is(&p, o, url));
    bool failed = peer_wait(&p, LINK_CLOSED, 30000), closed = peer_close(&p, 0);
    CHECK(failed && closed);
    if (p.status != LN_EINVAL || strstr(p.text, c->says) == NULL ||
        strstr(p.text, cert_path(c->file)) == NULL)
        test_fail(__FILE__, __LINE__, "status %d: %s", p.status, p.text);
}

static void files_that_cannot_be_used_are_named(void) {
    static const struct file_case cases[] = {
        {.ca = "nowhere.pem", .says = "No such file", .file = "nowhere.pem"},
        {.ca = "empty", .says = "holds no certificate", .file = "empty"},
        {.ca = "garbage", .says = "holds no certificate", .file = "garbage"},
        {.ca = "cut.pem", .says = "holds no certificate", .file = "cut.pem"},
        {.ca = "server.key", .says = "holds no certificate", .file = "server.key"},
        {.ca = "folder", .says = "folder", .file = "folder"},
        {.cert = "nowhere.pem",
         .key = "server.key",
         .says = "No such file",
         .file = "nowhere.pem"},
        {.cert = "empty", .key = "server.key", .says = "holds no certificate", .file = "empty"},
        {.cert = "server.pem",
         .key = "nowhere.key",
         .says = "No such file",
         .file = "nowhere.key"},
        {.cert = "server.pem", .key = "empty", .says = "holds no private key", .file = "empty"},
        {.cert = "server.pem",
         .key = "server.pem",
         .says = "holds no private key",
         .file = "server.pem"},
        {.cert = "server.pem",
         .key = "other.key",
         .says = "is not the key of",
         .file = "other.key"},
        {.cert = "server.pem",
         .key = "locked.key",
         .says = "is encrypted",
         .file = "locked.key"},
        {.cert = "server.pem",
         .key = "locked_old.key",
         .says = "is encrypted",
         .file = "locked_old.key"},
        {.cert = "server.pem", .says = "needs both", .file = "server.pem"},
        {.key = "server.key", .says = "needs both", .file = "server.key"},
    };
    in_cert_dir("touch empty && echo hello > garbage && mkdir -p folder && "
                "head -n 4 server.pem > cut.pem");
    in_cert_dir("openssl pkcs8 -topk8 -in server.key -passout pass:x -out locked.key && "
                "openssl ec -in server.key -aes128 -passout pass:x -out locked_old.key");
    issue("other", "ca", "DNS:other");
    fake_start("INFO {\"server_id\":\"F\",\"tls_required\":true}\r\n");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]) && !test_current_failed; i++)
        check_refused(&cases[i]);
    fake_stop();
    CHECK_INT(fake.connections, 0);
}

/* With a terminal to ask at, too: nothing is said there, and nothing is waited for. */
static void nobody_is_asked_for_a_passphrase(void) {
    char program[256];
    ssize_t len = readlink("/proc/self/exe", program, sizeof(program) - 1);
    char out[4096] = "", command[512];
    CHECK(len > 0);
    program[len] = '\0';
    if (test_is_emulated()) {
        printf("# skipped: only its emulator can start this program\n");
        return;
    }
    if (system("script -qec true /dev/null < /dev/null > /dev/null 2>&1") != 0) {
        printf("# skipped: no script(1), or no pseudo-terminals, here\n");
        return;
    }
    snprintf(command, sizeof(command),
             "script -qec '%s files_that_cannot_be_used_are_named' /dev/null < /dev/null",
             program);
    FILE *f = popen(command, "r");
    size_t got = f != NULL ? fread(out, 1, sizeof(out) - 1, f) : 0;
    int status = f != NULL ? pclose(f) : -1;
    out[got] = '\0';
    if (status != 0 || strstr(out, "pass phrase") != NULL || strstr(out, "2 passed") == NULL)
        test_fail(__FILE__, __LINE__, "it says: %s", out);
}

static void run_all(void) {
    RUN(a_client_certificate_may_be_demanded);
    RUN(none_or_a_wrong_one_is_refused_with_the_reason);
    RUN(a_client_certificate_does_no_harm);
    RUN(a_refused_certificate_is_tried_again);
    RUN(renewed_files_are_used_for_the_next_connection);
    RUN(files_that_cannot_be_used_are_named);
    RUN(nobody_is_asked_for_a_passphrase);
}

int main(int argc, char **argv) {
    return run_once(argc, argv, run_all);
}
