/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nats.c as a library: opening it, and what its statuses and texts mean here.
 *
 * nats_Open() asks OpenSSL for eight random bytes, which starts all of OpenSSL: 2.2 MB of
 * memory and a seventh of the time until the first reply, for a service that has no TLS. It
 * asks RAND_bytes() for them, a public function, which this file replaces with one that asks
 * the kernel while nats.c is being opened, and OpenSSL at any other time. Where libnats is
 * bound to its own copy this has no effect but the cost.
 */
#include "host/link/internal.h"

#include <sys/random.h>

#include <openssl/rand.h>

static _Thread_local bool opening;

/* Replaces the function of OpenSSL; see above. */
int RAND_bytes(unsigned char *bytes, int count) {
    if (opening && count > 0 && getrandom(bytes, (size_t)count, 0) == count)
        return 1;
    return count < 0 ? 0 : RAND_bytes_ex(NULL, bytes, (size_t)count, 0);
}

void link_open_library(void) {
    opening = true;
    nats_Open(-1); /* if it fails, so does what comes next */
    opening = false;
}

int link_map_status(natsStatus status) {
    switch (status) {
    case NATS_OK:
        return LN_OK;
    case NATS_NO_MEMORY:
        return LN_ENOMEM;
    case NATS_MAX_PAYLOAD:
        return LN_ETOOLARGE;
    case NATS_INSUFFICIENT_BUFFER:
        return LN_EFULL;
    case NATS_NOT_PERMITTED:
        return LN_EPERMISSION;
    case NATS_CONNECTION_AUTH_FAILED:
        return LN_EAUTH;
    case NATS_NO_SERVER:
    case NATS_TIMEOUT:
        return LN_ENOSERVER;
    case NATS_INVALID_SUBJECT:
    case NATS_INVALID_QUEUE_NAME:
    case NATS_INVALID_ARG:
        return LN_EINVAL;
    case NATS_SLOW_CONSUMER:
        return LN_EFULL;
    case NATS_CONNECTION_CLOSED:
    case NATS_IO_ERROR:
    case NATS_STALE_CONNECTION:
        return LN_EDISCONNECTED;
    default:
        return LN_ENATS;
    }
}

/* nats.c puts the place in its own source in front: "(conn.c:2088): No server ...". */
const char *link_plain_text(const char *text) {
    const char *colon = text != NULL && text[0] == '(' ? strstr(text, "): ") : NULL;
    return colon != NULL && strcspn(text, " )") == (size_t)(colon - text) ? colon + 3 : text;
}

int link_failed(struct link *link, natsStatus status) {
    natsStatus last = NATS_OK;
    const char *text = link_plain_text(nats_GetLastError(&last));
    if (last != status || text == NULL || *text == '\0')
        text = natsStatus_GetText(status);
    copy_text(link->error, sizeof(link->error), text);
    return link_map_status(status);
}

const char *link_error_text(const struct link *link, int status) {
    return status == LN_ENATS ? link->error : status_text(status);
}
