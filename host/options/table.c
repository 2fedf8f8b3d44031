/* SPDX-License-Identifier: Apache-2.0 */
#include "host/options/table.h"

#include <stdbool.h>
#include <string.h>

enum {
    RUN = 1U << OPTIONS_RUN,
    DEV = 1U << OPTIONS_DEV,
    TEST = 1U << OPTIONS_TEST,
    CHECK = 1U << OPTIONS_CHECK,
    DESCRIBE = 1U << OPTIONS_DESCRIBE,
    LUA = 1U << OPTIONS_LUA,
    RECORD = 1U << OPTIONS_RECORD,
    REQUEST = 1U << OPTIONS_REQUEST,
    PUB = 1U << OPTIONS_PUB,
    SUB = 1U << OPTIONS_SUB,
    PS = 1U << OPTIONS_PS,
    STATS = 1U << OPTIONS_STATS,
    TOP = 1U << OPTIONS_TOP,
    LOGS = 1U << OPTIONS_LOGS,
    CONSOLE = 1U << OPTIONS_CONSOLE,
    METRICS = 1U << OPTIONS_METRICS,
    DOCTOR = 1U << OPTIONS_DOCTOR,
    NEW = 1U << OPTIONS_NEW,
    DLQ = 1U << OPTIONS_DLQ,
    CLUSTER = PS | STATS | TOP | METRICS, /* about services, whatever their language */
    TOOLS = RECORD | REQUEST | PUB | SUB | LOGS | CONSOLE | DOCTOR | DLQ | CLUSTER,
    CONNECTED = RUN | TEST | LUA | TOOLS, /* to servers that the user names */
    PRIVATE = RUN | DEV | LUA,            /* to a private server that can be configured */
};

#define FLAG(name, commands, on, field, help, no_help)                                         \
    {                                                                                          \
        name, 0, OPTIONS_KIND_FLAG, commands, on, OPTIONS_FIELD(field), NULL, help, no_help,   \
            OPTIONS_ABOUT_ALL                                                                  \
    }
#define OPTION(name, letter, kind, commands, field, value, help, about)                        \
    { name, letter, kind, commands, 0, OPTIONS_FIELD(field), value, help, NULL, about }
#define VALUE(name, letter, kind, commands, field, value, help)                                \
    OPTION(name, letter, kind, commands, field, value, help, OPTIONS_ABOUT_ALL)
/* `dev` takes them, too, for servers that are configured with users or TLS. */
#define SERVERS(name, kind, field, value, help)                                                \
    OPTION(name, 0, kind, CONNECTED | DEV, field, value, help, OPTIONS_ABOUT_SERVERS)
#define TEXT(name, commands, field, value, help)                                               \
    VALUE(name, 0, OPTIONS_KIND_TEXT, commands, field, value, help)
#define OF_RUN "for --permissions: what `run` is given"
#define PATH(name, field, help) SERVERS(name, OPTIONS_KIND_FILE, field, "FILE", help)

/* clang-format off */
const struct options_option options_table[OPTIONS_COUNT] = {
    VALUE("server", 's', OPTIONS_KIND_SERVERS, RUN | TOOLS, servers, "URL",
          "NATS server; repeat it or separate several with commas (environment: NATS_URL; "
          "default " OPTIONS_DEFAULT_SERVER ")"),
    VALUE("server", 's', OPTIONS_KIND_SERVERS, TEST, servers, "URL",
          "NATS server to use instead of a private one; repeat it or separate several with "
          "commas"),
    VALUE("server", 's', OPTIONS_KIND_SERVERS, LUA, servers, "URL",
          "NATS server; repeat it or separate several with commas; without it there is no "
          "connection"),
    OPTION("context", 0, OPTIONS_KIND_TEXT, CONNECTED, context, "NAME",
           "context of the `nats` tool: server, keys and more that no option and no variable "
           "gives; @selected is the selected one", OPTIONS_ABOUT_SERVERS),
    SERVERS("user", OPTIONS_KIND_TEXT, user, "NAME", "user name"),
    SERVERS("password", OPTIONS_KIND_TEXT, password, "TEXT",
            "password; better given as LUNATS_PASSWORD, which `ps` does not show"),
    SERVERS("token", OPTIONS_KIND_TEXT, token, "TEXT", "token; better given as LUNATS_TOKEN"),
    PATH("creds", creds, "credentials file (JWT and seed)"),
    PATH("nkey", nkey, "file with an NKey seed"),
    PATH("tlsca", tls_ca, "certificates of the authorities to trust (PEM)"),
    PATH("tlscert", tls_cert, "client certificate (PEM)"),
    PATH("tlskey", tls_key, "private key of the client certificate (PEM)"),
    SERVERS("tls-name", OPTIONS_KIND_TEXT, tls_name, "HOST",
            "name that the certificate of the server must show (default: the host of the URL)"),
    SERVERS("tls-first", OPTIONS_KIND_FLAG, tls_first, NULL,
            "begin with TLS, for servers that are configured with `handshake_first`"),
    VALUE("connect-timeout", 0, OPTIONS_KIND_PERIOD, CONNECTED, connect_timeout, "SECONDS",
          "time for one attempt to connect (default 2)"),
    VALUE("ping-interval", 0, OPTIONS_KIND_PERIOD, CONNECTED, ping_interval, "SECONDS",
          "silence of the server after which it is asked for a sign of life; without one the "
          "connection counts as lost (default 5)"),
    VALUE("max-control-line", 0, OPTIONS_KIND_COUNT, CONNECTED, max_control_line, "BYTES",
          "limit of the server for one line with its subjects, where it has been changed "
          "(default 4096)"),
    VALUE("inbox-prefix", 0, OPTIONS_KIND_SUBJECT, CONNECTED, inbox_prefix, "SUBJECT",
          "where replies come to, for permissions of one's own (default _INBOX)"),
    SERVERS("js-domain", OPTIONS_KIND_TOKEN, js_domain, "NAME",
            "JetStream domain to work with"),
    SERVERS("js-prefix", OPTIONS_KIND_SUBJECT, js_prefix, "SUBJECT",
            "where the JetStream API is, if imported from another account (default $JS.API)"),
    TEXT("name", CONNECTED | DEV, name, "NAME",
         "name of the connection as the server shows it (default: SERVICE/INSTANCE)"),
    FLAG("retry", CONNECTED, 0, retry,
         "wait for a server instead of giving up when none is there at the start", NULL),
    FLAG("embedded", RUN | LUA, 0, embedded,
         "start a private nats-server with JetStream; it goes away with this process", NULL),
    OPTION("port", 0, OPTIONS_KIND_PORT, PRIVATE, port, "PORT",
           "port of the private nats-server (default: any free one)", OPTIONS_ABOUT_PRIVATE),
    OPTION("store", 0, OPTIONS_KIND_TEXT, PRIVATE, store, "DIR",
           "folder in which the private nats-server keeps streams from one run to the next",
           OPTIONS_ABOUT_PRIVATE),
    OPTION("server-config", 0, OPTIONS_KIND_FILE, PRIVATE, server_config, "FILE",
           "configuration of the private nats-server, on top of ours: limits, accounts, ...",
           OPTIONS_ABOUT_PRIVATE),
    FLAG("watch", RUN | DEV, DEV, watch,
         "reload a service when its script or a file that it loads changes",
         "do not reload when a file changes"),
    VALUE("watch-poll", 0, OPTIONS_KIND_PERIOD, RUN | DEV | TEST, watch_poll, "SECONDS",
          "look for changes that often instead of being told by the system, which hears nothing "
          "of those that other machines make; implies --watch"),
    FLAG("control", RUN | DEV, 0, control,
         "reload on a request to lunats.control.SERVICE.INSTANCE.reload, and take another log "
         "level on one to ....log_level", NULL),
    FLAG("console", RUN | DEV, 0, console,
         "let `lunats console` run code in the services: everybody may who may publish to "
         "lunats.console.>", NULL),
    VALUE("admin", 0, OPTIONS_KIND_ADDRESS, RUN | DEV, admin, "ADDRESS",
          "port for health, metrics and the like: 127.0.0.1:PORT, [::1]:PORT, unix:PATH or "
          "systemd:NAME; "
          "port 0 is a free one, which the log shows; off: none (default of run; dev takes a "
          "free port)"),
    VALUE("admin", 0, OPTIONS_KIND_ADDRESS, METRICS, admin, "ADDRESS",
          "where to serve them, as /metrics: 127.0.0.1:PORT, [::1]:PORT or unix:PATH"),
    VALUE("admin-token", 0, OPTIONS_KIND_FILE, RUN | DEV, admin_token, "FILE",
          "file (mode 0600) with what a request to the admin port must know to change "
          "something"),
    VALUE("http", 0, OPTIONS_KIND_ADDRESS, RUN | DEV, http, "ADDRESS",
          "port for what scripts serve by app.http: 127.0.0.1:PORT, 0.0.0.0:PORT, [::1]:PORT, "
          "unix:PATH or systemd:NAME; port 0 is a free one, which the log shows; off: none (default of run; dev "
          "takes 127.0.0.1:8080, or a free one)"),
    TEXT("otlp", RUN | DEV, otlp, "URL",
         "send traces to this collector, by OTLP over HTTP with JSON: http://127.0.0.1:4318 "
         "(environment: OTEL_EXPORTER_OTLP_ENDPOINT and other variables of OpenTelemetry)"),
    VALUE("workers", 0, OPTIONS_KIND_WORKERS, RUN, workers, "N",
          "serve with that many processes, which a parent starts, restarts and reloads; auto: "
          "as many as this one may use processors"),
    VALUE("workers", 0, OPTIONS_KIND_WORKERS, CHECK, workers, "N",
          "print what that many processes of `run` take from the server: connections, "
          "subscriptions, pulls"),
    FLAG("watch", TEST, 0, watch, "run again whenever a file changes", NULL),
    VALUE("jobs", 'j', OPTIONS_KIND_COUNT, TEST, jobs, "N",
          "run that many spec files at a time, each in a process with a server of its own"),
    FLAG("coverage", TEST, 0, coverage, "measure with luacov what the specs reach", NULL),
    FLAG("json", CHECK | DOCTOR, 0, json, "print one JSON document instead of text", NULL),
    FLAG("srv", METRICS, 0, srv, "required: of the services that answer $SRV", NULL),
    FLAG("once", METRICS, 0, once, "print them once and end, instead of --admin", NULL),
    FLAG("permissions", CHECK, 0, permissions,
         "print the least permissions with which the services work, as configuration of "
         "nats-server",
         NULL),
    FLAG("control", CHECK, 0, control, OF_RUN, NULL),
    FLAG("console", CHECK, 0, console, OF_RUN, NULL),
    VALUE("log-subject", 0, OPTIONS_KIND_SUBJECT, CHECK, log_subject, "SUBJECT", OF_RUN),
    VALUE("inbox-prefix", 0, OPTIONS_KIND_SUBJECT, CHECK, inbox_prefix, "SUBJECT", OF_RUN),
    VALUE("js-domain", 0, OPTIONS_KIND_TOKEN, CHECK, js_domain, "NAME", OF_RUN),
    VALUE("js-prefix", 0, OPTIONS_KIND_SUBJECT, CHECK, js_prefix, "SUBJECT", OF_RUN),
    FLAG("json", REQUEST | SUB, 0, json,
         "print each message as one line of JSON: subject, reply_to, headers, data", NULL),
    FLAG("json", PUB, 0, json, "print what was published as one line of JSON", NULL),
    FLAG("json", LOGS, 0, json, "print the lines as the services send them: JSON", NULL),
    FLAG("json", PS | STATS, 0, json, "print one JSON document instead of a table", NULL),
    FLAG("json", DLQ, 0, json, "print one JSON object a line instead of text", NULL),
    TEXT("stream", DLQ, of_stream, "NAME", "only letters whose message was in that stream"),
    TEXT("consumer", DLQ, of_consumer, "NAME", "only those that this consumer gave up"),
    TEXT("subject", DLQ, of_subject, "SUBJECT",
         "only those whose message had that subject; wildcards are allowed"),
    TEXT("reason", DLQ, reason, "TEXT", "only those with this in their reason or error"),
    VALUE("since", 0, OPTIONS_KIND_PERIOD, DLQ, since, "SECONDS",
          "only those that were given up in the last so many seconds"),
    VALUE("to", 0, OPTIONS_KIND_SUBJECT, DLQ, to, "SUBJECT",
          "redrive: where they go, instead of the subject that they had"),
    FLAG("all", DLQ, 0, all, "redrive: all of them, if nothing else says which", NULL),
    FLAG("dry-run", DLQ, 0, dry_run, "redrive: only say which, and where to", NULL),
    FLAG("force", DLQ, 0, force,
         "redrive: those, too, of which an earlier run has left unknown whether they are back "
         "already", NULL),
    VALUE("header", 'H', OPTIONS_KIND_HEADERS, REQUEST | PUB, headers, "NAME:VALUE",
          "a header of the message; may be repeated"),
    VALUE("execute", 'e', OPTIONS_KIND_CODE, LUA, code, "CODE",
          "run this Lua first; may be repeated"),
    VALUE("execute", 'e', OPTIONS_KIND_CODE, CONSOLE, code, "CODE",
          "run this in the service and end; may be repeated"),
    VALUE("interactive", 'i', OPTIONS_KIND_FLAG, LUA, interactive, NULL,
          "read Lua line by line in the end, run it and print its results"),
    TEXT("template", NEW, template, "NAME",
         "what it begins with: service (default), http, worker"),
    VALUE("output", 'o', OPTIONS_KIND_TEXT, RECORD, output, "FILE",
          "required: where the messages go, one JSON object a line; - is the "
          "standard output"),
    VALUE("count", 0, OPTIONS_KIND_COUNT, RECORD | SUB | LOGS, count, "N",
          "stop after that many messages"),
    VALUE("count", 0, OPTIONS_KIND_COUNT, DLQ, count, "N",
          "no more than that many; ls shows 1000 if nothing is said"),
    VALUE("count", 0, OPTIONS_KIND_COUNT, REQUEST | PUB, count, "N",
          "send the message that many times (default 1)"),
    VALUE("replies", 0, OPTIONS_KIND_COUNT, REQUEST, replies, "N",
          "collect up to that many replies of several services, until --timeout"),
    VALUE("timeout", 0, OPTIONS_KIND_PERIOD, REQUEST | PUB, timeout, "SECONDS",
          "time for the answer (default 5)"),
    VALUE("timeout", 0, OPTIONS_KIND_PERIOD, TEST, timeout, "SECONDS",
          "how long svc:request, svc:http and svc:expect wait unless told (default 2)"),
    VALUE("timeout", 0, OPTIONS_KIND_PERIOD, SUB | LOGS, timeout, "SECONDS",
          "stop after that time; with --count the status is 1 then"),
    VALUE("timeout", 0, OPTIONS_KIND_PERIOD, CLUSTER, timeout, "SECONDS",
          "collect answers for that time (default: until none has come for 0.5, at most 2)"),
    VALUE("timeout", 0, OPTIONS_KIND_PERIOD, CONSOLE, timeout, "SECONDS",
          "time for one command (default 10)"),
    VALUE("interval", 0, OPTIONS_KIND_PERIOD, METRICS, interval, "SECONDS",
          "time between two looks at the services (default 5)"),
    VALUE("interval", 0, OPTIONS_KIND_PERIOD, TOP, interval, "SECONDS",
          "time between two looks (default 1)"),
    VALUE("seconds", 0, OPTIONS_KIND_SECONDS, RECORD, seconds, "S", "stop after that time"),
    VALUE("drain-timeout", 0, OPTIONS_KIND_SECONDS, CONNECTED | DEV, drain_timeout, "SECONDS",
          "time for running handlers to end at a stop or reload (default 30)"),
    VALUE("slice", 0, OPTIONS_KIND_BOUND, RUN | DEV, slice, "SECONDS",
          "processor time after which a handler, timer or task that does not wait is ended with "
          "an error (default 1; off: never)"),
    VALUE("memory", 0, OPTIONS_KIND_BYTES, RUN | DEV, memory, "BYTES",
          "memory that each service may use, as 64M or 1G; a handler that wants more fails "
          "(default: off)"),
    VALUE("stall-exit", 0, OPTIONS_KIND_BOUND, RUN | DEV, stall_exit, "SECONDS",
          "end the process, with status 4, when one call holds it that long and cannot be ended "
          "(default: off)"),
    VALUE("errors", 0, OPTIONS_KIND_ERRORS, RUN | DEV, errors, "FORM",
          "what a sender is told of an error that a handler raises: full (its text) or short "
          "(an id that the log has, too; default of run)"),
    VALUE("libs", 0, OPTIONS_KIND_LIBS, RUN | DEV | CHECK | DESCRIBE, safe_libs, "WHICH",
          "which libraries of Lua scripts have: all (default), or safe: without files, "
          "processes, C modules, byte code and the library debug"),
    VALUE("log-format", 0, OPTIONS_KIND_FORMAT, CONNECTED | DEV | CHECK | DESCRIBE, log_format, "FORMAT",
          "text or json (default text)"),
    VALUE("log-level", 0, OPTIONS_KIND_LEVEL, CONNECTED | DEV | CHECK | DESCRIBE, log_level, "LEVEL",
          "debug, info, warn, error or off (default info; test: warn)"),
    VALUE("log-limit", 0, OPTIONS_KIND_LIMIT, RUN | DEV, log_limit, "N",
          "how often in a second the same line is written; more are counted (default 100; off: "
          "no limit)"),
    VALUE("log-subject", 0, OPTIONS_KIND_SUBJECT, RUN | DEV, log_subject, "SUBJECT",
          "publish each line of a service as JSON, too, on SUBJECT.SERVICE.INSTANCE"),
    VALUE("log-subject", 0, OPTIONS_KIND_SUBJECT, LOGS, log_subject, "SUBJECT",
          "what the services have been given as --log-subject (default lunats.logs)"),
    VALUE("level", 0, OPTIONS_KIND_TEXT, LOGS, level, "LEVEL",
          "change the log level of SERVICE: debug, info, warn, error, off, or reset to what its "
          "--log-level says"),
};

const struct options_usage options_commands[OPTIONS_COMMANDS] = {
    [OPTIONS_RUN] = {
        "run", "SCRIPT...", "serve; each script is one service",
        "Serves until SIGINT or SIGTERM. Each SCRIPT is one service with a connection\n"
        "and a Lua state of its own; a directory means its *.lua files, specs left out\n"
        "and those that declare nothing (modules). With --watch new files are started.\n",
        "  lunats run orders.lua\n"
        "  lunats run -s nats://a:4222,nats://b:4222 --retry services/\n"
        "  LUNATS_PASSWORD=secret lunats run --user orders --log-format json orders.lua\n",
        OPTIONS_SERVERS, NULL, true},
    [OPTIONS_DEV] = {
        "dev", "[SCRIPT...]", "run with a private nats-server",
        "Like `lunats run --embedded`: starts a nats-server with JetStream on a free\n"
        "port and prints its URL. The server and what it stored go away with this\n"
        "process, unless --store says where to keep it. Users and TLS of --server-config\n"
        "need --user, --tlsca and so on: variables are about other servers. Without a\n"
        "SCRIPT it serves those of this folder.\n",
        "  lunats dev\n"
        "  lunats dev orders.lua\n"
        "  lunats dev --port 4222 --store ./data orders.lua\n"
        "  lunats dev --log-level debug services/\n",
        OPTIONS_PRIVATE, NULL, true},
    [OPTIONS_TEST] = {
        "test", "[BUSTED ARGUMENTS]", "run busted specs inside the host",
        "Runs busted inside the host, so that specs may wait: request, fetch, sleep.\n"
        "From the first argument that is no option below, everything goes to busted as\n"
        "it is; `--` ends ours, too. --watch, --jobs and --coverage may stand anywhere\n"
        "before it. `.busted` is honoured, the exit status is busted's.\n",
        "  lunats test\n"
        "  lunats test -j 4\n"
        "  lunats test --watch --filter creates\n"
        "  lunats test --log-level debug spec/orders_spec.lua --filter creates\n"
        "  lunats test -- --help\n",
        OPTIONS_PRIVATE, "lunats.commands.test", false},
    [OPTIONS_CHECK] = {
        "check", "SCRIPT...", "load without connecting and report mistakes",
        "Reads and loads each SCRIPT without connecting: syntax, undeclared globals,\n"
        "unknown names of `app`, wrong options, subjects that overlap or cannot match,\n"
        "what luacheck says where it is installed; then lists what it declares. A\n"
        "directory means its *.lua files. The status is 1 when there are errors.\n",
        "  lunats check orders.lua\n"
        "  lunats check --json services/\n"
        "  lunats check --permissions orders.lua >orders.conf\n",
        OPTIONS_OFFLINE, "lunats.commands.check", false},
    [OPTIONS_DESCRIBE] = {
        "describe", "SCRIPT", "print what a service listens to, as AsyncAPI 3",
        "Loads SCRIPT without connecting, and prints a document of AsyncAPI 3 (JSON):\n"
        "a channel for each subject and subscription, with the schemas, descriptions\n"
        "and queue groups of the listeners. Those with `endpoint = false` are left out.\n",
        "  lunats describe orders.lua >orders.asyncapi.json\n",
        OPTIONS_OFFLINE, "lunats.commands.describe", false},
    [OPTIONS_LUA] = {
        "lua", "[FILE|-] [ARGUMENTS]", "run Lua inside the host, or type it in (-i)",
        "Runs FILE as `lua` would, with the modules of lunats and a running loop: calls\n"
        "of `app` may wait. `-` is the standard input. What -e says runs before, the\n"
        "lines of -i are read after it. Everything after FILE is the script's, in the\n"
        "table `arg`. `lunats FILE ...` is short for it, so that `busted --lua=lunats`\n"
        "works. A service is no such FILE: see `lunats run` and `lunats dev`.\n",
        "  lunats lua tools/fill.lua 1000\n"
        "  lunats lua -s nats://a:4222 -e 'print(app.js.account_info().streams)'\n"
        "  lunats lua -s nats://a:4222 -i\n"
        "  busted --lua=lunats spec\n",
        OPTIONS_OFFLINE, "lunats.commands.lua", false},
    [OPTIONS_RECORD] = {
        "record", "SUBJECT...", "write messages to a file, for testing.replay",
        "Writes every message of the subjects (wildcards allowed), with the reply where\n"
        "one is seen, as one JSON object a line. SIGINT ends it. To see the replies it\n"
        "subscribes to _INBOX.> as well, which needs the permission for it, or to what\n"
        "--inbox-prefix says.\n",
        "  lunats record 'orders.>' -o orders.jsonl\n"
        "  lunats record -s nats://demo.nats.io greet --count 10 -o greet.jsonl\n",
        OPTIONS_SERVERS, "lunats.commands.record", false},
    [OPTIONS_NEW] = {
        "new", "NAME", "start a service: script, spec and settings in a new folder",
        "Makes the folder NAME with a service, its spec, a Containerfile, a workflow\n"
        "that tests it, and what editors and tools need to know. `lunats test` in it\n"
        "passes at once. Nothing is ever overwritten. Templates: `service` answers\n"
        "requests, `http` serves routes, `worker` works off a stream.\n",
        "  lunats new orders && cd orders && lunats test && lunats dev orders.lua\n"
        "  lunats new mailer --template worker\n",
        OPTIONS_OFFLINE, "lunats.commands.new", false},
    [OPTIONS_REQUEST] = {
        "request", "SUBJECT [BODY|-]", "send a request and print the reply",
        "Sends BODY, or the standard input for `-`, and prints the body of the reply.\n"
        "An error reply goes to the standard error with its code. The status is 1 for\n"
        "an error reply, and when no reply comes.\n",
        "  lunats request greet '{\"name\":\"Ada\"}'\n"
        "  lunats request images.shrink - <photo.jpg >small.jpg\n"
        "  lunats request stock.level --json -H Trace:7 --timeout 2 | jq .data\n"
        "  lunats request '$SRV.PING' --replies 100 --timeout 1\n",
        OPTIONS_SERVERS, "lunats.commands.request", false},
    [OPTIONS_PUB] = {
        "pub", "SUBJECT [BODY|-]", "publish a message",
        "Publishes BODY, or the standard input for `-`, and waits until the server has\n"
        "it. The status is 1 when the server refuses it. Whether a stream has stored\n"
        "it, `lunats request` shows: the stream replies.\n",
        "  lunats pub orders.created '{\"id\":1}'\n"
        "  lunats pub -s nats://a:4222 logs.app - <app.log\n"
        "  lunats pub load.test x --count 1000 -H Nats-Msg-Id:7\n",
        OPTIONS_SERVERS, "lunats.commands.pub", false},
    [OPTIONS_SUB] = {
        "sub", "SUBJECT...", "print the messages of some subjects",
        "Prints every message of the subjects (wildcards allowed): subject, headers in\n"
        "parentheses, body. Services go on getting them. SIGINT ends it; an outage of\n"
        "the server does not.\n",
        "  lunats sub 'orders.>'\n"
        "  lunats sub orders.done --count 1 --timeout 10\n"
        "  lunats sub 'orders.*' --json | jq -c '[.subject, .data.id]'\n",
        OPTIONS_SERVERS, "lunats.commands.sub", false},
    [OPTIONS_PS] = {
        "ps", "[NAME]", "list the services of the cluster",
        "Lists every running instance of the services that answer $SRV, whatever their\n"
        "language: requests, errors and the average time of all their endpoints, since\n"
        "when and where they run. NAME, or NAME/INSTANCE, shows these only. The status\n"
        "is 1 when nobody answers.\n",
        "  lunats ps\n"
        "  lunats ps orders --json | jq -r '.[].id'\n",
        OPTIONS_SERVERS, "lunats.commands.ps", false},
    [OPTIONS_STATS] = {
        "stats", "[NAME]", "show the numbers of their endpoints",
        "Shows requests, errors, the average time and the last error of each endpoint\n"
        "of the services that answer $SRV, whatever their language; with --json as they\n"
        "have sent them. NAME, or NAME/INSTANCE, shows these only. The status is 1 when\n"
        "nobody answers.\n",
        "  lunats stats\n"
        "  lunats stats orders/V1StGXR8Z5jdHi6B\n"
        "  lunats stats orders --json | jq '[.[].endpoints[].num_errors] | add'\n",
        OPTIONS_SERVERS, "lunats.commands.stats", false},
    [OPTIONS_TOP] = {
        "top", "[NAME]", "watch them: requests and errors a second",
        "Shows the services that answer $SRV, whatever their language, with what has\n"
        "happened between two looks. Keys: n, r, e, t sort by name, requests, errors,\n"
        "time; v shows endpoints instead of instances; p or space pauses; q ends.\n",
        "  lunats top\n"
        "  lunats top orders --interval 5\n",
        OPTIONS_SERVERS, "lunats.commands.top", false},
    [OPTIONS_LOGS] = {
        "logs", "[SERVICE]", "show log lines of services, or change their level",
        "Shows the lines of all services, or of SERVICE or SERVICE/INSTANCE, as they\n"
        "come, if these run with --log-subject lunats.logs. SIGINT ends it. With --level\n"
        "it changes the level of each instance instead, if these run with --control, and\n"
        "ends; the status is 1 unless all have it.\n",
        "  lunats logs\n"
        "  lunats logs orders --json | jq -r 'select(.level == \"error\") | .message'\n"
        "  lunats logs orders --level debug\n"
        "  lunats logs orders --level reset\n",
        OPTIONS_SERVERS, "lunats.commands.logs", false},
    [OPTIONS_CONSOLE] = {
        "console", "SERVICE", "run Lua in a service that runs",
        "Reads Lua line by line, runs it in SERVICE, or in SERVICE/INSTANCE, and prints\n"
        "what it prints and returns. It sees the globals of the script and `app`, and\n"
        "may wait; an error does no harm to the service. The service must run with\n"
        "--console; each command is in its log.\n",
        "  lunats console orders\n"
        "  lunats console orders -e 'app.state.paused = true' -e 'return app.state'\n",
        OPTIONS_SERVERS, "lunats.commands.console", false},
    [OPTIONS_METRICS] = {
        "metrics", "--srv", "metrics of the cluster's services for Prometheus",
        "Serves the numbers of all services that answer $SRV, whatever their language,\n"
        "as /metrics of an admin port: requests, errors and time of each endpoint. With\n"
        "--once it prints them and ends; the status is 1 when nobody answers.\n",
        "  lunats metrics --srv --admin 127.0.0.1:9222\n"
        "  lunats metrics --srv --once | promtool check metrics\n",
        OPTIONS_SERVERS, "lunats.commands.metrics", false},
    [OPTIONS_DOCTOR] = {
        "doctor", "", "find out what is missing or wrong here",
        "Looks at this program and its modules, nats-server and busted, the limits of\n"
        "the process, and at the server that `lunats run` with the same options would\n"
        "connect to: whether it can be reached, JetStream, permissions, its clock. What\n"
        "is wrong stands with what to do about it; the status is 1 then. A note is about\n"
        "something that not every service needs.\n",
        "  lunats doctor\n"
        "  lunats doctor --server tls://nats.example.com --creds orders.creds\n",
        OPTIONS_SERVERS, "lunats.commands.doctor", false},
    [OPTIONS_DLQ] = {
        "dlq", "ls|show|redrive STREAM [SEQ...]", "look at dead letters, or send them back",
        "STREAM is the stream of dead letters, or their subject. `ls` lists them, `show`\n"
        "prints one, `redrive` publishes their messages where they were and removes the\n"
        "letters: those of the numbers, those that the filters leave, or --all. What is\n"
        "interrupted may be run again: no message gets back twice. The status is 1 when\n"
        "one of them cannot go back.\n",
        "  lunats dlq ls DEAD --consumer worker --since 3600\n"
        "  lunats dlq show DEAD 17\n"
        "  lunats dlq redrive DEAD 17 18\n"
        "  lunats dlq redrive dead.orders --reason 'no route' --dry-run\n",
        OPTIONS_SERVERS, "lunats.commands.dlq", false},
    [OPTIONS_VERSION] = {
        "version", "", "print the version", "", "", OPTIONS_OFFLINE, NULL, false},
    [OPTIONS_HELP] = {
        "help", "[COMMAND]", "show this, or the help of a command", "",
        "  lunats new orders && cd orders && lunats test && lunats dev orders.lua\n"
        "  lunats run -s nats://demo.nats.io --watch orders.lua\n"
        "  lunats request orders.greet '{\"name\":\"Ada\"}'\n",
        OPTIONS_OFFLINE, NULL, false},
};
/* clang-format on */

const char *options_command_name(enum options_command command) {
    return options_commands[command].name;
}

const char *options_command_module(enum options_command command) {
    return options_commands[command].module;
}

const char *options_lua_file(const struct options *options) {
    bool given = options->command == OPTIONS_LUA && options->script_count > 0;
    return given && strcmp(options->scripts[0], "-") != 0 ? options->scripts[0] : NULL;
}

bool options_command_needs_no_inbox(enum options_command command) {
    return command == OPTIONS_PUB || command == OPTIONS_SUB || command == OPTIONS_RECORD;
}

bool options_command_serves(enum options_command command) {
    return options_commands[command].serves;
}
