/* SPDX-License-Identifier: Apache-2.0 */
/* What a service is called: its name, the version of its script. */
#ifndef LUNATS_SERVICE_IDENTITY_H
#define LUNATS_SERVICE_IDENTITY_H

#include <stdbool.h>

/* Names are tokens of subjects and, like versions, go into JSON as they are. A version is a
 * semantic one (https://semver.org): others refuse a service whose version is none. */
bool identity_name_ok(const char *name);
bool identity_version_ok(const char *version);

/*
 * The name of an endpoint from that of a listener, or from its subject: "orders.*" ->
 * "orders_any", which the caller frees; NULL without memory. Others take letters, digits, "_"
 * and "-" only.
 */
char *identity_endpoint_name(const char *text);

/* "examples/order book.lua" -> "order_book", which the caller frees; NULL without memory. */
char *identity_name_from_path(const char *path);

#endif
