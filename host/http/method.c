/* SPDX-License-Identifier: Apache-2.0 */
#include "host/http/method.h"

#include <string.h>

const char *const http_methods[HTTP_METHODS] = {
    "GET", "POST", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "_OTHER",
};

size_t http_method_of(const char *method) {
    size_t i = 0;
    while (i + 1 < HTTP_METHODS && strcmp(http_methods[i], method) != 0)
        i++;
    return i;
}
