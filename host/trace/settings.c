/* SPDX-License-Identifier: Apache-2.0 */
#include "host/trace/settings.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "host/base/file.h"
#include "host/base/log.h"
#include "host/base/status.h"
#include "host/base/text.h"
#include "host/trace/tracer.h"

#define PATH "/v1/traces"

/* ---- values ---- */

/* An empty variable is as good as none. */
static const char *variable(const char *name) {
    const char *value = getenv(name);
    return value != NULL && *value != '\0' ? value : NULL;
}

/* What counts for traces alone wins over what counts for all signals. */
static const char *variable_of_two(const char *one, const char *all) {
    const char *value = variable(one);
    return value != NULL ? value : variable(all);
}

/* A number that makes no sense is told and left out, as the standard asks for. */
static uint64_t number(const char *name, uint64_t least, uint64_t most, uint64_t def) {
    const char *text = variable(name);
    char *end;
    if (text == NULL)
        return def;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (*end != '\0' || *text == '-' || errno != 0 || value < least || value > most) {
        log_warn(NULL, "%s: '%s' is not a number from %llu to %llu; it counts as %llu", name,
                 text, (unsigned long long)least, (unsigned long long)most,
                 (unsigned long long)def);
        return def;
    }
    return value;
}

static int hex_digit(char c) {
    return c >= '0' && c <= '9'                 ? c - '0'
           : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 87
                                                : -1;
}

/* A copy without blanks around it, %41 decoded. */
static char *decoded(const char *from, size_t len) {
    while (len > 0 && (*from == ' ' || *from == '\t'))
        from++, len--;
    while (len > 0 && (from[len - 1] == ' ' || from[len - 1] == '\t'))
        len--;
    char *out = malloc(len + 1), *at = out;
    if (out == NULL)
        return NULL;
    for (size_t i = 0; i < len; i++) {
        int high = from[i] == '%' && i + 2 < len ? hex_digit(from[i + 1]) : -1;
        int low = high >= 0 ? hex_digit(from[i + 2]) : -1;
        *at++ = low >= 0 ? (char)(high * 16 + low) : from[i];
        i += low >= 0 ? 2 : 0;
    }
    *at = '\0';
    return out;
}

/* Calls `each` with the pairs of "a=1,b=2"; what it is given is its own. */
static void each_pair(const char *name, const char *list,
                      void (*each)(struct trace_settings *, char *, char *),
                      struct trace_settings *out) {
    for (const char *at = list; at != NULL && *at != '\0';) {
        size_t len = strcspn(at, ","), key = strcspn(at, "=,");
        char *left = key < len ? decoded(at, key) : NULL;
        char *right = key < len ? decoded(at + key + 1, len - key - 1) : NULL;
        if (left != NULL && right != NULL && *left != '\0') {
            each(out, left, right);
        } else {
            if (len > 0)
                log_warn(NULL, "%s: an entry is not NAME=VALUE and is left out", name);
            free(left);
            free(right);
        }
        at += len + (at[len] == ',');
    }
}

static void add_header(struct trace_settings *out, char *name, char *value) {
    if (out->header_count < TRACE_HEADERS_MAX && strpbrk(name, "\r\n") == NULL &&
        strpbrk(value, "\r\n") == NULL) {
        out->headers[out->header_count++] = (struct http_header){name, value};
        return;
    }
    free(name);
    free(value);
}

static void add_resource(struct trace_settings *out, char *name, char *value) {
    struct text text = {0};
    if (strcmp(name, "service.name") == 0 && out->service == NULL) {
        out->service = value; /* weaker than OTEL_SERVICE_NAME, which is read first */
        value = NULL;
    } else if (strcmp(name, "service.name") != 0) {
        if (out->resources != NULL)
            text_puts(&text, out->resources);
        span_attribute(&text, name, value);
        free(out->resources);
        out->resources = text.bytes;
    }
    free(name);
    free(value);
}

/* ---- where they go ---- */

static bool has_scheme(const char *url) {
    return strncasecmp(url, "http://", 7) == 0 || strncasecmp(url, "https://", 8) == 0;
}

/* A URL that is meant for all signals gets the path of this one. */
static char *with_path(const char *url) {
    char *out = NULL;
    size_t len = strlen(url), tail = strlen(PATH);
    while (len > 0 && url[len - 1] == '/')
        len--;
    bool has = len > tail && strncmp(url + len - tail, PATH, tail) == 0;
    return asprintf(&out, "%.*s%s", (int)len, url, has ? "" : PATH) < 0 ? NULL : out;
}

static bool is_off(void) {
    const char *disabled = variable("OTEL_SDK_DISABLED");
    return disabled != NULL && strcasecmp(disabled, "true") == 0;
}

static int read_url(struct trace_settings *out, const char *given, char *error, size_t size) {
    const char *own = variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
    const char *all = variable("OTEL_EXPORTER_OTLP_ENDPOINT");
    const char *exporter = variable("OTEL_TRACES_EXPORTER");
    const char *url = given != NULL ? given : own != NULL ? own : all;
    if (url == NULL || is_off() ||
        (given == NULL && exporter != NULL && strstr(exporter, "otlp") == NULL))
        return LN_OK;
    if (!has_scheme(url)) {
        snprintf(error, size, "%s: the URL of a collector begins with http:// or https://",
                 given != NULL ? "--otlp"
                 : own != NULL ? "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
                               : "OTEL_EXPORTER_OTLP_ENDPOINT");
        return LN_EINVAL;
    }
    out->url = given == NULL && own != NULL ? strdup(own) : with_path(url);
    const char *protocol =
        variable_of_two("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL");
    if (protocol != NULL && strncmp(protocol, "http/", 5) != 0)
        log_warn(NULL,
                 "traces are sent as http/json, not as %s: the port of the collector is "
                 "usually 4318",
                 protocol);
    return out->url != NULL ? LN_OK : LN_ENOMEM;
}

/* A path that does not exist is told by whoever opens the file, which happens on the loop and
 * for each connection. */
static int check_files(const struct trace_settings *settings, char *error, size_t size) {
    const char *const paths[] = {settings->tls_ca, settings->tls_cert, settings->tls_key};
    for (size_t i = 0; i < 3; i++) {
        if (paths[i] == NULL || file_is_ordinary(paths[i]))
            continue;
        snprintf(error, size,
                 "OTEL_EXPORTER_OTLP_CERTIFICATE and the like: %s is no ordinary file",
                 paths[i]);
        return LN_EINVAL;
    }
    return LN_OK;
}

static void read_files(struct trace_settings *out) {
    const char *ca = variable_of_two("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
                                     "OTEL_EXPORTER_OTLP_CERTIFICATE");
    const char *cert = variable_of_two("OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
                                       "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE");
    const char *key = variable_of_two("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
                                      "OTEL_EXPORTER_OTLP_CLIENT_KEY");
    out->tls_ca = ca != NULL ? strdup(ca) : NULL;
    out->tls_cert = cert != NULL ? strdup(cert) : NULL;
    out->tls_key = key != NULL ? strdup(key) : NULL;
}

/* ---- which are recorded ---- */

/* As a share of the numbers of 63 bits, as other libraries of OpenTelemetry count it, so that
 * services of several languages choose the same traces. */
static uint64_t threshold_of(double ratio) {
    return ratio >= 1 ? UINT64_MAX : (uint64_t)(ratio * (double)(UINT64_C(1) << 63));
}

static double ratio_argument(void) {
    const char *text = variable("OTEL_TRACES_SAMPLER_ARG");
    char *end;
    double ratio = text != NULL ? strtod(text, &end) : 1;
    if (text != NULL && (*end != '\0' || !(ratio >= 0 && ratio <= 1))) {
        log_warn(NULL,
                 "OTEL_TRACES_SAMPLER_ARG: '%s' is not a number from 0 to 1; it counts "
                 "as 1",
                 text);
        return 1;
    }
    return ratio;
}

static void read_sampler(struct trace_settings *out) {
    static const char parent[] = "parentbased_";
    const char *name = variable("OTEL_TRACES_SAMPLER");
    out->by_parent = name == NULL || strncmp(name, parent, sizeof(parent) - 1) == 0;
    out->threshold = UINT64_MAX;
    if (name == NULL)
        return;
    const char *root = out->by_parent ? name + sizeof(parent) - 1 : name;
    if (strcmp(root, "always_off") == 0) {
        out->threshold = 0;
    } else if (strcmp(root, "traceidratio") == 0) {
        out->threshold = threshold_of(ratio_argument());
    } else if (strcmp(root, "always_on") != 0) {
        log_warn(NULL, "OTEL_TRACES_SAMPLER: '%s' is unknown; parentbased_always_on is taken",
                 name);
        out->by_parent = true;
    }
}

bool trace_sampled(const struct trace_settings *settings,
                   const unsigned char trace[TRACE_ID_BYTES], const struct trace_ids *parent) {
    if (settings->by_parent && parent != NULL)
        return parent->flags & TRACE_SAMPLED;
    if (settings->threshold == UINT64_MAX)
        return true;
    uint64_t number = 0;
    for (int i = TRACE_ID_BYTES - 8; i < TRACE_ID_BYTES; i++)
        number = number << 8 | trace[i];
    return number >> 1 < settings->threshold;
}

/* ---- all of it ---- */

int trace_settings_read(struct trace_settings *out, const char *given, char *error,
                        size_t size) {
    *out = (struct trace_settings){0};
    int rc = read_url(out, given, error, size);
    if (rc < 0 || out->url == NULL)
        return rc;
    const char *service = variable("OTEL_SERVICE_NAME");
    if (service != NULL && (out->service = strdup(service)) == NULL)
        return LN_ENOMEM;
    each_pair("OTEL_RESOURCE_ATTRIBUTES", variable("OTEL_RESOURCE_ATTRIBUTES"), add_resource,
              out);
    each_pair(
        "OTEL_EXPORTER_OTLP_HEADERS",
        variable_of_two("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"),
        add_header, out);
    read_files(out);
    read_sampler(out);
    uint64_t timeout = number("OTEL_EXPORTER_OTLP_TIMEOUT", 1, 3600000, 10000);
    out->timeout_ms =
        (uint32_t)number("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", 1, 3600000, timeout);
    out->delay_ms = (uint32_t)number("OTEL_BSP_SCHEDULE_DELAY", 1, 3600000, 5000);
    out->queue_max = (size_t)number("OTEL_BSP_MAX_QUEUE_SIZE", 1, 1000000, 2048);
    out->batch_max = (size_t)number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 1, 100000, 512);
    if (out->batch_max > out->queue_max)
        out->batch_max = out->queue_max;
    return check_files(out, error, size);
}

void trace_settings_free(struct trace_settings *settings) {
    free(settings->url);
    free(settings->service);
    free(settings->resources);
    free(settings->tls_ca);
    free(settings->tls_cert);
    free(settings->tls_key);
    for (size_t i = 0; i < settings->header_count; i++) {
        free((char *)(uintptr_t)settings->headers[i].name);
        free((char *)(uintptr_t)settings->headers[i].value);
    }
    *settings = (struct trace_settings){0};
}
