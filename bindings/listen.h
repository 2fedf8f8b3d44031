/* SPDX-License-Identifier: Apache-2.0 */
/* What a listener does with a message besides calling the handler. */
#ifndef LUNATS_LISTEN_H
#define LUNATS_LISTEN_H

/* In the upper bits of listener_options.type; the lower ones are enum msg_data. */
enum listen_flags {
    LISTEN_DATA_MASK = 0x0f,
    LISTEN_JETSTREAM = 0x10, /* messages of a push consumer: control messages are not data */
    LISTEN_AUTO_ACK = 0x20,  /* ack after success, nak with delay after a failure */
};

#endif
