/* SPDX-License-Identifier: Apache-2.0 */
#include "host/headers.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "host/status.h"

struct block {
    char *bytes;
    size_t len, capacity;
};

static bool append(struct block *block, const char *text) {
    size_t size = strlen(text) + 1;
    if (block->len + size > block->capacity) {
        size_t capacity = (block->len + size) * 2;
        char *bytes = realloc(block->bytes, capacity);
        if (bytes == NULL)
            return false;
        block->bytes = bytes;
        block->capacity = capacity;
    }
    memcpy(block->bytes + block->len, text, size);
    block->len += size;
    return true;
}

static bool append_values(struct block *block, natsMsg *msg, const char *name) {
    const char **values = NULL;
    int count = 0;
    if (natsMsgHeader_Values(msg, name, &values, &count) != NATS_OK)
        return true;
    bool fits = true;
    for (int i = 0; i < count && fits; i++)
        fits = append(block, name) && append(block, values[i]);
    free((void *)values);
    return fits;
}

int headers_copy(natsMsg *msg, char **out, size_t *len) {
    const char **names = NULL;
    int count = 0;
    *out = NULL;
    *len = 0;
    if (natsMsgHeader_Keys(msg, &names, &count) != NATS_OK)
        return LN_OK;
    struct block block = {0};
    bool fits = true;
    for (int i = 0; i < count && fits; i++)
        fits = append_values(&block, msg, names[i]);
    free((void *)names);
    if (!fits) {
        free(block.bytes);
        return LN_ENOMEM;
    }
    *out = block.bytes;
    *len = block.len;
    return LN_OK;
}
