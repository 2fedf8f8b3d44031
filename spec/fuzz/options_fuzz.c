/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Command lines, the environment and contexts of the `nats` tool.
 *
 * The input consists of lines: each is a word of the command line, or, as $NAME=value, a
 * variable. Behind an empty line is the file of the context "c". There are the scripts a.lua
 * and folder/b.lua.
 */
#include "host/options/options.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spec/fuzz/fuzz.h"

#define WORDS_MAX 40
#define CONTEXT_FILE "nats/context/c.json"
/* Bytes of a secret that is looked for: shorter ones, such as "-server" and "data:;base", are
 * found in messages that do not come from them. */
#define SECRET_LEAST 16

struct line {
    char *words[WORDS_MAX + 1];
    int count;
    char *variables[WORDS_MAX];
    int variable_count;
};

static void write_file(const char *path, const char *bytes, size_t len) {
    FILE *file = fopen(path, "we");
    HOLDS(file != NULL && fwrite(bytes, 1, len, file) == len && fclose(file) == 0);
}

/* The folder to come back to, and the one of the command lines. */
static int outside, inside;

static void open_folder(void) {
    char path[] = "/tmp/lunats-fuzz-XXXXXX";
    outside = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    HOLDS(outside >= 0 && mkdtemp(path) != NULL && chdir(path) == 0);
    inside = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    HOLDS(inside >= 0 && mkdir("nats", 0700) == 0);
    HOLDS(mkdir("nats/context", 0700) == 0 && mkdir("folder", 0700) == 0);
    write_file("a.lua", "", 0);
    write_file("folder/b.lua", "", 0);
    HOLDS(clearenv() == 0 && setenv("XDG_CONFIG_HOME", path, 1) == 0);
}

static bool is_ours(const char *variable) {
    return strncmp(variable, "LUNATS_", 7) == 0 || strncmp(variable, "NATS_", 5) == 0 ||
           strncmp(variable, "OTEL_", 5) == 0;
}

static void read_line(struct line *line, char *text) {
    char *equals = strchr(text, '=');
    if (*text != '$' || equals == NULL || !is_ours(text + 1)) {
        line->words[line->count++] = text;
        return;
    }
    *equals = '\0';
    setenv(text + 1, equals + 1, 1);
    line->variables[line->variable_count++] = text;
}

/* False: there are too many. */
static bool read_input(struct line *line, struct fuzz_input *input) {
    line->words[line->count++] = strdup("lunats");
    while (input->left > 0) {
        char *text = fuzz_line(input);
        if (*text == '\0') {
            free(text);
            break;
        }
        if (line->count == WORDS_MAX || line->variable_count == WORDS_MAX) {
            free(text);
            return false;
        }
        read_line(line, text);
    }
    return true;
}

/* A value that stands at one place of the input only. */
static bool is_single(const char *value, const uint8_t *bytes, size_t size) {
    size_t len = strlen(value);
    const char *first = len >= SECRET_LEAST ? memmem(bytes, size, value, len) : NULL;
    if (first == NULL || strstr(value, "://") != NULL)
        return false;
    size_t after = (size_t)(first + 1 - (const char *)bytes);
    return memmem(first + 1, size - after, value, len) == NULL;
}

/* No message repeats a secret. */
static void check_error(const char *error, const uint8_t *bytes, size_t size) {
    static const char *const secrets[] = {"LUNATS_PASSWORD", "LUNATS_TOKEN", "NATS_PASSWORD",
                                          "NATS_TOKEN"};
    HOLDS(error[0] != '\0');
    for (size_t i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++) {
        const char *value = getenv(secrets[i]);
        HOLDS(value == NULL || !is_single(value, bytes, size) || strstr(error, value) == NULL);
    }
}

static void check_list(char **list, size_t count) {
    for (size_t i = 0; i < count; i++)
        HOLDS(list[i] != NULL);
    HOLDS(list == NULL || list[count] == NULL);
}

static void check_hidden(const struct line *line, const char *secret, const uint8_t *bytes,
                         size_t size) {
    for (int i = 1; secret != NULL && is_single(secret, bytes, size) && i < line->count; i++)
        HOLDS(strstr(line->words[i], secret) == NULL);
}

static void check_options(const struct options *o, const struct line *line,
                          const uint8_t *bytes, size_t size) {
    check_list(o->scripts, o->script_count);
    check_list(o->folders, o->folder_count);
    check_list(o->args, o->arg_count);
    check_list(o->inherited, o->inherited_count);
    check_list(o->servers, o->server_count);
    check_list(o->headers.items, o->headers.count);
    check_list(o->code.items, o->code.count);
    HOLDS(o->command > OPTIONS_HELP || options_command_name(o->command) != NULL);
    HOLDS(o->connection != OPTIONS_SERVERS || o->server_count > 0);
    HOLDS(o->connect_timeout >= 0 && o->ping_interval >= 0 && o->drain_timeout >= 0);
    HOLDS(o->count >= 0 && o->port >= 0 && o->port <= 65535);
    check_hidden(line, o->password, bytes, size);
    check_hidden(line, o->token, bytes, size);
}

static void end(struct line *line) {
    for (int i = 0; i < line->count; i++)
        free(line->words[i]);
    for (int i = 0; i < line->variable_count; i++) {
        unsetenv(line->variables[i] + 1);
        free(line->variables[i]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    static bool opened;
    struct fuzz_input input = {(const char *)bytes, size};
    struct line line = {0};
    if (!opened)
        open_folder();
    opened = true;
    HOLDS(fchdir(inside) == 0);
    bool ok = read_input(&line, &input);
    if (ok) {
        struct options options;
        char error[512] = "";
        if (input.left > 0)
            write_file(CONTEXT_FILE, input.at, input.left);
        int rc = options_parse(line.count, line.words, &options, error, sizeof(error));
        if (rc != 0)
            check_error(error, bytes, size);
        else
            check_options(&options, &line, bytes, size);
        if (rc == 0)
            options_free(&options);
        if (input.left > 0)
            unlink(CONTEXT_FILE);
    }
    end(&line);
    HOLDS(fchdir(outside) == 0);
    return ok ? 0 : -1;
}
