/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /status.json: what the page shows, as one object. Clients ask for it every second while
 * somebody looks; of errors and lines of the log they get those that they do not have. All of
 * it is bounded, however much the process does.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "host/admin/internal.h"
#include "host/admin/loop.h"
#include "host/admin/members.h"
#include "host/admin/process.h"
#include "host/base/log_recent.h"
#include "host/base/worker.h"
#include "host/service/endpoint.h"
#include "host/service/service.h"
#include "host/service/vitals.h"

#define ERRORS_MAX 100

static double present(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* ---- the process ---- */

static void put_bounds(struct text *text) {
    uint64_t bounds[ENDPOINT_BOUNDS];
    text_puts(text, ",\"loop_bounds\":[");
    for (size_t i = 0; i < LOOP_BOUNDS; i++) {
        text_puts(text, i > 0 ? "," : "");
        text_double(text, loop_bounds[i]);
    }
    text_puts(text, "]");
    memcpy(bounds, endpoint_bounds, sizeof(bounds));
    member_counts(text, "bounds_ns", bounds, ENDPOINT_BOUNDS);
}

static void put_process(struct text *text, const struct admin *admin) {
    double seconds;
    char host[256] = "";
    gethostname(host, sizeof(host) - 1);
    text_puts(text, "\"lunats\":\"" LN_VERSION "\"");
    member_string(text, "host", host);
    member_count(text, "pid", (uint64_t)getpid());
    if (worker_self() != NULL) {
        member_count(text, "worker", worker_self()->number);
        member_count(text, "workers", worker_self()->count);
    }
    member_number(text, "now", present());
    member_number(text, "started_at", admin->started_at);
    member_bool(text, "control", admin->options.control && admin->guard.token[0] != '\0');
    member_number(text, "cpu_seconds", process_cpu_seconds());
    member_number(text, "resident_bytes", process_resident_bytes());
    member_number(text, "heap_bytes", process_heap_bytes());
    member_number(text, "open_fds", process_open_fds());
    member_counts(text, "loop_turns", loop_watch_turns(admin->loop_watch, &seconds),
                  LOOP_BOUNDS + 1);
    member_number(text, "loop_seconds", seconds);
    put_bounds(text);
    text_puts(text, ",");
    health_write(admin, text);
}

/* ---- errors, and the log ---- */

static uint64_t after(const struct http_request *request, const char *name) {
    char number[24];
    return admin_query(request, name, number, sizeof(number)) ? strtoull(number, NULL, 10) : 0;
}

static void put_errors(struct text *text, struct admin *admin, uint64_t since) {
    struct service *service = NULL;
    uint64_t last = since;
    size_t count = 0;
    text_puts(text, ",\"errors\":{\"list\":[");
    while ((service = admin_next(admin, service)) != NULL) {
        list_each (struct fault, at, &service_vitals(service)->faults.list, node) {
            if (at->number <= since || count >= ERRORS_MAX)
                continue;
            text_puts(text, count++ > 0 ? ",{\"service\":" : "{\"service\":");
            text_json(text, service_name(service));
            member_string(text, "instance", service_instance(service));
            member_count(text, "kind", at->first);
            member_number(text, "first_at", at->first_at);
            member_number(text, "last_at", at->last_at);
            member_count(text, "count", at->count);
            member_string(text, "text", at->text);
            text_puts(text, "}");
            last = at->number > last ? at->number : last;
        }
    }
    text_puts(text, "]");
    member_count(text, "last", last);
    text_puts(text, "}");
}

static void put_log(struct text *text, const struct admin *admin, uint64_t since) {
    size_t count = 0;
    text_puts(text, ",\"log\":{\"lines\":[");
    list_each (struct log_recent_line, at, log_recent_lines(admin->log), node) {
        if (at->number <= since)
            continue;
        text_puts(text, count++ > 0 ? ",{\"service\":" : "{\"service\":");
        text_json(text, at->service);
        member_number(text, "time", (double)at->time_ms / 1e3);
        member_string(text, "level", log_level_name(at->level));
        member_string(text, "text", at->text);
        text_puts(text, "}");
    }
    text_puts(text, "]");
    member_count(text, "last", log_recent_last(admin->log));
    text_puts(text, "}");
}

void page_status(struct admin *admin, struct http_request *request) {
    struct text text = {0};
    text_puts(&text, "{");
    put_process(&text, admin);
    board_write(admin, &text);
    put_errors(&text, admin, after(request, "errors"));
    put_log(&text, admin, after(request, "log"));
    text_puts(&text, "}\n");
    admin_answer(admin, request, 200, "application/json", &text);
}
