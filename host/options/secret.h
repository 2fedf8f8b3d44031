/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Secrets that are somewhere else, as contexts of the `nats` tool name them: file:///path,
 * env://NAME, data:;base64,TEXT. Part of the module options; nobody else includes it.
 */
#ifndef LUNATS_OPTIONS_SECRET_H
#define LUNATS_OPTIONS_SECRET_H

#include "host/options/parser.h"

enum secret_form {
    SECRET_TEXT, /* the value is the secret */
    SECRET_KEYS, /* the value is a path; what is not in a file begins with KEYS_INLINE */
    SECRET_FILE, /* the value is a path */
    SECRET_NO,   /* the value is what it is */
};

/*
 * Replaces *value, which was allocated, by what it stands for; paths lose "~" and "$NAME".
 * `label` says where it is from. Returns 0 or the exit status; *value is to be wiped and freed
 * in any case.
 */
int secret_resolve(struct parser *p, const char *label, enum secret_form form, char **value);

/* Reads the secret in a file, without blanks at its end; *out is to be wiped and freed. Returns
 * 0 or the exit status. */
int secret_read_file(struct parser *p, const char *label, const char *path, char **out);

/* Wipes and frees; NULL is fine. */
void secret_free(char *value);

#endif
