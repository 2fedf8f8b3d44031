/* SPDX-License-Identifier: Apache-2.0 */
#include "host/tls/records.h"

#include <stdint.h>
#include <string.h>

#define FIRST_SIZE ((size_t)32 * 1024)

static int put(BIO *bio, const char *bytes, int len) {
    struct buffer *buffer = BIO_get_data(bio);
    char *at = buffer_reserve(buffer, (size_t)len, FIRST_SIZE, SIZE_MAX);
    if (at == NULL)
        return -1;
    memcpy(at, bytes, (size_t)len);
    buffer->len += (size_t)len;
    return len;
}

static int take(BIO *bio, char *bytes, int len) {
    struct buffer *buffer = BIO_get_data(bio);
    size_t here = buffer_left(buffer);
    BIO_clear_retry_flags(bio);
    if (here == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    if (here > (size_t)len)
        here = (size_t)len;
    memcpy(bytes, buffer->bytes + buffer->at, here);
    buffer->at += here;
    buffer_rewind(buffer);
    return (int)here;
}

static long control(BIO *bio, int command, long number, void *pointer) {
    (void)bio, (void)number, (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

BIO *records_bio(struct buffer *buffer) {
    static BIO_METHOD *method;
    if (method == NULL)
        method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "records in a buffer");
    BIO *bio = method != NULL && BIO_meth_set_write(method, put) == 1 &&
                       BIO_meth_set_read(method, take) == 1 &&
                       BIO_meth_set_ctrl(method, control) == 1
                   ? BIO_new(method)
                   : NULL;
    if (bio == NULL)
        return NULL;
    BIO_set_data(bio, buffer);
    BIO_set_init(bio, 1);
    return bio;
}
