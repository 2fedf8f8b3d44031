/* SPDX-License-Identifier: Apache-2.0 */
/* Floating-point numbers as text that a script's locale does not change. */
#ifndef LUNATS_BASE_DECIMAL_H
#define LUNATS_BASE_DECIMAL_H

#define DECIMAL_SIZE 40

/* The shortest of 15 to 17 digits that reads back as the same number, with a point; "nan",
 * "inf" and "-inf" for those. */
void decimal_write(char out[DECIMAL_SIZE], double number);

#endif
