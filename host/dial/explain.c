/* SPDX-License-Identifier: Apache-2.0 */
#include "host/dial/explain.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <nats/nats.h>
#include <openssl/err.h>
#include <openssl/x509_vfy.h>

#include "host/base/status.h"
#include "host/dial/info.h"

__attribute__((format(printf, 3, 4))) static void say(struct dial_result *out, int status,
                                                      const char *format, ...) {
    va_list args;
    va_start(args, format);
    out->status = status;
    vsnprintf(out->text, sizeof(out->text), format, args);
    va_end(args);
}

void json_escape(const char *text, char *out) {
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < 0x20)
            out += sprintf(out, "\\u%04x", c);
        else if (c == '"' || c == '\\')
            *out++ = '\\', *out++ = (char)c;
        else
            *out++ = (char)c;
    }
    *out = '\0';
}

/* ---- what the server said ---- */

const char *attempt_info(const struct attempt *attempt, size_t *len) {
    const char *heard = attempt->heard;
    if (heard == NULL || strncasecmp(heard, "INFO ", 5) != 0)
        return NULL;
    *len = strcspn(heard + 5, "\r\n");
    return heard + 5;
}

/* The text of the last -ERR, without its quotes; "" when there is none. */
static void find_error(const struct attempt *attempt, char *out, size_t size) {
    const char *found = NULL;
    *out = '\0';
    for (const char *at = attempt->heard; at != NULL && *at != '\0';) {
        if (strncasecmp(at, "-ERR", 4) == 0)
            found = at + 4;
        at = strchr(at, '\n');
        at = at != NULL ? at + 1 : NULL;
    }
    if (found == NULL)
        return;
    found += strspn(found, " '");
    snprintf(out, size, "%.*s", (int)strcspn(found, "'\r\n"), found);
}

static const struct {
    const char *word; /* in what the server says */
    int status;
    const char *text;
} meanings[] = {
    {"authentication timeout", LN_EAUTH,
     "the server waited too long for user, password or key: is it overloaded?"},
    {"authorization", LN_EAUTH, "the server refuses user, password, token or key"},
    {"authentication expired", LN_EAUTH, "the credentials have expired: renew them"},
    {"authentication revoked", LN_EAUTH, "the credentials are revoked"},
    {"authentication", LN_EAUTH, "the server refuses the credentials"},
    {"maximum connections", LN_ENATS, "the server is full: it allows no more connections"},
    {"maximum account active connections", LN_ENATS,
     "the account is full: it allows no more connections"},
    {"route port", LN_ENATS, "this is the port for other servers, not for clients"},
    {"tls", LN_ENATS, "the server wants TLS: connect to tls://"},
};

int explain_error(const char *server, char *text, size_t size) {
    for (size_t i = 0; i < sizeof(meanings) / sizeof(meanings[0]); i++) {
        if (strcasestr(server, meanings[i].word) == NULL)
            continue;
        snprintf(text, size, "%s (%s)", meanings[i].text, server);
        return meanings[i].status;
    }
    snprintf(text, size, "%s", server);
    return LN_ENATS;
}

/* ---- TLS ---- */

static const char *advice(long verify_result) {
    switch (verify_result) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        return "it is for another host: --tls-name HOST says whose it must be";
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
        return "its authority is not trusted: --tlsca FILE names one";
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return "renew it on the server";
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return "is the clock of this machine right?";
    default:
        return "see the server's TLS configuration";
    }
}

/* An alert of the server that is about our certificate: 42 (bad certificate) to 49 (access
 * denied), and 116 (certificate required). RFC 8446, 6.2. */
static bool is_about_ours(unsigned long error) {
    int alert = ERR_GET_REASON(error) - SSL_AD_REASON_OFFSET;
    return ERR_GET_LIB(error) == ERR_LIB_SSL &&
           ((alert >= SSL_AD_BAD_CERTIFICATE && alert <= SSL_AD_ACCESS_DENIED &&
             alert != SSL_AD_ILLEGAL_PARAMETER) ||
            alert == SSL_AD_CERTIFICATE_REQUIRED);
}

/* The end of a connection is none of TLS, whether the server has said goodbye or not. */
static bool has_failed(const struct attempt *attempt) {
    return attempt->ssl_error != 0 &&
           ERR_GET_REASON(attempt->ssl_error) != SSL_R_UNEXPECTED_EOF_WHILE_READING;
}

static void explain_tls(const struct attempt *attempt, struct dial_result *out) {
    const char *why = ERR_reason_error_string(attempt->ssl_error);
    if (attempt->name_refused) {
        say(out, LN_EINVAL, "\"%s\" cannot be the name of a host in a certificate",
            attempt->tls_name != NULL ? attempt->tls_name : "");
    } else if (attempt->verify_result != X509_V_OK) {
        say(out, LN_ENATS, "the certificate of the server is refused, %s (%s)",
            X509_verify_cert_error_string(attempt->verify_result),
            advice(attempt->verify_result));
    } else if (why != NULL && is_about_ours(attempt->ssl_error)) {
        say(out, LN_EAUTH,
            "the server refuses our certificate, or wants one: --tlscert and --tlskey (%s)",
            why);
    } else if (why != NULL) {
        say(out, LN_ENATS, "TLS failed: %s", why);
    } else {
        say(out, LN_ENATS, "the server broke off during the TLS handshake");
    }
}

/* ---- all of it ---- */

/* How much of a line is shown. */
static int shown(const char *line) {
    size_t len = strcspn(line, "\r\n");
    return len < 60 ? (int)len : 60;
}

/* The line behind the INFO where a PONG should be; NULL: there is none, or it is one. */
static const char *find_wrong_pong(const struct attempt *attempt) {
    const char *line = strchr(attempt->heard, '\n');
    bool whole = line != NULL && strchr(line + 1, '\n') != NULL;
    return whole && strncasecmp(line + 1, "PONG", 4) != 0 ? line + 1 : NULL;
}

static void explain_heard(const struct attempt *attempt, bool tls, struct dial_result *out) {
    struct info info = {0};
    size_t len = 0;
    const char *json = attempt_info(attempt, &len), *pong = find_wrong_pong(attempt);
    bool readable = json != NULL && info_read(json, len, &info);
    if (json == NULL || (!readable && json[len] != '\0'))
        say(out, LN_ENATS, "what answers there is no NATS server: it says \"%.*s\"",
            shown(attempt->heard), attempt->heard);
    else if (pong != NULL)
        say(out, LN_ENATS, "the server says \"%.*s\" where a PONG is due", shown(pong), pong);
    else if (tls && attempt->ssl == NULL && readable && !info.tls_required)
        say(out, LN_ENATS, "%s",
            info.tls_available
                ? "the server has TLS as an option only, for which nats.c 3.8 is needed"
                : "the server offers no TLS, and tls://, a CA or a certificate demand it; "
                  "nothing was sent");
    else
        say(out, LN_ENOSERVER, "the server closed the connection during the handshake");
}

static void explain_timeout(const struct attempt *attempt, bool tls, struct dial_result *out) {
    double seconds = attempt->timeout_ms / 1000.0;
    if (attempt->ssl != NULL && !attempt->handshake_done)
        say(out, LN_ENOSERVER, "the TLS handshake was not done within %g s", seconds);
    else if (attempt->heard_len == 0)
        say(out, LN_ENOSERVER,
            "it accepts the connection but does not answer within %g s: it hangs, or waits for "
            "TLS (--tls-first), or is no nats-server",
            seconds);
    else if (strncasecmp(attempt->heard, "INFO ", 5) != 0)
        explain_heard(attempt, tls, out);
    else
        say(out, LN_ENOSERVER, "the server did not answer within %g s", seconds);
}

/* nats.c does not say why it has got no socket; whoever asks next gets none either. */
static int socket_error(void) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    close(fd);
    return 0;
}

static void explain_nats(struct dial_result *out) {
    int no_socket = socket_error();
    if (no_socket != 0) {
        say(out, LN_ENATS, "cannot open a socket: %s", strerror(no_socket));
        return;
    }
    const char *text = nats_GetLastError(NULL);
    /* It puts the place in its own source in front: "(conn.c:2088): No server ...". */
    const char *colon = text != NULL && text[0] == '(' ? strstr(text, "): ") : NULL;
    text = colon != NULL ? colon + 3 : text;
    say(out, LN_ENATS, "%s", text != NULL && *text != '\0' ? text : "it failed");
}

void attempt_explain(const struct attempt *attempt, bool tls, bool late,
                     struct dial_result *out) {
    char error[256];
    find_error(attempt, error, sizeof(error));
    if (out->text[0] != '\0')
        out->status = LN_ENATS;
    else if (attempt->connect_errno != 0)
        say(out, LN_ENOSERVER, "%s", strerror(attempt->connect_errno));
    else if (error[0] != '\0')
        out->status = explain_error(error, out->text, sizeof(out->text));
    else if (late)
        explain_timeout(attempt, tls, out);
    else if (attempt->ssl != NULL && (!attempt->handshake_done || has_failed(attempt)))
        explain_tls(attempt, out);
    else if (attempt->heard_len > 0)
        explain_heard(attempt, tls, out);
    else if (attempt->connected)
        say(out, LN_ENOSERVER,
            "it accepts the connection and closes it again without a word, as a nats-server "
            "may that wants TLS first, for which there is --tls-first");
    else
        explain_nats(out);
}
