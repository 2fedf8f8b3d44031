/* SPDX-License-Identifier: Apache-2.0 */
#include "host/admin/members.h"

void member_string(struct text *text, const char *name, const char *value) {
    text_printf(text, ",\"%s\":", name);
    text_json(text, value);
}

void member_number(struct text *text, const char *name, double value) {
    text_printf(text, ",\"%s\":", name);
    text_double(text, value);
}

void member_count(struct text *text, const char *name, uint64_t value) {
    text_printf(text, ",\"%s\":%llu", name, (unsigned long long)value);
}

void member_bool(struct text *text, const char *name, bool value) {
    text_printf(text, ",\"%s\":%s", name, value ? "true" : "false");
}

void member_counts(struct text *text, const char *name, const uint64_t *values, size_t count) {
    text_printf(text, ",\"%s\":[", name);
    for (size_t i = 0; i < count; i++)
        text_printf(text, "%s%llu", i > 0 ? "," : "", (unsigned long long)values[i]);
    text_puts(text, "]");
}
