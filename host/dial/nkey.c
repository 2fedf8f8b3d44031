/* SPDX-License-Identifier: Apache-2.0 */
#include "host/dial/nkey.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "host/base/status.h"

#define KEY_SIZE 32
#define SEED_SIZE (2 + KEY_SIZE + 2)   /* two bytes of kind, the key, checksum */
#define PUBLIC_SIZE (1 + KEY_SIZE + 2) /* one byte of kind, the key, checksum */
#define KIND_SEED (18 << 3)            /* 'S' in base32 */
#define KIND_USER (20 << 3)            /* 'U' */

/* ---- base32 with a checksum ---- */

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

static bool decode(const char *text, size_t len, uint8_t *out) {
    uint32_t bits = 0;
    int count = 0;
    for (size_t i = 0; i < len; i++) {
        const char *digit = strchr(alphabet, text[i]);
        if (digit == NULL || *digit == '\0')
            return false;
        bits = bits << 5 | (uint32_t)(digit - alphabet);
        count += 5;
        if (count >= 8) {
            count -= 8;
            *out++ = (uint8_t)(bits >> count);
        }
    }
    return true;
}

static void encode(const uint8_t *bytes, size_t len, char *out) {
    uint32_t bits = 0;
    int count = 0;
    for (size_t i = 0; i < len; i++) {
        bits = bits << 8 | bytes[i];
        for (count += 8; count >= 5; count -= 5)
            *out++ = alphabet[bits >> (count - 5) & 31];
    }
    if (count > 0)
        *out++ = alphabet[bits << (5 - count) & 31];
    *out = '\0';
}

/* CRC-16/XMODEM, little-endian at the end of every key. */
static uint16_t checksum(const uint8_t *bytes, size_t len) {
    uint16_t crc = 0;
    for (size_t i = 0; i < len; i++) {
        crc ^= (uint16_t)(bytes[i] << 8);
        for (int bit = 0; bit < 8; bit++)
            crc = (uint16_t)(crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1);
    }
    return crc;
}

static bool checksum_ok(const uint8_t *bytes, size_t len) {
    return checksum(bytes, len - 2) == (bytes[len - 2] | bytes[len - 1] << 8);
}

/* ---- keys ---- */

/* The 32 bytes behind a user seed. */
static int read_seed(const char *seed, uint8_t key[KEY_SIZE]) {
    uint8_t bytes[SEED_SIZE + 1];
    bool ok = strlen(seed) == NKEY_SEED_LEN && decode(seed, NKEY_SEED_LEN, bytes) &&
              checksum_ok(bytes, SEED_SIZE);
    /* The kind of the key is spread over the first two bytes, behind five bits of "seed". */
    ok = ok && (bytes[0] & 0xf8) == KIND_SEED &&
         ((bytes[0] & 7) << 5 | bytes[1] >> 3) == KIND_USER;
    if (ok)
        memcpy(key, bytes + 2, KEY_SIZE);
    OPENSSL_cleanse(bytes, sizeof(bytes));
    return ok ? LN_OK : LN_EINVAL;
}

static EVP_PKEY *open_pair(const char *seed) {
    uint8_t key[KEY_SIZE];
    if (read_seed(seed, key) != LN_OK)
        return NULL;
    EVP_PKEY *pair = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, key, KEY_SIZE);
    OPENSSL_cleanse(key, sizeof(key));
    return pair;
}

int nkey_public(const char *seed, char out[NKEY_PUBLIC_SIZE]) {
    uint8_t public[PUBLIC_SIZE];
    size_t len = KEY_SIZE;
    EVP_PKEY *pair = open_pair(seed);
    bool done = pair != NULL && EVP_PKEY_get_raw_public_key(pair, public + 1, &len) == 1;
    EVP_PKEY_free(pair);
    if (!done || len != KEY_SIZE)
        return LN_EINVAL;
    public[0] = KIND_USER;
    uint16_t crc = checksum(public, PUBLIC_SIZE - 2);
    public[PUBLIC_SIZE - 2] = (uint8_t)crc;
    public[PUBLIC_SIZE - 1] = (uint8_t)(crc >> 8);
    encode(public, sizeof(public), out);
    return LN_OK;
}

int nkey_sign(const char *seed, const char *text,
              unsigned char signature[NKEY_SIGNATURE_SIZE]) {
    size_t len = NKEY_SIGNATURE_SIZE;
    EVP_PKEY *pair = open_pair(seed);
    EVP_MD_CTX *context = pair != NULL ? EVP_MD_CTX_new() : NULL;
    bool done = context != NULL && EVP_DigestSignInit(context, NULL, NULL, NULL, pair) == 1 &&
                EVP_DigestSign(context, signature, &len, (const unsigned char *)text,
                               strlen(text)) == 1;
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(pair);
    return done ? LN_OK : LN_EINVAL;
}
