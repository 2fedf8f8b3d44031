/* SPDX-License-Identifier: Apache-2.0 */
#include "host/settings.h"

void settings_link(const struct options *options, const char *const *server,
                   struct link_options *out) {
    *out = (struct link_options){
        .servers = (const char *const *)options->servers,
        .server_count = options->server_count,
        .name = options->name,
        .user = options->user,
        .password = options->password,
        .token = options->token,
        .creds = options->creds,
        .nkey = options->nkey,
        .tls_ca = options->tls_ca,
        .tls_cert = options->tls_cert,
        .tls_key = options->tls_key,
        .tls_name = options->tls_name,
        .tls_first = options->tls_first,
        .retry = options->retry,
        .connect_timeout_ms = (uint32_t)(options->connect_timeout * 1000),
        .ping_interval_ms = (uint32_t)(options->ping_interval * 1000),
        .max_control_line = (uint32_t)options->max_control_line,
        .inbox_prefix = options->inbox_prefix,
        .no_replies = options_command_needs_no_inbox(options->command),
    };
    if (server != NULL) {
        out->servers = server;
        out->server_count = 1;
    }
}

struct script_limits settings_limits(const struct options *options) {
    uint32_t slice_ms = (uint32_t)(options->slice * 1000);
    return (struct script_limits){
        .slice_ms = slice_ms,
        .start_ms = slice_ms == 0                ? 0
                    : slice_ms > LIMITS_START_MS ? slice_ms
                                                 : LIMITS_START_MS,
        .memory = options->memory,
        .fibers = LIMITS_FIBERS,
    };
}
