/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/unique.h"

#include <uv.h>

#include "host/base/status.h"

int unique_name(char out[UNIQUE_SIZE]) {
    static const char digits[] =
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    unsigned char bytes[UNIQUE_SIZE];
    int rc = uv_random(NULL, NULL, bytes, sizeof(bytes), 0, NULL);
    out[0] = '\0';
    if (rc < 0)
        return rc;
    for (int i = 0; i < UNIQUE_SIZE - 1; i++)
        out[i] = digits[bytes[i] % 62];
    out[UNIQUE_SIZE - 1] = '\0';
    return LN_OK;
}
