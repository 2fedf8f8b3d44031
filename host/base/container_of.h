/* SPDX-License-Identifier: Apache-2.0 */
/* From a member to the struct that embeds it: how callbacks find their owner. */
#ifndef LUNATS_BASE_CONTAINER_OF_H
#define LUNATS_BASE_CONTAINER_OF_H

#include <stddef.h>

#define container_of(pointer, type, member)                                                    \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#endif
