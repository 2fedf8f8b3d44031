/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the module options share; nobody else includes it. */
#ifndef LUNATS_OPTIONS_PARSER_H
#define LUNATS_OPTIONS_PARSER_H

#include <stdbool.h>

#include "host/options/table.h"

#define OPTIONS_NAME_SIZE 40  /* of an option with its "no-", or of its environment variable */
#define OPTIONS_LABEL_SIZE 64 /* of what is said of where a value is from */

/* Where the value of an option comes from; the greater wins. */
enum options_source {
    OPTIONS_UNSET,
    OPTIONS_CONTEXT,  /* of the `nats` tool */
    OPTIONS_NATS,     /* a variable of all programs that use NATS: NATS_URL, ... */
    OPTIONS_LUNATS,   /* a variable of lunats */
    OPTIONS_ARGUMENT, /* the command line */
};

struct parser {
    struct options *out;
    char **argv;
    int argc, at; /* at: the next argument */
    enum options_source source[OPTIONS_COUNT];
    bool known; /* out->command is the user's */
    char *error;
    size_t error_size;
};

/* ---- ./report.c ---- */

/* Writes the message and where to read more; returns the exit status. */
__attribute__((format(printf, 2, 3))) int options_fail(const struct parser *p,
                                                       const char *format, ...);
int options_fail_memory(const struct parser *p);
/* Both name what was probably meant. */
int options_fail_unknown_option(const struct parser *p, const char *name);
int options_fail_unknown_command(const struct parser *p, const char *word);

/* Adds a copy of a string to a list that ends with NULL; false: out of memory. */
bool options_list_add(char ***list, size_t *count, const char *text, size_t len);
void options_list_free(char **list, size_t *count);

/* ---- ./parse.c ---- */

/* Of the option with this field that the command takes. */
enum options_source options_source_of(const struct parser *p, size_t field);

/* The words behind the options of this command are scripts (or the FILE of lua). */
bool options_takes_scripts(enum options_command command);

/* ---- ./values.c; all return 0 or the exit status ---- */

/* Sets the value of an option; `label` names it as the user wrote it. */
int options_set_value(struct parser *p, const struct options_option *option, const char *label,
                      const char *text);

/* Tokens with single dots in between, without blanks and wildcards. */
bool options_is_subject(const char *text);

/* ---- ./environment.c; those that return something: 0 or the exit status ---- */

/* LUNATS_DRAIN_TIMEOUT for drain-timeout. */
void options_variable_name(const struct options_option *option, char name[OPTIONS_NAME_SIZE]);

/* Sets an option from this variable, if there is one; it comes from `source` then. */
int options_read_variable(struct parser *p, const struct options_option *option,
                          const char *name, enum options_source source);

/* Reads the variables of options that the command takes and the command line did not set: only
 * of those about one thing. */
int options_read_environment(struct parser *p, enum options_about about);

/* ---- ./describe.c; returns 0 or the exit status ---- */

/* Says in `origin` to what `lunats run` would connect, where the environment says anything. */
int options_describe_run(struct parser *p);

/* ---- ./nats.c; returns 0 or the exit status ---- */

/* Adds a name to `origin`. */
int options_note(struct parser *p, const char *name);

/* Reads what users of NATS have set for all programs: variables, where the command is about
 * their servers, and a context. */
int options_read_nats(struct parser *p);

/* ---- ./scripts.c ---- */

/* Replaces what the user named by the files that are there. */
int options_resolve_scripts(struct parser *p);

#endif
