/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a command line: for the tests of the options. */
#ifndef LUNATS_TEST_OPTIONS_H
#define LUNATS_TEST_OPTIONS_H

#include <stdio.h>
#include <string.h>

#include "host/options/options.h"

#define ARGS_MAX 32

static struct options options;
static char error[512];

/* Parses "run --retry a.lua", split at blanks; the result is in `options`, or in `error`. */
static int parse(const char *line) {
    char copy[1024];
    char *argv[ARGS_MAX] = {copy};
    int argc = 1;
    snprintf(copy, sizeof(copy), "%s", line);
    for (char *word = strtok(copy, " "); word != NULL; word = strtok(NULL, " "))
        argv[argc++] = word;
    options_free(&options);
    error[0] = '\0';
    return options_parse(argc, argv, &options, error, sizeof(error));
}

#endif
