/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the table says, for people and for programs. Manual pages and the completion of shells
 * are made of the latter (packaging/manual.lua), so that nothing of it stands anywhere else.
 */
#include <stdbool.h>
#include <string.h>

#include "host/base/text.h"
#include "host/options/parser.h"

#define WIDTH 78  /* of the help */
#define INDENT 28 /* column of the help texts of options */

static const char summary[] = "NATS microservices as Lua scripts";

static const char environment[] =
    "Each option can be set in the environment, too: LUNATS_LOG_LEVEL=debug,\n"
    "LUNATS_DRAIN_TIMEOUT=5, flags with 1 or 0. LUNATS_PASSWORD_FILE is a file with\n"
    "the value of LUNATS_PASSWORD, and so on. The command line wins. NO_COLOR turns\n"
    "colours off.\n";

static const char nats_environment[] =
    "After these NATS_URL, NATS_USER, NATS_PASSWORD, NATS_TOKEN, NATS_CREDS,\n"
    "NATS_NKEY, NATS_CA, NATS_CERT, NATS_KEY and NATS_CONTEXT count, as they do for\n"
    "the `nats` tool.\n";

static const char exit_status[] =
    "0 after an orderly stop, 1 a script or service failed, 2 wrong\n"
    "usage, 3 no connection at the start, 4 stalled (--stall-exit).\n";

/* ---- for people ---- */

/* Prints words between the columns INDENT and WIDTH; the cursor is at `column`. */
static void print_wrapped(FILE *out, const char *text, size_t column) {
    if (column >= INDENT) {
        fputc('\n', out);
        column = 0;
    }
    fprintf(out, "%*s", (int)(INDENT - column), "");
    column = INDENT;
    for (bool first = true; *text != '\0'; first = false) {
        size_t len = strcspn(text, " ");
        if (!first && column + 1 + len > WIDTH) {
            fprintf(out, "\n%*s", INDENT, "");
            column = INDENT;
        } else if (!first) {
            fputc(' ', out);
            column++;
        }
        fwrite(text, 1, len, out);
        column += len;
        text += len + (text[len] == ' ');
    }
    fputc('\n', out);
}

static void print_option(FILE *out, const struct options_option *option, bool on) {
    char name[INDENT + 1] = "      ";
    if (option->letter != 0)
        snprintf(name, sizeof(name), "  -%c, ", option->letter);
    int n = fprintf(out, "%s--%s%s", name, on ? "no-" : "", option->name);
    if (option->value != NULL)
        n += fprintf(out, " %s", option->value);
    print_wrapped(out, on ? option->no_help : option->help, (size_t)n);
}

/* What the overview says in front of some commands, in the order of the enum. */
static const struct {
    enum options_command first;
    const char *title;
} groups[] = {
    {OPTIONS_RUN, "Serve"},
    {OPTIONS_NEW, "Write and test"},
    {OPTIONS_REQUEST, "Talk to services"},
    {OPTIONS_PS, "Look at what runs"},
    {OPTIONS_DOCTOR, "Help"},
};

static const char *group_of(size_t command) {
    const char *title = "";
    for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++)
        if ((size_t)groups[i].first <= command)
            title = groups[i].title;
    return title;
}

static void print_overview(FILE *out) {
    fprintf(out, "lunats: %s\n\nUsage: lunats COMMAND [options] ...\n", summary);
    for (size_t i = 0; i < OPTIONS_COMMANDS; i++) {
        const struct options_usage *command = &options_commands[i];
        if (i == 0 || group_of(i) != group_of(i - 1))
            fprintf(out, "\n%s:\n", group_of(i));
        int n = fprintf(out, "  %s %s", command->name, command->arguments);
        print_wrapped(out, command->summary, (size_t)n);
    }
    fprintf(out, "\nExamples:\n%s", options_commands[OPTIONS_HELP].examples);
    fprintf(out,
            "\n`lunats COMMAND --help` shows the options of a command, `man lunats-COMMAND`\n"
            "the same; `lunats help --json` prints all of it for programs.\n\n"
            "Exit status: %s",
            exit_status);
}

void options_help(FILE *out, enum options_command topic) {
    const struct options_usage *command = &options_commands[topic];
    if (topic == OPTIONS_HELP || topic == OPTIONS_VERSION) {
        print_overview(out);
        return;
    }
    fprintf(out, "Usage: lunats %s [options] %s\n\n%s\nOptions:\n", command->name,
            command->arguments, command->text);
    for (size_t i = 0; i < OPTIONS_COUNT; i++)
        if (options_table[i].commands & (1U << topic))
            print_option(out, &options_table[i], options_table[i].on & (1U << topic));
    print_wrapped(out, "show this", (size_t)fprintf(out, "  -h, --help"));
    fprintf(out, "\n%s", environment);
    if (command->connection == OPTIONS_SERVERS)
        fputs(nats_environment, out);
    fprintf(out, "\nExamples:\n%s", command->examples);
}

/* ---- for programs ---- */

struct field {
    const char *name, *value; /* NULL: null */
};

static void put_fields(struct text *text, const struct field *fields) {
    for (size_t i = 0; fields[i].name != NULL; i++) {
        text_printf(text, "%s\"%s\":", i > 0 ? "," : "", fields[i].name);
        text_json(text, fields[i].value);
    }
}

/* What a value may be, for a shell that completes it. */
static const char *kind_name(enum options_kind kind) {
    switch (kind) {
    case OPTIONS_KIND_FLAG:
        return "flag";
    case OPTIONS_KIND_FILE:
        return "file";
    case OPTIONS_KIND_LEVEL:
        return "debug|info|warn|error|off";
    case OPTIONS_KIND_FORMAT:
        return "text|json";
    case OPTIONS_KIND_ERRORS:
        return "full|short";
    case OPTIONS_KIND_LIBS:
        return "all|safe";
    default:
        return "text";
    }
}

static const char *completion(const struct options_option *option) {
    if (option->field == OPTIONS_FIELD(store))
        return "dir";
    if (option->field == OPTIONS_FIELD(template))
        return "service|http|worker";
    return option->field == OPTIONS_FIELD(output) ? "file" : kind_name(option->kind);
}

static void put_option(struct text *text, const struct options_option *option, bool on) {
    char letter[] = {option->letter, '\0'}, variable[OPTIONS_NAME_SIZE];
    options_variable_name(option, variable);
    const struct field fields[] = {
        {"name", option->name},   {"letter", option->letter != 0 ? letter : NULL},
        {"value", option->value}, {"values", completion(option)},
        {"help", option->help},   {"no_help", on ? option->no_help : NULL},
        {"variable", variable},   {NULL, NULL},
    };
    text_puts(text, "{");
    put_fields(text, fields);
    text_printf(text, ",\"on\":%s}", on ? "true" : "false");
}

static void put_command(struct text *text, size_t i) {
    const struct options_usage *command = &options_commands[i];
    const struct field fields[] = {
        {"group", group_of(i)},
        {"name", command->name},
        {"arguments", command->arguments},
        {"summary", command->summary},
        {"text", command->text},
        {"examples", command->examples},
        {NULL, NULL},
    };
    bool scripts = options_takes_scripts((enum options_command)i), any = false;
    text_puts(text, i > 0 ? ",\n{" : "{");
    put_fields(text, fields);
    text_printf(text, ",\"scripts\":%s,\"nats\":%s,\"options\":[", scripts ? "true" : "false",
                command->connection == OPTIONS_SERVERS ? "true" : "false");
    for (size_t j = 0; j < OPTIONS_COUNT; j++) {
        if (!(options_table[j].commands & (1U << i)))
            continue;
        text_puts(text, any ? ",\n  " : "\n  ");
        put_option(text, &options_table[j], options_table[j].on & (1U << i));
        any = true;
    }
    text_puts(text, "]}");
}

bool options_help_json(FILE *out) {
    struct text text = {0};
    const struct field fields[] = {
        {"version", LN_VERSION},      {"summary", summary},
        {"environment", environment}, {"nats_environment", nats_environment},
        {"exit_status", exit_status}, {NULL, NULL},
    };
    text_puts(&text, "{");
    put_fields(&text, fields);
    text_puts(&text, ",\"commands\":[\n");
    for (size_t i = 0; i < OPTIONS_COMMANDS; i++)
        put_command(&text, i);
    text_puts(&text, "]}\n");
    bool ok = !text.failed && fwrite(text.bytes, 1, text.len, out) == text.len;
    text_free(&text);
    return ok;
}
