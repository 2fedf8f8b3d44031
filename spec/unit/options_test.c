/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spec/unit/options.h"
#include "spec/unit/options_folder.h"
#include "spec/unit/test.h"

static void scripts_and_defaults(void) {
    CHECK_INT(parse("run b.lua a.lua"), 0);
    CHECK_INT(options.command, OPTIONS_RUN);
    CHECK_INT(options.script_count, 2);
    CHECK_STR(options.scripts[0], "b.lua");
    CHECK_STR(options.scripts[1], "a.lua");
    CHECK(options.scripts[2] == NULL);
    CHECK_INT(options.server_count, 1);
    CHECK_STR(options.servers[0], "nats://127.0.0.1:4222");
    CHECK(options.servers[1] == NULL && !options.server_given);
    CHECK(options.user == NULL && options.creds == NULL && options.name == NULL);
    CHECK(!options.embedded && !options.retry);
    CHECK(options.drain_timeout >= 30 && options.drain_timeout <= 30);
    CHECK(options.slice >= 1 && options.slice <= 1 && options.stall_exit <= 0);
    CHECK_INT(options.memory, 0);
    CHECK(options.connect_timeout >= 2 && options.connect_timeout <= 2);
    CHECK(options.ping_interval >= 5 && options.ping_interval <= 5);
    CHECK_INT(options.max_control_line, 4096);
    CHECK(options.inbox_prefix == NULL && options.js_prefix == NULL);
    CHECK(options.tls_name == NULL && !options.tls_first);
    CHECK(options.log_format == LOG_FORMAT_TEXT && options.log_level == LOG_LEVEL_INFO);
    CHECK_INT(options.errors, OPTIONS_ERRORS_SHORT);
    CHECK(!options.safe_libs);
}

static void every_option(void) {
    CHECK_INT(
        parse("run -s nats://a:1 --server=b:2,tls://c a.lua --user u --password=p --retry "
              "--tlsca a.lua --tlscert a.lua --tlskey b.lua --name n "
              "--log-format json --log-level=debug --drain-timeout 0.5 "
              "--slice 0.25 --stall-exit 20"),
        0);
    CHECK_INT(options.server_count, 3);
    CHECK_STR(options.servers[0], "nats://a:1");
    CHECK_STR(options.servers[1], "nats://b:2");
    CHECK_STR(options.servers[2], "tls://c");
    CHECK(options.server_given);
    CHECK_STR(options.user, "u");
    CHECK_STR(options.password, "p");
    CHECK_STR(options.tls_ca, "a.lua");
    CHECK_STR(options.tls_cert, "a.lua");
    CHECK_STR(options.tls_key, "b.lua");
    CHECK_STR(options.name, "n");
    CHECK(options.retry);
    CHECK(options.log_format == LOG_FORMAT_JSON && options.log_level == LOG_LEVEL_DEBUG);
    CHECK(options.drain_timeout >= 0.5 && options.drain_timeout <= 0.5);
    CHECK(options.slice >= 0.25 && options.slice <= 0.25 && options.stall_exit >= 20);
    CHECK_INT(parse("dev --slice off a.lua"), 0);
    CHECK(options.slice <= 0);
    CHECK_INT(parse("lua a.lua"), 0);
    CHECK(options.slice <= 0);
    CHECK_INT(parse("run --memory 67108865 a.lua"), 0);
    CHECK_INT(options.memory, (64 << 20) + 1);
    CHECK_INT(parse("dev --memory 2g a.lua"), 0);
    CHECK_INT(options.memory, 2LL << 30);
    CHECK_INT(parse("run --memory=1024K a.lua"), 0);
    CHECK_INT(options.memory, 1 << 20);
    CHECK_INT(parse("run --memory off a.lua"), 0);
    CHECK_INT(options.memory, 0);
    CHECK_INT(parse("run -snats://x --creds a.lua a.lua"), 0);
    CHECK_STR(options.servers[0], "nats://x");
    CHECK_STR(options.creds, "a.lua");
    CHECK_INT(parse("run --nkey a.lua -- a.lua"), 0);
    CHECK_STR(options.nkey, "a.lua");
    CHECK_INT(parse("run --token t --embedded a.lua"), 0);
    CHECK(options.embedded);
    CHECK_STR(options.token, "t");
    CHECK_INT(
        parse("run --tls-first --tls-name h --connect-timeout 0.5 --ping-interval 60 "
              "--max-control-line 8192 --inbox-prefix _INBOX.me --js-prefix hub.api a.lua"),
        0);
    CHECK(options.tls_first);
    CHECK_STR(options.tls_name, "h");
    CHECK(options.connect_timeout >= 0.5 && options.connect_timeout <= 0.5);
    CHECK(options.ping_interval >= 60 && options.ping_interval <= 60);
    CHECK_INT(options.max_control_line, 8192);
    CHECK_STR(options.inbox_prefix, "_INBOX.me");
    CHECK_STR(options.js_prefix, "hub.api");
}

static void errors_are_short_where_strangers_send(void) {
    CHECK_INT(parse("run --errors full a.lua"), 0);
    CHECK_INT(options.errors, OPTIONS_ERRORS_FULL);
    CHECK_INT(parse("dev a.lua"), 0);
    CHECK_INT(options.errors, OPTIONS_ERRORS_FULL);
    CHECK_INT(parse("dev --errors short a.lua"), 0);
    CHECK_INT(options.errors, OPTIONS_ERRORS_SHORT);
    setenv("LUNATS_ERRORS", "full", 1);
    CHECK_INT(parse("run a.lua"), 0);
    CHECK_INT(options.errors, OPTIONS_ERRORS_FULL);
    setenv("LUNATS_ERRORS", "short", 1);
    CHECK_INT(parse("test"), 0);
    CHECK_INT(options.errors, OPTIONS_ERRORS_FULL);
    unsetenv("LUNATS_ERRORS");
}

static void libraries_are_all_or_safe(void) {
    CHECK_INT(parse("dev --libs safe a.lua"), 0);
    CHECK(options.safe_libs);
    setenv("LUNATS_LIBS", "safe", 1);
    CHECK_INT(parse("check a.lua"), 0);
    CHECK(options.safe_libs);
    CHECK_INT(parse("run --libs all a.lua"), 0);
    CHECK(!options.safe_libs);
    unsetenv("LUNATS_LIBS");
}

static void a_domain_is_a_prefix(void) {
    CHECK_INT(parse("run --js-domain hub a.lua"), 0);
    CHECK_STR(options.js_prefix, "$JS.hub.API");
    setenv("LUNATS_JS_DOMAIN", "leaf", 1);
    CHECK_INT(parse("run --js-prefix other.api a.lua"), 0);
    CHECK_STR(options.js_prefix, "other.api");
    CHECK_INT(parse("record --js-domain hub -o x y"), 0);
    CHECK_STR(options.js_prefix, "$JS.hub.API");
    CHECK_INT(parse("lua -s x a.lua"), 0);
    CHECK_STR(options.js_prefix, "$JS.leaf.API");
    setenv("LUNATS_JS_PREFIX", "other.api", 1);
    CHECK_INT(parse("run a.lua"), 2);
    CHECK_STR(error,
              "--js-domain and --js-prefix exclude each other\nSee `lunats run --help`.");
    unsetenv("LUNATS_JS_DOMAIN");
    unsetenv("LUNATS_JS_PREFIX");
}

static void secrets_are_wiped_from_the_command_line(void) {
    char words[][64] = {"lunats",
                        "run",
                        "--user=bob",
                        "--password=s3cret",
                        "--password",
                        "s3cret",
                        "-snats://bob:s3cret@a:1,b:2",
                        "--server",
                        "tls://s3cret@c,nats://d:1",
                        "a.lua"};
    char *argv[sizeof(words) / sizeof(words[0])];
    int argc = sizeof(words) / sizeof(words[0]);
    for (int i = 0; i < argc; i++)
        argv[i] = words[i];
    options_free(&options);
    CHECK_INT(options_parse(argc, argv, &options, error, sizeof(error)), 0);
    CHECK_STR(words[2], "--user=bob");
    CHECK_STR(words[3], "--password=******");
    CHECK_STR(words[5], "******");
    CHECK_STR(words[6], "-snats://**********@a:1,b:2");
    CHECK_STR(words[8], "tls://******@c,nats://d:1");
    CHECK_STR(options.password, "s3cret");
    CHECK_STR(options.servers[0], "nats://bob:s3cret@a:1");
}

static void the_last_of_two_values_wins(void) {
    CHECK_INT(parse("run --name a --name b --retry --no-retry a.lua"), 0);
    CHECK_STR(options.name, "b");
    CHECK(!options.retry);
}

static void dev_is_embedded(void) {
    setenv("NATS_URL", "nats://elsewhere", 1);
    CHECK_INT(parse("dev a.lua"), 0);
    CHECK(options.embedded && !options.server_given);
    CHECK_INT(parse("run --embedded a.lua"), 0);
    CHECK(!options.server_given);
    CHECK_STR(options.servers[0], "nats://127.0.0.1:4222");
    CHECK_INT(parse("dev -s nats://x a.lua"), 2);
    CHECK_STR(error, "unknown option -s\nSee `lunats dev --help`.");
    unsetenv("NATS_URL");
}

static void specs_and_tools_stay_away_from_the_servers_of_services(void) {
    setenv("NATS_URL", "nats://elsewhere", 1);
    CHECK_INT(parse("test spec"), 0);
    CHECK(!options.server_given && options.connection == OPTIONS_PRIVATE);
    CHECK_INT(parse("lua a.lua"), 0);
    CHECK(!options.server_given && options.connection == OPTIONS_OFFLINE);
    CHECK_INT(parse("record -o - a"), 0);
    CHECK_STR(options.servers[0], "nats://elsewhere");
    unsetenv("NATS_URL");
    CHECK_INT(parse("lua -s nats://x a.lua"), 0);
    CHECK(options.server_given && options.connection == OPTIONS_SERVERS);
}

/* Under Kubernetes a service that is called "lunats" sets LUNATS_PORT=tcp://... */
static void variables_are_about_the_server_that_is_used(void) {
    setenv("LUNATS_PORT", "4333", 1);
    setenv("LUNATS_CREDS", "none.creds", 1);
    setenv("LUNATS_USER", "alice", 1);
    setenv("LUNATS_TLS_FIRST", "1", 1);
    static const char *const lines[] = {"dev a.lua", "run --embedded a.lua", "test",
                                        "lua a.lua", "lua --embedded a.lua"};
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        CHECK_INT(parse(lines[i]), 0);
        CHECK(options.creds == NULL && options.user == NULL && !options.tls_first);
        CHECK_INT(options.port, options.embedded ? 4333 : 0);
    }
    setenv("LUNATS_PORT", "tcp://10.0.0.1:4222", 1);
    unsetenv("LUNATS_CREDS");
    CHECK_INT(parse("run --user bob a.lua"), 0);
    CHECK_STR(options.user, "bob");
    CHECK(options.tls_first && options.creds == NULL);
    CHECK_INT(parse("dev --server-config a.lua --user bob --password x a.lua"), 2);
    unsetenv("LUNATS_PORT");
    CHECK_INT(parse("dev --server-config a.lua --user bob --password x a.lua"), 0);
    CHECK(options.identity_given);
    CHECK_STR(options.password, "x");
    unsetenv("LUNATS_USER");
    unsetenv("LUNATS_TLS_FIRST");
}

static void directories_mean_their_scripts(void) {
    CHECK_INT(parse("run services a.lua"), 0);
    CHECK_INT(options.script_count, 3);
    CHECK_STR(options.scripts[0], "services/x.lua");
    CHECK_STR(options.scripts[1], "services/y.lua");
    CHECK_STR(options.scripts[2], "a.lua");
    CHECK_INT(parse("check services/"), 0);
    CHECK_STR(options.scripts[0], "services/x.lua");
    CHECK_INT(parse("run empty"), 2);
    CHECK_STR(error, "no scripts (*.lua) in the directory empty\nSee `lunats run --help`.");
}

static void test_leaves_the_rest_to_busted(void) {
    CHECK_INT(parse("test"), 0);
    CHECK(options.arg_count == 0 && options.log_level == LOG_LEVEL_WARN);
    CHECK_INT(parse("test -s nats://x --log-level info --filter=a -s --help spec"), 0);
    CHECK_INT(options.command, OPTIONS_TEST);
    CHECK(options.server_given);
    CHECK_INT(options.arg_count, 4);
    CHECK_STR(options.args[0], "--filter=a");
    CHECK_STR(options.args[1], "-s");
    CHECK_STR(options.args[2], "--help");
    CHECK_STR(options.args[3], "spec");
    CHECK(options.args[4] == NULL);
    CHECK_INT(parse("test spec/x_spec.lua -o TAP"), 0);
    CHECK_INT(options.arg_count, 3);
    CHECK_INT(parse("test -o TAP"), 0);
    CHECK_INT(options.arg_count, 2);
    CHECK_INT(parse("test -- --help"), 0);
    CHECK_INT(options.command, OPTIONS_TEST);
    CHECK_STR(options.args[0], "--help");
}

/* Of `lunats test`, for the processes that it starts; what makes it start them is left out. */
static void options_are_inherited_as_they_were_given(void) {
    CHECK_INT(parse("test -j2 --name n --no-watch --log-level=info --filter a --name x "
                    "--coverage --jobs 3 b"),
              0);
    CHECK_INT(options.inherited_count, 4);
    CHECK_STR(options.inherited[0], "--name");
    CHECK_STR(options.inherited[1], "n");
    CHECK_STR(options.inherited[2], "--log-level=info");
    CHECK_STR(options.inherited[3], "--coverage");
    CHECK(options.inherited[4] == NULL);
    CHECK_INT(options.arg_count, 5);
}

static void commands_connect_to_what_they_need(void) {
    static const struct {
        const char *line;
        enum options_connection connection;
    } cases[] = {
        {"run a.lua", OPTIONS_SERVERS},      {"run --embedded a.lua", OPTIONS_PRIVATE},
        {"dev a.lua", OPTIONS_PRIVATE},      {"check a.lua", OPTIONS_OFFLINE},
        {"new x", OPTIONS_OFFLINE},          {"record -o x y", OPTIONS_SERVERS},
        {"lua a.lua", OPTIONS_OFFLINE},      {"lua -s x a.lua", OPTIONS_SERVERS},
        {"a.lua", OPTIONS_OFFLINE},          {"lua --embedded a.lua", OPTIONS_PRIVATE},
        {"test", OPTIONS_PRIVATE},           {"test -s x", OPTIONS_SERVERS},
        {"test --watch", OPTIONS_OFFLINE},   {"test -j 2", OPTIONS_OFFLINE},
        {"test -s x -j 2", OPTIONS_OFFLINE},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CHECK_INT(parse(cases[i].line), 0);
        CHECK_INT(options.connection, cases[i].connection);
        CHECK_INT(options_command_serves(options.command), i < 3);
    }
    CHECK_STR(options_command_module(OPTIONS_CHECK), "lunats.commands.check");
    CHECK(options_command_module(OPTIONS_RUN) == NULL);
}

static void lua_leaves_the_rest_to_the_script(void) {
    CHECK_INT(parse("lua --log-level debug a.lua --log-level x -- --help"), 0);
    CHECK_INT(options.command, OPTIONS_LUA);
    CHECK_INT(options.script_count, 1);
    CHECK_STR(options.scripts[0], "a.lua");
    CHECK_INT(options.arg_count, 4);
    CHECK_STR(options.args[0], "--log-level");
    CHECK_STR(options.args[3], "--help");
    CHECK_INT(parse("a.lua --ignore-lua spec"), 0);
    CHECK_INT(options.command, OPTIONS_LUA);
    CHECK_STR(options.scripts[0], "a.lua");
    CHECK_INT(options.arg_count, 2);
    CHECK_INT(parse("lua services"), 2);
    CHECK_STR(error,
              "cannot open the script services: Is a directory\nSee `lunats lua --help`.");
}

static void polling_implies_watching(void) {
    CHECK_INT(parse("run a.lua"), 0);
    CHECK(!options.watch && options.watch_poll == 0);
    CHECK_INT(parse("run --watch-poll 2.5 a.lua"), 0);
    CHECK(options.watch && options.watch_poll == 2.5);
    CHECK_INT(parse("dev --watch-poll=1 a.lua"), 0);
    CHECK(options.watch && options.watch_poll == 1);
    CHECK_INT(parse("test --filter x --watch-poll 1"), 0);
    CHECK(options.watch && options.watch_poll == 1);
    CHECK_INT(options.connection, OPTIONS_OFFLINE);
    CHECK_INT(options.inherited_count, 0);
    static const char *const wrong[] = {"0", "-1", "x", "nan", "1e9", ""};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        char line[80];
        snprintf(line, sizeof(line), "run --watch-poll=%s a.lua", wrong[i]);
        CHECK_INT(parse(line), 2);
        CHECK(strstr(error, "--watch-poll") != NULL);
    }
    CHECK_INT(parse("dev --no-watch --watch-poll 1 a.lua"), 2);
    CHECK(strstr(error, "--no-watch and --watch-poll exclude each other") != NULL);
    setenv("LUNATS_WATCH_POLL", "2", 1); /* how to watch, where something is watched */
    CHECK_INT(parse("dev --no-watch a.lua"), 0);
    CHECK(!options.watch);
    CHECK_INT(parse("run a.lua"), 0);
    CHECK(options.watch && options.watch_poll == 2);
    CHECK_INT(parse("test"), 0);
    CHECK(!options.watch);
    CHECK_INT(options.connection, OPTIONS_PRIVATE);
    CHECK_INT(parse("test --watch"), 0);
    CHECK(options.watch && options.watch_poll == 2);
    unsetenv("LUNATS_WATCH_POLL");
}

static void lua_takes_code_and_the_standard_input(void) {
    CHECK_INT(parse("lua -e a=1 -eb=2 - c -i"), 0);
    CHECK_INT(options.code.count, 2);
    CHECK_STR(options.code.items[0], "a=1");
    CHECK_STR(options.code.items[1], "b=2");
    CHECK(!options.interactive && options_lua_file(&options) == NULL);
    CHECK_STR(options.scripts[0], "-");
    CHECK_INT(options.arg_count, 2);
    CHECK_INT(parse("lua -i"), 0);
    CHECK(options.interactive && options.script_count == 0);
    CHECK_INT(parse("lua -i a.lua"), 0);
    CHECK_STR(options_lua_file(&options), "a.lua");
}

static void messages_have_a_subject_and_a_body(void) {
    CHECK_INT(parse("request a.b - -H A:b --header C: --timeout 0.5 --json --replies 3"), 0);
    CHECK_STR(options.args[0], "a.b");
    CHECK_STR(options.args[1], "-");
    CHECK_INT(options.headers.count, 2);
    CHECK_STR(options.headers.items[1], "C:");
    CHECK(options.timeout >= 0.5 && options.timeout <= 0.5);
    CHECK(options.json && options.replies == 3);
    CHECK_INT(options.connection, OPTIONS_SERVERS);
    CHECK_INT(parse("pub a --count 2"), 0);
    CHECK_INT(options.arg_count, 1);
    CHECK_INT(options.count, 2);
    CHECK_INT(parse("sub a.* b.> --count 2"), 0);
    CHECK_INT(options.arg_count, 2);
    setenv("NATS_URL", "nats://elsewhere", 1);
    CHECK_INT(parse("sub a"), 0);
    CHECK_STR(options.servers[0], "nats://elsewhere");
    unsetenv("NATS_URL");
}

static void help_and_version(void) {
    CHECK_INT(parse("--version"), 0);
    CHECK_INT(options.command, OPTIONS_VERSION);
    CHECK_INT(parse("--help"), 0);
    CHECK(options.command == OPTIONS_HELP && options.topic == OPTIONS_HELP);
    CHECK_INT(parse("help"), 0);
    CHECK(options.command == OPTIONS_HELP && options.topic == OPTIONS_HELP);
    CHECK_INT(parse("help test"), 0);
    CHECK(options.command == OPTIONS_HELP && options.topic == OPTIONS_TEST);
    CHECK_INT(parse("check --help no.lua"), 0);
    CHECK(options.command == OPTIONS_HELP && options.topic == OPTIONS_CHECK);
    CHECK_INT(parse("test -h"), 0);
    CHECK(options.command == OPTIONS_HELP && options.topic == OPTIONS_TEST);
    CHECK_INT(parse("help rnu"), 2);
}

static void environment_comes_after_the_command_line(void) {
    setenv("NATS_URL", "nats://env:1,env:2", 1);
    setenv("LUNATS_LOG_LEVEL", "error", 1);
    setenv("LUNATS_DRAIN_TIMEOUT", "5", 1);
    setenv("LUNATS_RETRY", "yes", 1);
    setenv("LUNATS_EMBEDDED", "0", 1);
    setenv("LUNATS_NAME", "", 1);
    setenv("LUNATS_PASSWORD", "secret", 1);
    CHECK_INT(parse("run --user u a.lua"), 0);
    CHECK_INT(options.server_count, 2);
    CHECK_STR(options.servers[1], "nats://env:2");
    CHECK(options.server_given && options.log_level == LOG_LEVEL_ERROR);
    CHECK(options.drain_timeout >= 5 && options.drain_timeout <= 5);
    CHECK(options.retry && !options.embedded && options.name == NULL);
    CHECK_STR(options.password, "secret");
    CHECK_INT(parse("run -s x --log-level info --no-retry --token t a.lua"), 0);
    CHECK_INT(options.server_count, 1);
    CHECK_STR(options.servers[0], "nats://x");
    CHECK(options.log_level == LOG_LEVEL_INFO && !options.retry && options.password == NULL);
    CHECK_INT(parse("check a.lua"), 0);
    setenv("LUNATS_SERVER", "nats://own", 1);
    CHECK_INT(parse("run --user u a.lua"), 0);
    CHECK_STR(options.servers[0], "nats://own");
    setenv("LUNATS_EMBEDDED", "1", 1);
    CHECK_INT(parse("run --user u -s x a.lua"), 0);
    CHECK(!options.embedded && options.server_given);
    setenv("LUNATS_RETRY", "maybe", 1);
    CHECK_INT(parse("run --user u a.lua"), 2);
    CHECK_STR(error, "LUNATS_RETRY: maybe is neither 1 nor 0\nSee `lunats run --help`.");
    static const char *const names[] = {
        "NATS_URL",    "LUNATS_LOG_LEVEL", "LUNATS_DRAIN_TIMEOUT", "LUNATS_RETRY",
        "LUNATS_NAME", "LUNATS_PASSWORD",  "LUNATS_SERVER",        "LUNATS_EMBEDDED"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        unsetenv(names[i]);
}

static void help_stays_below_80_columns(void) {
    for (int topic = OPTIONS_RUN; topic <= OPTIONS_HELP; topic++) {
        char *text = NULL;
        size_t size = 0;
        FILE *out = open_memstream(&text, &size);
        options_help(out, (enum options_command)topic);
        fclose(out);
        bool fits = true, examples = strstr(text, "\nExamples:\n") != NULL;
        for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n"))
            fits = fits && strlen(line) < 80;
        free(text);
        CHECK(fits && examples);
        CHECK(strlen(options_command_name((enum options_command)topic)) >= 2);
    }
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    if (!make_folder())
        return 1;
    RUN(scripts_and_defaults);
    RUN(every_option);
    RUN(errors_are_short_where_strangers_send);
    RUN(libraries_are_all_or_safe);
    RUN(a_domain_is_a_prefix);
    RUN(secrets_are_wiped_from_the_command_line);
    RUN(the_last_of_two_values_wins);
    RUN(dev_is_embedded);
    RUN(specs_and_tools_stay_away_from_the_servers_of_services);
    RUN(variables_are_about_the_server_that_is_used);
    RUN(directories_mean_their_scripts);
    RUN(test_leaves_the_rest_to_busted);
    RUN(options_are_inherited_as_they_were_given);
    RUN(commands_connect_to_what_they_need);
    RUN(lua_leaves_the_rest_to_the_script);
    RUN(polling_implies_watching);
    RUN(lua_takes_code_and_the_standard_input);
    RUN(messages_have_a_subject_and_a_body);
    RUN(help_and_version);
    RUN(environment_comes_after_the_command_line);
    RUN(help_stays_below_80_columns);
    options_free(&options);
    remove_folder();
    return test_end();
}
