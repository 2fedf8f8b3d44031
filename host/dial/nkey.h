/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NKeys: Ed25519 keys in base32, as NATS writes them (https://github.com/nats-io/nkeys).
 */
#ifndef LUNATS_DIAL_NKEY_H
#define LUNATS_DIAL_NKEY_H

#define NKEY_SEED_LEN 58
#define NKEY_PUBLIC_SIZE 57 /* 56 characters and the zero */
#define NKEY_SIGNATURE_SIZE 64

/* The public key of a user seed ("SU..."). LN_EINVAL when it is none. */
int nkey_public(const char *seed, char out[NKEY_PUBLIC_SIZE]);

/* Signs a text with a user seed. LN_EINVAL when it is none. */
int nkey_sign(const char *seed, const char *text, unsigned char signature[NKEY_SIGNATURE_SIZE]);

#endif
