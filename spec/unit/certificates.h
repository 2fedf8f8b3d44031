/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates of all kinds for the tests of TLS, and the other side that has them. */
#ifndef LUNATS_SPEC_UNIT_CERTIFICATES_H
#define LUNATS_SPEC_UNIT_CERTIFICATES_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <openssl/ssl.h>

static char cert_dir[] = "/tmp/link_cert.XXXXXX", ca_path[64];

/* An authority, and a certificate of 127.0.0.1 that it has signed. */
static inline void make_certificates(void) {
    char command[1024];
    if (mkdtemp(cert_dir) == NULL)
        abort();
    snprintf(ca_path, sizeof(ca_path), "%s/ca.pem", cert_dir);
    snprintf(command, sizeof(command),
             "cd %s && exec 2>/dev/null && "
             "key='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes' && "
             "openssl req -x509 $key -days 30 -subj /CN=ca -keyout ca.key -out ca.pem && "
             "openssl req $key -subj /CN=server -keyout key.pem -out csr.pem && "
             "echo 'subjectAltName=IP:127.0.0.1' > ext && "
             "openssl x509 -req -in csr.pem -CA ca.pem -CAkey ca.key -CAcreateserial "
             "-days 30 -extfile ext -out cert.pem",
             cert_dir);
    if (system(command) != 0)
        abort();
}

static inline void remove_certificates(void) {
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", cert_dir);
    if (system(command) != 0)
        printf("# %s is left\n", cert_dir);
}

/* Runs a command in the folder of the certificates. */
__attribute__((format(printf, 1, 2))) static inline void in_cert_dir(const char *format, ...) {
    char command[2048];
    int n = snprintf(command, sizeof(command), "cd %s && exec 2>/dev/null && ", cert_dir);
    va_list args;
    va_start(args, format);
    vsnprintf(command + n, sizeof(command) - (size_t)n, format, args);
    va_end(args);
    if (system(command) != 0) {
        fprintf(stderr, "failed: %s\n", command);
        abort();
    }
}

/* A path in there, valid until four others were asked for. */
static inline const char *cert_path(const char *name) {
    static char paths[4][128];
    static int last;
    char *path = paths[last++ % 4];
    snprintf(path, sizeof(paths[0]), "%s/%s", cert_dir, name);
    return path;
}

/* NAME.pem and NAME.key, signed by AUTHORITY.pem, for these names ("DNS:a,IP:127.0.0.1"). */
static inline void issue(const char *name, const char *authority, const char *names) {
    in_cert_dir("openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes "
                "-subj /CN=%s -keyout %s.key -out %s.csr && echo 'subjectAltName=%s' > ext && "
                "openssl x509 -req -in %s.csr -CA %s.pem -CAkey %s.key -CAcreateserial "
                "-days 30 -extfile ext -out %s.pem",
                name, name, name, names, name, authority, authority, name);
}

/* A second authority, "ca2". */
static inline void make_second_authority(void) {
    in_cert_dir("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes "
                "-days 30 -subj /CN=ca2 -keyout ca2.key -out ca2.pem");
}

/* A connection of TLS with this certificate; NULL when the client does not want it. */
static inline SSL *accept_tls(int fd, const char *certificate) {
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    char path[128];
    snprintf(path, sizeof(path), "%s/%s.pem", cert_dir, certificate);
    SSL_CTX_use_certificate_file(context, path, SSL_FILETYPE_PEM);
    snprintf(path, sizeof(path), "%s/%s.key", cert_dir, certificate);
    SSL_CTX_use_PrivateKey_file(context, path, SSL_FILETYPE_PEM);
    SSL *ssl = SSL_new(context);
    SSL_CTX_free(context); /* the connection has it, too */
    SSL_set_fd(ssl, fd);
    if (SSL_accept(ssl) == 1)
        return ssl;
    SSL_free(ssl);
    return NULL;
}

#endif
