/* SPDX-License-Identifier: Apache-2.0 */
/* Whose certificate the other side of a TLS connection must have. */
#ifndef LUNATS_DIAL_PEER_H
#define LUNATS_DIAL_PEER_H

#include <stdbool.h>

#include <openssl/ssl.h>

/* It must be the one of this host, a name or an address, and the server is told the name. False
 * when it cannot be one, or memory is short. */
bool peer_expect_name(SSL *ssl, const char *name);

/* The server is told the name; whose certificate it has is no matter. */
bool peer_tell_name(SSL *ssl, const char *name);

#endif
