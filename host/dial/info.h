/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a server tells of itself in its INFO.
 * Source: "INFO" of the client protocol at docs.nats.io; a JSON object with more fields than
 * are looked at here.
 */
#ifndef LUNATS_DIAL_INFO_H
#define LUNATS_DIAL_INFO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct info {
    char server_id[64], version[32], client_ip[64];
    uint64_t client_id;
    int64_t max_payload; /* bytes; 0: not told */
    bool headers;
    bool tls_required, tls_available;
    bool lame_duck; /* it will go away */
    /* The other servers of the cluster, "host:port"; for info_next_url(). NULL: not told.
     * Points into the JSON. */
    const char *urls, *urls_end;
};

/*
 * Reads the fields that are there; the others keep what they had, but for `lame_duck` and
 * `urls`. Strings that are too long are cut. Returns false, with *out as far as it got, when it
 * is no JSON object.
 */
bool info_read(const char *json, size_t len, struct info *out);

/* Takes the next one off `urls`; false at the end, or when it is longer than `size` - 1. */
bool info_next_url(struct info *info, char *out, size_t size);

#endif
