/* SPDX-License-Identifier: Apache-2.0 */
/* A folder with what command lines of the tests name: they run in it. */
#ifndef LUNATS_TEST_OPTIONS_FOLDER_H
#define LUNATS_TEST_OPTIONS_FOLDER_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/options_test.XXXXXX";

static void touch(const char *path) {
    FILE *file = fopen(path, "w");
    if (file != NULL)
        fclose(file);
}

/* A folder with scripts becomes the working directory, and the home of a user who has set
 * nothing. */
static bool make_folder(void) {
    if (mkdtemp(folder) == NULL || chdir(folder) < 0)
        return false;
    unsetenv("NATS_URL");
    unsetenv("XDG_CONFIG_HOME");
    setenv("HOME", folder, 1);
    touch("a.lua");
    touch("b.lua");
    mkdir("empty", 0700);
    mkdir("services", 0700);
    mkdir("services/folder.lua", 0700);
    touch("services/y.lua");
    touch("services/x.lua");
    touch("services/x_spec.lua");
    touch("services/.hidden.lua");
    touch("services/README");
    return true;
}

static void remove_folder(void) {
    static const char *const files[] = {"services/README",
                                        "services/.hidden.lua",
                                        "services/x_spec.lua",
                                        "services/x.lua",
                                        "services/y.lua",
                                        "a.lua",
                                        "b.lua"};
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        unlink(files[i]);
    rmdir("services/folder.lua");
    rmdir("services");
    rmdir("empty");
    rmdir(folder);
}

#endif
