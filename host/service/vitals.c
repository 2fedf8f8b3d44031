/* SPDX-License-Identifier: Apache-2.0 */
#include "host/service/vitals.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the connection ---- */

static void tell(struct vitals *vitals, const char *state, const char *detail) {
    list_each (struct connection_watcher, at, &vitals->watchers, node)
        at->on_change(at, state, detail);
}

void vitals_connection(struct vitals *vitals, const struct link *link, enum link_state state,
                       const char *text) {
    struct link_info info;
    if (state == LINK_DISCONNECTED)
        tell(vitals, "disconnected", text != NULL ? text : "");
    if (state != LINK_CONNECTED)
        return;
    vitals->lame_duck = false;
    link_get_info(link, &info);
    tell(vitals, "connected", info.url);
}

void vitals_lame_duck(struct vitals *vitals) {
    vitals->lame_duck = true;
    tell(vitals, "lame_duck", "");
}

/* ---- checks ---- */

static void free_check(struct health_check *check) {
    list_remove(&check->node);
    free(check->name);
    free(check->why);
    free(check);
}

static struct health_check *new_check(struct vitals *vitals, const char *name) {
    struct health_check *check = calloc(1, sizeof(*check));
    if (check == NULL)
        return NULL;
    check->name = strdup(name);
    if (check->name == NULL) {
        free(check);
        return NULL;
    }
    list_push_back(&vitals->checks, &check->node);
    return check;
}

struct health_check *health_hold(struct vitals *vitals, const char *name, bool critical) {
    struct health_check *check = NULL;
    list_each (struct health_check, at, &vitals->checks, node)
        if (strcmp(at->name, name) == 0)
            check = at;
    if (check == NULL)
        check = new_check(vitals, name);
    if (check == NULL)
        return NULL;
    check->critical = critical;
    check->users++;
    return check;
}

void health_release(struct health_check *check) {
    if (--check->users == 0)
        free_check(check);
}

void health_set(struct health_check *check, const char *why, double now) {
    free(check->why);
    check->why = why != NULL ? strdup(why) : NULL;
    check->health = why != NULL ? HEALTH_FAILED : HEALTH_OK;
    check->checked_at = now;
}

/* ---- consumers ---- */

void reader_close(struct reader *reader) {
    list_remove(&reader->node);
    free(reader->stream);
    free(reader->consumer);
    free(reader->label);
    free(reader->prefix);
    free(reader->key);
    free(reader);
}

static bool reads_same(const struct reader *reader, const char *stream, const char *label) {
    return strcmp(reader->stream, stream) == 0 && strcmp(reader->label, label) == 0;
}

/* The first that reads the same, be it of the version before. */
static const struct reader *find_reader(const struct vitals *vitals, const char *stream,
                                        const char *label) {
    list_each (struct reader, at, &vitals->readers, node)
        if (reads_same(at, stream, label))
            return at;
    return NULL;
}

static void add_keys(struct reader_together *all, const struct reader *reader) {
    struct keyed_stats own;
    if (reader->keys == NULL)
        return;
    reader->keys(reader->keys_owner, &own);
    all->keyed = true;
    all->keys.keys += own.keys;
    all->keys.waiting += own.waiting;
    all->keys.bytes += own.bytes;
    all->keys.blocked += own.blocked;
    if (own.longest > all->keys.longest)
        all->keys.longest = own.longest;
}

struct reader_together reader_together(const struct vitals *vitals,
                                       const struct reader *reader) {
    struct reader_together all = {.up = true};
    list_each (struct reader, at, &vitals->readers, node) {
        if (!reads_same(at, reader->stream, reader->label))
            continue;
        all.up &= at->state == READER_OK;
        all.last_ms = at->last_ms > all.last_ms ? at->last_ms : all.last_ms;
        add_keys(&all, at);
    }
    return all;
}

bool reader_is_first(const struct vitals *vitals, const struct reader *reader) {
    return find_reader(vitals, reader->stream, reader->label) == reader;
}

/* The numbers belong to the service: they go on when the reader is gone. */
static void count_settled(struct vitals *vitals, struct reader *reader) {
    static const char *const labels[] = {"stream", "consumer", "outcome"};
    static const char *const outcomes[SETTLED_WAYS] = {"ack", "nak", "term"};
    static const struct meter_options options = {
        .type = METER_COUNTER,
        .name = "lunats_js_settled_total",
        .help = "Messages of a consumer, by how they ended.",
        .labels = labels,
        .label_count = 3,
    };
    if (vitals->settled == NULL)
        vitals->settled = meter_open(&vitals->meters, &options);
    for (size_t i = 0; i < SETTLED_WAYS && vitals->settled != NULL; i++) {
        const char *values[] = {reader->stream, reader->label, outcomes[i]};
        reader->settled[i] = meter_series(vitals->settled, values);
    }
}

struct reader *reader_open(struct vitals *vitals, const char *stream, const char *consumer,
                           bool named, const char *prefix) {
    struct reader *reader = calloc(1, sizeof(*reader));
    if (reader == NULL)
        return NULL;
    reader->stream = strdup(stream);
    reader->consumer = strdup(consumer);
    reader->label = strdup(named ? consumer : "(ephemeral)");
    reader->prefix = prefix != NULL ? strdup(prefix) : NULL;
    int len = asprintf(&reader->key, "%s.%s.", stream, consumer);
    if (len < 0)
        reader->key = NULL;
    reader->key_len = (size_t)len;
    if (reader->stream == NULL || reader->consumer == NULL || reader->label == NULL ||
        reader->key == NULL) {
        reader_close(reader);
        return NULL;
    }
    const struct reader *before = find_reader(vitals, stream, reader->label);
    if (before != NULL)
        reader->last_ms = before->last_ms;
    list_push_back(&vitals->readers, &reader->node);
    count_settled(vitals, reader);
    return reader;
}

static struct reader *find_key(const struct vitals *vitals, const char *at) {
    list_each (struct reader, reader, &vitals->readers, node)
        if (strncmp(at, reader->key, reader->key_len) == 0)
            return reader;
    return NULL;
}

struct reader *reader_of_reply(const struct vitals *vitals, const char *reply) {
    static const char prefix[] = "$JS.ACK.";
    if (list_empty(&vitals->readers) || strncmp(reply, prefix, sizeof(prefix) - 1) != 0)
        return NULL;
    const char *at = reply + sizeof(prefix) - 1;
    struct reader *reader = find_key(vitals, at);
    for (int i = 0; i < 2 && reader == NULL && at != NULL; i++) { /* domain and account hash */
        at = strchr(at, '.');
        at = at != NULL ? at + 1 : NULL;
    }
    return reader != NULL || at == NULL ? reader : find_key(vitals, at);
}

void reader_set(struct reader *reader, enum reader_state state, const char *why) {
    reader->state = state;
    snprintf(reader->why, sizeof(reader->why), "%s", why != NULL ? why : "");
}

/* ---- metrics of others ---- */

void vitals_set_foreign(struct vitals *vitals, char *prometheus, char *open_metrics) {
    free(vitals->foreign[0]);
    free(vitals->foreign[1]);
    vitals->foreign[0] = prometheus;
    vitals->foreign[1] = open_metrics;
}

/* ---- the end ---- */

/* Scripts have released what they held; nothing is left but what a failure has left. */
void vitals_free(struct vitals *vitals) {
    faults_free(&vitals->faults);
    vitals_set_foreign(vitals, NULL, NULL);
    list_each (struct health_check, check, &vitals->checks, node)
        free_check(check);
    list_each (struct reader, reader, &vitals->readers, node)
        reader_close(reader);
    list_each (struct meter, meter, &vitals->meters.list, node)
        meter_free(meter);
}
