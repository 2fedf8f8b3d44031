/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What users of NATS set once for all programs: the variables NATS_* and the contexts of the
 * `nats` tool. Each gives what nothing better gives; how to prove who one is comes from one
 * place as a whole.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/dial/keys.h"
#include "host/options/context.h"
#include "host/options/secret.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum shared_group {
    GROUP_NONE,
    GROUP_WAY,      /* one of the ways to prove who one is */
    GROUP_PASSWORD, /* of the user */
    GROUP_PAIR,     /* a certificate and its key */
    GROUP_API,      /* of JetStream */
};

/* Of the ways of one place the first one counts, as for the tool; a domain before a prefix. */
static const struct shared {
    size_t field;
    const char *variable, *key; /* in a context */
    enum secret_form form;
    enum shared_group group;
} shared[] = {
    {OPTIONS_FIELD(servers), "NATS_URL", "url", SECRET_NO, GROUP_NONE},
    {OPTIONS_FIELD(user), "NATS_USER", "user", SECRET_TEXT, GROUP_WAY},
    {OPTIONS_FIELD(password), "NATS_PASSWORD", "password", SECRET_TEXT, GROUP_PASSWORD},
    {OPTIONS_FIELD(creds), "NATS_CREDS", "creds", SECRET_KEYS, GROUP_WAY},
    {OPTIONS_FIELD(nkey), "NATS_NKEY", "nkey", SECRET_KEYS, GROUP_WAY},
    {OPTIONS_FIELD(creds), "NATS_JWT", "user_jwt", SECRET_TEXT, GROUP_WAY},
    {OPTIONS_FIELD(token), "NATS_TOKEN", "token", SECRET_TEXT, GROUP_WAY},
    {OPTIONS_FIELD(tls_ca), "NATS_CA", "ca", SECRET_FILE, GROUP_NONE},
    {OPTIONS_FIELD(tls_cert), "NATS_CERT", "cert", SECRET_FILE, GROUP_PAIR},
    {OPTIONS_FIELD(tls_key), "NATS_KEY", "key", SECRET_FILE, GROUP_PAIR},
    {OPTIONS_FIELD(tls_first), NULL, "tls_first", SECRET_NO, GROUP_NONE},
    {OPTIONS_FIELD(inbox_prefix), NULL, "inbox_prefix", SECRET_NO, GROUP_NONE},
    {OPTIONS_FIELD(js_domain), NULL, "jetstream_domain", SECRET_NO, GROUP_API},
    {OPTIONS_FIELD(js_prefix), NULL, "jetstream_api_prefix", SECRET_NO, GROUP_API},
};
#define SEED_VARIABLE "NATS_SEED"
#define SEED_KEY "user_seed"

/* A place where settings are. */
struct place {
    enum options_source source;
    const struct context *context; /* NULL: the variables */
};

static const struct options_option *find_option(const struct parser *p, size_t field) {
    for (size_t i = 0; i < OPTIONS_COUNT; i++)
        if (options_table[i].field == field &&
            (options_table[i].commands & (1U << p->out->command)))
            return &options_table[i];
    return NULL;
}

/* A new text, to be wiped and freed; NULL: it is not there, or empty. */
static char *get(const struct place *place, const char *variable, const char *key) {
    if (place->context != NULL)
        return context_field(place->context, key);
    const char *text = variable != NULL ? getenv(variable) : NULL;
    return text != NULL && text[0] != '\0' ? strdup(text) : NULL;
}

static const char *name_of(const struct place *place, const struct shared *from,
                           char label[600]) {
    if (place->context == NULL)
        return from->variable;
    snprintf(label, 600, "%s of the context %s (%.300s)", from->key, place->context->name,
             place->context->path);
    return label;
}

/* Whether something of the group has a value from a better place, or from this one. */
static bool is_taken(const struct parser *p, enum shared_group group) {
    for (size_t i = 0; i < COUNT(shared); i++)
        if (shared[i].group == group && options_source_of(p, shared[i].field) != OPTIONS_UNSET)
            return true;
    return false;
}

/* Whether this setting counts, after those that stand before it in the list. */
static bool is_wanted(const struct parser *p, const struct place *place,
                      const struct shared *from) {
    enum options_source user = options_source_of(p, OPTIONS_FIELD(user));
    switch (from->group) {
    case GROUP_WAY:
    case GROUP_API:
        return !is_taken(p, from->group);
    case GROUP_PASSWORD: /* that of a context is of its user */
        return user == place->source || (user > place->source && place->context == NULL);
    case GROUP_PAIR:
        return from->field == OPTIONS_FIELD(tls_key)
                   ? options_source_of(p, OPTIONS_FIELD(tls_cert)) == place->source
                   : !is_taken(p, GROUP_PAIR);
    case GROUP_NONE:
        break;
    }
    return true;
}

int options_note(struct parser *p, const char *name) {
    char *before = p->out->origin;
    if (asprintf(&p->out->origin, "%s%s%s", before != NULL ? before : "",
                 before != NULL ? ", " : "", name) < 0) {
        p->out->origin = before;
        return options_fail_memory(p);
    }
    free(before);
    return 0;
}

/* Adds what was taken to what is said of the connection. */
static int note(struct parser *p, const struct place *place, const struct shared *from) {
    char name[PATH_MAX + 400];
    const struct context *context = place->context;
    if (context == NULL)
        return options_note(p, from->variable);
    bool named = p->out->origin != NULL && strstr(p->out->origin, context->path) != NULL;
    snprintf(name, sizeof(name), "the context %s (%s): %s", context->name, context->path,
             from->key);
    return options_note(p, named ? from->key : name);
}

/* A user JWT and its seed are a credentials file without the file. */
static int join_seed(struct parser *p, const struct place *place, const char *label,
                     char **value) {
    char *seed = get(place, SEED_VARIABLE, SEED_KEY), *both = NULL;
    if (seed == NULL)
        return options_fail(p, "%s: it needs %s, too", label,
                            place->context != NULL ? SEED_KEY : SEED_VARIABLE);
    int rc = secret_resolve(p, label, SECRET_TEXT, &seed);
    if (rc == 0 && asprintf(&both, KEYS_INLINE "%s\n%s", *value, seed) < 0)
        both = NULL;
    secret_free(seed);
    if (rc != 0 || both == NULL)
        return rc != 0 ? rc : options_fail_memory(p);
    secret_free(*value);
    *value = both;
    return 0;
}

static int set(struct parser *p, const struct options_option *option, const char *label,
               char **value) {
    void *at = (char *)p->out + option->field;
    if (strncmp(*value, KEYS_INLINE, strlen(KEYS_INLINE)) != 0)
        return options_set_value(p, option, label, *value);
    *(char **)at = *value;
    *value = NULL;
    return 0;
}

static int take(struct parser *p, const struct place *place, const struct shared *from) {
    const struct options_option *option = find_option(p, from->field);
    char label[600];
    const char *name = name_of(place, from, label);
    if (option == NULL || p->source[option - options_table] != OPTIONS_UNSET ||
        !is_wanted(p, place, from))
        return 0;
    char *value = get(place, from->variable, from->key);
    if (value == NULL)
        return 0;
    int rc = secret_resolve(p, name, from->form, &value);
    if (rc == 0 && from->field == OPTIONS_FIELD(creds) && from->form == SECRET_TEXT)
        rc = join_seed(p, place, name, &value);
    if (rc == 0 && value != NULL)
        rc = set(p, option, name, &value);
    p->source[option - options_table] = place->source;
    secret_free(value);
    return rc == 0 ? note(p, place, from) : rc;
}

/* A user without a password is a token: so it is for the tool. */
static void make_token(struct parser *p) {
    const struct options_option *user = find_option(p, OPTIONS_FIELD(user));
    const struct options_option *token = find_option(p, OPTIONS_FIELD(token));
    struct options *o = p->out;
    if (user == NULL || token == NULL || p->source[user - options_table] != OPTIONS_NATS ||
        o->password != NULL)
        return;
    o->token = o->user;
    o->user = NULL;
    p->source[token - options_table] = OPTIONS_NATS;
    p->source[user - options_table] = OPTIONS_UNSET;
}

static int take_all(struct parser *p, const struct place *place) {
    for (size_t i = 0; i < COUNT(shared); i++) {
        int rc = take(p, place, &shared[i]);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* A duration as programs in Go take it: "500ms", "1m30s"; negative: it is none. */
static double read_duration(const char *text) {
    static const struct {
        const char *name;
        double seconds;
    } units[] = {{"ns", 1e-9}, {"us", 1e-6}, {"ms", 1e-3}, {"s", 1}, {"m", 60}, {"h", 3600}};
    double sum = *text != '\0' ? 0 : -1;
    while (*text != '\0' && sum >= 0) {
        char *end;
        const char *unit = text + strspn(text, "0123456789.");
        size_t len = strcspn(unit, "0123456789."), at = 0;
        double number = strtod(text, &end); /* which would take more than digits */
        while (at < COUNT(units) &&
               (strlen(units[at].name) != len || strncmp(units[at].name, unit, len) != 0))
            at++;
        if (unit == text || end != unit || at == COUNT(units))
            return -1;
        sum += number * units[at].seconds;
        text = unit + len;
    }
    return sum;
}

/* How long the tool waits for an answer. Where time ends what would else go on, or is waited
 * for in any case, it means something else. */
static int take_timeout(struct parser *p) {
    static const char name[] = "NATS_TIMEOUT";
    const char *text = getenv(name);
    bool waits = p->out->command == OPTIONS_REQUEST || p->out->command == OPTIONS_PUB;
    if (!waits || text == NULL || *text == '\0' ||
        options_source_of(p, OPTIONS_FIELD(timeout)) != OPTIONS_UNSET)
        return 0;
    double seconds = read_duration(text);
    if (!(seconds >= 1e-3 && seconds <= 1e6))
        return options_fail(p, "%s: %s is not a duration like 5s, 500ms or 1m30s", name, text);
    p->out->timeout = seconds;
    return 0;
}

/* What the tool does and we do not: without it one would be somebody else, or elsewhere. */
static int check_unsupported(struct parser *p, const struct context *context) {
    static const char *const fields[] = {"socks_proxy", "nsc"};
    for (size_t i = 0; i < COUNT(fields); i++) {
        char *value = context_field(context, fields[i]);
        if (value == NULL)
            continue;
        secret_free(value);
        return options_fail(p, "the context %s (%s) has %s, which lunats does not know%s",
                            context->name, context->path, fields[i],
                            i == 1 ? ": `nsc generate creds` makes a file for its field creds"
                                   : "");
    }
    return 0;
}

static int read_context(struct parser *p, const char *name, bool optional) {
    struct context context;
    int rc = context_open(p, name, optional, &context);
    if (rc == 0 && context.text != NULL)
        rc = check_unsupported(p, &context);
    if (rc == 0 && context.text != NULL)
        rc = take_all(p, &(struct place){OPTIONS_CONTEXT, &context});
    context_close(&context);
    return rc;
}

int options_read_nats(struct parser *p) {
    const struct options *o = p->out;
    const struct options_option *context = find_option(p, OPTIONS_FIELD(context));
    const struct options_usage *command = &options_commands[o->command];
    int rc = 0;
    if (command->connection == OPTIONS_SERVERS) {
        rc = take_all(p, &(struct place){OPTIONS_NATS, NULL});
        if (rc == 0)
            rc = take_timeout(p);
        make_token(p);
        if (rc == 0 && context != NULL && o->context == NULL)
            rc = options_read_variable(p, context, "NATS_CONTEXT", OPTIONS_NATS);
    }
    if (rc != 0)
        return rc;
    if (o->context != NULL)
        return read_context(p, o->context, false);
    /* A service connects where somebody has sent it; a tool in a terminal goes where `nats`
     * would go. */
    bool is_tool = command->connection == OPTIONS_SERVERS && !command->serves;
    return is_tool && !o->server_given ? read_context(p, CONTEXT_SELECTED, true) : 0;
}
