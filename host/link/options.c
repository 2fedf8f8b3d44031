/* SPDX-License-Identifier: Apache-2.0 */
#include "host/link/options.h"

#include <string.h>

#define CONNECT_TIMEOUT_MS 2000
#define PING_INTERVAL_MS 5000
#define MAX_LINE 4096
#define HIGH_WATER ((size_t)8 * 1024 * 1024)

bool options_ok(const struct link_options *options) {
    const char *prefix = options->inbox_prefix;
    return options->server_count > 0 && options->servers != NULL &&
           (prefix == NULL ||
            (link_subject_ok(prefix, strlen(prefix)) && strlen(prefix) <= OPTIONS_PREFIX_MAX));
}

size_t options_high_water(size_t bytes) {
    return bytes != 0 ? bytes : HIGH_WATER;
}

struct link_options options_with_defaults(const struct link_options *options) {
    struct link_options o = *options;
    if (o.inbox_prefix == NULL)
        o.inbox_prefix = "_INBOX";
    if (o.connect_timeout_ms == 0)
        o.connect_timeout_ms = CONNECT_TIMEOUT_MS;
    if (o.ping_interval_ms == 0)
        o.ping_interval_ms = PING_INTERVAL_MS;
    if (o.max_control_line == 0)
        o.max_control_line = MAX_LINE;
    o.high_water = options_high_water(o.high_water);
    return o;
}

struct dial_target options_target(const struct link_options *options) {
    const struct link_options *o = options;
    return (struct dial_target){
        .tls_first = o->tls_first,
        .tls_name = o->tls_name,
        .ca = o->tls_ca,
        .cert = o->tls_cert,
        .key = o->tls_key,
        .name = o->name,
        .user = o->user,
        .password = o->password,
        .token = o->token,
        .creds = o->creds,
        .nkey = o->nkey,
        .timeout_ms = o->connect_timeout_ms,
    };
}
