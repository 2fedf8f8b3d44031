/* SPDX-License-Identifier: Apache-2.0 */
/* An allocator for Lua states that fails after a number of allocations, and counts bytes. */
#ifndef LUNATS_TEST_BUDGET_H
#define LUNATS_TEST_BUDGET_H

#include <stdlib.h>

struct budget {
    long allocations_left; /* then every request for more fails */
    size_t in_use;
};

static inline void *budget_alloc(void *ud, void *block, size_t old_size, size_t new_size) {
    struct budget *budget = ud;
    if (block == NULL)
        old_size = 0;
    if (new_size == 0) {
        budget->in_use -= old_size;
        free(block);
        return NULL;
    }
    if (new_size > old_size && budget->allocations_left-- <= 0)
        return NULL;
    void *result = realloc(block, new_size);
    if (result != NULL)
        budget->in_use += new_size - old_size;
    return result;
}

#endif
