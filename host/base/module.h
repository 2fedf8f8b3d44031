/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Optional modules: what needs a library that the host does without. Each is a shared object of
 * its own, in the folder "modules" beside the program (a build) or in "lunats" of the folder
 * for libraries (an installation), and is loaded when something asks for it. It uses functions
 * of the host: those that cmake/exports.txt lists.
 */
#ifndef LUNATS_BASE_MODULE_H
#define LUNATS_BASE_MODULE_H

#include <stddef.h>

struct lua_State;

/*
 * What a shared object shows, under the name "lunats_module". It is made for one version of the
 * host, as both share structs; so `version` is the first member in all versions, and nothing
 * else is looked at where it differs.
 */
struct module {
    const char *version; /* MODULE_VERSION */
    const void *api;     /* for the host, by the name of the module; or NULL */
    int (*open)(
        struct lua_State *state); /* for scripts: pushes what `require` returns; or NULL */
};

#define MODULE_EXPORT __attribute__((visibility("default")))

/* Raise the number when a struct or function changes that modules share with the host. */
#define MODULE_VERSION LN_VERSION "-5"

/*
 * Loads a module once and for all. Returns LN_OK with *out, which lives as long as the process;
 * UV_ENOENT when it is not installed, or LN_EINVAL when it cannot be used. Then `error` says
 * what to do about it.
 */
int module_load(const struct module **out, const char *name, char *error, size_t size);

#endif
