/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/tally.h"

#include <stdlib.h>

struct tally *tally_open(void) {
    struct tally *tally = calloc(1, sizeof(*tally));
    if (tally != NULL)
        tally->leave = tally_leave;
    return tally;
}

void tally_leave(struct tally *tally) {
    if (tally == NULL)
        return;
    tally->left = true;
    if (tally->bytes == 0)
        free(tally);
}
