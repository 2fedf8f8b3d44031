/* SPDX-License-Identifier: Apache-2.0 */
#include "host/link/refusal.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Copies what is between the next quotes, written as Go's %q does; returns its end. */
static const char *unquote(const char *at, char **out) {
    char *to = *out;
    at = strchr(at, '"');
    if (at == NULL)
        return NULL;
    for (at++; *at != '\0' && *at != '"'; at++) {
        if (*at == '\\' && at[1] != '\0')
            at++; /* no control bytes are in a subject, so it is \" or \\ */
        *to++ = *at;
    }
    *to++ = '\0';
    *out = to;
    return at;
}

static bool about_subscriptions(const char *text) {
    return strcasestr(text, "maximum subscriptions") != NULL ||
           strcasestr(text, "number of tokens") != NULL ||
           strcasestr(text, "subscription tokens") != NULL;
}

void refusal_read(const char *text, size_t len, struct refusal *out) {
    char *copy = strndup(text, len), *at = calloc(1, len + 2);
    *out = (struct refusal){.memory = at};
    if (copy == NULL || at == NULL) {
        free(copy);
        return;
    }
    const char *subscription = strcasestr(copy, "subscription to");
    const char *publish = strcasestr(copy, "publish to");
    if (strncasecmp(copy, "permissions violation", 21) == 0)
        out->kind = subscription != NULL ? REFUSAL_SUBSCRIPTION
                    : publish != NULL    ? REFUSAL_PUBLISH
                                         : REFUSAL_NONE;
    else if (about_subscriptions(copy))
        out->kind = REFUSAL_SUBSCRIPTION;
    char *subject = at;
    const char *end = subscription != NULL ? unquote(subscription, &at)
                      : publish != NULL    ? unquote(publish, &at)
                                           : NULL;
    out->subject = end != NULL && out->kind != REFUSAL_NONE ? subject : NULL;
    const char *queue = end != NULL ? strstr(end, "using queue") : NULL;
    char *name = at;
    if (queue != NULL && unquote(queue, &at) != NULL)
        out->queue = name;
    free(copy);
}
