/* SPDX-License-Identifier: Apache-2.0 */
#include "bindings/tools/record.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "bindings/json/json.h"

/* A spec that never looks must not fill the memory. */
#define RECORDS_MAX 100000

/* One block of memory: the record, its fields, then the bytes that all pointers point to. */
struct record {
    struct list_node node; /* in records->list */
    enum record_kind kind;
    enum log_level level;
    const char *text;  /* error, message of a log line, traceback; or the subject */
    const char *reply; /* or NULL */
    const char *data;  /* of what was sent */
    size_t data_len;
    size_t field_count;
    size_t context_count;      /* of a log line; of the fields the last ones */
    struct log_field fields[]; /* of a log line; or headers */
};

/* Takes the first one off; NULL when there is none. */
static struct record *next_record(struct records *records) {
    struct record *record = list_item(list_pop_front(&records->list), struct record, node);
    records->count -= record != NULL;
    return record;
}

void records_free(struct records *records) {
    for (struct record *record; (record = next_record(records)) != NULL;)
        free(record);
}

static void add(struct records *records, struct record *record) {
    list_push_back(&records->list, &record->node);
    records->count++;
}

/* ---- copying ---- */

/* Where the bytes of a new record go. */
struct room {
    char *at;
};

static const char *keep(struct room *room, const char *bytes, size_t len) {
    char *start = room->at;
    if (len > 0)
        memcpy(start, bytes, len);
    start[len] = '\0';
    room->at += len + 1;
    return start;
}

static struct record *new_record(struct records *records, enum record_kind kind,
                                 size_t field_count, size_t bytes, struct room *room) {
    if (records->count == RECORDS_MAX)
        return NULL;
    size_t head = sizeof(struct record) + field_count * sizeof(struct log_field);
    struct record *record = calloc(1, head + bytes);
    if (record == NULL)
        return NULL;
    record->kind = kind;
    record->field_count = field_count;
    room->at = (char *)record + head;
    return record;
}

void records_add_text(struct records *records, enum record_kind kind, const char *text) {
    size_t len = strlen(text);
    struct room room;
    struct record *record = new_record(records, kind, 0, len + 1, &room);
    if (record == NULL)
        return;
    record->text = keep(&room, text, len);
    add(records, record);
}

static bool has_bytes(const struct log_field *field) {
    return field->type == LOG_TYPE_STRING || field->type == LOG_TYPE_JSON;
}

static size_t field_bytes(const struct log_field *fields, size_t count) {
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        bytes += strlen(fields[i].key) + 1;
        bytes += has_bytes(&fields[i]) ? fields[i].value.string.len + 1 : 0;
    }
    return bytes;
}

static void keep_fields(struct room *room, struct log_field *to, const struct log_field *from,
                        size_t count) {
    for (size_t i = 0; i < count; i++) {
        struct log_field *field = &to[i];
        *field = from[i];
        field->key = keep(room, field->key, strlen(field->key));
        if (has_bytes(field))
            field->value.string.data =
                keep(room, field->value.string.data, field->value.string.len);
    }
}

void records_add_log(struct records *records, const struct log_record *line) {
    size_t count = line->field_count;
    size_t bytes = strlen(line->message) + 1 + field_bytes(line->fields, count) +
                   field_bytes(line->context, line->context_count);
    struct room room;
    struct record *record =
        new_record(records, RECORD_LOG, count + line->context_count, bytes, &room);
    if (record == NULL)
        return;
    record->level = line->level;
    record->context_count = line->context_count;
    record->text = keep(&room, line->message, strlen(line->message));
    keep_fields(&room, record->fields, line->fields, count);
    keep_fields(&room, record->fields + count, line->context, line->context_count);
    add(records, record);
}

void records_add_sent(struct records *records, const struct link_out *out) {
    size_t bytes = strlen(out->subject) + out->len + 2;
    bytes += out->reply != NULL ? strlen(out->reply) + 1 : 0;
    for (size_t i = 0; i < out->header_count; i++)
        bytes += strlen(out->headers[i].name) + strlen(out->headers[i].value) + 2;
    struct room room;
    struct record *record = new_record(records, RECORD_SENT, out->header_count, bytes, &room);
    if (record == NULL)
        return;
    record->text = keep(&room, out->subject, strlen(out->subject));
    if (out->reply != NULL)
        record->reply = keep(&room, out->reply, strlen(out->reply));
    record->data = keep(&room, out->data, out->len);
    record->data_len = out->len;
    for (size_t i = 0; i < out->header_count; i++) {
        const struct link_header *header = &out->headers[i];
        struct log_field *field = &record->fields[i];
        field->key = keep(&room, header->name, strlen(header->name));
        field->type = LOG_TYPE_STRING;
        field->value.string.len = strlen(header->value);
        field->value.string.data = keep(&room, header->value, field->value.string.len);
    }
    add(records, record);
}

/* ---- pushing ---- */

static void push_value(lua_State *L, const struct log_field *field) {
    const char *data = field->value.string.data;
    switch (field->type) {
    case LOG_TYPE_INT:
        lua_pushinteger(L, (lua_Integer)field->value.integer);
        return;
    case LOG_TYPE_FLOAT:
        lua_pushnumber(L, field->value.number);
        return;
    case LOG_TYPE_BOOL:
        lua_pushboolean(L, field->value.boolean);
        return;
    case LOG_TYPE_JSON:
        json_decode(L, data, field->value.string.len); /* or why not */
        return;
    case LOG_TYPE_STRING:
        break;
    }
    lua_pushlstring(L, data, field->value.string.len);
}

/* A name that comes several times gets the list of its values, as in msg.headers. */
static void push_fields(lua_State *L, const struct record *record, size_t from, size_t to) {
    lua_createtable(L, 0, (int)(to - from)); /* fields */
    for (size_t i = from; i < to; i++) {
        const struct log_field *field = &record->fields[i];
        int type = lua_getfield(L, -1, field->key); /* fields, before */
        if (type == LUA_TSTRING && record->kind == RECORD_SENT) {
            lua_createtable(L, 2, 0);
            lua_insert(L, -2);
            lua_rawseti(L, -2, 1); /* fields, { before } */
            type = LUA_TTABLE;
        }
        push_value(L, field); /* fields, before, value */
        if (type == LUA_TTABLE && record->kind == RECORD_SENT) {
            lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
        } else {
            lua_remove(L, -2);
        }
        lua_setfield(L, -2, field->key); /* fields */
    }
}

static void set_text(lua_State *L, const char *name, const char *text) {
    lua_pushstring(L, text); /* nil for NULL */
    lua_setfield(L, -2, name);
}

static void push_record(lua_State *L, const struct record *record) {
    static const char *const kinds[] = {"error", "log", "sent", "fiber"};
    lua_createtable(L, 0, 5);
    set_text(L, "kind", kinds[record->kind]);
    set_text(L, record->kind == RECORD_SENT ? "subject" : "text", record->text);
    if (record->kind == RECORD_LOG)
        set_text(L, "level", log_level_name(record->level));
    if (record->kind == RECORD_SENT) {
        set_text(L, "reply_to", record->reply);
        lua_pushlstring(L, record->data, record->data_len);
        lua_setfield(L, -2, "raw");
    }
    size_t own = record->field_count - record->context_count;
    if (record->kind == RECORD_SENT || own > 0) {
        push_fields(L, record, 0, own);
        lua_setfield(L, -2, record->kind == RECORD_SENT ? "headers" : "fields");
    }
    if (record->context_count > 0) {
        push_fields(L, record, own, record->field_count);
        lua_setfield(L, -2, "context");
    }
}

void records_push(lua_State *L, struct records *records) {
    lua_createtable(L, (int)records->count, 0);
    for (lua_Integer i = 1; !list_empty(&records->list); i++) {
        /* It stays in the list while pushing may raise. */
        push_record(L, list_item(list_first(&records->list), struct record, node));
        lua_rawseti(L, -2, i);
        free(next_record(records));
    }
}
