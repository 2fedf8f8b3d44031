/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Options that the environment sets: LUNATS_PASSWORD itself, the file that LUNATS_PASSWORD_FILE
 * names, and the credential lunats.password that systemd has put into $CREDENTIALS_DIRECTORY.
 * The latter two are for secrets, which a variable shows to all that the process starts.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "host/options/parser.h"
#include "host/options/secret.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

void options_variable_name(const struct options_option *option, char name[OPTIONS_NAME_SIZE]) {
    snprintf(name, OPTIONS_NAME_SIZE, "LUNATS_%s", option->name);
    for (char *c = name; *c != '\0'; c++) {
        if (*c == '-')
            *c = '_';
        else if (*c >= 'a' && *c <= 'z')
            *c = (char)(*c - 'a' + 'A'); /* whatever the locale */
    }
}

/* `label` is where the text is from. */
static int take_text(struct parser *p, const struct options_option *option, const char *label,
                     const char *text, enum options_source source) {
    static const char *const on[] = {"1", "true", "yes", "on"};
    static const char *const off[] = {"0", "false", "no", "off"};
    p->source[option - options_table] = source;
    if (option->kind != OPTIONS_KIND_FLAG)
        return options_set_value(p, option, label, text);
    for (size_t i = 0; i < COUNT(on); i++) {
        if (strcasecmp(text, on[i]) == 0)
            return options_set_value(p, option, label, "1");
        if (strcasecmp(text, off[i]) == 0)
            return options_set_value(p, option, label, "0");
    }
    return options_fail(p, "%s: %s is neither 1 nor 0", label, text);
}

int options_read_variable(struct parser *p, const struct options_option *option,
                          const char *name, enum options_source source) {
    const char *text = getenv(name);
    return text != NULL && text[0] != '\0' ? take_text(p, option, name, text, source) : 0;
}

/* LUNATS_PASSWORD_FILE for LUNATS_PASSWORD. `label` receives its name if it is set. */
static int read_variable_file(struct parser *p, const struct options_option *option,
                              const char *variable, char label[OPTIONS_LABEL_SIZE]) {
    char name[OPTIONS_LABEL_SIZE];
    snprintf(name, sizeof(name), "%s_FILE", variable);
    const char *path = getenv(name);
    if (path == NULL || path[0] == '\0')
        return 0;
    strcpy(label, name);
    if (p->source[option - options_table] != OPTIONS_UNSET)
        return options_fail(p, "%s and %s exclude each other", variable, label);
    if (option->kind == OPTIONS_KIND_FILE)
        return options_fail(p, "%s: %s is the path of a file already", label, variable);
    char *text = NULL;
    int rc = secret_read_file(p, label, path, &text);
    if (rc == 0)
        rc = take_text(p, option, label, text, OPTIONS_LUNATS);
    secret_free(text);
    return rc;
}

/* A blank one is none: so a unit names one that may be missing (SetCredential=). */
static int read_credential(struct parser *p, const struct options_option *option,
                           char label[OPTIONS_LABEL_SIZE]) {
    const char *folder = getenv("CREDENTIALS_DIRECTORY");
    char path[PATH_MAX], *text = NULL;
    if (folder == NULL || folder[0] != '/' ||
        snprintf(path, sizeof(path), "%s/lunats.%s", folder, option->name) >=
            (int)sizeof(path) ||
        access(path, F_OK) < 0)
        return 0;
    snprintf(label, OPTIONS_LABEL_SIZE, "the credential lunats.%s", option->name);
    int rc = secret_read_file(p, label, path, &text);
    if (rc == 0 && text[0] != '\0')
        rc = take_text(p, option, label, option->kind == OPTIONS_KIND_FILE ? path : text,
                       OPTIONS_LUNATS);
    secret_free(text);
    return rc;
}

/* `label` receives where the value is from, if there is one. */
static int read_option(struct parser *p, const struct options_option *option,
                       char label[OPTIONS_LABEL_SIZE]) {
    char variable[OPTIONS_NAME_SIZE];
    options_variable_name(option, variable);
    int rc = options_read_variable(p, option, variable, OPTIONS_LUNATS);
    strcpy(label, variable);
    if (rc == 0)
        rc = read_variable_file(p, option, variable, label);
    if (rc == 0 && p->source[option - options_table] == OPTIONS_UNSET)
        rc = read_credential(p, option, label);
    return rc;
}

int options_read_environment(struct parser *p, enum options_about about) {
    for (size_t i = 0; i < OPTIONS_COUNT; i++) {
        const struct options_option *option = &options_table[i];
        char label[OPTIONS_LABEL_SIZE];
        if (p->source[i] != OPTIONS_UNSET || option->about != about ||
            !(option->commands & (1U << p->out->command)))
            continue;
        int rc = read_option(p, option, label);
        bool told = p->source[i] != OPTIONS_UNSET &&
                    (about == OPTIONS_ABOUT_SERVERS || option->kind == OPTIONS_KIND_SERVERS);
        if (rc == 0 && told)
            rc = options_note(p, label);
        if (rc != 0)
            return rc;
    }
    return 0;
}
