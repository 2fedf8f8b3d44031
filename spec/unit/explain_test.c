/* SPDX-License-Identifier: Apache-2.0 */
/* Why an attempt to connect failed, in words. */
#include "host/dial/explain.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/sslerr.h>
#include <openssl/x509_vfy.h>

#include "host/base/status.h"
#include "spec/unit/test.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct dial_result result;

static const char *explain(struct attempt attempt, bool tls, bool late) {
    attempt.heard_len = attempt.heard != NULL ? strlen(attempt.heard) : 0;
    attempt.timeout_ms = 1500;
    result = (struct dial_result){.fd = -1};
    attempt_explain(&attempt, tls, late, &result);
    return result.text;
}

static char *heard(const char *text) {
    static char copy[4096];
    snprintf(copy, sizeof(copy), "%s", text);
    return copy;
}

#define INFO "INFO {\"server_id\":\"N\"}\r\n"

/* ---- an -ERR ---- */

static void errors_of_the_server_have_a_meaning(void) {
    static const struct {
        const char *server;
        int status;
        const char *says;
    } cases[] = {
        {"Authorization Violation", LN_EAUTH, "refuses user, password, token or key"},
        {"Authentication Timeout", LN_EAUTH, "overloaded"},
        {"authentication timeout", LN_EAUTH, "overloaded"},
        {"User Authentication Expired", LN_EAUTH, "renew"},
        {"User Authentication Revoked", LN_EAUTH, "revoked"},
        {"Account Authentication Expired", LN_EAUTH, "renew"},
        {"maximum connections exceeded", LN_ENATS, "full"},
        {"maximum account active connections exceeded", LN_ENATS, "account is full"},
        {"attempted to connect to route port", LN_ENATS, "for other servers"},
        {"Secure Connection - TLS Required", LN_ENATS, "tls://"},
        {"Maximum Payload Violation", LN_ENATS, "Maximum Payload Violation"},
        {"Stale Connection", LN_ENATS, "Stale Connection"},
        {"", LN_ENATS, ""},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char text[256];
        int status = explain_error(cases[i].server, text, sizeof(text));
        if (status != cases[i].status || strstr(text, cases[i].says) == NULL ||
            strstr(text, cases[i].server) == NULL) /* its own words are always there */
            test_fail(__FILE__, __LINE__, "%s: %d, %s", cases[i].server, status, text);
    }
    char small[8];
    explain_error("Authorization Violation", small, sizeof(small));
    CHECK_INT(strlen(small), sizeof(small) - 1);
}

static void the_last_error_that_was_heard_counts(void) {
    CHECK_STR(explain((struct attempt){.connected = true,
                                       .heard = heard(INFO "-ERR 'maximum connections "
                                                           "exceeded'\r\n")},
                      false, false),
              "the server is full: it allows no more connections (maximum connections "
              "exceeded)");
    CHECK_INT(result.status, LN_ENATS);
    explain((struct attempt){.connected = true,
                             .heard = heard(INFO "-ERR 'x'\r\n-ERR 'Authorization Violation'")},
            false, true);
    CHECK_INT(result.status, LN_EAUTH);
}

/* ---- no error was heard ---- */

static void the_reason_is_that_of_the_step_that_failed(void) {
    struct attempt refused = {.connect_errno = ECONNREFUSED};
    CHECK_STR(explain(refused, false, false), strerror(ECONNREFUSED));
    CHECK_INT(result.status, LN_ENOSERVER);
    CHECK_STR(explain(refused, true, true), strerror(ECONNREFUSED));
    explain((struct attempt){.connected = true}, false, false);
    CHECK(strstr(result.text, "without a word") != NULL);
    CHECK_INT(result.status, LN_ENOSERVER);
    explain((struct attempt){.connected = true, .heard = heard(INFO)}, false, false);
    CHECK(strstr(result.text, "closed the connection during the handshake") != NULL);
    CHECK_INT(result.status, LN_ENOSERVER);
}

static void a_timeout_says_what_was_waited_for(void) {
    explain((struct attempt){.connected = true}, false, true);
    CHECK(strstr(result.text, "does not answer within 1.5 s") != NULL);
    CHECK(strstr(result.text, "--tls-first") != NULL);
    CHECK_INT(result.status, LN_ENOSERVER);
    explain((struct attempt){.connected = true, .heard = heard(INFO)}, false, true);
    CHECK_STR(result.text, "the server did not answer within 1.5 s");
    SSL *some = (SSL *)&result; /* it is only looked whether there is one */
    explain((struct attempt){.connected = true, .heard = heard(INFO), .ssl = some}, true, true);
    CHECK_STR(result.text, "the TLS handshake was not done within 1.5 s");
}

static void another_protocol_is_shown(void) {
    explain(
        (struct attempt){.connected = true, .heard = heard("SSH-2.0-OpenSSH_9.2p1\r\nmore")},
        false, false);
    CHECK_STR(result.text,
              "what answers there is no NATS server: it says \"SSH-2.0-OpenSSH_9.2p1\"");
    CHECK_INT(result.status, LN_ENATS);
    char line[200];
    memset(line, 'x', sizeof(line) - 1);
    line[sizeof(line) - 1] = '\0';
    explain((struct attempt){.connected = true, .heard = heard(line)}, false, false);
    CHECK(strlen(result.text) < 120);
}

/* Also when it took as long as it may: nats.c waits for a line that it understands. */
static void what_is_said_in_the_place_of_another_word_is_shown(void) {
    struct attempt attempt = {.connected = true, .heard = heard("HELO\r\n")};
    explain(attempt, false, true);
    CHECK_STR(result.text, "what answers there is no NATS server: it says \"HELO\"");
    attempt.heard = heard("INFO [1]\r\n");
    explain(attempt, false, false);
    CHECK_STR(result.text, "what answers there is no NATS server: it says \"INFO [1]\"");
    attempt.heard = heard(INFO "HTTP/1.1 400 Bad Request\r\nServer: x\r\n");
    explain(attempt, false, false);
    CHECK_STR(result.text, "the server says \"HTTP/1.1 400 Bad Request\" where a PONG is due");
    attempt.heard = heard(INFO "PONG\r\n");
    explain(attempt, false, false);
    CHECK(strstr(result.text, "closed the connection") != NULL);
    attempt.heard = heard(INFO "PO");
    explain(attempt, false, false);
    CHECK(strstr(result.text, "closed the connection") != NULL);
}

static void a_server_without_tls_is_told_from_one_with_tls_as_an_option(void) {
    struct attempt attempt = {.connected = true, .heard = heard(INFO)};
    explain(attempt, true, false);
    CHECK(strstr(result.text, "offers no TLS") != NULL);
    CHECK(strstr(result.text, "nothing was sent") != NULL);
    attempt.heard = heard("INFO {\"tls_available\":true}\r\n");
    explain(attempt, true, false);
    CHECK(strstr(result.text, "option only") != NULL && strstr(result.text, "3.8") != NULL);
    attempt.heard = heard("INFO {\"tls_required\":true}\r\n");
    explain(attempt, true, false);
    CHECK(strstr(result.text, "closed the connection") != NULL);
}

static void a_text_that_is_there_stays(void) {
    struct attempt attempt = {.connect_errno = ECONNREFUSED};
    result = (struct dial_result){.fd = -1, .text = "its own reason"};
    attempt_explain(&attempt, false, true, &result);
    CHECK_STR(result.text, "its own reason");
    CHECK(result.status != LN_OK);
}

/* ---- TLS ---- */

static void certificates_that_are_refused_come_with_advice(void) {
    static const struct {
        long result;
        const char *says;
    } cases[] = {
        {X509_V_ERR_HOSTNAME_MISMATCH, "--tls-name"},
        {X509_V_ERR_IP_ADDRESS_MISMATCH, "--tls-name"},
        {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, "--tlsca"},
        {X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN, "--tlsca"},
        {X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, "--tlsca"},
        {X509_V_ERR_CERT_HAS_EXPIRED, "renew"},
        {X509_V_ERR_CERT_NOT_YET_VALID, "clock"},
        {X509_V_ERR_CERT_REVOKED, "TLS configuration"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        explain((struct attempt){.connected = true,
                                 .heard = heard(INFO),
                                 .ssl = (SSL *)&result,
                                 .verify_result = cases[i].result},
                true, false);
        CHECK_INT(result.status, LN_ENATS);
        CHECK(strstr(result.text, "the certificate of the server is refused") != NULL);
        CHECK(strstr(result.text, X509_verify_cert_error_string(cases[i].result)) != NULL);
        CHECK(strstr(result.text, cases[i].says) != NULL);
    }
}

static void our_certificate_is_refused_or_missing(void) {
    static const int reasons[] = {
        SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED, SSL_R_SSLV3_ALERT_BAD_CERTIFICATE,
        SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN, SSL_R_TLSV1_ALERT_UNKNOWN_CA,
        SSL_R_TLSV1_ALERT_ACCESS_DENIED};
    for (size_t i = 0; i < COUNT(reasons); i++) {
        struct attempt attempt = {.connected = true,
                                  .heard = heard(INFO),
                                  .ssl = (SSL *)&result,
                                  .handshake_done = i == 0, /* with TLS 1.3 it is told later */
                                  .ssl_error = ERR_PACK(ERR_LIB_SSL, 0, reasons[i])};
        explain(attempt, true, false);
        CHECK_INT(result.status, LN_EAUTH);
        CHECK(strstr(result.text, "--tlscert and --tlskey") != NULL);
    }
}

static void other_failures_of_tls_are_named(void) {
    struct attempt attempt = {.connected = true, .heard = heard(INFO), .ssl = (SSL *)&result};
    explain(attempt, true, false);
    CHECK_STR(result.text, "the server broke off during the TLS handshake");
    attempt.ssl_error = ERR_PACK(ERR_LIB_SSL, 0, SSL_R_TLSV1_ALERT_PROTOCOL_VERSION);
    explain(attempt, true, false);
    CHECK_INT(result.status, LN_ENATS);
    CHECK(strstr(result.text, "TLS failed: ") != NULL);
    attempt.ssl_error = ERR_PACK(ERR_LIB_SSL, 0, SSL_R_WRONG_VERSION_NUMBER);
    explain(attempt, true, false);
    CHECK_INT(result.status, LN_ENATS);
    CHECK(strstr(result.text, "TLS failed: ") != NULL);
    CHECK(strstr(result.text, "version") != NULL);
}

/* ---- JSON ---- */

static void strings_are_escaped(void) {
    char out[64];
    json_escape("a\"b\\c\n\x01\x1f/\x7f\xc3\xbc", out);
    CHECK_STR(out, "a\\\"b\\\\c\\u000a\\u0001\\u001f/\x7f\xc3\xbc");
    json_escape("", out);
    CHECK_STR(out, "");
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    OPENSSL_init_ssl(OPENSSL_INIT_LOAD_SSL_STRINGS, NULL);
    RUN(errors_of_the_server_have_a_meaning);
    RUN(the_last_error_that_was_heard_counts);
    RUN(the_reason_is_that_of_the_step_that_failed);
    RUN(a_timeout_says_what_was_waited_for);
    RUN(another_protocol_is_shown);
    RUN(what_is_said_in_the_place_of_another_word_is_shown);
    RUN(a_server_without_tls_is_told_from_one_with_tls_as_an_option);
    RUN(a_text_that_is_there_stays);
    RUN(certificates_that_are_refused_come_with_advice);
    RUN(our_certificate_is_refused_or_missing);
    RUN(other_failures_of_tls_are_named);
    RUN(strings_are_escaped);
    return test_end();
}
