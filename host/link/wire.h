/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a NATS server sends, cut into frames.
 * Source: the client protocol at docs.nats.io.
 */
#ifndef LUNATS_LINK_WIRE_H
#define LUNATS_LINK_WIRE_H

#include <stddef.h>
#include <stdint.h>

#include "host/link/message.h"

enum wire_kind {
    WIRE_PART, /* more bytes are needed */
    WIRE_MSG,
    WIRE_INFO,
    WIRE_PING,
    WIRE_PONG,
    WIRE_ERR,
    WIRE_OK,
    WIRE_BAD, /* not the protocol: the connection is of no more use */
};

struct wire_frame {
    /* Of the frame in bytes; WIRE_PART: at least so many are needed, 0 = unknown. */
    size_t size;
    uint64_t sid;               /* WIRE_MSG */
    struct message_parts parts; /* WIRE_MSG; points into the bytes */
    const char *text;           /* WIRE_INFO: the JSON; WIRE_ERR: between the quotes */
    size_t text_len;
};

/* Longest line without a payload (an INFO lists a whole cluster), longest payload. */
#define WIRE_LINE_MAX ((size_t)1024 * 1024)
#define WIRE_PAYLOAD_MAX ((size_t)256 * 1024 * 1024)

/* The frame at the start of the bytes. Keeps no state, allocates nothing. */
enum wire_kind wire_next(const char *bytes, size_t len, struct wire_frame *out);

#endif
