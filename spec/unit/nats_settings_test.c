/* SPDX-License-Identifier: Apache-2.0 */
/* NATS_* and contexts of the `nats` tool: what wins, what they mean, what is said of them. */
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spec/unit/options.h"
#include "spec/unit/test.h"

static char folder[] = "/tmp/nats_settings_test.XXXXXX";

static void write_file(const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    CHECK(file != NULL);
    if (file == NULL)
        return;
    fputs(text, file);
    fclose(file);
}

static void write_context(const char *text) {
    write_file("nats/context/prod.json", text);
}

static const char *const variables[] = {
    "NATS_URL",       "NATS_USER",    "NATS_PASSWORD", "NATS_TOKEN",      "NATS_CREDS",
    "NATS_NKEY",      "NATS_JWT",     "NATS_SEED",     "NATS_CA",         "NATS_CERT",
    "NATS_KEY",       "NATS_CONTEXT", "LUNATS_USER",   "LUNATS_PASSWORD", "LUNATS_TOKEN",
    "LUNATS_CONTEXT", "NATS_TIMEOUT", "SECRET"};

static void forget(void) {
    for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++)
        unsetenv(variables[i]);
    unlink("nats/context.txt");
    write_context("{}");
}

static void every_variable(void) {
    setenv("NATS_URL", "nats://a:1,b:2", 1);
    setenv("NATS_USER", "ada", 1);
    setenv("NATS_PASSWORD", "turing", 1);
    setenv("NATS_CA", "a.lua", 1);
    setenv("NATS_CERT", "a.lua", 1);
    setenv("NATS_KEY", "b.key", 1);
    CHECK_INT(parse("run a.lua"), 0);
    CHECK_INT(options.server_count, 2);
    CHECK_STR(options.user, "ada");
    CHECK_STR(options.password, "turing");
    CHECK_STR(options.tls_ca, "a.lua");
    CHECK_STR(options.tls_cert, "a.lua");
    CHECK_STR(options.tls_key, "b.key");
    CHECK_STR(options.origin,
              "NATS_URL, NATS_USER, NATS_PASSWORD, NATS_CA, NATS_CERT, NATS_KEY");
    static const char *const ways[] = {"NATS_TOKEN", "NATS_NKEY", "NATS_CREDS"};
    unsetenv("NATS_USER");
    for (size_t i = 0; i < 3; i++) {
        setenv(ways[i], "a.lua", 1);
        CHECK_INT(parse("record -o - x"), 0);
        CHECK_STR(i == 0 ? options.token : i == 1 ? options.nkey : options.creds, "a.lua");
        CHECK((options.token != NULL) + (options.nkey != NULL) + (options.creds != NULL) == 1);
        CHECK(options.password == NULL); /* of nobody */
    }
}

static void a_user_without_password_is_a_token(void) {
    setenv("NATS_USER", "s3cret", 1);
    CHECK_INT(parse("run a.lua"), 0);
    CHECK_STR(options.token, "s3cret");
    CHECK(options.user == NULL);
    setenv("LUNATS_PASSWORD", "x", 1);
    CHECK_INT(parse("run a.lua"), 0);
    CHECK_STR(options.user, "s3cret");
}

static void a_context_gives_everything(void) {
    write_context(
        "{\"description\": \"\", \"url\": \"tls://x:1, y:2\", \"user\": \"ada\",\n"
        "\"password\": \"t\\u00fcr\\\"\\u003c\", \"ca\": \"~/a.lua\", \"token\": \"\","
        "\"cert\": \"$SECRET/a.lua\", \"key\": \"${SECRET}/b.key\", \"nsc\": \"\","
        "\"tls_first\": true, \"inbox_prefix\": \"_IN\", \"other\": [1, {\"a\": 2}],"
        "\"jetstream_domain\": \"hub\", \"jetstream_api_prefix\": \"x\"}");
    setenv("SECRET", ".", 1);
    static const char *const lines[] = {"run --context prod a.lua", "lua --context prod a.lua",
                                        "test --context prod",
                                        "run --context nats/context/prod.json a.lua"};
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        CHECK_INT(parse(lines[i]), 0);
        CHECK_STR(error, "");
        CHECK_INT(options.connection, OPTIONS_SERVERS);
        CHECK_INT(options.server_count, 2);
        CHECK_STR(options.servers[1], "nats://y:2");
        CHECK_STR(options.user, "ada");
        CHECK_STR(options.password, "t\xc3\xbcr\"<");
        CHECK(options.tls_ca != NULL && options.tls_ca[0] == '/');
        CHECK_STR(options.tls_cert, "./a.lua");
        CHECK_STR(options.tls_key, "./b.key");
        CHECK(options.tls_first);
        CHECK_STR(options.inbox_prefix, "_IN");
        CHECK_STR(options.js_prefix, "$JS.hub.API");
        CHECK(options.origin != NULL && strstr(options.origin, "\xc3\xbc") == NULL);
    }
}

static void options_win_over_variables_and_these_over_a_context(void) {
    write_context("{\"url\": \"nats://context\", \"user\": \"c\", \"password\": \"of c\"}");
    setenv("NATS_CONTEXT", "prod", 1);
    CHECK_INT(parse("run a.lua"), 0);
    CHECK_STR(options.servers[0], "nats://context");
    CHECK_STR(options.password, "of c");
    CHECK_INT(parse("run --user o a.lua"), 0);
    CHECK_STR(options.user, "o");
    CHECK(options.password == NULL);
    CHECK_INT(parse("run --token o a.lua"), 0);
    CHECK(options.user == NULL && options.password == NULL);
    setenv("NATS_TOKEN", "n", 1);
    setenv("NATS_CREDS", "", 1);
    CHECK_INT(parse("run a.lua"), 0);
    CHECK_STR(options.token, "n");
    CHECK(options.user == NULL);
    setenv("LUNATS_USER", "l", 1);
    CHECK_INT(parse("run -s o a.lua"), 0);
    CHECK_STR(options.user, "l");
    CHECK(options.token == NULL && options.password == NULL);
    CHECK_STR(options.servers[0], "nats://o");
    CHECK_INT(options.server_count, 1);
    setenv("NATS_URL", "nats://variable", 1);
    CHECK_INT(parse("run a.lua"), 0);
    CHECK_STR(options.servers[0], "nats://variable");
    setenv("NATS_CONTEXT", "none", 1);
    CHECK_INT(parse("run --context prod a.lua"), 0);
    CHECK_INT(parse("run a.lua"), 2);
}

static void private_servers_and_tools_are_left_alone(void) {
    setenv("NATS_CONTEXT", "none", 1);
    setenv("NATS_CREDS", "none", 1);
    setenv("LUNATS_CONTEXT", "none", 1);
    static const char *const lines[] = {"dev a.lua", "test", "lua a.lua",
                                        "run --embedded a.lua"};
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        CHECK_INT(parse(lines[i]), 0);
        CHECK(options.creds == NULL && options.origin == NULL && options.context == NULL);
    }
    unsetenv("LUNATS_CONTEXT");
    CHECK_INT(parse("lua -s x a.lua"), 0);
    CHECK(options.creds == NULL);
    CHECK_INT(parse("run --embedded --context prod a.lua"), 2);
    CHECK_STR(error, "--embedded and --context exclude each other\nSee `lunats run --help`.");
}

static void check_tells_where_run_would_connect(void) {
    CHECK_INT(parse("check a.lua"), 0);
    CHECK(options.origin == NULL);
    setenv("NATS_URL", "nats://u:s3cret@a:1,b", 1);
    setenv("LUNATS_TOKEN", "s3cret", 1);
    CHECK_INT(parse("check a.lua"), 0);
    CHECK_STR(options.origin,
              "connects to nats://a:1, nats://b; settings from LUNATS_TOKEN, NATS_URL");
    setenv("NATS_CONTEXT", "prdo", 1);
    CHECK_INT(parse("check a.lua"), 0);
    CHECK(strstr(options.origin, "cannot connect: there is no context prdo (") ==
          options.origin);
}

static void the_selected_context_is_for_tools(void) {
    write_context("{\"url\": \"nats://context\"}");
    CHECK_INT(parse("record -o - x"), 0);
    CHECK_STR(options.servers[0], "nats://127.0.0.1:4222");
    CHECK_INT(parse("run --context @selected a.lua"), 2);
    CHECK_STR(error, "no context is selected: `nats context select NAME` selects one\n"
                     "See `lunats run --help`.");
    write_file("nats/context.txt", "prod\n");
    CHECK_INT(parse("record -o - x"), 0);
    CHECK_STR(options.servers[0], "nats://context");
    CHECK_INT(parse("record -s y -o - x"), 0);
    CHECK_STR(options.servers[0], "nats://y");
    CHECK_INT(parse("run a.lua"), 0);
    CHECK_STR(options.servers[0], "nats://127.0.0.1:4222");
    CHECK_INT(parse("run --context @selected a.lua"), 0);
    CHECK_STR(options.servers[0], "nats://context");
}

static void secrets_may_be_somewhere_else(void) {
    write_context("{\"user\": \"ada\", \"password\": \"env://SECRET\"}");
    setenv("SECRET", "s3cret", 1);
    CHECK_INT(parse("run --context prod a.lua"), 0);
    CHECK_STR(options.password, "s3cret");
    write_file("secret", "from a file\n");
    write_context("{\"token\": \"file://secret\"}");
    CHECK_INT(parse("run --context prod a.lua"), 0);
    CHECK_STR(options.token, "from a file");
    write_context("{\"token\": \"data:;base64,czNjcmV0\", \"ca\": \"file://a.lua\"}");
    CHECK_INT(parse("run --context prod a.lua"), 0);
    CHECK_STR(options.token, "s3cret");
    CHECK_STR(options.tls_ca, "a.lua");
    write_context("{\"creds\": \"env://SECRET\"}");
    CHECK_INT(parse("run --context prod a.lua"), 0);
    CHECK_STR(options.creds, "data:,s3cret");
    write_context("{\"user_jwt\": \"eyJ\", \"user_seed\": \"env://SECRET\"}");
    CHECK_INT(parse("run --context prod a.lua"), 0);
    CHECK_STR(options.creds, "data:,eyJ\ns3cret");
    write_context("{}");
    setenv("NATS_JWT", "eyJ", 1);
    setenv("NATS_SEED", "SU", 1);
    CHECK_INT(parse("run a.lua"), 0);
    CHECK_STR(options.creds, "data:,eyJ\nSU");
}

static void a_blank_in_a_secret_divides_no_list(void) {
    static const char *const cut[] = {"nats://s3cret en@host", "nats://a, nats://u:s3cret x@b",
                                      " s3cret  en@host", "nats://a b s3cret@c"};
    for (size_t i = 0; i < sizeof(cut) / sizeof(cut[0]); i++) {
        setenv("NATS_URL", cut[i], 1);
        CHECK_INT(parse("run a.lua"), 2);
        CHECK_STR(error, "NATS_URL: a blank in user, password or token of a server: write %20 "
                         "(between servers there is a comma)\nSee `lunats run --help`.");
    }
    static const char *const whole[] = {"a b,c", "nats://a nats://t@b ,u:p@c", ", a, b , t@c "};
    for (size_t i = 0; i < sizeof(whole) / sizeof(whole[0]); i++) {
        setenv("NATS_URL", whole[i], 1);
        CHECK_INT(parse("run a.lua"), 0);
        CHECK_INT(options.server_count, 3);
    }
}

static void the_time_for_an_answer(void) {
    static const struct {
        const char *text;
        double seconds;
    } durations[] = {
        {"7s", 7}, {"500ms", 0.5}, {"1m30s", 90}, {"1.5h", 5400}, {"2000us", 0.002}};
    for (size_t i = 0; i < sizeof(durations) / sizeof(durations[0]); i++) {
        setenv("NATS_TIMEOUT", durations[i].text, 1);
        CHECK_INT(parse("request x"), 0);
        CHECK(options.timeout > durations[i].seconds * 0.999 &&
              options.timeout < durations[i].seconds * 1.001);
    }
    CHECK_INT(parse("pub x y --timeout 3"), 0);
    CHECK(options.timeout == 3);
    CHECK_INT(parse("sub x"), 0); /* which would end */
    CHECK(options.timeout == 0);
    CHECK_INT(parse("ps"), 0); /* which always waits that long */
    CHECK(options.timeout == 0);
    static const char *const others[] = {"5",    "s",   "5 s", "-5s", "5d",
                                         "1e1s", "5s,", "0s",  "."};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        setenv("NATS_TIMEOUT", others[i], 1);
        CHECK_INT(parse("request x"), 2);
        CHECK(strstr(error, " is not a duration like 5s, 500ms or 1m30s") != NULL);
    }
}

static const struct {
    const char *context, *error;
} mistakes[] = {
    {"[]", "the context prod is no JSON object: mend %s"},
    {"{\"token\": \"s3cret\"", "the context prod is no JSON object: mend %s"},
    {"{\"url\": 123}", "the context prod: url is no text: mend %s"},
    {"{\"password\": [\"s3cret\"]}", "the context prod: password is no text: mend %s"},
    {"{\"url\": \"http://u:s3cret@x\"}",
     "url of the context prod (%s): only nats:// and tls:// are served"},
    {"{\"creds\": \"none.creds\"}",
     "creds of the context prod (%s): cannot read none.creds: No "
     "such file or directory"},
    {"{\"password\": \"op://s3cret/x\", \"user\": \"a\"}",
     "password of the context prod (%s): a secret in op:... cannot be read; file://, env:// "
     "and "
     "data:;base64, can"},
    {"{\"token\": \"env://NOT_SET\"}",
     "token of the context prod (%s): the variable NOT_SET is not set"},
    {"{\"token\": \"data:;base64,s3cret!\"}",
     "token of the context prod (%s): this is not base64"},
    {"{\"ca\": \"env://HOME\"}",
     "ca of the context prod (%s): the path of a file is needed here"},
    {"{\"user_jwt\": \"s3cret\"}",
     "user_jwt of the context prod (%s): it needs user_seed, too"},
    {"{\"cert\": \"a.lua\"}", "--tlscert and --tlskey need each other"},
    {"{\"inbox_prefix\": \"a.>\"}",
     "inbox_prefix of the context prod (%s): 'a.>' is not a subject without wildcards"},
    {"{\"socks_proxy\": \"x\"}",
     "the context prod (%s) has socks_proxy, which lunats does not know"},
};

static void mistakes_are_explained_without_secrets(void) {
    char path[128], text[512];
    snprintf(path, sizeof(path), "%s/nats/context/prod.json", folder);
    for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
        write_context(mistakes[i].context);
        CHECK_INT(parse("run --context prod a.lua"), 2);
        const char *at = strstr(mistakes[i].error, "%s");
        int before =
            at != NULL ? (int)(at - mistakes[i].error) : (int)strlen(mistakes[i].error);
        snprintf(text, sizeof(text), "%.*s%s%s\nSee `lunats run --help`.", before,
                 mistakes[i].error, at != NULL ? path : "", at != NULL ? at + 2 : "");
        CHECK_STR(error, text);
        CHECK(strstr(error, "s3cret") == NULL);
    }
    CHECK_INT(parse("run --context prdo a.lua"), 2);
    CHECK(strstr(error, "there is no context prdo (") != NULL);
    CHECK(strstr(error, "); did you mean prod?") != NULL);
    CHECK_INT(parse("run --context staging a.lua"), 2);
    CHECK(strstr(error, "); there are prod") != NULL);
    CHECK_INT(parse("run --context ../prod a.lua"), 2);
    CHECK(strstr(error, "../prod is not the name of a context, nor a file *.json") != NULL);
    CHECK_INT(parse("run --context none.json a.lua"), 2);
    CHECK(strstr(error, "cannot read the context none.json: none.json: No such file") != NULL);
    setenv("NATS_CREDS", "none", 1);
    CHECK_INT(parse("run a.lua"), 2);
    CHECK(strstr(error, "NATS_CREDS: cannot read none: No such file") != NULL);
}

static bool make_folder(void) {
    if (mkdtemp(folder) == NULL || chdir(folder) < 0 || mkdir("nats", 0700) < 0 ||
        mkdir("nats/context", 0700) < 0)
        return false;
    write_file("a.lua", "");
    write_file("b.key", "");
    setenv("XDG_CONFIG_HOME", folder, 1);
    setenv("HOME", folder, 1);
    return true;
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    if (!make_folder())
        return 1;
    forget();
    RUN(every_variable);
    forget();
    RUN(a_user_without_password_is_a_token);
    forget();
    RUN(a_context_gives_everything);
    forget();
    RUN(options_win_over_variables_and_these_over_a_context);
    forget();
    RUN(private_servers_and_tools_are_left_alone);
    forget();
    RUN(check_tells_where_run_would_connect);
    forget();
    RUN(the_selected_context_is_for_tools);
    forget();
    RUN(secrets_may_be_somewhere_else);
    forget();
    RUN(a_blank_in_a_secret_divides_no_list);
    forget();
    RUN(the_time_for_an_answer);
    forget();
    RUN(mistakes_are_explained_without_secrets);
    options_free(&options);
    static const char *const files[] = {"nats/context/prod.json", "nats/context.txt", "secret",
                                        "a.lua", "b.key"};
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        unlink(files[i]);
    rmdir("nats/context");
    rmdir("nats");
    rmdir(folder);
    return test_end();
}
