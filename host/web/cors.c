/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What browsers want to see before a page of another origin may read an answer. It is known of
 * the route alone, so that what is refused before a handler runs has it, too.
 */
#include <string.h>

#include "host/web/internal.h"

static bool is_any(const struct web_route *route) {
    return strcmp(route->options.origins, "* ") == 0;
}

static bool lets_in(const struct web_route *route, const char *origin) {
    size_t len = strlen(origin);
    if (len == 0 || strchr(origin, ' ') != NULL)
        return false;
    for (const char *at = route->options.origins; (at = strstr(at, origin)) != NULL; at++)
        if (at[len] == ' ' && (at == route->options.origins || at[-1] == ' '))
            return true;
    return false;
}

size_t cors_headers(const struct web_route *route, const struct http_api *api,
                    const struct http_request *request,
                    struct http_header out[WEB_CORS_HEADERS]) {
    size_t count = 0, origins;
    if (route == NULL || route->options.origins == NULL)
        return 0;
    bool any = is_any(route);
    const char *origin = api->header(request, "Origin", &origins);
    if (!any)
        out[count++] = (struct http_header){"Vary", "Origin"};
    if (origin == NULL || origins != 1 || !(any || lets_in(route, origin)))
        return count;
    out[count++] = (struct http_header){"Access-Control-Allow-Origin", any ? "*" : origin};
    if (route->options.credentials)
        out[count++] = (struct http_header){"Access-Control-Allow-Credentials", "true"};
    if (route->options.expose != NULL)
        out[count++] =
            (struct http_header){"Access-Control-Expose-Headers", route->options.expose};
    return count;
}

size_t exchange_cors(const struct exchange *exchange,
                     struct http_header out[WEB_CORS_HEADERS]) {
    return exchange->request != NULL
               ? cors_headers(exchange->route, exchange->api, exchange->request, out)
               : 0;
}
