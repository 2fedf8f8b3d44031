/* SPDX-License-Identifier: Apache-2.0 */
#include "host/link/refusal.h"

#include <ctype.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- strings as Go's %q writes them ---- */

static char *put_utf8(char *out, uint32_t code) {
    int more = code < 0x80 ? 0 : code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    uint32_t mark = more > 0 ? 0xff00u >> (more + 1) : 0;
    *out++ = (char)(mark | code >> 6 * more);
    while (more-- > 0)
        *out++ = (char)(0x80 | (code >> 6 * more & 0x3f));
    return out;
}

/* What is behind a backslash: a letter, or \xff for a byte, \u00a0 and \U000e0001 for
 * characters that are not to be printed. Returns its end; takes no less than it writes. */
static const char *unescape(const char *at, char **out) {
    static const char letters[] = "abfnrtv", meant[] = "\a\b\f\n\r\t\v";
    const char *letter = strchr(letters, *at);
    int digits = *at == 'x' ? 2 : *at == 'u' ? 4 : *at == 'U' ? 8 : 0;
    bool byte = digits == 2;
    uint32_t code = 0;
    if (digits == 0) {
        *(*out)++ = letter != NULL ? meant[letter - letters] : *at;
        return at + 1;
    }
    for (at++; digits > 0 && isxdigit((unsigned char)*at); at++, digits--)
        code = code << 4 | (uint32_t)(*at <= '9' ? *at - '0' : (*at | 0x20) - 'a' + 10);
    if (byte || digits > 0) /* an escape that is cut is none of any character */
        *(*out)++ = (char)code;
    else
        *out = put_utf8(*out, code);
    return at;
}

/* Copies what is between the quotes at `at`; returns what follows, NULL if there are none. */
static const char *unquote(const char *at, char **out) {
    if (*at++ != '"')
        return NULL;
    while (*at != '\0' && *at != '"') {
        if (*at == '\\' && at[1] != '\0')
            at = unescape(at + 1, out);
        else
            *(*out)++ = *at++;
    }
    *(*out)++ = '\0';
    return at + (*at == '"');
}

/* ---- the text ---- */

static bool skip(const char **at, const char *words) {
    size_t len = strlen(words);
    bool there = strncasecmp(*at, words, len) == 0;
    *at += there ? len : 0;
    return there;
}

static enum refusal_kind read_kind(const char **at) {
    if (strcasecmp(*at, "maximum subscriptions exceeded") == 0 ||
        strcasecmp(*at, "subject has exceeded number of tokens limit") == 0)
        return REFUSAL_SUBSCRIPTION;
    if (!skip(at, "permissions violation for "))
        return REFUSAL_NONE;
    if (skip(at, "publish"))
        return REFUSAL_PUBLISH;
    return skip(at, "subscription") ? REFUSAL_SUBSCRIPTION : REFUSAL_NONE;
}

void refusal_read(const char *text, size_t len, struct refusal *out) {
    char *copy = strndup(text, len), *to = calloc(1, len + 2);
    *out = (struct refusal){.memory = to};
    if (copy == NULL || to == NULL) {
        free(copy);
        return;
    }
    const char *at = copy;
    out->kind = read_kind(&at);
    char *subject = to;
    if (out->kind != REFUSAL_NONE && skip(&at, " to ") && (at = unquote(at, &to)) != NULL) {
        char *queue = to;
        out->subject = subject;
        if (*at == '\0' || (skip(&at, " using queue ") && unquote(at, &to) != NULL))
            out->queue = queue;
    }
    free(copy);
}
