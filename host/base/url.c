/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/url.h"

#include <stdio.h>
#include <string.h>

/* The length of "nats://", or 0 where there is no scheme. */
static size_t scheme_length(const char *url) {
    size_t len = strspn(url, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+");
    return strncmp(url + len, "://", 3) == 0 ? len + 3 : 0;
}

const char *url_shown(const char *url, char *out, size_t size) {
    const char *at = strrchr(url, '@');
    if (at == NULL)
        snprintf(out, size, "%s", url);
    else
        snprintf(out, size, "%.*s%s", (int)scheme_length(url), url, at + 1);
    return out;
}
