/* SPDX-License-Identifier: Apache-2.0 */
#include "host/link/nkey.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <uv.h>

#include "host/base/status.h"

#define KEY_SIZE 32
#define SEED_TEXT 58                   /* characters of a seed */
#define SEED_SIZE (2 + KEY_SIZE + 2)   /* two bytes of kind, the key, checksum */
#define PUBLIC_SIZE (1 + KEY_SIZE + 2) /* one byte of kind, the key, checksum */
#define KIND_SEED (18 << 3)            /* 'S' in base32 */
#define KIND_USER (20 << 3)            /* 'U' */

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

static bool derive(const uint8_t seed[KEY_SIZE], uint8_t key[KEY_SIZE]) {
    size_t len = KEY_SIZE;
    EVP_PKEY *pair = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, KEY_SIZE);
    bool done = pair != NULL && EVP_PKEY_get_raw_public_key(pair, key, &len) == 1;
    EVP_PKEY_free(pair);
    return done && len == KEY_SIZE;
}

/* The line that begins with the two letters of a user seed. */
static const char *find_seed(const char *text, size_t len) {
    for (const char *at = text, *end = text + len; at < end && end - at >= SEED_TEXT;) {
        if (at[0] == 'S' && at[1] == 'U')
            return at;
        const char *line = memchr(at, '\n', (size_t)(end - at));
        at = line != NULL ? line + 1 : end;
    }
    return NULL;
}

int nkey_public(const char *text, size_t len, char out[NKEY_PUBLIC_SIZE]) {
    uint8_t seed[SEED_SIZE + 1], public[PUBLIC_SIZE];
    const char *at = find_seed(text, len);
    if (at == NULL || !decode(at, SEED_TEXT, seed) || !checksum_ok(seed, SEED_SIZE))
        return LN_EINVAL;
    /* The kind of the key is spread over the first two bytes, behind five bits of "seed". */
    bool user =
        (seed[0] & 0xf8) == KIND_SEED && ((seed[0] & 7) << 5 | seed[1] >> 3) == KIND_USER;
    bool done = user && derive(seed + 2, public + 1);
    OPENSSL_cleanse(seed, sizeof(seed));
    if (!done)
        return LN_EINVAL;
    public[0] = KIND_USER;
    uint16_t crc = checksum(public, PUBLIC_SIZE - 2);
    public[PUBLIC_SIZE - 2] = (uint8_t)crc;
    public[PUBLIC_SIZE - 1] = (uint8_t)(crc >> 8);
    encode(public, sizeof(public), out);
    return LN_OK;
}

int nkey_public_from_file(const char *path, char out[NKEY_PUBLIC_SIZE]) {
    char text[4096];
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return uv_translate_sys_error(errno);
    size_t len = fread(text, 1, sizeof(text), file);
    fclose(file);
    int rc = nkey_public(text, len, out);
    OPENSSL_cleanse(text, sizeof(text));
    return rc;
}
