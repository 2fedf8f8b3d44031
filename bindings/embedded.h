/* SPDX-License-Identifier: Apache-2.0 */
/* The Lua files of scripts/, compiled into the binary by cmake/embed.cmake. */
#ifndef LUNATS_EMBEDDED_H
#define LUNATS_EMBEDDED_H

#include <stddef.h>

struct embedded_script {
    const char *module; /* "lunats.testing"; NULL ends the list */
    const char *path;   /* "scripts/testing.lua", for chunk names */
    const unsigned char *source;
    size_t size;
};

extern const struct embedded_script embedded_scripts[];

#endif
