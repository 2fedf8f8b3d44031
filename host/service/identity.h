/* SPDX-License-Identifier: Apache-2.0 */
/* What a service is called: its name, the version of its script. */
#ifndef LUNATS_SERVICE_IDENTITY_H
#define LUNATS_SERVICE_IDENTITY_H

#include <stdbool.h>

/* Names are tokens of subjects and, like versions, go into JSON as they are. */
bool identity_name_ok(const char *name);
bool identity_version_ok(const char *version);

/* "examples/order book.lua" -> "order_book", which the caller frees; NULL without memory. */
char *identity_name_from_path(const char *path);

#endif
