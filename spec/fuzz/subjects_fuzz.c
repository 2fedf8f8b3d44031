/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Subjects and patterns, against the same rules written down in the simplest way. The input is
 * a line with a pattern and one with a subject.
 */
#include "host/jetstream/status.h"
#include "host/link/link.h"
#include "host/service/identity.h"
#include "spec/fuzz/fuzz.h"

/* One token at a time, with its text copied. */
static bool plain_covers(const char *pattern, const char *subject) {
    char *token = fuzz_text(pattern, strcspn(pattern, "."));
    char *word = fuzz_text(subject, strcspn(subject, "."));
    const char *more_pattern = pattern + strlen(token), *more_subject = subject + strlen(word);
    bool rest = strcmp(token, ">") == 0;
    bool same = strcmp(token, "*") == 0 || strcmp(token, word) == 0;
    free(token);
    free(word);
    if (rest)
        return true;
    if (!same || (*more_pattern == '\0') != (*more_subject == '\0'))
        return false;
    return *more_pattern == '\0' || plain_covers(more_pattern + 1, more_subject + 1);
}

static bool plain_ok(const char *subject, bool pattern) {
    size_t len = strlen(subject);
    if (len == 0 || subject[0] == '.' || subject[len - 1] == '.' || strstr(subject, ".."))
        return false;
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)subject[i] <= ' ' || subject[i] == 0x7f)
            return false;
    for (const char *at = subject; at != NULL; at = strchr(at, '.')) {
        at += *at == '.';
        size_t width = strcspn(at, ".");
        bool star = width == 1 && *at == '*', rest = width == 1 && *at == '>';
        if ((star || rest) && !pattern)
            return false;
        if (rest && at[1] != '\0')
            return false;
    }
    return true;
}

static void check_names(const char *text) {
    char *name = identity_name_from_path(text), *endpoint = identity_endpoint_name(text);
    HOLDS(name != NULL && (*name == '\0' || identity_name_ok(name)));
    HOLDS(endpoint != NULL && strpbrk(endpoint, ".*>$ /\"\\") == NULL);
    HOLDS(!js_name_ok(text, strlen(text)) ||
          (strpbrk(text, " .*>/\\\r\n\t") == NULL && link_subject_ok(text, strlen(text))));
    free(name);
    free(endpoint);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    struct fuzz_input input = {(const char *)bytes, size};
    char *pattern = fuzz_line(&input), *subject = fuzz_line(&input);
    HOLDS(link_subject_ok(subject, strlen(subject)) == plain_ok(subject, false));
    HOLDS(link_pattern_ok(pattern, strlen(pattern)) == plain_ok(pattern, true));
    HOLDS(link_pattern_covers(pattern, subject) == plain_covers(pattern, subject));
    if (link_subject_ok(pattern, strlen(pattern)))
        HOLDS(link_pattern_covers(pattern, subject) == (strcmp(pattern, subject) == 0));
    check_names(pattern);
    free(pattern);
    free(subject);
    return 0;
}
