/* SPDX-License-Identifier: Apache-2.0 */
#include "host/dial/info.h"

#include <string.h>

#include "host/base/json_scan.h"

/* ---- fields ---- */

/* Whole numbers; what is larger becomes the largest one. */
static int64_t number(const char *at, const char *end) {
    bool negative = at < end && *at == '-';
    int64_t value = 0;
    for (at += negative; at < end && *at >= '0' && *at <= '9'; at++) {
        if (value > (INT64_MAX - 9) / 10)
            return negative ? INT64_MIN : INT64_MAX;
        value = value * 10 + (*at - '0');
    }
    return negative ? -value : value;
}

static void read_field(const char *name, const char *at, const char *end, struct info *out) {
    bool yes = *at == 't';
    if (strcmp(name, "server_id") == 0)
        json_read_string(at, end, out->server_id, sizeof(out->server_id));
    else if (strcmp(name, "version") == 0)
        json_read_string(at, end, out->version, sizeof(out->version));
    else if (strcmp(name, "client_ip") == 0)
        json_read_string(at, end, out->client_ip, sizeof(out->client_ip));
    else if (strcmp(name, "client_id") == 0)
        out->client_id = (uint64_t)number(at, end);
    else if (strcmp(name, "max_payload") == 0)
        out->max_payload = number(at, end);
    else if (strcmp(name, "headers") == 0)
        out->headers = yes;
    else if (strcmp(name, "tls_required") == 0)
        out->tls_required = yes;
    else if (strcmp(name, "tls_available") == 0)
        out->tls_available = yes;
    else if (strcmp(name, "ldm") == 0)
        out->lame_duck = yes;
    else if (strcmp(name, "connect_urls") == 0 && *at == '[')
        out->urls = at + 1, out->urls_end = end;
}

bool info_read(const char *json, size_t len, struct info *out) {
    const char *at = json, *end = json + len;
    struct json_member member;
    out->lame_duck = false;
    out->urls = out->urls_end = NULL;
    int rc = json_first_member(&at, end, &member);
    for (; rc == 1; rc = json_next_member(&at, end, &member))
        read_field(member.name, member.value, member.end, out);
    return rc == 0;
}

bool info_next_url(struct info *info, char *out, size_t size) {
    const char *at = info->urls, *end = info->urls_end;
    while (at != NULL && at < end && (*at == ',' || json_skip_blanks(at, end) != at))
        at = *at == ',' ? at + 1 : json_skip_blanks(at, end);
    const char *after = at != NULL ? json_read_string(at, end, out, size) : NULL;
    info->urls = after;
    return after != NULL && (size_t)(after - at) < size + 2;
}
