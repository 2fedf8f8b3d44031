/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The settings of the process: command line over environment over defaults.
 *
 * One table in table.c holds every option with its environment variable, its help text
 * and the commands that take it; parser, help and suggestions all read that table.
 */
#ifndef LUNATS_OPTIONS_H
#define LUNATS_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "host/base/log.h"

#define OPTIONS_DEFAULT_SERVER "nats://127.0.0.1:4222"
#define OPTIONS_WORKERS_MAX 256

enum options_command {
    OPTIONS_RUN,
    OPTIONS_DEV,
    OPTIONS_NEW,
    OPTIONS_CHECK,
    OPTIONS_TEST,
    OPTIONS_DESCRIBE,
    OPTIONS_LUA,
    OPTIONS_REQUEST,
    OPTIONS_PUB,
    OPTIONS_SUB,
    OPTIONS_RECORD,
    OPTIONS_PS,
    OPTIONS_STATS,
    OPTIONS_TOP,
    OPTIONS_LOGS,
    OPTIONS_CONSOLE,
    OPTIONS_METRICS,
    OPTIONS_DLQ,
    OPTIONS_DOCTOR,
    OPTIONS_VERSION, /* print the version, exit 0 */
    OPTIONS_HELP,    /* print options_help(stdout, topic), exit 0 */
};

/* What a command connects to. */
enum options_connection {
    OPTIONS_OFFLINE, /* nothing */
    OPTIONS_SERVERS, /* the servers of the list */
    OPTIONS_PRIVATE, /* a nats-server that begins and ends with this process */
};

/* What the sender of a message is told of an error that its handler raised. */
enum options_errors {
    OPTIONS_ERRORS_FULL,  /* its text */
    OPTIONS_ERRORS_SHORT, /* an id by which it is found in the log */
};

/* What an option was given that may be repeated, in order. */
struct options_list {
    char **items; /* ends with NULL; NULL: none */
    size_t count;
};

/* Everything is owned by the struct; strings are NULL when not set. */
struct options {
    enum options_command command;
    enum options_command topic; /* of OPTIONS_HELP: a command, or OPTIONS_HELP: the overview */

    /* What to run. Both lists end with NULL. */
    char **scripts; /* run, dev, check: at least one file, directories expanded; lua: FILE, or
                     * "-", or none */
    size_t script_count;
    char **folders; /* the directories among them, as they were named; ends with NULL */
    size_t folder_count;
    char **args; /* lua: what follows FILE; test: the arguments of busted; record: the
                  * subjects; new: the name; request, pub: the subject and perhaps the body;
                  * sub: the subjects; ps, stats, top: perhaps the name; dlq: what to
                  * do, the stream, and perhaps numbers */
    size_t arg_count;
    char **inherited; /* test: options as they were given, for the processes that it starts;
                       * run: the scripts, too; ends with NULL */
    size_t inherited_count;
    char *const *words; /* borrowed: argv of main(), which ends with NULL */

    /* The connection. */
    enum options_connection connection;
    char **servers; /* at least one URL, the default included; ends with NULL */
    size_t server_count;
    char *context;     /* of the `nats` tool: its name, the path of its file, or "@selected" */
    char *origin;      /* variables and context that say where to connect; no values */
    bool server_given; /* by flag or environment; otherwise servers is the default */
    char *user, *password, *token;
    char *creds;                       /* path of a .creds file */
    char *nkey;                        /* path of a file with an NKey seed */
    char *tls_ca, *tls_cert, *tls_key; /* paths of PEM files */
    char *tls_name;                    /* host name that the server's certificate must show */
    bool tls_first;                    /* TLS before the server has said a word */
    char *name;                        /* client name; NULL: the name of the service */
    bool retry;                        /* wait for a server instead of giving up at the start */
    double connect_timeout;            /* seconds for one attempt; default 2 */
    double ping_interval;              /* seconds of silence after which to probe; default 5 */
    long max_control_line;             /* bytes; default 4096, as the server's */
    char *inbox_prefix;                /* a subject; NULL: "_INBOX" */
    char *js_domain;                   /* a token; js_prefix follows from it */
    char *js_prefix;                   /* of the JetStream API, a subject; NULL: "$JS.API" */

    /* Behaviour. */
    bool embedded;       /* a private nats-server is asked for; always true for dev */
    long port;           /* of that server; 0: any free one */
    char *store;         /* folder that it keeps, or NULL: gone at the end */
    char *server_config; /* path of a file with more configuration for it, or NULL */
    bool identity_given; /* on the command line: user, token, creds or nkey */
    bool watch;          /* reload when a file changes (always true for dev); test: run again */
    double watch_poll;   /* seconds between two looks for changes; 0: the system tells */
    char *admin;       /* address of the admin port, or NULL; for dev a free one of loopback */
    bool admin_given;  /* somebody has asked for it, or for none */
    char *admin_token; /* path of a file */
    char *http;        /* address of the port of app.http, or NULL; for dev one of loopback */
    bool http_given;   /* somebody has asked for it, or for none */
    char *otlp;        /* URL of the collector of traces, or NULL */
    bool control;      /* obey requests, see trigger.h */
    bool console;      /* run, dev: `lunats console` may run code in the services */
    bool safe_libs;    /* scripts have the libraries that reach nothing outside of them */
    double drain_timeout; /* seconds given to running handlers at the end; default 30 */
    double slice;  /* run, dev: seconds of a call that does not wait, default 1; 0: no limit,
                    * as for the other commands */
    size_t memory; /* run, dev: bytes that each service may use; 0: no limit */
    double stall_exit; /* run, dev: seconds of a call after which the process ends; 0: never */

    long workers; /* run, check: processes that share the work, with a parent; 0: none */

    bool coverage;    /* test */
    long jobs;        /* test: spec files at a time; 0: all in this process */
    bool permissions; /* check: print those that the scripts need */
    bool srv;         /* metrics: of the services that answer $SRV */
    bool once;        /* metrics: print them and end */
    bool json;        /* check, request, pub, sub, ps, stats, help */
    char *output;     /* record: path of the file; "-": stdout */
    long count;       /* record, sub: stop after so many messages; 0: never; request, pub: how
                       * often; 0: once */
    double seconds;   /* record: stop after that time; 0: never */
    double timeout;   /* request, pub, sub, ps, ...: seconds; 0: the default of the command */
    char *level;      /* logs: what it shall be; NULL: no matter */
    char *template;   /* new: which one; NULL: service */
    double interval;  /* top, metrics: seconds; 0: the default of the command */
    long replies;     /* request: that many to each request; 0: one */
    char *of_stream; /* dlq: only those whose message was in it; NULL: all, as the next three */
    char *of_consumer;
    char *of_subject;            /* may have wildcards */
    char *reason;                /* a part of the reason or of the error */
    double since;                /* dlq: only those of so many seconds; 0: all */
    char *to;                    /* dlq: where they go; NULL: where they were */
    bool all;                    /* dlq */
    bool dry_run;                /* dlq: say what would be done */
    bool force;                  /* dlq: although they may have gone back already */
    struct options_list headers; /* request, pub: "Name: value" */
    struct options_list code;    /* lua, console: Lua to run first */
    bool interactive;            /* lua: read and run lines in the end */

    enum options_errors errors; /* default full; run: short */
    enum log_format log_format; /* default text */
    enum log_level log_level;   /* default info; test: warn */
    long log_limit;    /* run, dev: how often in a second the same line is written; default
                        * 100; 0: always, as for the other commands */
    char *log_subject; /* run, dev: lines are published below it, too; NULL: they are not;
                        * logs: where they are */
};

/*
 * Parses a command line (argv[0] is skipped) and the environment. Secrets in argv are
 * overwritten: everybody on the machine could see them. Returns 0 and fills *out, which the
 * caller gives to options_free(); or returns the exit status (2: wrong usage) with one or two
 * lines for people in `error` and nothing to free. Passwords and tokens never appear in
 * `error`.
 */
int options_parse(int argc, char **argv, struct options *out, char *error, size_t error_size);

/* Frees what options_parse() filled in. All zero is fine. */
void options_free(struct options *options);

/* Prints the help of a command, or the overview for OPTIONS_HELP and OPTIONS_VERSION. */
void options_help(FILE *out, enum options_command topic);

/* Prints what is known of all commands and options as JSON. False: not all of it. */
bool options_help_json(FILE *out);

/* The word of a command: "run", ... Borrowed, static. */
const char *options_command_name(enum options_command command);

/* The Lua module behind a command, which returns a function; NULL: the command runs the user's
 * scripts. Borrowed, static. */
const char *options_command_module(enum options_command command);

/* The FILE that `lunats lua` was given; NULL for other commands, the standard input, or none.
 * Borrowed. */
const char *options_lua_file(const struct options *options);

/* It sends no requests, and so wants no inbox for replies. */
bool options_command_needs_no_inbox(enum options_command command);

/* Its scripts are services, which go on until they are stopped; others run to their end. */
bool options_command_serves(enum options_command command);

#endif
