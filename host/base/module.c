/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/module.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <uv.h>

#include "host/base/status.h"

/* What Debian calls the library of a module, of its release 12 and since 13; and what it takes
 * to build the module. */
static const struct known {
    const char *name, *package, *dev_package;
} known[] = {
    {"http", "libmicrohttpd12 (since Debian 13: libmicrohttpd12t64)", "libmicrohttpd-dev"},
    {"curl", "libcurl4 (since Debian 13: libcurl4t64)", "libcurl4-openssl-dev"},
    {"pg", "libpq5", "libpq-dev"},
    {NULL, "", ""},
};

static const struct known *find_known(const char *name) {
    const struct known *at = known;
    while (at->name != NULL && strcmp(at->name, name) != 0)
        at++;
    return at;
}

/* The folder of the program, without the slash. */
static void program_folder(char out[PATH_MAX]) {
    size_t size = PATH_MAX;
    if (uv_exepath(out, &size) < 0)
        strcpy(out, ".");
    char *slash = strrchr(out, '/');
    if (slash != NULL)
        *slash = '\0';
}

/* Where the module lies: beside the program, or where it is installed. False: nowhere, and
 * *path is the latter. */
static bool find_file(char *path, size_t size, const char *name) {
    char folder[PATH_MAX];
    program_folder(folder);
    snprintf(path, size, "%s/modules/%s.so", folder, name);
    if (access(path, F_OK) == 0)
        return true;
    if (LN_MODULE_FOLDER[0] == '/')
        snprintf(path, size, "%s/%s.so", LN_MODULE_FOLDER, name);
    else
        snprintf(path, size, "%s/%s/%s.so", folder, LN_MODULE_FOLDER, name);
    return access(path, F_OK) == 0;
}

static void say_unloadable(char *error, size_t size, const char *name, const char *path) {
    const char *why = dlerror();
    const char *package = find_known(name)->package;
    bool library = why != NULL && strstr(why, "cannot open shared object file") != NULL;
    snprintf(error, size, "the module %s (%s) cannot be loaded: %s%s%s", name, path,
             why != NULL ? why : "no reason is known",
             library && *package != '\0' ? ": install the package " : "",
             library ? package : "");
}

int module_load(const struct module **out, const char *name, char *error, size_t size) {
    char path[2 * PATH_MAX];
    if (!find_file(path, sizeof(path), name)) {
        const char *package = find_known(name)->dev_package;
        int len = snprintf(error, size, "the module %s is not installed (there is no %s)", name,
                           path);
        if (*package != '\0' && len >= 0 && (size_t)len < size)
            snprintf(error + len, size - (size_t)len,
                     ": install the package lunats-%s, or %s and build lunats again", name,
                     package);
        return UV_ENOENT;
    }
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const struct module *module = library != NULL ? dlsym(library, "lunats_module") : NULL;
    if (module == NULL) {
        say_unloadable(error, size, name, path);
        return LN_EINVAL;
    }
    if (strcmp(module->version, MODULE_VERSION) != 0) {
        snprintf(error, size,
                 "the module %s (%s) is made for lunats %s, this is %s: install both from one "
                 "release",
                 name, path, module->version, MODULE_VERSION);
        return LN_EINVAL;
    }
    *out = module;
    return LN_OK;
}
