/* SPDX-License-Identifier: Apache-2.0 */
/* What a service is called: its name, the version of its script, the id of this instance. */
#ifndef LUNATS_SERVICE_IDENTITY_H
#define LUNATS_SERVICE_IDENTITY_H

#include <stdbool.h>

/* Room for an instance id with its zero. */
#define IDENTITY_INSTANCE_SIZE 23

/* Names are tokens of subjects and, like versions, go into JSON as they are. */
bool identity_name_ok(const char *name);
bool identity_version_ok(const char *version);

/* "examples/order book.lua" -> "order_book", which the caller frees; NULL without memory. */
char *identity_name_from_path(const char *path);

/* 22 random characters, which tell this run of the service from every other one. Returns LN_OK
 * or a code of libuv. */
int identity_new_instance(char out[IDENTITY_INSTANCE_SIZE]);

#endif
