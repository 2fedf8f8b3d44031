/* SPDX-License-Identifier: Apache-2.0 */
#include "host/dial/peer.h"

#include <arpa/inet.h>
#include <string.h>

#include <openssl/x509v3.h>

#define HOST_SIZE 256

static bool is_address(const char *name) {
    unsigned char bytes[16];
    return inet_pton(AF_INET, name, bytes) == 1 || inet_pton(AF_INET6, name, bytes) == 1;
}

static int verify(int ok, X509_STORE_CTX *context) {
    (void)context;
    return ok;
}

/* A dot at the end of a name is of DNS, not of certificates; one in front would stand for every
 * host below it. */
static bool copy_host(const char *name, char host[HOST_SIZE]) {
    size_t len = name != NULL ? strlen(name) : 0;
    if (len > 1 && name[len - 1] == '.')
        len--;
    if (len == 0 || len >= HOST_SIZE || *name == '.')
        return false;
    memcpy(host, name, len);
    host[len] = '\0';
    return true;
}

/* nats.c was given an address, and would compare the certificate with that; its callback points
 * into its connection. */
bool peer_expect_name(SSL *ssl, const char *name) {
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    char host[HOST_SIZE];
    if (!copy_host(name, host))
        return false;
    SSL_set_verify(ssl, SSL_VERIFY_PEER, verify);
    /* An address is compared with the addresses of the certificate. */
    return X509_VERIFY_PARAM_set1_host(param, NULL, 0) == 1 &&
           X509_VERIFY_PARAM_set1_ip(param, NULL, 0) == 1 && SSL_set1_host(ssl, host) == 1 &&
           (is_address(host) || SSL_set_tlsext_host_name(ssl, host) == 1);
}

bool peer_tell_name(SSL *ssl, const char *name) {
    char host[HOST_SIZE];
    if (!copy_host(name, host))
        return false;
    return is_address(host) || SSL_set_tlsext_host_name(ssl, host) == 1;
}
