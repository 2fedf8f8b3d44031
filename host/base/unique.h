/* SPDX-License-Identifier: Apache-2.0 */
/* Names that nobody else has: 22 random letters and digits, 131 bits, as NATS calls NUIDs. */
#ifndef LUNATS_BASE_UNIQUE_H
#define LUNATS_BASE_UNIQUE_H

#define UNIQUE_SIZE 23 /* with the zero */

/* LN_OK, or a code of libuv when the system has no random bytes; *out is "" then. */
int unique_name(char out[UNIQUE_SIZE]);

#endif
