/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/url.h"

#include <stdio.h>
#include <string.h>

const char *url_shown(const char *url, char *out, size_t size) {
    const char *at = strrchr(url, '@'), *scheme = strstr(url, "://");
    if (at == NULL)
        snprintf(out, size, "%s", url);
    else if (scheme != NULL && scheme < at)
        snprintf(out, size, "%.*s%s", (int)(scheme + 3 - url), url, at + 1);
    else
        snprintf(out, size, "%s", at + 1);
    return out;
}
