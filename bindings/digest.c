/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What scripts/crypto.lua and the object store need of libcrypto: SHA-256, HMAC, base64, random
 * bytes.
 *
 * A digest owns its EVP_MD_CTX until final() or __gc.
 */
#include <limits.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include "bindings/bindings.h"
#include "bindings/lib/lib.h"

#define DIGEST_TYPE "lunats.sha256"

struct digest {
    EVP_MD_CTX *context; /* NULL: final() was called */
};

/* ---- SHA-256 ---- */

/* core.sha256() -> digest; core.sha256(bytes) -> its 32 bytes */
static int core_sha256(lua_State *L) {
    if (!lua_isnoneornil(L, 1)) {
        size_t len;
        const char *bytes = luaL_checklstring(L, 1, &len);
        unsigned char out[EVP_MAX_MD_SIZE];
        unsigned int size = 0;
        if (EVP_Digest(bytes, len, out, &size, EVP_sha256(), NULL) != 1)
            return luaL_error(L, "sha256: libcrypto failed");
        lua_pushlstring(L, (const char *)out, size);
        return 1;
    }
    check_open(L);
    struct digest *digest = lua_newuserdatauv(L, sizeof(*digest), 0);
    digest->context = NULL;
    luaL_setmetatable(L, DIGEST_TYPE);
    digest->context = EVP_MD_CTX_new();
    if (digest->context == NULL || EVP_DigestInit_ex(digest->context, EVP_sha256(), NULL) != 1)
        return luaL_error(L, "sha256: out of memory");
    return 1;
}

static int digest_gc(lua_State *L) {
    struct digest *digest = luaL_checkudata(L, 1, DIGEST_TYPE);
    EVP_MD_CTX_free(digest->context); /* NULL is fine */
    digest->context = NULL;
    return 0;
}

static struct digest *check_digest(lua_State *L) {
    struct digest *digest = luaL_checkudata(L, 1, DIGEST_TYPE);
    luaL_argcheck(L, digest->context != NULL, 1, "the digest is final");
    return digest;
}

/* digest:update(bytes) -> digest */
static int digest_update(lua_State *L) {
    struct digest *digest = check_digest(L);
    size_t len;
    const char *bytes = luaL_checklstring(L, 2, &len);
    if (EVP_DigestUpdate(digest->context, bytes, len) != 1)
        return luaL_error(L, "sha256: libcrypto failed");
    lua_settop(L, 1);
    return 1;
}

/* digest:final() -> the 32 bytes of the digest, which is of no further use */
static int digest_final(lua_State *L) {
    struct digest *digest = check_digest(L);
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned int len = 0;
    if (EVP_DigestFinal_ex(digest->context, bytes, &len) != 1)
        return luaL_error(L, "sha256: libcrypto failed");
    digest_gc(L);
    lua_pushlstring(L, (const char *)bytes, len);
    return 1;
}

/* core.old_digest("md5" | "sha1", bytes) -> its bytes: what old protocols ask for */
static int core_old_digest(lua_State *L) {
    static const char *const names[] = {"md5", "sha1", NULL};
    const EVP_MD *kind = luaL_checkoption(L, 1, NULL, names) == 0 ? EVP_md5() : EVP_sha1();
    size_t len;
    const char *bytes = luaL_checklstring(L, 2, &len);
    unsigned char out[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    if (EVP_Digest(bytes, len, out, &size, kind, NULL) != 1)
        return luaL_error(L, "libcrypto does not permit this digest");
    lua_pushlstring(L, (const char *)out, size);
    return 1;
}

/* ---- keys and chance ---- */

/* core.hmac_sha256(key, bytes) -> 32 bytes */
static int core_hmac_sha256(lua_State *L) {
    size_t key_len, len;
    const char *key = luaL_checklstring(L, 1, &key_len);
    const char *bytes = luaL_checklstring(L, 2, &len);
    luaL_argcheck(L, key_len <= INT_MAX, 1, "too long");
    unsigned char out[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    if (HMAC(EVP_sha256(), key, (int)key_len, (const unsigned char *)bytes, len, out, &size) ==
        NULL)
        return luaL_error(L, "hmac_sha256: libcrypto failed");
    lua_pushlstring(L, (const char *)out, size);
    return 1;
}

/* core.random(n) -> n bytes that nobody can guess */
static int core_random(lua_State *L) {
    lua_Integer count = luaL_checkinteger(L, 1);
    luaL_argcheck(L, count >= 0 && count <= INT_MAX, 1, "out of range");
    luaL_Buffer buffer;
    char *out = luaL_buffinitsize(L, &buffer, (size_t)count);
    if (RAND_bytes((unsigned char *)out, (int)count) != 1)
        return luaL_error(L, "random: libcrypto has no random bytes");
    luaL_pushresultsize(&buffer, (size_t)count);
    return 1;
}

/* core.equal_bytes(a, b) -> boolean, in a time that does not tell where they differ */
static int core_equal_bytes(lua_State *L) {
    size_t a_len, b_len;
    const char *a = luaL_checklstring(L, 1, &a_len);
    const char *b = luaL_checklstring(L, 2, &b_len);
    lua_pushboolean(L, a_len == b_len && CRYPTO_memcmp(a, b, a_len) == 0);
    return 1;
}

/* ---- base64 ---- */

static void translate(char *at, size_t len, const char *from, const char *to) {
    for (; len > 0; at++, len--) {
        if (*at == from[0])
            *at = to[0];
        else if (*at == from[1])
            *at = to[1];
    }
}

static const char *check_text(lua_State *L, size_t *len) {
    const char *text = luaL_checklstring(L, 1, len);
    luaL_argcheck(L, *len <= INT_MAX / 2, 1, "too long");
    return text;
}

static int encode(lua_State *L, bool url) {
    size_t len;
    const char *bytes = check_text(L, &len);
    luaL_Buffer buffer;
    char *out =
        luaL_buffinitsize(L, &buffer, (len + 2) / 3 * 4 + 1); /* EncodeBlock ends with a zero */
    int size = EVP_EncodeBlock((unsigned char *)out, (const unsigned char *)bytes, (int)len);
    if (url)
        translate(out, (size_t)size, "+/", "-_");
    luaL_pushresultsize(&buffer, (size_t)size);
    return 1;
}

/* Whether the text may be decoded: EVP_DecodeBlock() also accepts blanks around it. */
static bool is_base64(const char *text, size_t len, const char *last_two) {
    if (len % 4 != 0)
        return false;
    for (int padding = 0; padding < 2 && len > 0 && text[len - 1] == '='; padding++)
        len--;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        bool digit = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                     (c >= '0' && c <= '9') || c == last_two[0] || c == last_two[1];
        if (!digit)
            return false;
    }
    return true;
}

static int decode(lua_State *L, bool url) {
    size_t len;
    const char *text = check_text(L, &len);
    if (!is_base64(text, len, url ? "-_" : "+/")) {
        lua_pushnil(L);
        return 1;
    }
    if (url) {
        char *copy = lua_newuserdatauv(L, len + 1, 0);
        memcpy(copy, text, len);
        translate(copy, len, "-_", "+/");
        text = copy;
    }
    luaL_Buffer buffer;
    char *out = luaL_buffinitsize(L, &buffer, len + 1);
    int size = EVP_DecodeBlock((unsigned char *)out, (const unsigned char *)text, (int)len);
    for (size_t i = len; size > 0 && i > 0 && text[i - 1] == '='; i--)
        size--; /* DecodeBlock counts the padding */
    luaL_pushresultsize(&buffer, size > 0 ? (size_t)size : 0);
    if (size < 0)
        lua_pushnil(L);
    return 1;
}

/* core.base64(bytes) -> text, with padding */
static int core_base64(lua_State *L) {
    return encode(L, false);
}

/* core.base64url(bytes) -> text for subjects and URLs, with padding */
static int core_base64url(lua_State *L) {
    return encode(L, true);
}

/* core.base64_decode(text) -> bytes, or nil when it is not base64 with padding */
static int core_base64_decode(lua_State *L) {
    return decode(L, false);
}

/* core.base64url_decode(text) -> bytes | nil */
static int core_base64url_decode(lua_State *L) {
    return decode(L, true);
}

/* ---- registration ---- */

static const luaL_Reg methods[] = {
    {"update", digest_update},
    {"final", digest_final},
    {"__gc", digest_gc},
    {NULL, NULL},
};

static const luaL_Reg functions[] = {
    {"sha256", core_sha256},
    {"old_digest", core_old_digest},
    {"hmac_sha256", core_hmac_sha256},
    {"random", core_random},
    {"equal_bytes", core_equal_bytes},
    {"base64", core_base64},
    {"base64url", core_base64url},
    {"base64_decode", core_base64_decode},
    {"base64url_decode", core_base64url_decode},
    {NULL, NULL},
};

void bindings_digest(lua_State *L) {
    add_class(L, DIGEST_TYPE, methods);
    luaL_setfuncs(L, functions, 0);
}
