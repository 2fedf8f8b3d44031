/* SPDX-License-Identifier: Apache-2.0 */
/* Command lines that are wrong, and what is said of them. */
#include <stdlib.h>

#include "spec/unit/options.h"
#include "spec/unit/options_folder.h"
#include "spec/unit/test.h"

static const struct {
    const char *line, *error;
} mistakes[] = {
    {"", "no command given\nSee `lunats --help`."},
    {"rnu a.lua", "unknown command rnu; did you mean run?\nSee `lunats --help`."},
    {"serve", "unknown command serve\nSee `lunats --help`."},
    {"--retry run", "options follow the command: lunats run --retry ...\nSee `lunats --help`."},
    {"run", "no SCRIPT given: lunats run [options] SCRIPT...\nSee `lunats run --help`."},
    {"lua", "no FILE, -e CODE or -i given: lunats lua [options] [FILE|-] [ARGUMENTS]\nSee "
            "`lunats lua --help`."},
    {"run no.lua", "cannot open the script no.lua: No such file or directory\n"
                   "See `lunats run --help`."},
    {"run --sever x a.lua",
     "unknown option --sever; did you mean --server?\nSee `lunats run --help`."},
    {"run --no-rerty a.lua",
     "unknown option --no-rerty; did you mean --no-retry?\nSee `lunats run --help`."},
    {"run --pasword=secret a.lua",
     "unknown option --pasword; did you mean --password?\nSee `lunats run --help`."},
    {"run --frobnicate a.lua", "unknown option --frobnicate\nSee `lunats run --help`."},
    {"run -x a.lua", "unknown option -x\nSee `lunats run --help`."},
    {"check --server x a.lua",
     "lunats check does not take --server\nSee `lunats check --help`."},
    {"run a.lua --server", "--server needs a value: --server URL\nSee `lunats run --help`."},
    {"run --retry=1 a.lua", "--retry takes no value\nSee `lunats run --help`."},
    {"run --drain-timeout soon a.lua",
     "--drain-timeout: soon is not a number of seconds\nSee `lunats run --help`."},
    {"run --drain-timeout -1 a.lua",
     "--drain-timeout: -1 is not a number of seconds\nSee `lunats run --help`."},
    {"run --slice 0 a.lua", "--slice must be more than 0 seconds\nSee `lunats run --help`."},
    {"run --memory 64MB a.lua",
     "--memory: 64MB is not a number of bytes like 67108864 or 64M, 1M or more\n"
     "See `lunats run --help`."},
    {"run --memory 1000 a.lua",
     "--memory: 1000 is not a number of bytes like 67108864 or 64M, 1M or more\n"
     "See `lunats run --help`."},
    {"run --memory -5M a.lua",
     "--memory: -5M is not a number of bytes like 67108864 or 64M, 1M or more\n"
     "See `lunats run --help`."},
    {"run --memory 99999999999G a.lua",
     "--memory: 99999999999G is not a number of bytes like 67108864 or 64M, 1M or more\n"
     "See `lunats run --help`."},
    {"run --stall-exit never a.lua",
     "--stall-exit: never is not a number of seconds\nSee `lunats run --help`."},
    {"run --drain-timeout nan a.lua",
     "--drain-timeout: nan is not a number of seconds\nSee `lunats run --help`."},
    {"run --log-level loud a.lua",
     "--log-level: loud is none of debug, info, warn, error, off\n"
     "See `lunats run --help`."},
    {"run --log-format xml a.lua",
     "--log-format: xml is neither text nor json\nSee `lunats run --help`."},
    {"run --libs none a.lua", "--libs: none is neither all nor safe\nSee `lunats run --help`."},
    {"run --errors none a.lua",
     "--errors: none is neither short nor full\nSee `lunats run --help`."},
    {"run --creds no.creds a.lua", "--creds: cannot read no.creds: No such file or "
                                   "directory\nSee `lunats run --help`."},
    {"run --name= a.lua", "--name must not be empty\nSee `lunats run --help`."},
    {"run -s http://u:secret@x a.lua", "-s: only nats:// and tls:// are served"
                                       "\nSee `lunats run --help`."},
    {"run -s , a.lua", "-s: no server in it\nSee `lunats run --help`."},
    {"run --password x a.lua", "--password needs --user\nSee `lunats run --help`."},
    {"run --tlscert a.lua a.lua",
     "--tlscert and --tlskey need each other\nSee `lunats run --help`."},
    {"run --token x --user y a.lua", "only one of --user, --token, --creds and --nkey can "
                                     "be used\nSee `lunats run --help`."},
    {"run --js-domain a --js-prefix b a.lua",
     "--js-domain and --js-prefix exclude each other\nSee `lunats run --help`."},
    {"run --js-domain a.b a.lua",
     "--js-domain: 'a.b' is not a name without dots\nSee `lunats run --help`."},
    {"run --js-prefix $JS.*.API a.lua", "--js-prefix: '$JS.*.API' is not a subject without "
                                        "wildcards\nSee `lunats run --help`."},
    {"run --inbox-prefix me. a.lua", "--inbox-prefix: 'me.' is not a subject without "
                                     "wildcards\nSee `lunats run --help`."},
    {"run --inbox-prefix= a.lua", "--inbox-prefix: '' is not a subject without wildcards\n"
                                  "See `lunats run --help`."},
    {"run --ping-interval 0 a.lua",
     "--ping-interval must be more than 0 seconds\nSee `lunats run --help`."},
    {"run --connect-timeout x a.lua",
     "--connect-timeout: x is not a number of seconds\nSee `lunats run --help`."},
    {"run --max-control-line 0 a.lua",
     "--max-control-line: 0 is not a whole number, 1 or more\nSee `lunats run --help`."},
    {"request", "no SUBJECT given: lunats request [options] SUBJECT [BODY|-]\n"
                "See `lunats request --help`."},
    {"pub a.*", "'a.*' is not a subject without wildcards: its tokens are "
                "separated by single dots, without blanks\nSee `lunats pub --help`."},
    {"pub a b c", "lunats pub takes one BODY: put it in quotes\nSee `lunats pub --help`."},
    {"pub a -H b", "-H: 'b' is not a header like Name:value\nSee `lunats pub --help`."},
    {"pub a -5",
     "unknown option -5 (a BODY like that stands behind --)\nSee `lunats pub --help`."},
    {"sub", "no SUBJECT given: lunats sub [options] SUBJECT...\nSee `lunats sub --help`."},
    {"sub a -H b:c", "unknown option -H\nSee `lunats sub --help`."},
    {"no.lua", "there is no file no.lua\nSee `lunats --help`."},
    {"dev --retry a.lua", "lunats dev does not take --retry\nSee `lunats dev --help`."},
    {"dev --port 0 a.lua", "--port: 0 is not a port, 1 to 65535\nSee `lunats dev --help`."},
    {"dev --port 65536 a.lua",
     "--port: 65536 is not a port, 1 to 65535\nSee `lunats dev --help`."},
    {"run --port 4222 a.lua", "--port is about a private nats-server: it needs --embedded\n"
                              "See `lunats run --help`."},
    {"run -s x --store y a.lua", "--store is about a private nats-server: it needs "
                                 "--embedded\nSee `lunats run --help`."},
    {"run --embedded -s x a.lua",
     "--embedded and --server exclude each other\nSee `lunats run --help`."},
};

static void mistakes_are_explained(void) {
    for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
        CHECK_INT(parse(mistakes[i].line), 2);
        CHECK_STR(error, mistakes[i].error);
    }
}

static void errors_fit_a_small_buffer(void) {
    char *argv[] = {(char[]){"lunats"}, (char[]){"run"}, (char[]){"--frobnicate"}, NULL};
    char small[8];
    struct options out;
    CHECK_INT(options_parse(3, argv, &out, small, sizeof(small)), 2);
    CHECK_STR(small, "unknown");
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    if (!make_folder())
        return 1;
    RUN(mistakes_are_explained);
    RUN(errors_fit_a_small_buffer);
    options_free(&options);
    remove_folder();
    return test_end();
}
