/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Lua files of scripts/, compiled into the binary by cmake/embed.cmake. All text is one
 * array that shares no page with anything else: a page of it that was read, and what the kernel
 * maps around it, is memory of the process until it is let go.
 */
#ifndef LUNATS_EMBEDDED_H
#define LUNATS_EMBEDDED_H

#include <stdbool.h>
#include <stddef.h>

#include <lua.h>

#define EMBEDDED_ALIGN 4096

struct embedded_script {
    const char *module; /* "lunats.testing"; NULL ends the list */
    const char *path;   /* "scripts/testing.lua", for chunk names */
    size_t start, size; /* in embedded_text */
};

extern const unsigned char embedded_text[];
extern const size_t embedded_size;
extern const struct embedded_script embedded_scripts[];

/* Pushes the chunk of a module; false: there is none, and nothing is pushed. May raise (out of
 * memory). Any thread. */
bool embedded_push(lua_State *L, const char *module);

#endif
