/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON text to Lua values.
 *
 * The values of an open array or object wait on the Lua stack; when it closes, its table is
 * made with exactly the right size and filled. Nested ones wait above each other, so there is
 * no recursion and no C memory: a raise can come at any time. Long ones are stored in parts, to
 * keep the Lua stack small:
 *
 *     place of outer | its values so far | place of inner | its values so far
 *
 * Objects that begin with the same key mostly have the same fields. From the second one on, the
 * table is made at its first key, as large as the one before was, and filled at once.
 */
#include "bindings/json/internal.h"
#include "bindings/json/json.h"
#include "bindings/json/plain.h"
#include "host/base/utf8.h"

#include <string.h>

#include <lauxlib.h>

enum {
    PART_SLOTS = 512, /* waiting stack slots after which a part is stored; even */
    STACK_STEP = 64,  /* stack slots are asked for in this number */
    STACK_SPARE = 8,  /* always free besides: for calls that need a few slots */
    LARGE = 65536,    /* bytes from which on the collector waits until a text is decoded */
    FIELDS_MAX = 64,  /* a table is not made larger than that by guess */
};

/* An open array or object. */
struct frame {
    int place;          /* stack index: nil, later the table */
    lua_Integer stored; /* items of an array already in the table */
    bool is_object;
    bool has_table;
    bool direct;            /* fields go into the table at once */
    struct json_key *begin; /* the first key of an object, if it is cached */
};

struct decoder {
    lua_State *L;
    const char *begin;
    const char *next; /* not yet read */
    const char *end;
    const struct json_options *options;
    struct json_state *state;
    int array_metatable; /* stack indexes */
    int key_anchors;
    int top;   /* stack index of the last value */
    int limit; /* stack slots up to here are known to exist */
    int depth;
    struct json_key *key; /* of the last key read; NULL: it is not cached */
    const char *message;  /* of the failure; a literal */
    const char *where;    /* the byte it talks about */
    struct frame frames[JSON_MAX_DEPTH];
};

static bool fail(struct decoder *d, const char *message, const char *where) {
    d->message = message;
    d->where = where;
    return false;
}

/* Call before each push of a value. The bookkeeping saves most questions to the Lua stack. */
static void take_slot(struct decoder *d) {
    if (d->top == d->limit) {
        luaL_checkstack(d->L, STACK_STEP + STACK_SPARE, "JSON text is too deep");
        d->limit = d->top + STACK_STEP;
    }
    d->top++;
}

static const char *skip_blanks(const char *p, const char *end) {
    while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
        p++;
    return p;
}

/* ---- strings ---- */

#define CONTROL_BYTE "control byte in a string (write it as \\u00XX)"

/* The closing quote, or end. What stands before it may still be invalid. */
static const char *find_quote(const char *p, const char *end, uint64_t *high) {
    while ((p = json_skip_plain(p, end, high)) < end && *p != '"') {
        if (*p == '\\' && end - p > 1)
            *high |= (unsigned char)*++p & 0x80;
        p++;
    }
    return p;
}

/* Whether a string from `start` to its closing quote is UTF-8. */
static bool check_utf8(struct decoder *d, const char *start, const char *quote, uint64_t high) {
    const char *wrong = high != 0 ? utf8_find_invalid(start, quote) : NULL;
    return wrong == NULL || fail(d, "invalid UTF-8", wrong);
}

/* Writes what stands from `start` to `quote`, whose first escape is at `p`. It never gets
 * longer than it was. Sets *out to the end of what was written. */
static bool copy_escaped(struct decoder *d, const char *start, const char *p, const char *quote,
                         uint64_t high, char **out) {
    memcpy(*out, start, (size_t)(p - start));
    *out += p - start;
    while (p < quote) {
        if (*p == '\\') {
            const char *message;
            char *next = json_unescape(&p, d->end, *out, &message);
            if (next == NULL)
                return fail(d, message, p);
            *out = next;
        } else if ((unsigned char)*p < 0x20) {
            return fail(d, CONTROL_BYTE, p);
        }
        const char *stop = json_copy_plain(*out, p, quote, &high);
        *out += stop - p;
        p = stop;
    }
    if (quote == d->end)
        return fail(d, "string without its closing quote", start - 1);
    return check_utf8(d, start, quote, high);
}

/*
 * A string with escapes: the first is at `p`.
 *
 * The buffer is ended here, whatever comes of it: a long one has to be closed, and where
 * lua_settop() does that, Lua 5.4.4 (Debian 12) goes on with the stack that it had before, in
 * freed memory, if the call of the box's __close has made that grow.
 */
static bool push_escaped(struct decoder *d, const char *start, const char *p, uint64_t high) {
    const char *quote = find_quote(p, d->end, &high);
    luaL_Buffer buffer;
    char *bytes = luaL_buffinitsize(d->L, &buffer, (size_t)(quote - start)), *out = bytes;
    bool fine = copy_escaped(d, start, p, quote, high, &out);
    luaL_pushresultsize(&buffer, fine ? (size_t)(out - bytes) : 0);
    if (fine)
        d->next = quote + 1;
    return fine;
}

/* memcmp() for keys: a call would cost more than the few overlapping words. */
static bool same_bytes(const char *a, const char *b, size_t len) {
    if (len < 8) {
        for (size_t i = 0; i < len; i++)
            if (a[i] != b[i])
                return false;
        return true;
    }
    uint64_t x;
    uint64_t y;
    for (size_t i = 0; i + 8 < len; i += 8) {
        memcpy(&x, a + i, 8);
        memcpy(&y, b + i, 8);
        if (x != y)
            return false;
    }
    memcpy(&x, a + len - 8, 8);
    memcpy(&y, b + len - 8, 8);
    return x == y;
}

/*
 * Pushes a key without escapes. Texts repeat their keys; comparing with the last one of the
 * same hash and pushing that Lua string is cheaper than having Lua hash and find it again.
 */
static void push_key(struct decoder *d, const char *bytes, size_t len) {
    if (len > JSON_CACHED_KEY_BYTES || len == 0) {
        d->key = NULL;
        lua_pushlstring(d->L, bytes, len);
        return;
    }
    unsigned index = json_key_place(bytes, len);
    struct json_key *key = &d->state->keys[index];
    d->key = key;
    if (key->len == len && same_bytes(key->bytes, bytes, len)) {
        lua_rawgeti(d->L, d->key_anchors, (lua_Integer)index + 1);
        return;
    }
    const char *anchored = lua_pushlstring(d->L, bytes, len);
    lua_pushvalue(d->L, -1);
    lua_rawseti(d->L, d->key_anchors, (lua_Integer)index + 1);
    *key = (struct json_key){anchored, (uint32_t)len, 0};
}

/* Pushes the string whose opening quote is at d->next. */
static bool push_string(struct decoder *d, bool is_key) {
    const char *start = d->next + 1;
    uint64_t high = 0;
    const char *p = json_skip_plain(start, d->end, &high);
    take_slot(d);
    if (p == d->end)
        return fail(d, "string without its closing quote", start - 1);
    if (*p == '\\')
        return push_escaped(d, start, p, high);
    if (*p != '"')
        return fail(d, CONTROL_BYTE, p);
    if (!check_utf8(d, start, p, high))
        return false;
    if (is_key)
        push_key(d, start, (size_t)(p - start));
    else
        lua_pushlstring(d->L, start, (size_t)(p - start));
    d->next = p + 1;
    return true;
}

/* ---- other scalars ---- */

static bool push_number(struct decoder *d) {
    struct json_number number;
    json_read_number(d->next, d->end, &number);
    if (number.kind == JSON_NUMBER_BAD)
        return fail(d, "expected a digit", number.next);
    take_slot(d);
    if (number.kind == JSON_NUMBER_INTEGER)
        lua_pushinteger(d->L, number.integer);
    else if (number.kind == JSON_NUMBER_BIG && d->options->big_as_string)
        lua_pushlstring(d->L, d->next, (size_t)(number.next - d->next));
    else if (number.real - number.real != 0) /* infinite */
        return fail(d, "number too large", d->next);
    else
        lua_pushnumber(d->L, number.real);
    d->next = number.next;
    return true;
}

static bool has_word(const struct decoder *d, const char *word, size_t len) {
    return (size_t)(d->end - d->next) >= len && memcmp(d->next, word, len) == 0;
}

static bool push_word(struct decoder *d) {
    take_slot(d);
    if (has_word(d, "true", 4)) {
        lua_pushboolean(d->L, 1);
        d->next += 4;
    } else if (has_word(d, "false", 5)) {
        lua_pushboolean(d->L, 0);
        d->next += 5;
    } else if (has_word(d, "null", 4)) {
        lua_pushlightuserdata(d->L, NULL);
        d->next += 4;
    } else {
        return fail(d, "expected a value", d->next);
    }
    return true;
}

/* ---- arrays and objects ---- */

static void make_table(struct decoder *d, struct frame *f, int slots) {
    if (f->is_object) {
        lua_createtable(d->L, 0, slots / 2);
    } else {
        lua_createtable(d->L, slots, 0);
        lua_pushvalue(d->L, d->array_metatable);
        lua_setmetatable(d->L, -2);
    }
    lua_replace(d->L, f->place);
    f->has_table = true;
}

/* Moves the waiting items of the innermost frame into its table. */
static void store_waiting(struct decoder *d, struct frame *f) {
    lua_State *L = d->L;
    int first = f->place + 1;
    int slots = d->top - f->place;
    bool is_new = !f->has_table;
    if (is_new)
        make_table(d, f, slots);
    if (f->is_object) {
        /* Upwards, because of equal keys the last one wins. */
        for (int i = first; i <= d->top; i += 2) {
            lua_pushvalue(L, i);
            lua_pushvalue(L, i + 1);
            lua_rawset(L, f->place);
        }
    } else if (is_new) {
        /* The array part has its size already, so any order will do: down needs no copies. */
        for (int i = slots; i > 0; i--)
            lua_rawseti(L, f->place, i);
    } else {
        for (int i = 0; i < slots; i++) {
            lua_pushvalue(L, first + i);
            lua_rawseti(L, f->place, f->stored + i + 1);
        }
    }
    lua_settop(L, f->place);
    d->top = f->place;
    f->stored += slots;
}

static struct frame *innermost(struct decoder *d) {
    return &d->frames[d->depth - 1];
}

/* A key and its value are on top of the stack. */
static void store_field(struct decoder *d, struct frame *f) {
    lua_rawset(d->L, f->place);
    d->top -= 2;
    f->stored += 2;
}

static void close_frame(struct decoder *d) {
    struct frame *f = innermost(d);
    if (f->begin != NULL) {
        lua_Integer fields = (f->stored + (d->top - f->place)) / 2;
        f->begin->fields = (uint32_t)(fields < FIELDS_MAX ? fields : FIELDS_MAX);
    }
    if (d->top > f->place || !f->has_table)
        store_waiting(d, f);
    d->next++;
    d->depth--;
}

/* Reads a key and its colon. d->next is behind blanks. */
static bool read_key(struct decoder *d) {
    if (d->next == d->end || *d->next != '"')
        return fail(d, "expected a key in quotes", d->next);
    if (!push_string(d, true))
        return false;
    d->next = skip_blanks(d->next, d->end);
    if (d->next == d->end || *d->next != ':')
        return fail(d, "expected ':'", d->next);
    d->next++;
    return true;
}

static bool read_first_key(struct decoder *d) {
    struct frame *f = innermost(d);
    d->key = NULL; /* stays so if it is written with escapes */
    if (!read_key(d))
        return false;
    f->begin = d->key;
    f->direct = d->key != NULL && d->key->fields > 0;
    if (f->direct)
        make_table(d, f, 2 * (int)d->key->fields);
    return true;
}

/* How it goes on after a piece of text. */
enum step {
    STEP_FAILED,
    STEP_VALUE, /* a value comes next */
    STEP_DONE,  /* a value is complete on top of the stack */
};

static enum step open_frame(struct decoder *d) {
    if (d->depth == JSON_MAX_DEPTH) {
        fail(d, "nested deeper than 128 levels", d->next);
        return STEP_FAILED;
    }
    take_slot(d);
    lua_pushnil(d->L);
    d->frames[d->depth++] = (struct frame){
        .place = d->top,
        .is_object = *d->next == '{',
    };
    bool is_object = *d->next == '{';
    d->next = skip_blanks(d->next + 1, d->end);
    if (d->next < d->end && *d->next == (is_object ? '}' : ']')) {
        close_frame(d);
        return STEP_DONE;
    }
    return is_object && !read_first_key(d) ? STEP_FAILED : STEP_VALUE;
}

static enum step read_value(struct decoder *d) {
    bool ok;
    d->next = skip_blanks(d->next, d->end);
    if (d->next == d->end) {
        fail(d, "expected a value", d->next);
        return STEP_FAILED;
    }
    switch (*d->next) {
    case '{':
    case '[':
        return open_frame(d);
    case '"':
        ok = push_string(d, false);
        break;
    case '-':
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
    case '8':
    case '9':
        ok = push_number(d);
        break;
    default:
        ok = push_word(d);
    }
    return ok ? STEP_DONE : STEP_FAILED;
}

/* Reads what follows a value of the innermost frame. */
static enum step read_separator(struct decoder *d) {
    struct frame *f = innermost(d);
    if (f->direct)
        store_field(d, f);
    else if (d->top - f->place >= PART_SLOTS)
        store_waiting(d, f);
    d->next = skip_blanks(d->next, d->end);
    char byte = d->next < d->end ? *d->next : '\0';
    if (byte == ',') {
        d->next = skip_blanks(d->next + 1, d->end);
        return !f->is_object || read_key(d) ? STEP_VALUE : STEP_FAILED;
    }
    if (byte == (f->is_object ? '}' : ']')) {
        close_frame(d);
        return STEP_DONE;
    }
    fail(d, f->is_object ? "expected ',' or '}'" : "expected ',' or ']'", d->next);
    return STEP_FAILED;
}

static bool read_document(struct decoder *d) {
    if (has_word(d, "\xEF\xBB\xBF", 3))
        return fail(d, "unexpected byte order mark", d->next);
    do {
        enum step step = read_value(d);
        while (step == STEP_DONE && d->depth > 0)
            step = read_separator(d);
        if (step == STEP_FAILED)
            return false;
        /* STEP_VALUE: only inside of a frame */
    } while (d->depth > 0);
    d->next = skip_blanks(d->next, d->end);
    if (d->next < d->end)
        return fail(d, "expected the end of the text", d->next);
    return true;
}

static bool decode(lua_State *L, const char *bytes, size_t len,
                   const struct json_options *options, size_t *offset) {
    struct decoder d; /* the frames are not cleared: 3 KiB would cost more than a small text */
    int top = lua_gettop(L);
    luaL_checkstack(L, STACK_STEP + STACK_SPARE, NULL);
    d.L = L;
    d.begin = d.next = bytes;
    d.end = bytes + len;
    d.options = options;
    d.state = json_push_state(L);                   /* state */
    lua_getiuservalue(L, top + 1, JSON_SLOT_ARRAY); /* state, metatable */
    lua_getiuservalue(L, top + 1, JSON_SLOT_KEYS);  /* state, metatable, anchors */
    d.array_metatable = top + 2;
    d.key_anchors = top + 3;
    d.top = top + 3;
    d.limit = top + STACK_STEP;
    d.depth = 0;
    if (read_document(&d)) {
        lua_replace(L, top + 1);
        lua_settop(L, top + 1);
        return true;
    }
    lua_settop(L, top);
    *offset = (size_t)(d.where - d.begin) + 1;
    const char *kind = d.where == d.end ? " but the text ends" : "";
    lua_pushfstring(L, "%s%s at byte %I", d.message, kind, (LUAI_UACINT)*offset);
    return false;
}

struct large {
    const char *bytes;
    size_t len, offset;
    const struct json_options *options;
    bool ok;
};

static int decode_large(lua_State *L) {
    struct large *large = lua_touserdata(L, 1);
    large->ok = decode(L, large->bytes, large->len, large->options, &large->offset);
    return 1;
}

/* All that a text is made into is alive, so the collector would look at it again and again and
 * find nothing: a quarter of the time of a large one. Stopped, and protected to start again. */
static bool decode_uncollected(lua_State *L, struct large *large) {
    luaL_checkstack(L, 2, NULL);
    lua_gc(L, LUA_GCSTOP);
    lua_pushcfunction(L, decode_large);
    lua_pushlightuserdata(L, large);
    int rc = lua_pcall(L, 1, 1, 0);
    lua_gc(L, LUA_GCRESTART);
    if (rc != LUA_OK)
        lua_error(L);
    return large->ok;
}

bool json_decode_with(lua_State *L, const char *bytes, size_t len,
                      const struct json_options *options, size_t *offset) {
    if (len < LARGE || !lua_gc(L, LUA_GCISRUNNING))
        return decode(L, bytes, len, options, offset);
    struct large large = {.bytes = bytes, .len = len, .options = options};
    bool ok = decode_uncollected(L, &large);
    *offset = large.offset;
    return ok;
}

bool json_decode(lua_State *L, const char *bytes, size_t len) {
    static const struct json_options defaults = {.big_as_string = false};
    size_t offset;
    return json_decode_with(L, bytes, len, &defaults, &offset);
}
