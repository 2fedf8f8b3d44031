/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that prove who we are, read anew at each attempt to connect: credentials (a JWT and a
 * seed), seeds of NKeys, PEM files of TLS. What is wrong with one is said with its name.
 *
 * Blocks, so it belongs to a dialling thread.
 */
#ifndef LUNATS_DIAL_KEYS_H
#define LUNATS_DIAL_KEYS_H

#include <stdbool.h>
#include <stddef.h>

#include "host/dial/nkey.h"

#define KEYS_JWT_SIZE 16384
#define KEYS_INLINE "data:," /* in front of contents that stand in the place of a path */

struct keys {
    char jwt[KEYS_JWT_SIZE]; /* "" without */
    char seed[NKEY_SEED_LEN + 1];
    char public[NKEY_PUBLIC_SIZE]; /* the key that belongs to the seed */
};

/* Whether this is no path but keys, or a PEM text, that somebody has put in the place of one:
 * nothing may show it. */
bool keys_are_bare(const char *path);

/*
 * Reads a credentials file, or what stands in its place, or, without `with_jwt`, a file with a
 * seed. Lines may be indented and end in CR LF. Returns LN_OK, or LN_EINVAL with the reason in
 * `text`.
 */
int keys_read(struct keys *out, const char *path, bool with_jwt, char *text, size_t size);

/* Wipes them. */
void keys_forget(struct keys *keys);

/*
 * Looks whether these PEM files can be used: readable, not encrypted (nobody is there to type a
 * passphrase), certificate and key a pair. Each may be NULL. Returns as keys_read().
 */
int keys_check_pem(const char *ca, const char *cert, const char *key, char *text, size_t size);

#endif
