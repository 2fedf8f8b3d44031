/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/decimal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void decimal_write(char out[DECIMAL_SIZE], double number) {
    if (isnan(number)) /* whose sign means nothing */
        number = NAN;
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(out, DECIMAL_SIZE, "%.*g", digits, number);
        if (strtod(out, NULL) == number)
            break;
    }
    for (char *c = out; *c != '\0'; c++)
        if (strchr("0123456789+-e.naif", *c) == NULL)
            *c = '.';
}
