/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `lunats` understands: the table behind parser, environment and help. Part of the module
 * options; nobody else includes it.
 */
#ifndef LUNATS_OPTIONS_TABLE_H
#define LUNATS_OPTIONS_TABLE_H

#include <stddef.h>

#include "host/options/options.h"

enum options_kind {
    OPTIONS_KIND_FLAG,    /* bool; --NAME and --no-NAME */
    OPTIONS_KIND_TEXT,    /* char *, owned */
    OPTIONS_KIND_FILE,    /* char *, owned: the path of a file that can be read */
    OPTIONS_KIND_SERVERS, /* servers and server_count; repeatable */
    OPTIONS_KIND_TOKEN,   /* char *, owned: one token of a subject */
    OPTIONS_KIND_SUBJECT, /* char *, owned: a subject without wildcards */
    OPTIONS_KIND_ADDRESS, /* char *, owned: see host/base/address.h; "off" is NULL */
    OPTIONS_KIND_SECONDS, /* double */
    OPTIONS_KIND_PERIOD,  /* double: seconds, not 0 */
    OPTIONS_KIND_BOUND,   /* double: seconds, not 0; "off" is 0 */
    OPTIONS_KIND_COUNT,   /* long, 1 or more */
    OPTIONS_KIND_LIMIT,   /* long, 0 or more; "off" is 0 */
    OPTIONS_KIND_BYTES,   /* size_t: a number, or one with K, M or G; "off" is 0 */
    OPTIONS_KIND_PORT,    /* long, 1 to 65535 */
    OPTIONS_KIND_WORKERS, /* long, 1 to OPTIONS_WORKERS_MAX, or "auto" */
    OPTIONS_KIND_CODE,    /* struct options_list; repeatable */
    OPTIONS_KIND_HEADERS, /* struct options_list of "Name: value"; repeatable */
    OPTIONS_KIND_LEVEL,   /* enum log_level */
    OPTIONS_KIND_FORMAT,  /* enum log_format */
    OPTIONS_KIND_ERRORS,  /* enum options_errors */
    OPTIONS_KIND_LIBS,    /* bool: safe ones only */
};

/* What an option is about decides where its environment variable counts. */
enum options_about {
    OPTIONS_ABOUT_ALL,
    OPTIONS_ABOUT_SERVERS, /* the way to the servers of services: never a private one */
    OPTIONS_ABOUT_PRIVATE, /* the private server */
};

struct options_option {
    const char *name; /* without the dashes; its environment variable is LUNATS_<NAME> */
    char letter;      /* or 0 */
    enum options_kind kind;
    unsigned commands; /* that take it: 1 << enum options_command */
    unsigned on;       /* commands for which the flag is set by default */
    size_t field;      /* offset in struct options */
    const char *value; /* its name in the help; NULL: a flag */
    const char *help;
    const char *no_help; /* of --no-NAME, shown where the flag is set by default; or NULL */
    enum options_about about;
};

#define OPTIONS_FIELD(name) offsetof(struct options, name)
#define OPTIONS_COUNT 94
extern const struct options_option options_table[OPTIONS_COUNT];

struct options_usage {
    const char *name;
    const char *arguments; /* what follows name and options */
    const char *summary;   /* a few words for the overview */
    const char *text;      /* of its help, in lines below 80 columns */
    const char *examples;
    enum options_connection connection; /* unless options say something else */
    const char *module;                 /* see options_command_module() */
    bool serves;
};

/* By enum options_command. */
#define OPTIONS_COMMANDS (OPTIONS_HELP + 1)
extern const struct options_usage options_commands[OPTIONS_COMMANDS];

#endif
