/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A context of the `nats` tool: a file with the settings of a connection. Part of the module
 * options; nobody else includes it.
 * Source: ADR-21 (https://github.com/nats-io/nats-architecture-and-design).
 */
#ifndef LUNATS_OPTIONS_CONTEXT_H
#define LUNATS_OPTIONS_CONTEXT_H

#include <limits.h>
#include <stdbool.h>

#include "host/options/parser.h"

#define CONTEXT_SELECTED "@selected" /* the one that `nats context select` has chosen */
#define CONTEXT_SIZE 65536           /* bytes of its file */

struct context {
    char name[256]; /* as people say it */
    char path[PATH_MAX];
    char *text; /* owned; NULL: there is no such context */
};

/*
 * Reads a context by its name, by the path of its file (which ends in .json), or the selected
 * one, of which there may be none with `optional`. Returns 0 or the exit status; in any case
 * context_close() wipes and frees it.
 */
int context_open(struct parser *p, const char *name, bool optional, struct context *out);
void context_close(struct context *context);

/* A field that is a text or a truth ("1", "0"), to be wiped and freed; NULL: it is not there,
 * or empty. */
char *context_field(const struct context *context, const char *name);

#endif
