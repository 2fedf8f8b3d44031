/* SPDX-License-Identifier: Apache-2.0 */
/* Spans of requests to servers of HTTP, in the words of the conventions of OpenTelemetry. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/http/method.h"
#include "host/trace/internal.h"

static void put_number(struct text *text, const char *key, int value) {
    text_printf(text, "{\"key\":\"%s\",\"value\":{\"intValue\":\"%d\"}},", key, value);
}

static void put_server(struct text *text, const char *url) {
    const char *scheme_end = strstr(url, "://");
    if (scheme_end == NULL)
        return;
    const char *host = scheme_end + 3, *end = host + strcspn(host, "/?#");
    const char *name_end = *host == '[' ? memchr(host, ']', (size_t)(end - host)) : NULL;
    const char *colon = name_end != NULL ? name_end : host;
    colon = memchr(colon, ':', (size_t)(end - colon));
    name_end = colon != NULL ? colon : end;
    if (*host == '[' && name_end[-1] == ']') {
        host++;
        name_end--;
    }
    char *name = strndup(host, (size_t)(name_end - host));
    if (name != NULL)
        span_attribute(text, "server.address", name);
    free(name);
    int port = colon != NULL                  ? (int)strtol(colon + 1, NULL, 10)
               : *url == 'h' && url[4] == 's' ? 443
                                              : 80;
    put_number(text, "server.port", port);
}

void span_http(struct span *span, const struct span_http *what) {
    char status[16];
    const char *method = http_methods[http_method_of(what->method)];
    bool known = strcmp(method, what->method) == 0;
    struct text *text =
        span->tracer != NULL ? span_open(span, SPAN_CLIENT, known ? method : "HTTP") : NULL;
    if (text == NULL)
        return;
    snprintf(status, sizeof(status), "%d", what->status);
    const char *code = what->code != NULL ? what->code : what->status >= 400 ? status : NULL;
    span_attribute(text, "http.request.method", method);
    if (!known)
        span_attribute(text, "http.request.method_original", what->method);
    span_attribute(text, "url.full", what->url);
    put_server(text, what->url);
    if (what->status != 0)
        put_number(text, "http.response.status_code", what->status);
    if (code != NULL)
        span_attribute(text, "error.type", code);
    text->len -= !text->failed; /* the comma */
    text_puts(text, "]");
    if (code != NULL)
        span_put_failure(text, what->error != NULL ? what->error : "");
    span_shut(span);
}
