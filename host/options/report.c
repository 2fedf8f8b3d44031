/* SPDX-License-Identifier: Apache-2.0 */
/* What the user is told about mistakes, and lists of strings. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/nearest.h"
#include "host/options/parser.h"

#define USAGE_STATUS 2 /* wrong usage */

/* ---- errors ---- */

int options_fail(const struct parser *p, const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    snprintf(p->error, p->error_size, "%s\nSee `lunats %s%s--help`.", text,
             p->known ? options_commands[p->out->command].name : "", p->known ? " " : "");
    return USAGE_STATUS;
}

int options_fail_memory(const struct parser *p) {
    snprintf(p->error, p->error_size, "out of memory");
    return 1;
}

int options_fail_unknown_option(const struct parser *p, const char *name) {
    char negated[OPTIONS_COUNT][OPTIONS_NAME_SIZE];
    struct nearest nearest = nearest_to(name);
    for (size_t i = 0; i < OPTIONS_COUNT; i++) {
        const struct options_option *option = &options_table[i];
        bool taken = option->commands & (1U << p->out->command);
        if (!taken && strcmp(option->name, name) == 0)
            return options_fail(p, "lunats %s does not take --%s",
                                options_commands[p->out->command].name, name);
        if (!taken)
            continue;
        nearest_try(&nearest, option->name);
        snprintf(negated[i], sizeof(negated[i]), "no-%s", option->name);
        if (option->kind == OPTIONS_KIND_FLAG)
            nearest_try(&nearest, negated[i]);
    }
    nearest_try(&nearest, "help");
    if (nearest.best == NULL)
        return options_fail(p, "unknown option --%s", name);
    return options_fail(p, "unknown option --%s; did you mean --%s?", name, nearest.best);
}

/* "publish" means pub, "req" request. */
static bool begins_alike(const char *word, const char *name) {
    size_t len = strlen(word), name_len = strlen(name);
    return len > 2 && strncmp(word, name, len < name_len ? len : name_len) == 0;
}

int options_fail_unknown_command(const struct parser *p, const char *word) {
    struct nearest nearest = nearest_to(word);
    if (word[0] == '-')
        return options_fail(p, "options follow the command: lunats run %s ...",
                            strchr(word, '=') != NULL ? "--NAME=VALUE" : word);
    for (size_t i = 0; i < OPTIONS_COMMANDS; i++) {
        if (begins_alike(word, options_commands[i].name))
            return options_fail(p, "unknown command %s; did you mean %s?", word,
                                options_commands[i].name);
        nearest_try(&nearest, options_commands[i].name);
    }
    if (nearest.best == NULL)
        return options_fail(p, "unknown command %s", word);
    return options_fail(p, "unknown command %s; did you mean %s?", word, nearest.best);
}

/* ---- lists ---- */

bool options_list_add(char ***list, size_t *count, const char *text, size_t len) {
    char **grown = realloc(*list, (*count + 2) * sizeof(*grown));
    if (grown == NULL)
        return false;
    *list = grown;
    grown[*count] = strndup(text, len);
    if (grown[*count] == NULL)
        return false;
    grown[++*count] = NULL;
    return true;
}

void options_list_free(char **list, size_t *count) {
    for (size_t i = 0; list != NULL && i < *count; i++)
        free(list[i]);
    free(list);
    *count = 0;
}
