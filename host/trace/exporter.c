/* SPDX-License-Identifier: Apache-2.0 */
#include "host/trace/exporter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/clock.h"
#include "host/base/log.h"
#include "host/base/module.h"
#include "host/base/status.h"
#include "host/base/url.h"

#define RETRY_FIRST_MS 1000
#define RETRY_LAST_MS 30000
#define TELL_MS 60000 /* the log hears of it that often at most */

/* One document for the collector. */
struct batch {
    struct list_node node;
    struct text text; /* owned */
    size_t spans;
};

struct exporter {
    uv_loop_t *loop;
    struct trace_settings settings;
    const struct http_client_api *api;
    struct http_client *client;
    struct http_call *call; /* under way: of the first batch; or NULL */
    struct list sources, batches;
    struct text spare;       /* empty */
    size_t usual;            /* bytes of a document */
    uv_timer_t flush, retry; /* retry: the bound, once it closes */
    uint32_t retry_ms;       /* the next pause; 0: the collector takes what it gets */
    struct exporter_stats stats;
    uint64_t told_at;      /* uv_now(); 0: never */
    uint64_t told_dropped; /* of stats.dropped */
    char reason[256];      /* why the last attempt has failed; "": it has not */
    bool flushing;         /* the timer for that runs */
    bool closing;
    int handles; /* of ours that are open while it closes */
    void (*on_closed)(void *owner);
    void *close_owner;
};

static void send_next(struct exporter *exporter);

/* ---- what the log says ---- */

static void tell(struct exporter *exporter, bool at_once) {
    uint64_t now = uv_now(exporter->loop),
             lost = exporter->stats.dropped - exporter->told_dropped;
    if ((*exporter->reason == '\0' && lost == 0) ||
        (!at_once && exporter->told_at != 0 && now - exporter->told_at < TELL_MS))
        return;
    char url[512], count[64] = "";
    if (lost > 0)
        snprintf(count, sizeof(count), "%llu spans lost", (unsigned long long)lost);
    url_shown(exporter->settings.url, url, sizeof(url));
    log_warn(NULL, "traces to %s: %s%s%s", url, exporter->reason,
             *exporter->reason != '\0' && lost > 0 ? "; " : "", count);
    exporter->told_at = now != 0 ? now : 1;
    exporter->told_dropped = exporter->stats.dropped;
}

static void failed(struct exporter *exporter, const char *reason) {
    exporter->stats.failures++;
    snprintf(exporter->reason, sizeof(exporter->reason), "%s", reason);
    tell(exporter, false);
}

static void works(struct exporter *exporter) {
    char url[512];
    if (*exporter->reason != '\0')
        log_info(NULL, "traces to %s: sent again",
                 url_shown(exporter->settings.url, url, sizeof(url)));
    *exporter->reason = '\0';
    exporter->retry_ms = 0;
}

/* ---- sending ---- */

static void drop(struct exporter *exporter, size_t spans) {
    exporter->stats.queued -= spans;
    exporter->stats.dropped += spans;
}

/* The memory of one is kept: a document grows to a size that the next one will have as well. */
static void free_batch(struct exporter *exporter, struct batch *batch) {
    list_remove(&batch->node);
    text_free(&exporter->spare);
    exporter->spare = batch->text;
    exporter->spare.len = 0;
    free(batch);
}

void exporter_spare(struct exporter *exporter, struct text *text) {
    *text = exporter->spare;
    exporter->spare = (struct text){0};
    if (text->bytes == NULL)
        text_room(text, exporter->usual);
}

static struct batch *first(const struct exporter *exporter) {
    struct list_node *node = list_first(&exporter->batches);
    return node != NULL ? list_item(node, struct batch, node) : NULL;
}

static void on_retry(uv_timer_t *timer) {
    send_next(timer->data);
}

static void try_later(struct exporter *exporter, uint32_t wished_ms) {
    uint32_t ms = exporter->retry_ms != 0 ? exporter->retry_ms : RETRY_FIRST_MS;
    exporter->retry_ms = ms < RETRY_LAST_MS / 2 ? ms * 2 : RETRY_LAST_MS;
    ms += (uint32_t)(uv_hrtime() % (ms / 4 + 1)); /* not all services at the same time */
    if (wished_ms > ms)
        ms = wished_ms;
    uv_timer_start(&exporter->retry, on_retry, ms, 0);
}

static void end_if_done(struct exporter *exporter);

/* "partialSuccess": what the collector has not taken, and why. */
static void look_at_answer(struct exporter *exporter, const struct http_reply *reply,
                           size_t spans) {
    const char *at = reply->body != NULL ? strstr(reply->body, "\"rejectedSpans\"") : NULL;
    if (at == NULL)
        return;
    at += strcspn(at, "123456789,}");
    unsigned long long rejected = strtoull(at, NULL, 10);
    if (rejected == 0)
        return;
    if (rejected > spans)
        rejected = spans;
    exporter->stats.sent -= rejected;
    exporter->stats.dropped += rejected;
    char reason[sizeof(exporter->reason)];
    snprintf(reason, sizeof(reason), "the collector has taken a part only: %.150s",
             reply->body);
    failed(exporter, reason);
    *exporter->reason = '\0';
}

static bool is_temporary(int status) {
    return status == 0 || status == 429 || status == 502 || status == 503 || status == 504;
}

static void on_done(void *owner, const struct http_reply *reply) {
    struct exporter *exporter = owner;
    struct batch *batch = first(exporter);
    char reason[sizeof(exporter->reason)];
    exporter->call = NULL;
    if (reply->status >= 200 && reply->status < 300) {
        works(exporter);
        exporter->stats.sent += batch->spans;
        look_at_answer(exporter, reply, batch->spans);
        exporter->stats.queued -= batch->spans;
        free_batch(exporter, batch);
        send_next(exporter);
        return;
    }
    if (reply->status == 0)
        snprintf(reason, sizeof(reason), "%s", reply->error);
    else
        snprintf(reason, sizeof(reason), "the collector answers with status %d", reply->status);
    bool later = is_temporary(reply->status) && !exporter->closing;
    if (!later) {
        drop(exporter, batch->spans);
        free_batch(exporter, batch);
    }
    failed(exporter, reason);
    if (later)
        try_later(exporter, reply->retry_after_ms);
    else if (!exporter->closing || reply->status != 0)
        send_next(exporter);
    else
        end_if_done(exporter);
}

static void send_next(struct exporter *exporter) {
    struct batch *batch = first(exporter);
    if (batch == NULL || exporter->call != NULL) {
        end_if_done(exporter);
        return;
    }
    struct trace_settings *settings = &exporter->settings;
    struct http_header headers[TRACE_HEADERS_MAX + 1] = {
        {"Content-Type", "application/json"},
    };
    memcpy(headers + 1, settings->headers, settings->header_count * sizeof(*headers));
    struct http_ask ask = {
        .url = settings->url,
        .method = "POST",
        .headers = headers,
        .header_count = settings->header_count + 1,
        .tls_ca = settings->tls_ca,
        .tls_cert = settings->tls_cert,
        .tls_key = settings->tls_key,
        .body = batch->text.bytes,
        .len = batch->text.len,
        .timeout_ms = settings->timeout_ms,
        .on_done = on_done,
        .owner = exporter,
    };
    int rc = exporter->api->send(&exporter->call, exporter->client, &ask);
    if (rc == LN_OK)
        return;
    exporter->call = NULL;
    drop(exporter, batch->spans);
    free_batch(exporter, batch);
    failed(exporter, status_text(rc));
    end_if_done(exporter);
}

/* ---- what comes in ---- */

static void flush(struct exporter *exporter) {
    list_each (struct exporter_source, at, &exporter->sources, node)
        at->flush(at);
}

static void on_flush(uv_timer_t *timer) {
    struct exporter *exporter = timer->data;
    exporter->flushing = false;
    flush(exporter);
    tell(exporter, false);
}

bool exporter_admit(struct exporter *exporter) {
    if (exporter->stats.queued >= exporter->settings.queue_max || exporter->closing) {
        exporter->stats.dropped++;
        return false;
    }
    exporter->stats.queued++;
    if (exporter->flushing)
        return true;
    exporter->flushing = true;
    uv_timer_start(&exporter->flush, on_flush, exporter->settings.delay_ms, 0);
    return true;
}

void exporter_take(struct exporter *exporter, struct text *text, size_t spans) {
    struct batch *batch = text->failed ? NULL : calloc(1, sizeof(*batch));
    if (batch == NULL) {
        text_free(text);
        drop(exporter, spans);
        return;
    }
    batch->text = *text;
    batch->spans = spans;
    exporter->usual = text->len;
    *text = (struct text){0};
    list_push_back(&exporter->batches, &batch->node);
    if (!uv_is_active((uv_handle_t *)&exporter->retry))
        send_next(exporter);
}

void exporter_add(struct exporter *exporter, struct exporter_source *source) {
    list_push_back(&exporter->sources, &source->node);
}

void exporter_remove(struct exporter_source *source) {
    list_remove(&source->node);
}

/* ---- life ---- */

int exporter_open(struct exporter **out, uv_loop_t *loop, struct trace_settings *settings,
                  char *error, size_t size) {
    const struct module *module;
    struct exporter *exporter = calloc(1, sizeof(*exporter));
    int rc = exporter != NULL ? LN_OK : LN_ENOMEM;
    if (rc == LN_OK)
        rc = module_load(&module, "curl", error, size);
    else
        snprintf(error, size, "%s", status_text(rc));
    if (rc == LN_OK) {
        exporter->api = module->api;
        rc = exporter->api->open(&exporter->client, loop);
        if (rc < 0)
            snprintf(error, size, "%s", status_text(rc));
    }
    if (rc < 0) {
        trace_settings_free(settings);
        free(exporter);
        return rc;
    }
    exporter->loop = loop;
    exporter->settings = *settings;
    *settings = (struct trace_settings){0};
    uv_timer_t *timers[] = {&exporter->flush, &exporter->retry};
    for (size_t i = 0; i < 2; i++) {
        uv_timer_init(loop, timers[i]); /* cannot fail */
        uv_unref((uv_handle_t *)timers[i]);
        timers[i]->data = exporter;
    }
    *out = exporter;
    return LN_OK;
}

const struct trace_settings *exporter_settings(const struct exporter *exporter) {
    return &exporter->settings;
}

void exporter_get_stats(const struct exporter *exporter, struct exporter_stats *out) {
    *out = exporter->stats;
}

static void on_one_closed(struct exporter *exporter) {
    if (--exporter->handles > 0)
        return;
    void (*on_closed)(void *) = exporter->on_closed;
    void *owner = exporter->close_owner;
    trace_settings_free(&exporter->settings);
    text_free(&exporter->spare);
    free(exporter);
    on_closed(owner);
}

static void on_timer_closed(uv_handle_t *handle) {
    on_one_closed(handle->data);
}

static void on_client_closed(void *owner) {
    on_one_closed(owner);
}

/* All is sent, or time is over. */
static void finish(struct exporter *exporter) {
    struct batch *batch;
    bool lost = false;
    if (exporter->handles > 0)
        return;
    if (exporter->call != NULL)
        exporter->api->cancel(exporter->call); /* it has the text of the first one */
    exporter->call = NULL;
    while ((batch = first(exporter)) != NULL) {
        drop(exporter, batch->spans);
        free_batch(exporter, batch);
        lost = true;
    }
    if (lost && *exporter->reason == '\0')
        snprintf(exporter->reason, sizeof(exporter->reason), "the collector is too slow");
    tell(exporter, exporter->stats.dropped > exporter->told_dropped);
    exporter->handles = 3;
    uv_close((uv_handle_t *)&exporter->flush, on_timer_closed);
    uv_close((uv_handle_t *)&exporter->retry, on_timer_closed);
    exporter->api->close(exporter->client, on_client_closed, exporter);
}

static void end_if_done(struct exporter *exporter) {
    if (exporter->closing && exporter->call == NULL)
        finish(exporter);
}

static void on_bound(uv_timer_t *timer) {
    finish(timer->data);
}

void exporter_close(struct exporter *exporter, uint32_t bound_ms,
                    void (*on_closed)(void *owner), void *owner) {
    flush(exporter);
    exporter->closing = true;
    exporter->on_closed = on_closed;
    exporter->close_owner = owner;
    uv_ref((uv_handle_t *)&exporter->retry);
    uv_timer_start(&exporter->retry, on_bound, bound_ms, 0);
    send_next(exporter);
}
