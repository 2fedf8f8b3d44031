/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether and where traces go: the option --otlp and the environment that OpenTelemetry has
 * agreed upon (OTEL_...).
 */
#ifndef LUNATS_TRACE_SETTINGS_H
#define LUNATS_TRACE_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/http/client.h"
#include "host/trace/ids.h"

#define TRACE_HEADERS_MAX 32

struct trace_settings {
    char *url;       /* owned; NULL: nothing is recorded */
    char *service;   /* owned; service.name for all services of the process, or NULL */
    char *resources; /* owned; further attributes in JSON, each with a comma behind it */
    char *tls_ca, *tls_cert, *tls_key;             /* owned; paths, or NULL */
    struct http_header headers[TRACE_HEADERS_MAX]; /* strings owned */
    size_t header_count;
    bool by_parent;     /* sampled if the one that it is part of is */
    uint64_t threshold; /* of traces of our own: sampled when the id is below; 0: never */
    uint32_t timeout_ms, delay_ms;
    size_t queue_max, batch_max; /* spans */
};

/*
 * Reads them. `given` is the value of --otlp, or NULL. Returns LN_OK, LN_ENOMEM or LN_EINVAL
 * with a reason for people. trace_settings_free() in any case.
 */
int trace_settings_read(struct trace_settings *out, const char *given, char *error,
                        size_t size);
void trace_settings_free(struct trace_settings *settings);

/* Whether a new span is recorded; `parent` is the context that it is part of, or NULL. */
bool trace_sampled(const struct trace_settings *settings,
                   const unsigned char trace[TRACE_ID_BYTES], const struct trace_ids *parent);

#endif
