/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/log_recent.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/log_line.h"
#include "host/base/status.h"

/* Of the time and the level in front of a line without service. */
#define PREFIX (sizeof("2026-11-23T17:30:01.123Z INFO  ") - 1)

struct log_recent {
    struct log_copy copy;
    struct list lines;
    size_t count;
    uint64_t last;
};

static void drop_oldest(struct log_recent *recent) {
    struct list_node *node = list_pop_front(&recent->lines);
    recent->count--;
    free(list_item(node, struct log_recent_line, node));
}

static void keep(struct log_recent *recent, const struct log_record *record, const char *text,
                 size_t len) {
    size_t room = record->service != NULL ? strlen(record->service) + 1 : 0;
    struct log_recent_line *line = calloc(1, sizeof(*line) + len + 1 + room);
    if (line == NULL)
        return;
    memcpy(line->text, text, len);
    if (room > 0)
        line->service = memcpy(line->text + len + 1, record->service, room);
    line->time_ms = record->time_ms;
    line->level = record->level;
    line->number = ++recent->last;
    if (recent->count == LOG_RECENT_MAX)
        drop_oldest(recent);
    list_push_back(&recent->lines, &line->node);
    recent->count++;
}

static void on_record(struct log_copy *copy, const struct log_record *record) {
    struct log_recent *recent = copy->owner;
    struct log_record bare = *record;
    struct log_line line;
    bare.service = NULL;
    log_line_compose(&line, &bare, LOG_FORMAT_TEXT, false);
    size_t len = line.len - 1; /* without its line break */
    if (len > PREFIX + LOG_RECENT_TEXT_MAX)
        len = PREFIX + LOG_RECENT_TEXT_MAX;
    if (len >= PREFIX)
        keep(recent, record, line.data + PREFIX, len - PREFIX);
    log_line_free(&line);
}

int log_recent_open(struct log_recent **out) {
    struct log_recent *recent = calloc(1, sizeof(*recent));
    if (recent == NULL)
        return LN_ENOMEM;
    recent->copy.on_record = on_record;
    recent->copy.owner = recent;
    log_copy_add(&recent->copy);
    *out = recent;
    return LN_OK;
}

void log_recent_close(struct log_recent *recent) {
    log_copy_remove(&recent->copy);
    while (recent->count > 0)
        drop_oldest(recent);
    free(recent);
}

const struct list *log_recent_lines(const struct log_recent *recent) {
    return &recent->lines;
}

uint64_t log_recent_last(const struct log_recent *recent) {
    return recent->last;
}
