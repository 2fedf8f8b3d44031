/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What connections over TLS have in common: whom they trust, and who we are. Reading what the
 * system trusts takes tens of milliseconds and a megabyte, so contexts are shared by the whole
 * process, and made anew when a file has changed.
 */
#ifndef LUNATS_TLS_CONTEXT_H
#define LUNATS_TLS_CONTEXT_H

#include <stdbool.h>
#include <stddef.h>

#include <openssl/ssl.h>

/* PEM files; NULL: what the system trusts, no certificate of ours. */
struct tls_files {
    const char *ca, *cert, *key;
    bool any_peer; /* whoever the server is */
};

/* Reads files: not on the loop thread. On success *out is the caller's, with SSL_CTX_free().
 * Returns LN_OK, LN_ENOMEM, or LN_EINVAL with the reason in `text`. */
int tls_context(SSL_CTX **out, const struct tls_files *files, char *text, size_t size);

#endif
