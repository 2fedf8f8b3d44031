/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the JSON codec share among themselves. Nobody else includes this. */
#ifndef LUNATS_JSON_INTERNAL_H
#define LUNATS_JSON_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <lua.h>

enum {
    JSON_MAX_DEPTH = 128,       /* open arrays and objects at once, both ways */
    JSON_KEEP_BYTES = 1 << 20,  /* a larger scratch buffer is not kept for small texts */
    JSON_MAX_NUMBER_BYTES = 40, /* longest output of the json_write_* functions */
};

/* ---- ./state.c: what each Lua state keeps for the codec ---- */

/*
 * The user values of the codec's one userdata per Lua state. Everything in it is memory of the
 * collector, so a raise at any point, or lua_close(), can leak nothing.
 */
enum json_slot {
    JSON_SLOT_ARRAY = 1, /* metatable of arrays */
    JSON_SLOT_OBJECT,    /* metatable of tables marked with json.object() */
    JSON_SLOT_SCRATCH,   /* userdata: the bytes of the last json_encode() */
    JSON_SLOT_KEYS,      /* table: anchors the strings of `keys` */
    JSON_SLOT_LAST = JSON_SLOT_KEYS,
};

enum {
    JSON_CACHED_KEYS = 256,     /* a power of two */
    JSON_CACHED_KEY_BYTES = 32, /* longer keys are not cached */
};

/* A key seen lately, valid and without bytes to escape. The bytes belong to a Lua string
 * anchored at the same index + 1. */
struct json_key {
    const char *bytes;
    uint32_t len;    /* 0: free */
    uint32_t fields; /* of the last object that began with it; 0: not known */
};

struct json_state {
    const void *array_mark; /* identity of the metatables, for comparing */
    const void *object_mark;
    size_t last_len; /* of the last json_encode() */
    struct json_key keys[JSON_CACHED_KEYS];
};

/* Where in `keys` a key of 1 to JSON_CACHED_KEY_BYTES bytes belongs. */
static inline unsigned json_key_place(const char *bytes, size_t len) {
    unsigned first = (unsigned char)bytes[0];
    unsigned middle = (unsigned char)bytes[len / 2];
    unsigned last = (unsigned char)bytes[len - 1];
    unsigned hash = first * 31 + middle * 7 + last * 131 + (unsigned)len * 17;
    return (hash ^ hash >> 8) % JSON_CACHED_KEYS;
}

/* Pushes the codec's userdata of this Lua state, made at the first call. May raise. */
struct json_state *json_push_state(lua_State *L);

/* ---- ./decode.c ---- */

struct json_options {
    bool big_as_string; /* integers beyond 64 bits become strings of digits, not floats */
};

/*
 * As json_decode(). On failure `offset` is set to the 1-based byte the message talks about.
 */
bool json_decode_with(lua_State *L, const char *bytes, size_t len,
                      const struct json_options *options, size_t *offset);

/* ---- ./number.c: numbers; never raises, never looks at the locale ---- */

enum json_number_kind {
    JSON_NUMBER_BAD,     /* `next` points at the byte that is wrong */
    JSON_NUMBER_INTEGER, /* `integer` is exact */
    JSON_NUMBER_FLOAT,   /* `real` is correctly rounded; infinite when out of range */
    JSON_NUMBER_BIG,     /* an integer beyond 64 bits; `real` is the nearest double */
};

struct json_number {
    enum json_number_kind kind;
    int64_t integer;
    double real;
    const char *next; /* behind the number */
};

/* Reads the JSON number that starts at `text`. */
void json_read_number(const char *text, const char *end, struct json_number *number);

/* Both write at most JSON_MAX_NUMBER_BYTES and return the end of what they wrote. */
char *json_write_integer(char *out, int64_t value);

/*
 * The shortest digits that read back as the same double, always marked as a float by a point
 * or an exponent. `value` must be finite.
 */
char *json_write_double(char *out, double value);

/* ---- ./text.c; never raises ---- */

/*
 * Reads the escape at *text, writes the bytes it stands for (never more than it has itself) and
 * returns the end of them; *text is then behind the escape. Returns NULL if it is not valid:
 * `message` (static) says why and *text stays.
 */
char *json_unescape(const char **text, const char *end, char *out, const char **message);

#endif
