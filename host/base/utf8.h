/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8 as RFC 3629 has it: no overlong sequences, no surrogates, nothing beyond U+10FFFF. */
#ifndef LUNATS_BASE_UTF8_H
#define LUNATS_BASE_UTF8_H

#include <stddef.h>

/* Length (1 to 4) of the valid sequence at `text`, which is before `end`; 0 if there is none.
 */
size_t utf8_length(const char *text, const char *end);

/* The first byte that is not part of a valid sequence; NULL if there is none. */
const char *utf8_find_invalid(const char *text, const char *end);

#endif
