/* SPDX-License-Identifier: Apache-2.0 */
/* Records of TLS in a buffer rather than on a socket: whoever owns it moves them. */
#ifndef LUNATS_TLS_RECORDS_H
#define LUNATS_TLS_RECORDS_H

#include <openssl/bio.h>

#include "host/base/buffer.h"

/* What OpenSSL reads comes from the front of the buffer, what it writes goes to its end. The
 * buffer is borrowed until the BIO is freed. NULL without memory. On the loop thread. */
BIO *records_bio(struct buffer *buffer);

#endif
