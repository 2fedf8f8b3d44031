/* SPDX-License-Identifier: Apache-2.0 */
/* Values of PostgreSQL, which come as text, as values of Lua. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bindings/json/json.h"
#include "bindings/modules/pg/internal.h"

/* Of the catalogue, the same in all servers; first what is there most often. */
static const struct {
    Oid type, list;
    int kind;
} types[] = {
    {25, 1009, KIND_TEXT},    {23, 1007, KIND_INTEGER}, {20, 1016, KIND_INTEGER},
    {16, 1000, KIND_BOOL},    {1184, 1185, KIND_TIME},  {1700, 1231, KIND_NUMERIC},
    {1043, 1015, KIND_TEXT},  {3802, 3807, KIND_JSON},  {17, 1001, KIND_BYTES},
    {21, 1005, KIND_INTEGER}, {26, 1028, KIND_INTEGER}, {700, 1021, KIND_FLOAT},
    {701, 1022, KIND_FLOAT},  {114, 199, KIND_JSON},    {1114, 1115, KIND_TIME},
    {1042, 1014, KIND_TEXT},  {18, 1002, KIND_TEXT},    {19, 1003, KIND_TEXT},
    {2950, 2951, KIND_TEXT},  {1082, 1182, KIND_TEXT},  {1083, 1183, KIND_TEXT},
    {1266, 1270, KIND_TEXT},  {1186, 1187, KIND_TEXT},  {869, 1041, KIND_TEXT},
    {650, 651, KIND_TEXT},    {790, 791, KIND_TEXT},
};

#define HEADER 4 /* what a modifier of PostgreSQL has more than what was written */

/* numeric(12) and numeric(12,0) are whole numbers that 64 bits hold. */
static bool is_whole(int modifier) {
    if (modifier < HEADER)
        return false;
    int precision = (modifier - HEADER) >> 16 & 0xffff, scale = (modifier - HEADER) & 0x7ff;
    return scale == 0 && precision <= 18;
}

int find_kind(Oid type, int modifier, int wants) {
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (types[i].type != type && types[i].list != type)
            continue;
        int kind = types[i].kind;
        if (kind == KIND_NUMERIC && is_whole(modifier))
            kind = KIND_INTEGER;
        else if ((kind == KIND_NUMERIC && !(wants & WANT_NUMBERS)) ||
                 (kind == KIND_TIME && !(wants & WANT_SECONDS)))
            kind = KIND_TEXT;
        return types[i].list == type ? kind | KIND_ARRAY : kind;
    }
    return KIND_TEXT;
}

bool read_integer(const char *text, lua_Integer *out) {
    const char *at = text + (*text == '-'), *start = at;
    uint64_t value = 0;
    for (unsigned digit; (digit = (unsigned)(unsigned char)*at - '0') <= 9; at++)
        value = value * 10 + digit;
    *out = (lua_Integer)(*text == '-' ? 0 - value : value);
    return *at == '\0' && at > start && at - start <= 19;
}

/* What does not fit, or is none (NaN), stays a text. */
static void push_integer(lua_State *L, const char *text, size_t len) {
    lua_Integer integer;
    if (read_integer(text, &integer))
        lua_pushinteger(L, integer);
    else
        lua_pushlstring(L, text, len);
}

static void push_float(lua_State *L, const char *text) {
    lua_pushnumber(L, strtod(text, NULL)); /* it knows NaN and Infinity */
}

static void push_numeric(lua_State *L, const char *text, size_t len) {
    size_t digits = strspn(text + (*text == '-'), "0123456789");
    if (digits + (*text == '-') == len && digits <= 18)
        push_integer(L, text, len);
    else
        push_float(L, text);
}

static int hex(char digit) {
    return digit <= '9' ? digit - '0' : (digit | 0x20) - 'a' + 10;
}

/* "\x0aff", or with bytea_output = escape "a\\b\001". */
static void push_bytes(lua_State *L, const char *text, size_t len) {
    luaL_Buffer buffer;
    char *out = luaL_buffinitsize(L, &buffer, len + 1), *start = out;
    if (len >= 2 && text[0] == '\\' && text[1] == 'x') {
        for (size_t i = 2; i + 1 < len; i += 2)
            *out++ = (char)(hex(text[i]) << 4 | hex(text[i + 1]));
    } else {
        for (size_t i = 0; i < len; i++) {
            if (text[i] != '\\') {
                *out++ = text[i];
            } else if (i + 3 < len && text[i + 1] != '\\') {
                *out++ =
                    (char)((text[i + 1] & 3) << 6 | (text[i + 2] & 7) << 3 | (text[i + 3] & 7));
                i += 3;
            } else {
                *out++ = '\\';
                i++;
            }
        }
    }
    luaL_pushresultsize(&buffer, (size_t)(out - start));
}

/* JSON that Lua cannot hold (a number beyond all floats) stays a text. */
static void push_json(lua_State *L, const char *text, size_t len) {
    if (json_decode(L, text, len))
        return;
    lua_pop(L, 1);
    lua_pushlstring(L, text, len);
}

static void push_time(lua_State *L, const char *text, size_t len) {
    double seconds;
    if (read_stamp(text, &seconds))
        lua_pushnumber(L, seconds);
    else
        lua_pushlstring(L, text, len);
}

void push_value(lua_State *L, const char *text, size_t len, int kind, int wants) {
    if (kind & KIND_ARRAY) {
        push_array(L, text, len, kind & ~KIND_ARRAY, wants);
        return;
    }
    switch (kind) {
    case KIND_BOOL:
        lua_pushboolean(L, *text == 't');
        break;
    case KIND_INTEGER:
        push_integer(L, text, len);
        break;
    case KIND_FLOAT:
        push_float(L, text);
        break;
    case KIND_NUMERIC:
        push_numeric(L, text, len);
        break;
    case KIND_BYTES:
        push_bytes(L, text, len);
        break;
    case KIND_JSON:
        push_json(L, text, len);
        break;
    case KIND_TIME:
        push_time(L, text, len);
        break;
    default:
        lua_pushlstring(L, text, len);
    }
}
