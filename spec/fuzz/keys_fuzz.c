/* SPDX-License-Identifier: Apache-2.0 */
/* Files that prove who we are, given as they are in the place of a path. The input is the
 * file. */
#include "host/dial/keys.h"

#include "host/base/status.h"
#include "spec/fuzz/fuzz.h"

/* What was read can be used, and is in the file. */
static void check_keys(const struct keys *keys, const char *file, bool with_jwt) {
    unsigned char signature[NKEY_SIGNATURE_SIZE], again[NKEY_SIGNATURE_SIZE];
    char public[NKEY_PUBLIC_SIZE];
    HOLDS(strlen(keys->seed) == NKEY_SEED_LEN && strstr(file, keys->seed) != NULL);
    HOLDS(nkey_public(keys->seed, public) == LN_OK && strcmp(public, keys->public) == 0);
    HOLDS(strlen(public) == NKEY_PUBLIC_SIZE - 1 && public[0] == 'U');
    HOLDS(nkey_sign(keys->seed, "nonce", signature) == LN_OK);
    HOLDS(nkey_sign(keys->seed, "nonce", again) == LN_OK);
    HOLDS(memcmp(signature, again, sizeof(again)) == 0);
    HOLDS((keys->jwt[0] != '\0' || !with_jwt) && strstr(file, keys->jwt) != NULL);
}

/* A mistake in a file must not bring its secret into the log. */
static void check_silent(const char *text, const char *file) {
    const char *seed = strstr(file, "SU");
    char part[17] = "";
    if (seed != NULL && strcspn(seed, " \r\n") >= sizeof(part) - 1)
        memcpy(part, seed, sizeof(part) - 1);
    HOLDS(part[0] == '\0' || strstr(text, part) == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    static struct keys keys;
    char *file = fuzz_text(bytes, size), *path = malloc(size + sizeof(KEYS_INLINE));
    HOLDS(path != NULL);
    sprintf(path, "%s%s", KEYS_INLINE, file);
    keys_are_bare(file);
    for (int with_jwt = 0; with_jwt <= 1; with_jwt++) {
        char text[512] = "";
        int rc = keys_read(&keys, path, with_jwt == 1, text, sizeof(text));
        HOLDS(rc == LN_OK || (rc == LN_EINVAL && text[0] != '\0'));
        if (rc == LN_OK)
            check_keys(&keys, file, with_jwt == 1);
        else
            check_silent(text, file);
        keys_forget(&keys);
    }
    free(path);
    free(file);
    return 0;
}
