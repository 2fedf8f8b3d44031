/* SPDX-License-Identifier: Apache-2.0 */
/* Members of a JSON object that is being written, each with a comma in front of it. */
#ifndef LUNATS_ADMIN_MEMBERS_H
#define LUNATS_ADMIN_MEMBERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/base/text.h"

/* NULL: null. */
void member_string(struct text *text, const char *name, const char *value);
void member_number(struct text *text, const char *name, double value);
void member_count(struct text *text, const char *name, uint64_t value);
void member_bool(struct text *text, const char *name, bool value);
void member_counts(struct text *text, const char *name, const uint64_t *values, size_t count);

#endif
