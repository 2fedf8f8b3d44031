/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <lua.h>
#include <uv.h>

#include "bindings/open.h"
#include "bindings/tools/options.h"
#include "host/base/log.h"
#include "host/base/status.h"
#include "host/base/worker.h"
#include "host/dial/dial.h"
#include "host/host.h"
#include "host/options/options.h"
#include "host/service/service.h"
#include "host/signals.h"
#include "host/supervisor/parent.h"

static const struct host_hooks hooks = {
    .open_bindings = bindings_open,
    .take_options = bindings_take_options,
};

static bool is_parent(const struct options *options) {
    return options->command == OPTIONS_RUN && options->workers > 0 && worker_self() == NULL;
}

static int run(const struct options *options) {
    switch (options->command) {
    case OPTIONS_HELP:
        if (options->json)
            return options_help_json(stdout) ? 0 : 1;
        options_help(stdout, options->topic);
        return 0;
    case OPTIONS_VERSION:
        printf("lunats %s (nats.c %s, libuv %s, %s)\n", LN_VERSION, dial_library_version(),
               uv_version_string(), LUA_RELEASE);
        return 0;
    default:
        return is_parent(options) ? parent_run(options) : host_run(options, &hooks);
    }
}

/* 0: this is no worker, or may be one. */
static int begin_worker(void) {
    int rc = worker_begin();
    if (rc == LN_EINVAL)
        fputs("lunats: " WORKER_VARIABLE " is set by the parent of workers only: unset it\n",
              stderr);
    if (rc == LN_OK && worker_self() != NULL)
        log_set_worker(worker_self()->number);
    return rc == LN_EINVAL ? EXIT_USAGE : rc < 0 ? EXIT_SCRIPT : EXIT_OK;
}

/*
 * Whoever starts us may have closed 0, 1 or 2. What is opened next would get their numbers, and
 * log lines would go into a connection; libuv refuses to close such numbers, too.
 */
static void open_standard(void) {
    int fd;
    do {
        fd = open("/dev/null", O_RDWR);
        if (fd < 0)
            fd = open("/", O_RDONLY); /* without /dev: reading and writing are errors */
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

int main(int argc, char **argv) {
    open_standard();
    signals_begin();
    struct options options;
    char error[512];
    int status = begin_worker();
    if (status != 0)
        return status;
    status = options_parse(argc, argv, &options, error, sizeof(error));
    if (status != 0) {
        fprintf(stderr, "lunats: %s\n", error);
        return status;
    }
    log_configure(options.log_level, options.log_format);
    log_limit((unsigned)options.log_limit);
    status = run(&options);
    options_free(&options);
    return status;
}
