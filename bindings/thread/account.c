/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <stdlib.h>

#include "bindings/thread/thread.h"

struct account *account_open(void) {
    struct account *account = malloc(sizeof(*account));
    if (account == NULL)
        return NULL;
    atomic_init(&account->bytes, 0);
    atomic_init(&account->room, SIZE_MAX);
    atomic_init(&account->refs, 1);
    return account;
}

struct account *account_share(struct account *account) {
    atomic_fetch_add(&account->refs, 1);
    return account;
}

void account_leave(struct account *account) {
    if (atomic_fetch_sub(&account->refs, 1) == 1)
        free(account);
}

void *account_alloc(void *ud, void *block, size_t old_size, size_t new_size) {
    struct account *account = ud;
    size_t before = block != NULL ? old_size : 0; /* else it is a kind of object */
    if (new_size == 0) {
        free(block);
        atomic_fetch_sub(&account->bytes, before);
        return NULL;
    }
    if (new_size > before) {
        size_t more = new_size - before;
        size_t had = atomic_fetch_add(&account->bytes, more);
        if (had + more > atomic_load(&account->room) ||
            (block = realloc(block, new_size)) == NULL) {
            atomic_fetch_sub(&account->bytes, more);
            return NULL;
        }
        return block;
    }
    void *smaller = realloc(block, new_size);
    if (smaller == NULL)
        return block; /* Lua relies on it, and counts what it has asked for */
    atomic_fetch_sub(&account->bytes, before - new_size);
    return smaller;
}
