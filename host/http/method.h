/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Methods by which requests are told apart in metrics and traces. Clients may send any word, so
 * those that nobody knows are one, as the conventions of OpenTelemetry have it.
 */
#ifndef LUNATS_HTTP_METHOD_H
#define LUNATS_HTTP_METHOD_H

#include <stddef.h>

/* The last one is all others. */
#define HTTP_METHODS ((size_t)10)
extern const char *const http_methods[HTTP_METHODS];

/* Its index. */
size_t http_method_of(const char *method);

#endif
