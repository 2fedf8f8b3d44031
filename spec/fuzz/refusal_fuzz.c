/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors of a server: what it has refused. The input is a line with what stands between the
 * quotes of an -ERR, and one each with subject and queue of a refusal that is written here.
 */
#include "host/link/refusal.h"

#include "host/dial/explain.h"
#include "spec/fuzz/fuzz.h"

/* As Go's %q, but with more escapes than it takes: all are allowed. */
static char *quoted(const char *text, unsigned style) {
    char *out = malloc(strlen(text) * 4 + 3), *to = out;
    HOLDS(out != NULL);
    *to++ = '"';
    for (; *text != '\0'; text++, style = style * 5 + 1) {
        unsigned char c = (unsigned char)*text;
        if (c < ' ' || c == 0x7f || (c >= 0x80 && style % 3 == 0))
            to += sprintf(to, "\\x%02x", c);
        else if (c == '"' || c == '\\')
            to += sprintf(to, "\\%c", c);
        else
            *to++ = (char)c;
    }
    *to++ = '"';
    *to = '\0';
    return out;
}

static void check_written(const char *subject, const char *queue, unsigned style) {
    char *name = quoted(subject, style), *group = quoted(queue, style), *text = NULL;
    bool with_queue = *queue != '\0';
    HOLDS(asprintf(&text, "Permissions Violation for Subscription to %s%s%s", name,
                   with_queue ? " using queue " : "", with_queue ? group : "") > 0);
    struct refusal refusal;
    refusal_read(text, strlen(text), &refusal);
    HOLDS(refusal.kind == REFUSAL_SUBSCRIPTION);
    HOLDS(refusal.subject != NULL && strcmp(refusal.subject, subject) == 0);
    HOLDS(refusal.queue != NULL && strcmp(refusal.queue, queue) == 0);
    free(refusal.memory);
    free(text);
    free(group);
    free(name);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    struct fuzz_input input = {(const char *)bytes, size};
    char *error = fuzz_line(&input), *subject = fuzz_line(&input), *queue = fuzz_line(&input);
    struct refusal refusal;
    char *copy = fuzz_copy(error, strlen(error));
    refusal_read(copy, strlen(error), &refusal);
    HOLDS(refusal.kind != REFUSAL_NONE || refusal.subject == NULL);
    HOLDS(refusal.queue == NULL || refusal.subject != NULL);
    free(refusal.memory);
    free(copy);
    char text[512];
    explain_error(error, text, sizeof(text));
    HOLDS(memchr(text, '\0', sizeof(text)) != NULL);
    check_written(subject, queue, (unsigned)size);
    free(error);
    free(subject);
    free(queue);
    return 0;
}
