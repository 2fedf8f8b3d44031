/* SPDX-License-Identifier: Apache-2.0 */
/* The admin port of the parent: what workers say, put together. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/admin/metrics.h"
#include "host/base/container_of.h"
#include "host/base/status.h"
#include "host/supervisor/internal.h"
#include "host/supervisor/sums.h"

static const char json[] = "application/json";
static const char plain[] = "text/plain; charset=utf-8";

/* A request that waits for workers. */
struct view {
    struct admin_wait wait;
    struct parent *parent;
    struct admin *admin;
    struct http_request *request; /* NULL: its client is gone */
};

static struct parent *parent_of(const struct admin *admin) {
    return (struct parent *)(uintptr_t)admin_owner(admin);
}

static void give_up(struct http_request *request) {
    struct admin_wait *wait = request->data;
    container_of(wait, struct view, wait)->request = NULL;
}

/* Asks the workers, or one of them, and lets `on_done` answer, which frees the view. */
static void ask(struct admin *admin, struct http_request *request, unsigned number,
                const char *path, gather_fn *on_done) {
    struct view *view = calloc(1, sizeof(*view));
    char target[1024];
    int len = snprintf(target, sizeof(target), "%s%s%s", path, *request->query ? "?" : "",
                       request->query);
    if (view == NULL || len >= (int)sizeof(target)) {
        free(view);
        admin_refuse(admin, request, view == NULL ? 503 : 414, "the query is too long");
        return;
    }
    *view = (struct view){{give_up}, parent_of(admin), admin, request};
    request->data = &view->wait;
    const char *method = strcmp(request->method, "HEAD") == 0 ? "GET" : request->method;
    if (gather(view->parent, number, method, target, on_done, view) == LN_OK)
        return;
    request->data = NULL;
    free(view);
    admin_refuse(admin, request, 503, status_text(LN_ENOMEM));
}

/* Answers and frees the view; the text is taken. */
static void answer(struct view *view, int status, const char *type, struct text *text) {
    if (view->request != NULL)
        admin_answer(view->admin, view->request, status, type, text);
    else
        text_free(text);
    free(view);
}

static unsigned count_of(const struct view *view) {
    return supervisor_count(view->parent->supervisor);
}

/* ---- health ---- */

/* A worker that is stuck is a matter of --stall-exit, which ends it; when all of them are, so
 * is everything. */
static void on_live(void *owner, struct answer *answers) {
    struct view *view = owner;
    struct text text = {0};
    unsigned asked = 0, live = 0;
    for (unsigned i = 0; i < count_of(view); i++) {
        asked += answers[i].asked;
        live += answers[i].status == 200;
    }
    bool ok = asked == 0 || live > 0;
    text_puts(&text, ok ? "ok\n" : "no worker answers\n");
    answer(view, ok ? 200 : 503, plain, &text);
}

static void page_live(struct admin *admin, struct http_request *request) {
    ask(admin, request, 0, "/livez", on_live);
}

static void put_reason(struct text *text, unsigned number, const char *reason,
                       const char *detail) {
    text_printf(text, "{\"worker\":%u,\"service\":null,\"reason\":\"%s\",\"detail\":", number,
                reason);
    text_json(text, detail);
    text_puts(text, "}");
}

/* The reasons of a worker, each with its number. They stand in a list of ours, and no quote
 * inside of its strings is without a backslash. */
static void copy_reasons(struct text *text, unsigned number, const struct text *body) {
    static const char list[] = "\"reasons\":[", object[] = "{\"service\":";
    const char *at = body->bytes != NULL ? strstr(body->bytes, list) : NULL;
    const char *end = at != NULL ? strrchr(at, ']') : NULL;
    if (end == NULL) {
        put_reason(text, number, "silent", "it says nothing that can be read");
        return;
    }
    for (at += sizeof(list) - 1; at < end;) {
        const char *next = strstr(at, object);
        if (next == NULL || next > end)
            next = end;
        text_put(text, at, (size_t)(next - at));
        at = next;
        if (next == end)
            return;
        text_printf(text, "{\"worker\":%u,\"service\":", number);
        at += sizeof(object) - 1;
    }
}

static void put_reasons(struct text *text, const struct view *view, unsigned number,
                        const struct answer *one) {
    const struct supervisor_worker *worker =
        supervisor_worker(view->parent->supervisor, number);
    if (one->status == 200)
        return;
    if (text->len > 0)
        text_puts(text, ",");
    if (one->status != 0)
        copy_reasons(text, number, &one->body);
    else if (one->asked)
        put_reason(text, number, worker->state == WORKER_STARTING ? "starting" : "silent",
                   "it does not answer");
    else
        put_reason(text, number,
                   supervisor_stops(view->parent->supervisor) ? "stopping" : "restarting",
                   worker->ended);
}

/* All must have been ready once; after that one is enough to serve. */
static void on_ready(void *owner, struct answer *answers) {
    struct view *view = owner;
    struct text text = {0}, reasons = {0};
    unsigned ready = 0, count = count_of(view);
    for (unsigned i = 0; i < count; i++) {
        ready += answers[i].status == 200;
        put_reasons(&reasons, view, i + 1, &answers[i]);
    }
    const struct supervisor *supervisor = view->parent->supervisor;
    bool ok = ready == count ||
              (ready > 0 && supervisor_complete(supervisor) && !supervisor_stops(supervisor));
    text_printf(&text, "{\"ready\":%s,\"workers\":{\"count\":%u,\"ready\":%u},\"reasons\":[",
                ok ? "true" : "false", count, ready);
    text_put(&text, reasons.bytes != NULL ? reasons.bytes : "", reasons.len);
    text_puts(&text, "]}\n");
    text.failed |= reasons.failed;
    text_free(&reasons);
    answer(view, ok ? 200 : 503, json, &text);
}

static void page_ready(struct admin *admin, struct http_request *request) {
    ask(admin, request, 0, "/readyz", on_ready);
}

static void on_health(void *owner, struct answer *answers) {
    struct view *view = owner;
    struct text text = {0};
    text_puts(&text, "{\"status\":\"ok\",\"workers\":[");
    for (unsigned i = 1; i <= count_of(view); i++) {
        const struct supervisor_worker *worker = supervisor_worker(view->parent->supervisor, i);
        const struct text *body = &answers[i - 1].body;
        size_t len = body->bytes != NULL ? strcspn(body->bytes, "\n") : 0;
        text_printf(&text, "%s{\"worker\":%u,\"pid\":%ld,\"state\":\"%s\",\"restarts\":%u",
                    i > 1 ? "," : "", i, (long)parent_process(view->parent, i)->pid,
                    worker_state_name(worker->state), worker->restarts);
        text_puts(&text, ",\"last_end\":");
        text_json(&text, worker->ended[0] != '\0' ? worker->ended : NULL);
        text_puts(&text, ",\"health\":");
        if (answers[i - 1].status == 200 && len > 0)
            text_put(&text, body->bytes, len);
        else
            text_puts(&text, "null");
        text_puts(&text, "}");
    }
    text_puts(&text, "]}\n");
    answer(view, 200, json, &text);
}

static void page_health(struct admin *admin, struct http_request *request) {
    ask(admin, request, 0, "/healthz", on_health);
}

/* ---- metrics ---- */

static void add_text(struct sums *sums, const struct text *text, unsigned worker) {
    if (text->bytes != NULL)
        sums_add(sums, text->bytes, text->len, worker);
}

void parent_keep_metrics(struct parent *parent, struct process *process) {
    struct sums *sums;
    struct text together = {0};
    if (process->metrics.len > 0 && sums_open(&sums, PARENT_TEXTS) == LN_OK) {
        add_text(sums, &parent->gone, 0);
        add_text(sums, &process->metrics, 0);
        sums_write(sums, &together);
        sums_free(sums);
        if (together.failed) {
            text_free(&together);
        } else {
            text_free(&parent->gone);
            parent->gone = together;
        }
    }
    text_free(&process->metrics);
}

static void put_worker(struct metrics *metrics, unsigned number, double value) {
    char text[16];
    snprintf(text, sizeof(text), "%u", number);
    const struct metrics_label label = {"worker", text};
    metrics_sample(metrics, &label, 1, value);
}

/* What the parent counts itself. */
static void put_own(const struct view *view, const struct answer *answers, struct text *text) {
    struct metrics metrics = {.text = text};
    unsigned count = count_of(view);
    metrics_family(&metrics, "lunats_workers", METER_GAUGE, "Workers that there shall be.");
    metrics_sample(&metrics, NULL, 0, count);
    metrics_family(&metrics, "lunats_worker_up", METER_GAUGE,
                   "Whether the worker answers its parent.");
    for (unsigned i = 1; i <= count; i++)
        put_worker(&metrics, i, answers[i - 1].status == 200);
    metrics_family(&metrics, "lunats_worker_restarts_total", METER_COUNTER,
                   "Processes that were started for the worker as the one before had ended.");
    for (unsigned i = 1; i <= count; i++)
        put_worker(&metrics, i, supervisor_worker(view->parent->supervisor, i)->restarts);
}

/* Counters must not fall: what a worker that is gone, or does not answer, has shown last still
 * counts. Readers take a fall for a restart, and count all of it again. */
static void on_metrics(void *owner, struct answer *answers) {
    struct view *view = owner;
    struct sums *sums;
    struct text text = {0};
    text.failed = sums_open(&sums, PARENT_TEXTS) != LN_OK;
    if (text.failed) {
        answer(view, 503, plain, &text);
        return;
    }
    put_own(view, answers, &text);
    add_text(sums, &view->parent->gone, 0);
    for (unsigned i = 1; i <= count_of(view); i++) {
        struct process *process = parent_process(view->parent, i);
        struct answer *one = &answers[i - 1];
        if (one->status != 200) {
            add_text(sums, &process->metrics, 0);
            continue;
        }
        add_text(sums, &one->body, i);
        if (process->pid == 0) /* it has ended meanwhile, and its last one is kept */
            continue;
        text_free(&process->metrics);
        process->metrics = one->body;
        one->body = (struct text){0};
    }
    sums_write(sums, &text);
    sums_free(sums);
    answer(view, 200, "text/plain; version=0.0.4; charset=utf-8", &text);
}

static void page_metrics(struct admin *admin, struct http_request *request) {
    ask(admin, request, 0, "/metrics", on_metrics);
}

/* ---- one worker ---- */

static void on_status(void *owner, struct answer *answers) {
    struct view *view = owner;
    struct text text = {0};
    for (unsigned i = 0; i < count_of(view); i++) {
        if (answers[i].status == 0)
            continue;
        text = answers[i].body;
        answers[i].body = (struct text){0};
        answer(view, answers[i].status, json, &text);
        return;
    }
    text_puts(&text, "{\"error\":\"this worker does not answer\"}\n");
    answer(view, 503, json, &text);
}

/* The first one that runs, where nobody has said which. */
static unsigned first_worker(struct parent *parent) {
    unsigned count = supervisor_count(parent->supervisor);
    for (unsigned i = 1; i <= count; i++)
        if (parent_process(parent, i)->channel != NULL)
            return i;
    return 1;
}

static void page_status(struct admin *admin, struct http_request *request) {
    struct parent *parent = parent_of(admin);
    char text[16];
    unsigned long number = first_worker(parent);
    if (admin_query(request, "worker", text, sizeof(text)))
        number = strtoul(text, NULL, 10);
    if (number == 0 || number > supervisor_count(parent->supervisor)) {
        admin_refuse(admin, request, 404, "there is no such worker");
        return;
    }
    ask(admin, request, (unsigned)number, "/status.json", on_status);
}

/* ---- changes ---- */

static bool may_change(struct admin *admin, struct http_request *request) {
    if (admin_controls(admin))
        return true;
    admin_refuse(admin, request, 403, "lunats was started without --control");
    return false;
}

static void forget_reloader(struct http_request *request) {
    struct admin_wait *wait = request->data;
    container_of(wait, struct parent, reload_wait)->reloader = NULL;
}

void parent_answer_reload(struct parent *parent, unsigned number, const char *why) {
    struct http_request *request = parent->reloader;
    struct text text = {0};
    if (request == NULL)
        return;
    parent->reloader = NULL;
    text_printf(&text, "{\"workers\":%u,\"failed\":[", supervisor_count(parent->supervisor));
    if (why != NULL) {
        text_printf(&text, "{\"worker\":%u,\"why\":", number);
        text_json(&text, why);
        text_puts(&text, "}");
    }
    text_puts(&text, "]}\n");
    if (parent->admin != NULL)
        admin_answer(parent->admin, request, why != NULL ? 500 : 200, json, &text);
    else
        text_free(&text);
}

static void page_reload(struct admin *admin, struct http_request *request) {
    struct parent *parent = parent_of(admin);
    if (!may_change(admin, request))
        return;
    if (supervisor_reloads(parent->supervisor) || supervisor_stops(parent->supervisor)) {
        admin_refuse(admin, request, 409,
                     supervisor_stops(parent->supervisor) ? "the workers stop"
                                                          : "a reload is under way");
        return;
    }
    if (*request->query != '\0')
        parent->reload_query = strdup(request->query);
    parent->reloader = request;
    parent->reload_wait.give_up = forget_reloader;
    request->data = &parent->reload_wait;
    supervisor_reload(parent->supervisor);
}

/* All say the same; what one refuses is the answer. */
static void on_level(void *owner, struct answer *answers) {
    unsigned count = count_of(owner);
    struct answer *chosen = NULL;
    for (unsigned i = 0; i < count; i++)
        if (answers[i].status != 0 && (chosen == NULL || answers[i].status != 200))
            chosen = &answers[i];
    if (chosen != NULL && chosen != answers) { /* on_status() passes on the first */
        struct answer first = answers[0];
        answers[0] = *chosen;
        *chosen = first;
    }
    on_status(owner, answers);
}

static void page_log_level(struct admin *admin, struct http_request *request) {
    if (may_change(admin, request))
        ask(admin, request, 0, "/log-level", on_level);
}

const struct admin_page_entry parent_pages[] = {
    {"/", "GET", "this list, or in a browser a page about ?worker=N", admin_index},
    {"/livez", "GET", "whether any worker lives: restart all when this does not answer 200",
     page_live},
    {"/readyz", "GET", "whether the workers can work, and if not, why: 200 or 503, JSON",
     page_ready},
    {"/metrics", "GET", "everything that all workers count, for Prometheus", page_metrics},
    {"/status.json", "GET", "what the page shows, JSON; ?worker=N", page_status},
    {"/reload", "POST", "reloads worker by worker; ?service=NAME; with --control and the token",
     page_reload},
    {"/log-level", "POST", "?service=NAME&level=LEVEL, or reset, of all workers; the same",
     page_log_level},
    {"/healthz", "GET",
     "the workers and their checks, one by one; 200 as long as it lives, JSON", page_health},
};
const size_t parent_page_count = sizeof(parent_pages) / sizeof(parent_pages[0]);
