/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lua values to JSON text.
 *
 * Open tables sit on the Lua stack, each with the key that is being written; so there is no
 * recursion, and the stack is the path that errors name:
 *
 *     state | scratch | table | key | table | key | ... | value
 *
 * The scratch buffer is taken out of the state while it is written to: a finalizer that runs
 * when it grows may encode too, and gets another one. It goes back when the text is complete.
 */
#include "bindings/json/internal.h"
#include "bindings/json/json.h"
#include "bindings/json/plain.h"
#include "bindings/lib/error.h"
#include "host/base/utf8.h"

#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

enum { FIRST_SCRATCH_BYTES = 4096, STACK_SPARE = 8 };

/* A table that is being written. */
struct frame {
    size_t start;      /* where its bracket stands */
    lua_Integer items; /* written or begun so far */
    lua_Integer count; /* of an indexed list: all items */
    bool decided;      /* the bracket is written */
    bool is_list;
    bool is_indexed;       /* walked by index, because lua_next() has another order */
    bool is_sorted;        /* walked through what sort_object() has put in its place */
    bool marked_as_list;   /* by json.array() or the decoder */
    bool marked_as_object; /* by json.object() */
};

struct encoder {
    lua_State *L;
    struct json_state *state;
    int scratch; /* stack index; the first table is above it */
    char *begin;
    char *next; /* where to write */
    char *limit;
    int depth;
    bool sorted; /* objects by their keys */
    struct frame frames[JSON_MAX_DEPTH];
};

/* ---- errors ---- */

static bool is_name(const char *text, size_t len) {
    for (size_t i = 0; i < len; i++) {
        unsigned char byte = (unsigned char)text[i];
        unsigned char lower = byte | 0x20;
        bool letter = (lower >= 'a' && lower <= 'z') || byte == '_';
        if (!letter && (i == 0 || byte < '0' || byte > '9'))
            return false;
    }
    return len > 0;
}

/* Pushes ".name", "[3]" or "[\"odd key\"]" for the key at `index`. */
static void push_path_step(lua_State *L, int index, bool first) {
    enum { MAX_KEY = 40 };
    if (lua_type(L, index) != LUA_TSTRING) {
        lua_pushfstring(L, "[%I]", (LUAI_UACINT)lua_tointeger(L, index));
        return;
    }
    size_t len;
    const char *key = lua_tolstring(L, index, &len);
    char shown[MAX_KEY + 1];
    size_t kept = len < MAX_KEY ? len : MAX_KEY;
    for (size_t i = 0; i < kept; i++)
        shown[i] = key[i] >= ' ' && key[i] <= '~' && key[i] != '"' ? key[i] : '?';
    shown[kept] = '\0';
    const char *more = kept < len ? "..." : "";
    if (is_name(key, len))
        lua_pushfstring(L, "%s%s%s", first ? "" : ".", shown, more);
    else
        lua_pushfstring(L, "[\"%s%s\"]", shown, more);
}

/*
 * Raises "values[3].f: " and the message on top of the stack. The path has `levels` keys; long
 * ones (of a cycle) are cut.
 */
static int raise_at(struct encoder *e, int levels) {
    enum { MAX_LEVELS = 10 };
    lua_State *L = e->L;
    luaL_checkstack(L, 2 * MAX_LEVELS, NULL);
    int message = lua_gettop(L);
    push_position(L);
    int shown = levels < MAX_LEVELS ? levels : MAX_LEVELS;
    for (int i = 0; i < shown; i++)
        push_path_step(L, e->scratch + 2 + 2 * i, i == 0);
    lua_pushstring(L, levels > shown ? "...: " : levels > 0 ? ": " : "");
    lua_pushvalue(L, message);
    lua_concat(L, lua_gettop(L) - message);
    return lua_error(L);
}

/* About the value that is being written. */
static int complain_value(struct encoder *e, const char *what) {
    lua_pushfstring(e->L, "cannot encode %s", what);
    return raise_at(e, e->depth);
}

/* About the innermost table. */
static int complain_table(struct encoder *e, const char *what) {
    lua_pushfstring(e->L, "cannot encode %s", what);
    return raise_at(e, e->depth - 1);
}

/* ---- the scratch buffer ---- */

static void use_scratch(struct encoder *e) {
    e->begin = lua_touserdata(e->L, e->scratch);
    e->limit = e->begin + lua_rawlen(e->L, e->scratch);
}

/* Pushes the buffer of the state, or a new one if it is missing or needlessly large. */
static void take_scratch(struct encoder *e, int state_index) {
    lua_State *L = e->L;
    int type = lua_getiuservalue(L, state_index, JSON_SLOT_SCRATCH); /* scratch | nil */
    size_t size = lua_rawlen(L, -1);
    bool too_large = size > JSON_KEEP_BYTES && e->state->last_len < size / 4;
    lua_pushnil(L);
    lua_setiuservalue(L, state_index, JSON_SLOT_SCRATCH);
    if (type != LUA_TUSERDATA || too_large) {
        lua_pop(L, 1);
        lua_newuserdatauv(L, FIRST_SCRATCH_BYTES, 0);
    }
    e->scratch = lua_gettop(L);
    use_scratch(e);
    e->next = e->begin;
}

/* Apart from reserve(), so that the usual case is small enough to be inlined everywhere. */
__attribute__((noinline, cold)) static void grow(struct encoder *e, size_t bytes) {
    size_t used = (size_t)(e->next - e->begin);
    size_t size = (size_t)(e->limit - e->begin) * 2;
    if (size < used + bytes)
        size = used + bytes;
    char *larger = lua_newuserdatauv(e->L, size, 0);
    memcpy(larger, e->begin, used);
    lua_replace(e->L, e->scratch);
    use_scratch(e);
    e->next = e->begin + used;
}

/* Makes room for that many bytes at e->next. May raise. */
static inline void reserve(struct encoder *e, size_t bytes) {
    if ((size_t)(e->limit - e->next) < bytes)
        grow(e, bytes);
}

static void put_byte(struct encoder *e, char byte) {
    reserve(e, 1);
    *e->next++ = byte;
}

static void put_bytes(struct encoder *e, const char *bytes, size_t len) {
    reserve(e, len);
    memcpy(e->next, bytes, len);
    e->next += len;
}

/* ---- strings ---- */

/* Writes the escape of '"', '\\' or a control byte. */
static void put_escape(struct encoder *e, unsigned char byte) {
    static const char hex[] = "0123456789abcdef";
    static const char letters[32] = {
        ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};
    char letter = byte < 0x20 ? letters[byte] : (char)byte;
    if (letter != '\0') {
        put_bytes(e, (const char[]){'\\', letter}, 2);
        return;
    }
    put_bytes(e, (const char[]){'\\', 'u', '0', '0', hex[byte >> 4], hex[byte & 15]}, 6);
}

/* Writes text with its quotes. Returns NULL, or the first byte that is not UTF-8. */
static const char *put_string(struct encoder *e, const char *text, size_t len) {
    const char *begin = text, *end = text + len;
    uint64_t high = 0;
    reserve(e, len + 2);
    *e->next++ = '"';
    for (;;) {
        const char *stop = json_copy_plain(e->next, text, end, &high);
        e->next += stop - text;
        text = stop;
        if (text == end)
            break;
        put_escape(e, (unsigned char)*text++);
        reserve(e, (size_t)(end - text) + 1);
    }
    *e->next++ = '"';
    return high != 0 ? utf8_find_invalid(begin, end) : NULL;
}

static void write_string(struct encoder *e) {
    size_t len;
    const char *text = lua_tolstring(e->L, -1, &len);
    const char *wrong = put_string(e, text, len);
    if (wrong != NULL) {
        lua_pushfstring(e->L, "cannot encode a string with invalid UTF-8 at its byte %I",
                        (LUAI_UACINT)(wrong - text + 1));
        raise_at(e, e->depth);
    }
}

/* ---- tables ---- */

static struct frame *innermost(struct encoder *e) {
    return &e->frames[e->depth - 1];
}

/* ---- objects in order ---- */

struct sorted_key {
    const char *text;
    size_t len;
    lua_Integer place;
};

static int by_text(const void *one, const void *other) {
    const struct sorted_key *a = one, *b = other;
    int order = memcmp(a->text, b->text, a->len < b->len ? a->len : b->len);
    return order != 0 ? order : (a->len > b->len) - (a->len < b->len);
}

/* Adds the key and the value on top to the list below them. */
static void add_pair(lua_State *L, lua_Integer place) {
    lua_pushvalue(L, -2);              /* list, key, value, key */
    lua_rawseti(L, -4, 2 * place);     /* list, key, value */
    lua_pushvalue(L, -1);              /* list, key, value, value */
    lua_rawseti(L, -4, 2 * place + 1); /* list, key, value */
}

/*
 * Puts a list { order, key, value, key, value, ... } in the place of the table on top, where
 * order is an array of struct sorted_key. Returns false, and changes nothing, when it has other
 * keys than strings.
 */
static bool sort_object(struct encoder *e, struct frame *f) {
    lua_State *L = e->L;
    luaL_checkstack(L, 2 * STACK_SPARE, NULL);
    lua_newtable(L); /* table, list */
    for (lua_pushnil(L); lua_next(L, -3) != 0; lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING) {
            lua_pop(L, 3); /* table */
            f->count = 0;
            return false;
        }
        add_pair(L, ++f->count);
    }
    struct sorted_key *order = lua_newuserdatauv(L, (size_t)f->count * sizeof(*order), 0);
    for (lua_Integer i = 0; i < f->count; i++) { /* table, list, order */
        lua_rawgeti(L, -2, 2 * (i + 1));
        order[i].text = lua_tolstring(L, -1, &order[i].len); /* kept by the list */
        order[i].place = i + 1;
        lua_pop(L, 1);
    }
    qsort(order, (size_t)f->count, sizeof(*order), by_text);
    lua_rawseti(L, -2, 1); /* table, list */
    lua_replace(L, -2);
    return true;
}

/* The table on top becomes a frame. */
static void open_frame(struct encoder *e) {
    lua_State *L = e->L;
    if (e->depth == JSON_MAX_DEPTH)
        complain_value(e, "tables nested deeper than 128 levels (does one contain itself?)");
    luaL_checkstack(L, STACK_SPARE, NULL);
    struct frame *f = &e->frames[e->depth++];
    *f = (struct frame){.start = (size_t)(e->next - e->begin)};
    if (lua_getmetatable(L, -1)) {
        const void *mark = lua_topointer(L, -1);
        f->marked_as_list = mark == e->state->array_mark;
        f->marked_as_object = mark == e->state->object_mark;
        lua_pop(L, 1);
    }
    if (e->sorted && !f->marked_as_list)
        f->is_sorted = f->is_indexed = sort_object(e, f);
    lua_pushnil(L); /* table, nil: lua_next() starts from here */
}

/* All keys are seen; the table is on top. */
static void close_frame(struct encoder *e) {
    struct frame *f = innermost(e);
    if (!f->decided) {
        f->is_list = f->marked_as_list;
        put_byte(e, f->is_list ? '[' : '{');
    }
    put_byte(e, f->is_list ? ']' : '}');
    e->depth--;
    lua_pop(e->L, 1);
}

static void raise_hole(struct encoder *e, int table) {
    lua_Integer missing = 1;
    while (lua_rawgeti(e->L, table, missing) != LUA_TNIL) {
        lua_pop(e->L, 1);
        missing++;
    }
    lua_pushfstring(e->L,
                    "cannot encode a list without item %I (use json.null for holes, or strings "
                    "as keys)",
                    (LUAI_UACINT)missing);
    raise_at(e, e->depth - 1);
}

static void raise_bad_key(struct encoder *e, const struct frame *f) {
    if (f->marked_as_list)
        complain_table(e, "an array with keys other than 1 to n");
    if (f->marked_as_object)
        complain_table(e, "an object with keys that are no strings");
    bool named = lua_type(e->L, -2) == LUA_TSTRING;
    if (named || (lua_isinteger(e->L, -2) && lua_tointeger(e->L, -2) > 0))
        complain_table(e, "a table with both list items and named fields");
    complain_table(e, "a table with keys that are neither strings nor 1 to n");
}

/*
 * The keys of the list on top are not in order. Checks that they are 1 to n all the same, and
 * starts the list again, by index.
 */
static void restart_indexed(struct encoder *e, struct frame *f) {
    lua_State *L = e->L;
    int table = lua_gettop(L);
    lua_Integer count = 0;
    lua_Integer highest = 0;
    for (lua_pushnil(L); lua_next(L, table) != 0; lua_pop(L, 1)) {
        lua_Integer key = lua_isinteger(L, -2) ? lua_tointeger(L, -2) : 0;
        if (key < 1)
            raise_bad_key(e, f);
        if (key > highest)
            highest = key;
        count++;
    }
    if (highest != count)
        raise_hole(e, table);
    f->is_indexed = true;
    f->count = count;
    f->items = 0;
    e->next = e->begin + f->start + 1; /* behind the bracket */
    lua_pushnil(L);
}

static bool next_indexed(struct encoder *e, struct frame *f) {
    lua_State *L = e->L;
    lua_pop(L, 1); /* table */
    if (f->items == f->count)
        return false;
    if (f->items++ > 0)
        put_byte(e, ',');
    lua_pushinteger(L, f->items);
    lua_rawgeti(L, -2, f->items); /* table, key, value */
    return true;
}

static void write_key(struct encoder *e);

static bool next_sorted(struct encoder *e, struct frame *f) {
    lua_State *L = e->L;
    lua_pop(L, 1); /* list */
    if (f->items == f->count)
        return false;
    put_byte(e, f->decided ? ',' : '{');
    f->decided = true;
    lua_rawgeti(L, -1, 1);
    const struct sorted_key *order = lua_touserdata(L, -1);
    lua_Integer place = order[f->items++].place;
    lua_pop(L, 1);
    lua_rawgeti(L, -1, 2 * place);
    lua_rawgeti(L, -2, 2 * place + 1); /* list, key, value */
    write_key(e);
    return true;
}

/* 1 to JSON_CACHED_KEY_BYTES bytes, as words that overlap. */
static void copy_key(char *out, const char *key, size_t len) {
    if (len >= 16) {
        memcpy(out, key, 16);
        memcpy(out + len - 16, key + len - 16, 16);
    } else if (len >= 8) {
        memcpy(out, key, 8);
        memcpy(out + len - 8, key + len - 8, 8);
    } else if (len >= 4) {
        memcpy(out, key, 4);
        memcpy(out + len - 4, key + len - 4, 4);
    } else {
        for (size_t i = 0; i < len; i++)
            out[i] = key[i];
    }
}

/* Keeps the key of the item on top, which needs no escapes, for the next time. */
static void remember_key(struct encoder *e, const char *key, size_t len) {
    unsigned index = json_key_place(key, len);
    lua_getiuservalue(e->L, e->scratch - 1, JSON_SLOT_KEYS); /* key, value, anchors */
    lua_pushvalue(e->L, -3);
    lua_rawseti(e->L, -2, (lua_Integer)index + 1);
    lua_pop(e->L, 1);
    e->state->keys[index] = (struct json_key){key, (uint32_t)len, 0};
}

/* A key that is the very string of the cache is copied without looking at its bytes. */
static void write_key(struct encoder *e) {
    size_t len;
    const char *key = lua_tolstring(e->L, -2, &len);
    bool cacheable = len > 0 && len <= JSON_CACHED_KEY_BYTES;
    if (cacheable && e->state->keys[json_key_place(key, len)].bytes == key) {
        reserve(e, len + 3);
        *e->next++ = '"';
        copy_key(e->next, key, len);
        e->next += len;
        *e->next++ = '"';
        *e->next++ = ':';
        return;
    }
    size_t before = (size_t)(e->next - e->begin);
    if (put_string(e, key, len) != NULL)
        complain_table(e, "a table with a key that is not UTF-8");
    if (cacheable && (size_t)(e->next - e->begin) == before + len + 2)
        remember_key(e, key, len);
    put_byte(e, ':');
}

/*
 * Goes on to the next item of the innermost table: writes what stands before its value and
 * leaves table, key, value. Returns false and leaves the table when there are no more.
 */
static bool next_item(struct encoder *e) {
    lua_State *L = e->L;
    struct frame *f = innermost(e);
    if (f->is_indexed)
        return f->is_sorted ? next_sorted(e, f) : next_indexed(e, f);
    if (lua_next(L, -2) == 0)
        return false;
    int key_type = lua_type(L, -2);
    if (!f->decided) {
        f->decided = true;
        f->is_list = key_type == LUA_TNUMBER;
        if (f->is_list ? f->marked_as_object : f->marked_as_list)
            raise_bad_key(e, f);
        put_byte(e, f->is_list ? '[' : '{');
    } else {
        put_byte(e, ',');
    }
    if (!f->is_list) {
        if (key_type != LUA_TSTRING)
            raise_bad_key(e, f);
        write_key(e);
        return true;
    }
    if (key_type == LUA_TNUMBER && lua_tointeger(L, -2) == ++f->items)
        return true;
    lua_pop(L, 2); /* table */
    restart_indexed(e, f);
    return next_indexed(e, f);
}

/* ---- values ---- */

static void write_number(struct encoder *e) {
    reserve(e, JSON_MAX_NUMBER_BYTES);
    if (lua_isinteger(e->L, -1)) {
        e->next = json_write_integer(e->next, lua_tointeger(e->L, -1));
        return;
    }
    double value = lua_tonumber(e->L, -1);
    if (value != value)
        complain_value(e, "a NaN");
    if (value - value != 0)
        complain_value(e, "an infinite number");
    e->next = json_write_double(e->next, value);
}

static void write_other(struct encoder *e, int type) {
    switch (type) {
    case LUA_TNIL: /* only at the root */
        put_bytes(e, "null", 4);
        break;
    case LUA_TBOOLEAN:
        if (lua_toboolean(e->L, -1))
            put_bytes(e, "true", 4);
        else
            put_bytes(e, "false", 5);
        break;
    case LUA_TLIGHTUSERDATA:
        if (lua_touserdata(e->L, -1) != NULL)
            complain_value(e, "a light userdata");
        put_bytes(e, "null", 4);
        break;
    default:
        lua_pushfstring(e->L, "a %s", lua_typename(e->L, type));
        complain_value(e, lua_tostring(e->L, -1));
    }
}

/* Writes and pops the value on top; a table stays, as a new frame. */
static void write_value(struct encoder *e) {
    int type = lua_type(e->L, -1);
    if (type == LUA_TTABLE) {
        open_frame(e);
        return;
    }
    if (type == LUA_TSTRING)
        write_string(e);
    else if (type == LUA_TNUMBER)
        write_number(e);
    else
        write_other(e, type);
    lua_pop(e->L, 1);
}

static const char *encode(lua_State *L, int idx, bool sorted, size_t *len) {
    struct encoder e; /* the frames are not cleared: 6 KiB would cost more than a small text */
    idx = lua_absindex(L, idx);
    luaL_checkstack(L, STACK_SPARE, NULL);
    struct json_state *state = json_push_state(L); /* state */
    int state_index = lua_gettop(L);
    e.L = L;
    e.state = state;
    e.depth = 0;
    e.sorted = sorted;
    take_scratch(&e, state_index); /* state, scratch */
    lua_pushvalue(L, idx);
    write_value(&e);
    while (e.depth > 0) {
        if (next_item(&e))
            write_value(&e);
        else
            close_frame(&e);
    }
    lua_setiuservalue(L, state_index, JSON_SLOT_SCRATCH); /* state */
    lua_settop(L, state_index - 1);
    *len = state->last_len = (size_t)(e.next - e.begin);
    return e.begin;
}

const char *json_encode(lua_State *L, int idx, size_t *len) {
    return encode(L, idx, false, len);
}

const char *json_encode_sorted(lua_State *L, int idx, size_t *len) {
    return encode(L, idx, true, len);
}
