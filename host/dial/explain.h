/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why an attempt to connect failed, in words that say what to do: from what was seen of the
 * attempt, as nats.c often says something else.
 */
#ifndef LUNATS_DIAL_EXPLAIN_H
#define LUNATS_DIAL_EXPLAIN_H

#include <stdbool.h>
#include <stddef.h>

#include "host/dial/dial.h"
#include "host/dial/interpose.h"

/* The JSON of the INFO that was heard, or NULL. Borrowed from the attempt. */
const char *attempt_info(const struct attempt *attempt, size_t *len);

/*
 * Fills in status and text; a text that is there stays. `late`: it took as long as it may. Call
 * it in the thread of the attempt, before anything else of nats.c.
 */
void attempt_explain(const struct attempt *attempt, bool tls, bool late,
                     struct dial_result *out);

/* What an -ERR that ends a connection means: LN_EAUTH or LN_ENATS, with a text for people.
 * `server` is zero-terminated, without quotes. */
int explain_error(const char *server, char *text, size_t size);

/* Writes `text` as the inside of a JSON string; `out` has 6 bytes for each byte, and one. */
void json_escape(const char *text, char *out);

#endif
