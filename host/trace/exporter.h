/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sends recorded spans to a collector, by OTLP over HTTP with JSON: in batches, one after the
 * other. What waits is bounded. When the collector is away the oldest batches are kept, tried
 * again with a growing pause, and further spans are dropped, counted and told once a minute.
 */
#ifndef LUNATS_TRACE_EXPORTER_H
#define LUNATS_TRACE_EXPORTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

#include "host/base/list.h"
#include "host/base/text.h"
#include "host/trace/settings.h"

struct exporter;

/*
 * Takes the settings, which have a URL. On success *out is the caller's, who hands it to
 * exporter_close(). Otherwise the settings are freed, and `error` says why for people:
 * UV_ENOENT when the module that speaks HTTP is not installed, or another negative status.
 */
int exporter_open(struct exporter **out, uv_loop_t *loop, struct trace_settings *settings,
                  char *error, size_t size);

/* Sends what waits, for so long at most; on_closed() follows, from the loop. Its tracers are
 * closed by then. */
void exporter_close(struct exporter *exporter, uint32_t bound_ms,
                    void (*on_closed)(void *owner), void *owner);

const struct trace_settings *exporter_settings(const struct exporter *exporter);

struct exporter_stats {
    uint64_t sent, dropped; /* spans, since the start */
    uint64_t failures;      /* attempts to send some */
    size_t queued;
};
void exporter_get_stats(const struct exporter *exporter, struct exporter_stats *out);

/* ---- for tracers ---- */

/* One that writes spans: asked for what it has when it is time to send it. */
struct exporter_source {
    struct list_node node;
    void (*flush)(struct exporter_source *source);
};
void exporter_add(struct exporter *exporter, struct exporter_source *source);
void exporter_remove(struct exporter_source *source);

/* Counts a span that is about to be written; false: it has to be dropped. */
bool exporter_admit(struct exporter *exporter);

/* Gives memory for the next document to an empty text, as far as there is some. */
void exporter_spare(struct exporter *exporter, struct text *text);

/* Takes a document with so many of the spans that were admitted. Empty afterwards. */
void exporter_take(struct exporter *exporter, struct text *text, size_t spans);

#endif
