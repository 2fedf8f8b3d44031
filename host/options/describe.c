/* SPDX-License-Identifier: Apache-2.0 */
/* What the environment says of connections, for `lunats check`: it is what `run` would use. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/url.h"
#include "host/options/parser.h"

/* "nats://a:4222, nats://b:4222; settings from NATS_URL, NATS_CREDS", without secrets. */
static int describe(const struct parser *p, const struct options *run, char **out) {
    size_t size = 0;
    FILE *file = open_memstream(out, &size);
    if (file == NULL)
        return options_fail_memory(p);
    for (size_t i = 0; i < run->server_count; i++) {
        char shown[512];
        fprintf(file, "%s%s", i > 0 ? ", " : "connects to ",
                url_shown(run->servers[i], shown, sizeof(shown)));
    }
    fprintf(file, "; settings from %s", run->origin);
    bool ok = !ferror(file);
    if (fclose(file) == 0 && ok)
        return 0;
    free(*out);
    *out = NULL;
    return options_fail_memory(p);
}

int options_describe_run(struct parser *p) {
    char program[] = "lunats", command[] = "run", error[512];
    char *argv[] = {program, command, p->out->scripts[0]};
    struct options run;
    int rc = options_parse(3, argv, &run, error, sizeof(error));
    if (rc != 0) {
        rc =
            asprintf(&p->out->origin, "cannot connect: %.*s", (int)strcspn(error, "\n"), error);
        if (rc < 0)
            p->out->origin = NULL;
        return rc < 0 ? options_fail_memory(p) : 0;
    }
    if (run.origin != NULL)
        rc = describe(p, &run, &p->out->origin);
    options_free(&run);
    return rc;
}
