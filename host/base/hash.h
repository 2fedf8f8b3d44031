/* SPDX-License-Identifier: Apache-2.0 */
/* Hashing of names that others choose: who does not know the seed cannot make them collide. */
#ifndef LUNATS_BASE_HASH_H
#define LUNATS_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

__extension__ typedef unsigned __int128 hash_wide;

static inline uint64_t hash_mix_(uint64_t a, uint64_t b) {
    hash_wide product = (hash_wide)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Fewer bytes than a word has; some are in it twice, which the length tells apart. */
static inline uint64_t hash_rest_(const char *bytes, size_t len) {
    uint32_t first, last;
    if (len >= sizeof(first)) {
        memcpy(&first, bytes, sizeof(first));
        memcpy(&last, bytes + len - sizeof(last), sizeof(last));
        return first | (uint64_t)last << 32;
    }
    if (len == 0)
        return 0;
    return (uint64_t)(uint8_t)bytes[0] | (uint64_t)(uint8_t)bytes[len / 2] << 8 |
           (uint64_t)(uint8_t)bytes[len - 1] << 16;
}

static inline uint32_t hash_bytes(const uint64_t seed[2], const char *bytes, size_t len) {
    uint64_t hash = seed[0] ^ len, word;
    size_t left = len;
    for (; left >= sizeof(word); left -= sizeof(word), bytes += sizeof(word)) {
        memcpy(&word, bytes, sizeof(word));
        hash = hash_mix_(hash ^ word, seed[1]);
    }
    hash = hash_mix_(hash ^ hash_rest_(bytes, left), seed[1]);
    hash = hash_mix_(hash, seed[0] | 1);
    return (uint32_t)(hash ^ (hash >> 32));
}

#endif
