/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NKeys: Ed25519 keys in base32, as NATS writes them (https://github.com/nats-io/nkeys).
 * nats.c signs with a seed file but wants to be told the public key that belongs to it.
 */
#ifndef LUNATS_LINK_NKEY_H
#define LUNATS_LINK_NKEY_H

#include <stddef.h>

#define NKEY_PUBLIC_SIZE 57 /* 56 characters and the zero */

/*
 * The public key of the user seed ("SU...") in the first `len` bytes of `text`, which may have
 * other lines around it. Returns LN_OK, or LN_EINVAL when there is no valid user seed in it.
 */
int nkey_public(const char *text, size_t len, char out[NKEY_PUBLIC_SIZE]);

/* The same for a file. Returns a code of libuv when it cannot be read. */
int nkey_public_from_file(const char *path, char out[NKEY_PUBLIC_SIZE]);

#endif
