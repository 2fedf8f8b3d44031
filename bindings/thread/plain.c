/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plain values as bytes, from one Lua state to another of this process: nil, booleans, numbers,
 * strings, and tables of them, whose marks of JSON they keep. A table that is in two places is
 * two tables afterwards.
 */
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <lauxlib.h>

#include "bindings/json/json.h"
#include "bindings/lib/error.h"
#include "bindings/thread/thread.h"

#define DEPTH_MAX 100 /* tables in tables; a call in C for each */
#define LEAST 256

enum tag {
    TAG_NIL,
    TAG_NULL, /* of JSON */
    TAG_FALSE,
    TAG_TRUE,
    TAG_INTEGER,
    TAG_FLOAT,
    TAG_STRING,
    TAG_TABLE, /* struct shape, the pairs */
};

struct shape {
    uint64_t pairs;
    int32_t array; /* as many of them are in its array */
    int32_t mark;  /* enum json_mark */
};

/* ---- bytes ---- */

static void put(lua_State *L, struct plain *plain, const void *bytes, size_t len) {
    if (plain->size - plain->len < len) {
        size_t size = plain->size < LEAST ? LEAST : plain->size * 2;
        while (size - plain->len < len)
            size *= 2;
        char *more = account_alloc(plain->account, plain->bytes, plain->size, size);
        plain->refused = more == NULL;
        if (more == NULL) {
            raise_error(L, "not enough memory");
            return; /* never: for whoever does not know that */
        }
        plain->bytes = more;
        plain->size = size;
    }
    memcpy(plain->bytes + plain->len, bytes, len);
    plain->len += len;
}

static void put_tag(lua_State *L, struct plain *plain, enum tag tag) {
    put(L, plain, &(char){(char)tag}, 1);
}

void plain_free(struct plain *plain) {
    if (plain->bytes != NULL)
        account_alloc(plain->account, plain->bytes, plain->size, 0);
    plain->bytes = NULL;
    plain->len = plain->size = 0;
}

/* ---- writing ---- */

struct writer {
    lua_State *L;
    struct plain *plain;
    const char *what; /* "app.thread: argument" */
    int number;
    int depth;
    int keys[DEPTH_MAX]; /* where the key is under which each table goes on */
    const void *tables[DEPTH_MAX];
};

static void write_value(struct writer *w, int index);

/* Raises the error, with the way to the value. */
static void refuse(const struct writer *w, const char *why) {
    lua_State *L = w->L;
    luaL_checkstack(L, LUA_MINSTACK, NULL);
    lua_pushfstring(L, "%s %d", w->what, w->number);
    for (int i = 0; i < w->depth; i++) {
        bool named = lua_type(L, w->keys[i]) == LUA_TSTRING;
        luaL_tolstring(L, w->keys[i], NULL); /* path, key */
        lua_pushfstring(L, named ? "%s.%s" : "%s[%s]", lua_tostring(L, -2),
                        lua_tostring(L, -1));
        lua_replace(L, -3);
        lua_pop(L, 1);
    }
    raise_error(L, "%s: %s", lua_tostring(L, -1), why);
}

static void refuse_type(const struct writer *w, int index) {
    char why[64];
    snprintf(why, sizeof(why), "cannot copy a %s", luaL_typename(w->L, index));
    refuse(w, why);
}

static void write_table(struct writer *w, int index) {
    lua_State *L = w->L;
    const void *table = lua_topointer(L, index);
    size_t array = lua_rawlen(L, index);
    struct shape shape = {
        .array = array < INT_MAX / 2 ? (int32_t)array : 0,
        .mark = (int32_t)json_get_mark(L, index),
    };
    if (shape.mark == JSON_MARK_OTHER)
        refuse(w, "cannot copy a table with a metatable");
    for (int i = 0; i < w->depth; i++)
        if (w->tables[i] == table)
            refuse(w, "the table is inside of itself");
    if (w->depth == DEPTH_MAX)
        refuse(w, "more than 100 tables are inside of each other");
    luaL_checkstack(L, LUA_MINSTACK, "copying a table");
    put_tag(L, w->plain, TAG_TABLE);
    size_t at = w->plain->len;
    put(L, w->plain, &shape, sizeof(shape));
    w->tables[w->depth] = table;
    w->keys[w->depth++] = lua_gettop(L) + 1;
    for (lua_pushnil(L); lua_next(L, index) != 0; lua_pop(L, 1)) {
        int key = lua_gettop(L) - 1;
        write_value(w, key);
        write_value(w, key + 1);
        shape.pairs++;
    }
    w->depth--;
    if ((uint64_t)shape.array > shape.pairs) /* where there are holes any of them is its end */
        shape.array = (int32_t)shape.pairs;
    memcpy(w->plain->bytes + at, &shape, sizeof(shape));
}

static void write_number(struct writer *w, int index) {
    bool whole = lua_isinteger(w->L, index);
    put_tag(w->L, w->plain, whole ? TAG_INTEGER : TAG_FLOAT);
    if (whole)
        put(w->L, w->plain, &(lua_Integer){lua_tointeger(w->L, index)}, sizeof(lua_Integer));
    else
        put(w->L, w->plain, &(lua_Number){lua_tonumber(w->L, index)}, sizeof(lua_Number));
}

/* `index` is absolute. */
static void write_value(struct writer *w, int index) {
    lua_State *L = w->L;
    size_t len;
    const char *bytes;
    switch (lua_type(L, index)) {
    case LUA_TNIL:
        put_tag(L, w->plain, TAG_NIL);
        break;
    case LUA_TBOOLEAN:
        put_tag(L, w->plain, lua_toboolean(L, index) ? TAG_TRUE : TAG_FALSE);
        break;
    case LUA_TNUMBER:
        write_number(w, index);
        break;
    case LUA_TSTRING:
        bytes = lua_tolstring(L, index, &len);
        put_tag(L, w->plain, TAG_STRING);
        put(L, w->plain, &len, sizeof(len));
        put(L, w->plain, bytes, len);
        break;
    case LUA_TTABLE:
        write_table(w, index);
        break;
    case LUA_TLIGHTUSERDATA:
        if (lua_touserdata(L, index) == NULL) {
            put_tag(L, w->plain, TAG_NULL);
            break;
        }
        /* fall through */
    default:
        refuse_type(w, index);
    }
}

void plain_write(lua_State *L, struct plain *plain, int first, const char *what) {
    struct writer w = {.L = L, .plain = plain, .what = what};
    int last = lua_gettop(L);
    for (int i = first; i <= last; i++) {
        w.number = i - first + 1;
        write_value(&w, i);
    }
}

/* ---- reading ---- */

/* What was written is all there, so nothing is checked. */
static const char *get(const char *at, void *out, size_t len) {
    memcpy(out, at, len);
    return at + len;
}

static const char *push_value(lua_State *L, const char *at) {
    lua_Integer integer;
    lua_Number number;
    size_t len;
    struct shape shape;
    switch ((enum tag) * at++) {
    case TAG_NIL:
        lua_pushnil(L);
        break;
    case TAG_NULL:
        lua_pushlightuserdata(L, NULL);
        break;
    case TAG_FALSE:
    case TAG_TRUE:
        lua_pushboolean(L, at[-1] == TAG_TRUE);
        break;
    case TAG_INTEGER:
        at = get(at, &integer, sizeof(integer));
        lua_pushinteger(L, integer);
        break;
    case TAG_FLOAT:
        at = get(at, &number, sizeof(number));
        lua_pushnumber(L, number);
        break;
    case TAG_STRING:
        at = get(at, &len, sizeof(len));
        lua_pushlstring(L, at, len);
        at += len;
        break;
    case TAG_TABLE:
        at = get(at, &shape, sizeof(shape));
        luaL_checkstack(L, LUA_MINSTACK, "copying a table");
        uint64_t named = shape.pairs - (uint64_t)shape.array;
        named = shape.pairs < (uint64_t)shape.array ? 0 : named;
        lua_createtable(L, shape.array, named < INT_MAX / 2 ? (int)named : 0);
        for (; shape.pairs > 0; shape.pairs--) {
            at = push_value(L, at);
            at = push_value(L, at);
            lua_rawset(L, -3);
        }
        json_set_mark(L, (enum json_mark)shape.mark);
        break;
    }
    return at;
}

int plain_push(lua_State *L, const struct plain *plain) {
    const char *at = plain->bytes, *end = at + plain->len;
    int count = 0;
    for (; at != end; count++) {
        luaL_checkstack(L, LUA_MINSTACK, "too many values");
        at = push_value(L, at);
    }
    return count;
}
