/* SPDX-License-Identifier: Apache-2.0 */
/* What users of NATS set once for all programs: the variables of the `nats` tool. */
#include <stddef.h>

#include "host/options/parser.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct {
    size_t field;
    const char *variable;
} shared[] = {
    {OPTIONS_FIELD(servers), "NATS_URL"},
};

static const struct options_option *find(const struct parser *p, size_t field) {
    for (size_t i = 0; i < OPTIONS_COUNT; i++)
        if (options_table[i].field == field &&
            (options_table[i].commands & (1U << p->out->command)))
            return &options_table[i];
    return NULL;
}

int options_read_nats(struct parser *p) {
    for (size_t i = 0; i < COUNT(shared); i++) {
        const struct options_option *option = find(p, shared[i].field);
        if (option == NULL || p->source[option - options_table] != OPTIONS_UNSET)
            continue;
        int rc = options_read_variable(p, option, shared[i].variable, OPTIONS_NATS);
        if (rc != 0)
            return rc;
    }
    return 0;
}
