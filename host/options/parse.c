/* SPDX-License-Identifier: Apache-2.0 */
#include "host/options/options.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "host/options/parser.h"

#define DEV_ADMIN "127.0.0.1:0"
#define DEV_HTTP "127.0.0.1:8080"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- command line ---- */

/* Finds an option of this command by a long name of `len` bytes; *negated for --no-NAME. */
static const struct options_option *find_long(const struct parser *p, const char *name,
                                              size_t len, bool *negated) {
    for (size_t i = 0; i < OPTIONS_COUNT; i++) {
        const struct options_option *option = &options_table[i];
        if (!(option->commands & (1U << p->out->command)))
            continue;
        *negated = option->kind == OPTIONS_KIND_FLAG && len > 3 &&
                   memcmp(name, "no-", 3) == 0 && strlen(option->name) == len - 3 &&
                   memcmp(option->name, name + 3, len - 3) == 0;
        if (*negated || (strlen(option->name) == len && memcmp(option->name, name, len) == 0))
            return option;
    }
    return NULL;
}

static const struct options_option *find_short(const struct parser *p, char letter) {
    for (size_t i = 0; i < OPTIONS_COUNT; i++)
        if (options_table[i].letter == letter &&
            (options_table[i].commands & (1U << p->out->command)))
            return &options_table[i];
    return NULL;
}

/* Those by which `lunats test` becomes a process that starts others of its kind. */
static bool is_of_parent(const struct options_option *option) {
    return option->field == OPTIONS_FIELD(watch) ||
           option->field == OPTIONS_FIELD(watch_poll) || option->field == OPTIONS_FIELD(jobs);
}

/* Those of `lunats test` that are no business of busted's are taken wherever they stand. */
static bool may_stand_anywhere(const struct options_option *option) {
    return is_of_parent(option) || option->field == OPTIONS_FIELD(coverage);
}

/* Overwrites what `ps` would show to everybody: a password or token, and those in URLs. */
static void hide(const struct options_option *option, char *value) {
    bool whole =
        option->field == OPTIONS_FIELD(password) || option->field == OPTIONS_FIELD(token);
    if (whole)
        memset(value, '*', strlen(value));
    while (option->field == OPTIONS_FIELD(servers) && *value != '\0') {
        size_t len = strcspn(value, ", ");
        char *from = memmem(value, len, "://", 3), *at = memrchr(value, '@', len);
        from = from != NULL ? from + 3 : value;
        if (at != NULL && at > from)
            memset(from, '*', (size_t)(at - from));
        value += len + (value[len] != '\0');
    }
}

/* Sets an option that was found at p->at; `attached` is its value if it is in there. */
static int take_option(struct parser *p, const struct options_option *option, const char *label,
                       const char *attached, bool negated) {
    struct options *o = p->out;
    int first = p->at++;
    p->source[option - options_table] = OPTIONS_ARGUMENT;
    if (option->kind == OPTIONS_KIND_FLAG && attached != NULL)
        return options_fail(p, "%s takes no value", label);
    if (option->kind == OPTIONS_KIND_FLAG)
        attached = negated ? "0" : "1";
    if (attached == NULL && p->at >= p->argc)
        return options_fail(p, "%s needs a value: %s %s", label, label, option->value);
    if (attached == NULL)
        attached = p->argv[p->at++];
    int rc = options_set_value(p, option, label, attached);
    bool ours = o->command == OPTIONS_TEST && is_of_parent(option);
    for (int i = first; rc == 0 && i < p->at && !ours; i++)
        if (!options_list_add(&o->inherited, &o->inherited_count, p->argv[i],
                              strlen(p->argv[i])))
            rc = options_fail_memory(p);
    char *word = p->argv[p->at - 1]; /* ends with the value */
    if (option->kind != OPTIONS_KIND_FLAG)
        hide(option, word + strlen(word) - strlen(attached));
    return rc;
}

static int take_long(struct parser *p, const char *arg, bool *foreign) {
    char label[OPTIONS_NAME_SIZE];
    bool negated;
    size_t len = strcspn(arg + 2, "=");
    const struct options_option *option = find_long(p, arg + 2, len, &negated);
    snprintf(label, sizeof(label), "%.*s", (int)(len + 2), arg);
    if (option == NULL) {
        *foreign = p->out->command == OPTIONS_TEST;
        return *foreign ? 0 : options_fail_unknown_option(p, label + 2);
    }
    return take_option(p, option, label, arg[len + 2] == '=' ? arg + len + 3 : NULL, negated);
}

static int take_short(struct parser *p, const char *arg, bool *foreign) {
    const struct options_option *option = find_short(p, arg[1]);
    char label[] = {'-', arg[1], '\0'};
    if (option == NULL) {
        *foreign = p->out->command == OPTIONS_TEST;
        bool body = p->out->command == OPTIONS_REQUEST || p->out->command == OPTIONS_PUB;
        return *foreign ? 0
                        : options_fail(p, "unknown option %s%s", label,
                                       body ? " (a BODY like that stands behind --)" : "");
    }
    return take_option(p, option, label, arg[2] != '\0' ? arg + 2 : NULL, false);
}

static bool is_help(const char *arg) {
    return strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0;
}

static void ask_for_help(struct parser *p, enum options_command topic) {
    p->out->command = OPTIONS_HELP;
    p->out->topic = topic;
}

bool options_takes_scripts(enum options_command command) {
    return command == OPTIONS_RUN || command == OPTIONS_DEV || command == OPTIONS_CHECK ||
           command == OPTIONS_DESCRIBE || command == OPTIONS_LUA;
}

/* A script, or what else the command is about. */
static int take_word(struct parser *p, const char *word) {
    struct options *o = p->out;
    if (o->command == OPTIONS_RUN &&
        !options_list_add(&o->inherited, &o->inherited_count, word, strlen(word)))
        return options_fail_memory(p);
    bool ok = options_takes_scripts(o->command)
                  ? options_list_add(&o->scripts, &o->script_count, word, strlen(word))
                  : options_list_add(&o->args, &o->arg_count, word, strlen(word));
    return ok ? 0 : options_fail_memory(p);
}

/*
 * Reads the arguments of a command. Options may be mixed with scripts or other words;
 * for test and lua the first argument that is not ours ends the options.
 */
static int take_arguments(struct parser *p) {
    struct options *o = p->out;
    bool stops = o->command == OPTIONS_TEST || o->command == OPTIONS_LUA;
    bool over = false;
    while (p->at < p->argc) {
        const char *arg = p->argv[p->at];
        bool foreign = false;
        int rc = 0;
        if (!over && strcmp(arg, "--") == 0) {
            over = true;
            p->at++;
            if (stops)
                break;
            if (!options_list_add(&o->inherited, &o->inherited_count, arg, strlen(arg)))
                return options_fail_memory(p);
        } else if (!over && is_help(arg)) {
            ask_for_help(p, o->command);
            return 0;
        } else if (over || arg[0] != '-' || arg[1] == '\0') {
            if (stops)
                break;
            p->at++;
            rc = take_word(p, arg);
        } else {
            rc = arg[1] == '-' ? take_long(p, arg, &foreign) : take_short(p, arg, &foreign);
        }
        if (rc != 0)
            return rc;
        if (foreign)
            break;
    }
    return 0;
}

/* An option of ours among the arguments of busted. */
static bool is_own(const struct parser *p, const char *arg) {
    const struct options_option *option = NULL;
    bool negated = false;
    if (p->out->command != OPTIONS_TEST || arg[0] != '-')
        return false;
    if (arg[1] == '-')
        option = find_long(p, arg + 2, strcspn(arg + 2, "="), &negated);
    else if (arg[1] != '\0')
        option = find_short(p, arg[1]);
    return option != NULL && may_stand_anywhere(option);
}

/* What the options of `test` and `lua` left over. */
static int take_rest(struct parser *p) {
    struct options *o = p->out;
    if (o->command == OPTIONS_LUA && p->at < p->argc) {
        const char *file = p->argv[p->at++];
        if (!options_list_add(&o->scripts, &o->script_count, file, strlen(file)))
            return options_fail_memory(p);
    }
    bool over = p->at > 1 && strcmp(p->argv[p->at - 1], "--") == 0;
    while (p->at < p->argc) {
        const char *arg = p->argv[p->at];
        bool foreign = false;
        if (!over && is_own(p, arg)) {
            int rc = arg[1] == '-' ? take_long(p, arg, &foreign) : take_short(p, arg, &foreign);
            if (rc != 0)
                return rc;
            continue;
        }
        p->at++;
        over = over || strcmp(arg, "--") == 0;
        if (!options_list_add(&o->args, &o->arg_count, arg, strlen(arg)))
            return options_fail_memory(p);
    }
    return 0;
}

/* ---- the whole ---- */

enum options_source options_source_of(const struct parser *p, size_t field) {
    for (size_t i = 0; i < OPTIONS_COUNT; i++)
        if (options_table[i].field == field &&
            (options_table[i].commands & (1U << p->out->command)))
            return p->source[i];
    return OPTIONS_UNSET;
}

static bool is_argument(const struct parser *p, size_t field) {
    return options_source_of(p, field) == OPTIONS_ARGUMENT;
}

static void drop_text(struct parser *p, size_t field) {
    void *at = (char *)p->out + field;
    char **text = at;
    free(*text);
    *text = NULL;
}

/* Of texts that exclude each other those from the best source overrule the others. Returns how
 * many are left. */
static int drop_overruled(struct parser *p, const size_t *fields, size_t count) {
    enum options_source best = OPTIONS_UNSET;
    int left = 0;
    for (size_t i = 0; i < count; i++)
        if (options_source_of(p, fields[i]) > best)
            best = options_source_of(p, fields[i]);
    for (size_t i = 0; i < count; i++) {
        if (options_source_of(p, fields[i]) == best && best != OPTIONS_UNSET)
            left++;
        else
            drop_text(p, fields[i]);
    }
    return left;
}

/* There are four ways to prove who one is. */
static int check_identity(struct parser *p) {
    static const size_t ways[] = {OPTIONS_FIELD(user), OPTIONS_FIELD(token),
                                  OPTIONS_FIELD(creds), OPTIONS_FIELD(nkey)};
    struct options *o = p->out;
    int left = drop_overruled(p, ways, COUNT(ways));
    if (left > 0 && o->user == NULL && !is_argument(p, OPTIONS_FIELD(password)))
        drop_text(p, OPTIONS_FIELD(password)); /* of a user that is overruled */
    if (o->password != NULL && o->user == NULL)
        return options_fail(p, "--password needs --user");
    if (left > 1)
        return options_fail(p, "only one of --user, --token, --creds and --nkey can be used");
    o->identity_given = left > 0;
    return 0;
}

static int check_jetstream(struct parser *p) {
    static const size_t ways[] = {OPTIONS_FIELD(js_domain), OPTIONS_FIELD(js_prefix)};
    struct options *o = p->out;
    if (drop_overruled(p, ways, COUNT(ways)) > 1)
        return options_fail(p, "--js-domain and --js-prefix exclude each other");
    if (o->js_domain != NULL && asprintf(&o->js_prefix, "$JS.%s.API", o->js_domain) < 0) {
        o->js_prefix = NULL;
        return options_fail_memory(p);
    }
    return 0;
}

/* Whether and how files are watched. */
static int check_watch(struct parser *p) {
    struct options *o = p->out;
    if (o->watch_poll > 0 && is_argument(p, OPTIONS_FIELD(watch)) && !o->watch) {
        if (is_argument(p, OPTIONS_FIELD(watch_poll)))
            return options_fail(p, "--no-watch and --watch-poll exclude each other");
        return 0;
    }
    /* For `test`, which would not end, a variable only says how to watch. */
    o->watch |= o->watch_poll > 0 &&
                (o->command != OPTIONS_TEST || is_argument(p, OPTIONS_FIELD(watch_poll)));
    return 0;
}

/* What belongs together, and what excludes each other. */
static int check_together(struct parser *p) {
    static const size_t of_private[] = {OPTIONS_FIELD(port), OPTIONS_FIELD(store),
                                        OPTIONS_FIELD(server_config)};
    static const char *const names[] = {"port", "store", "server-config"};
    struct options *o = p->out;
    for (size_t i = 0; i < COUNT(names) && !o->embedded; i++)
        if (is_argument(p, of_private[i]))
            return options_fail(p, "--%s is about a private nats-server: it needs --embedded",
                                names[i]);
    if (o->embedded && is_argument(p, OPTIONS_FIELD(embedded)) &&
        !is_argument(p, OPTIONS_FIELD(workers)))
        o->workers = 0;
    if (o->workers > 0 && o->embedded)
        return options_fail(p, "--workers and --embedded exclude each other: each worker would "
                               "have a server of its own");
    if ((o->tls_cert == NULL) != (o->tls_key == NULL))
        return options_fail(p, "--tlscert and --tlskey need each other");
    return 0;
}

/* `dev` shows itself on a free port, unless it was told where, or not to. */
static int choose_ports(struct parser *p) {
    struct options *o = p->out;
    if (o->command == OPTIONS_DEV && !o->http_given && (o->http = strdup(DEV_HTTP)) == NULL)
        return options_fail_memory(p);
    if (o->command == OPTIONS_DEV && !o->admin_given && (o->admin = strdup(DEV_ADMIN)) == NULL)
        return options_fail_memory(p);
    if (o->admin_token != NULL && o->admin == NULL)
        return options_fail(p, "--admin-token needs --admin");
    return 0;
}

/* `lunats request` and `pub`: SUBJECT [BODY]. */
static int check_message(struct parser *p) {
    const struct options *o = p->out;
    const char *name = options_commands[o->command].name;
    if (o->arg_count == 0)
        return options_fail(p, "no SUBJECT given: lunats %s [options] SUBJECT [BODY|-]", name);
    if (!options_is_subject(o->args[0]))
        return options_fail(
            p,
            "'%s' is not a subject without wildcards: its tokens are separated by "
            "single dots, without blanks",
            o->args[0]);
    if (o->arg_count > 2)
        return options_fail(p, "lunats %s takes one BODY: put it in quotes", name);
    return 0;
}

/* `lunats metrics`. */
static int check_metrics(struct parser *p) {
    struct options *o = p->out;
    if (o->once && !is_argument(p, OPTIONS_FIELD(admin)))
        drop_text(p, OPTIONS_FIELD(admin)); /* of the environment */
    if (o->arg_count > 0 || !o->srv)
        return options_fail(p, "which metrics? lunats metrics --srv: of all services");
    if (o->once == (o->admin != NULL))
        return options_fail(p, "lunats metrics needs --admin ADDRESS or --once");
    return 0;
}

/* `lunats dlq`: what to do, and where the dead letters are. */
static int check_dlq(struct parser *p) {
    static const char *const words[] = {"ls", "show", "redrive"};
    const struct options *o = p->out;
    bool known = false;
    for (size_t i = 0; i < COUNT(words) && o->arg_count > 0; i++)
        known = known || strcmp(o->args[0], words[i]) == 0;
    if (!known || o->arg_count < 2)
        return options_fail(p, "what to do with which dead letters? lunats dlq "
                               "ls|show|redrive STREAM");
    return 0;
}

/* What a command cannot do without. */
static int check_words(struct parser *p) {
    const struct options *o = p->out;
    if (o->command == OPTIONS_REQUEST || o->command == OPTIONS_PUB)
        return check_message(p);
    if (o->command >= OPTIONS_PS && o->command <= OPTIONS_LOGS && o->arg_count > 1)
        return options_fail(p, "lunats %s takes one NAME", options_commands[o->command].name);
    if (o->command == OPTIONS_METRICS)
        return check_metrics(p);
    if (o->command == OPTIONS_DOCTOR && o->arg_count > 0)
        return options_fail(p, "lunats doctor takes options only");
    if (o->command == OPTIONS_DLQ)
        return check_dlq(p);
    if (o->command == OPTIONS_CONSOLE && o->arg_count != 1)
        return options_fail(p, "lunats console takes one SERVICE, or SERVICE/INSTANCE");
    if (o->command == OPTIONS_SUB && o->arg_count == 0)
        return options_fail(p, "no SUBJECT given: lunats sub [options] SUBJECT...");
    if (o->command == OPTIONS_NEW && o->arg_count != 1)
        return options_fail(p, "lunats new takes one NAME");
    if (o->command == OPTIONS_RECORD && o->arg_count == 0)
        return options_fail(p, "no SUBJECT given: lunats record [options] SUBJECT...");
    if (o->command == OPTIONS_RECORD && o->output == NULL)
        return options_fail(p, "lunats record needs -o FILE");
    return 0;
}

static int choose_connection(struct parser *p) {
    struct options *o = p->out;
    bool server_given = is_argument(p, OPTIONS_FIELD(servers));
    if (server_given && o->embedded && is_argument(p, OPTIONS_FIELD(embedded)))
        return options_fail(p, "--embedded and --server exclude each other");
    if (o->embedded && is_argument(p, OPTIONS_FIELD(embedded)) &&
        is_argument(p, OPTIONS_FIELD(context)))
        return options_fail(p, "--embedded and --context exclude each other");
    server_given = server_given || is_argument(p, OPTIONS_FIELD(context));
    if (server_given)
        o->embedded = false; /* the environment asked for it, the command line did not */
    if (o->embedded) {
        /* Servers of the environment are where services run in general, not this one. */
        options_list_free(o->servers, &o->server_count);
        o->servers = NULL;
        o->server_given = false;
        free(o->origin);
        o->origin = NULL;
    }
    o->connection = options_commands[o->command].connection;
    if (o->server_given || is_argument(p, OPTIONS_FIELD(context)))
        o->connection = OPTIONS_SERVERS;
    if (o->embedded)
        o->connection = OPTIONS_PRIVATE;
    if (o->command == OPTIONS_TEST && (o->watch || o->jobs > 0))
        o->connection = OPTIONS_OFFLINE; /* it only starts others of its kind */
    return 0;
}

/* What the environment says of servers is about those of services: it moves no private server,
 * and gives no program away to them that the user has not sent there. */
static int read_environment(struct parser *p) {
    const struct options *o = p->out;
    int rc = options_read_environment(p, OPTIONS_ABOUT_ALL);
    if (rc == 0)
        rc = check_watch(p);
    if (rc == 0)
        rc = choose_connection(p);
    if (rc == 0 && o->embedded)
        rc = options_read_environment(p, OPTIONS_ABOUT_PRIVATE);
    if (rc == 0 && o->connection == OPTIONS_SERVERS)
        rc = options_read_environment(p, OPTIONS_ABOUT_SERVERS);
    if (rc == 0 && o->connection == OPTIONS_SERVERS)
        rc = options_read_nats(p);
    return rc;
}

static int set_default_server(struct parser *p) {
    struct options *o = p->out;
    bool ok = o->server_count > 0 ||
              options_list_add(&o->servers, &o->server_count, OPTIONS_DEFAULT_SERVER,
                               strlen(OPTIONS_DEFAULT_SERVER));
    return ok ? 0 : options_fail_memory(p);
}

/* `lunats FILE`: 0 when it is one; or tells what is wrong with the word that is no command. */
static int check_file(const struct parser *p, const char *path) {
    struct stat st;
    size_t len = strlen(path);
    bool named = len > 4 && strcmp(path + len - 4, ".lua") == 0;
    if (!named && strchr(path, '/') == NULL)
        return options_fail_unknown_command(p, path);
    bool there = stat(path, &st) == 0;
    if (there && S_ISDIR(st.st_mode))
        return options_fail(p,
                            "%s is a directory; `lunats run %s` or `lunats dev %s` serves the "
                            "scripts in it",
                            path, path, path);
    if (!there && named)
        return options_fail(p, "there is no file %s", path);
    return there ? 0 : options_fail_unknown_command(p, path);
}

/* Finds the command; p->at is behind it afterwards. */
static int take_command(struct parser *p) {
    const char *word = p->at < p->argc ? p->argv[p->at] : NULL;
    if (word == NULL)
        return options_fail(p, "no command given");
    p->at++;
    if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0)
        word = options_commands[OPTIONS_VERSION].name;
    if (is_help(word))
        word = options_commands[OPTIONS_HELP].name;
    for (size_t i = 0; i < OPTIONS_COMMANDS; i++)
        if (strcmp(word, options_commands[i].name) == 0) {
            p->out->command = (enum options_command)i;
            p->known = i < OPTIONS_VERSION;
            return 0;
        }
    int rc = check_file(p, word);
    if (rc != 0)
        return rc;
    p->out->command = OPTIONS_LUA;
    p->known = true;
    p->at--;
    return 0;
}

/* `lunats help [COMMAND|--json]`. */
static int take_topic(struct parser *p) {
    if (p->at < p->argc && strcmp(p->argv[p->at], "--json") == 0) {
        p->out->json = true;
        p->at++;
    }
    if (p->at >= p->argc) {
        ask_for_help(p, OPTIONS_HELP);
        return 0;
    }
    int rc = take_command(p);
    if (rc == 0)
        ask_for_help(p, p->out->command);
    return rc;
}

static void set_default_flags(struct options *o) {
    for (size_t i = 0; i < OPTIONS_COUNT; i++) {
        void *field = (char *)o + options_table[i].field;
        if (options_table[i].kind == OPTIONS_KIND_FLAG)
            *(bool *)field |= (options_table[i].on & (1U << o->command)) != 0;
    }
}

static int parse(struct parser *p) {
    struct options *o = p->out;
    int rc = take_command(p);
    if (rc != 0 || o->command == OPTIONS_VERSION)
        return rc;
    if (o->command == OPTIONS_HELP)
        return take_topic(p);
    set_default_flags(o);
    o->embedded = o->command == OPTIONS_DEV;
    o->drain_timeout = 30;
    o->slice = options_command_serves(o->command) ? 1 : 0;
    o->connect_timeout = 2;
    o->ping_interval = 5;
    o->max_control_line = 4096;
    o->errors = o->command == OPTIONS_RUN ? OPTIONS_ERRORS_SHORT : OPTIONS_ERRORS_FULL;
    o->log_limit = options_command_serves(o->command) ? 100 : 0;
    bool quiet = o->command == OPTIONS_TEST || o->command == OPTIONS_DOCTOR;
    o->log_level = quiet ? LOG_LEVEL_WARN : LOG_LEVEL_INFO;
    rc = take_arguments(p);
    if (rc != 0 || o->command == OPTIONS_HELP)
        return rc;
    int (*const steps[])(struct parser *) = {
        take_rest,       read_environment,        check_identity,
        check_jetstream, check_together,          choose_ports,
        check_words,     options_resolve_scripts, set_default_server};
    for (size_t i = 0; i < COUNT(steps) && rc == 0; i++)
        rc = steps[i](p);
    return rc == 0 && o->command == OPTIONS_CHECK ? options_describe_run(p) : rc;
}

int options_parse(int argc, char **argv, struct options *out, char *error, size_t error_size) {
    memset(out, 0, sizeof(*out));
    out->words = argv;
    struct parser parser = {
        .out = out,
        .argv = argv,
        .argc = argc,
        .at = 1,
        .error = error,
        .error_size = error_size,
    };
    int rc = parse(&parser);
    if (rc != 0)
        options_free(out);
    return rc;
}

static void free_text(char **text) {
    free(*text);
    *text = NULL;
}

void options_free(struct options *o) {
    options_list_free(o->scripts, &o->script_count);
    options_list_free(o->folders, &o->folder_count);
    options_list_free(o->args, &o->arg_count);
    options_list_free(o->servers, &o->server_count);
    options_list_free(o->inherited, &o->inherited_count);
    free(o->origin);
    for (size_t i = 0; i < OPTIONS_COUNT; i++) {
        enum options_kind kind = options_table[i].kind;
        void *field = (char *)o + options_table[i].field;
        if (kind == OPTIONS_KIND_TEXT || kind == OPTIONS_KIND_FILE ||
            kind == OPTIONS_KIND_TOKEN || kind == OPTIONS_KIND_SUBJECT ||
            kind == OPTIONS_KIND_ADDRESS)
            free_text(field); /* that several options may set */
        if (kind == OPTIONS_KIND_CODE || kind == OPTIONS_KIND_HEADERS) {
            struct options_list *list = field;
            options_list_free(list->items, &list->count);
            list->items = NULL;
        }
    }
    memset(o, 0, sizeof(*o));
}
