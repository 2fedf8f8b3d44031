/* SPDX-License-Identifier: Apache-2.0 */
#include "bindings/json/json.h"

#include "bindings/json/internal.h"
#include "spec/unit/test.h"

#include <math.h>
#include <stdlib.h>

#include <lauxlib.h>
#include <lualib.h>

static lua_State *open_state(void) {
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    luaL_requiref(L, "json", luaopen_lunats_json, 1);
    lua_settop(L, 0);
    return L;
}

/* Decodes a copy of exactly the right size, so that the sanitizer sees reads beyond it. */
static bool decode_copy(lua_State *L, const char *text, size_t len) {
    char *copy = malloc(len + (len == 0));
    memcpy(copy, text, len);
    bool ok = json_decode(L, copy, len);
    free(copy);
    return ok;
}

/* Runs a chunk of assertions in a new state. */
#define CHECK_LUA(source)                                                                      \
    do {                                                                                       \
        lua_State *test_L = open_state();                                                      \
        if (luaL_dostring(test_L, source) != LUA_OK)                                           \
            test_fail(__FILE__, __LINE__, "%s", lua_tostring(test_L, -1));                     \
        lua_close(test_L);                                                                     \
        if (test_current_failed)                                                               \
            return;                                                                            \
    } while (0)

struct text {
    const char *bytes;
    size_t len;
};
#define T(literal)                                                                             \
    { literal, sizeof(literal) - 1 }

static void accepts_valid_texts(void) {
    /* clang-format off */
    static const struct text texts[] = {
        T("0"), T("-0"), T("-1"), T("[]"), T("{}"), T("[[]]"), T("[{}]"), T("\"\""), T("null"),
        T(" \t\r\n true \t\r\n "), T("[1,2 , 3]"), T("{\"\":0}"), T("{\"a\":1,\"a\":2}"),
        T("{ \"a\" : { \"b\" : [ null ] } }"), T("1e5"), T("1E+5"), T("1e-05"), T("0e0"),
        T("-0.0"), T("0.00000000000000000000000000000000000000000000000000000000000000000001"),
        T("1e-999"), T("9223372036854775807"), T("123456789012345678901234567890"),
        T("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\""), T("\"\\u0000\""), T("\"\\uD834\\udd1e\""),
        T("\"\\uFFFF\\uFFFE\""), T("\"\\uDBFF\\uDFFF\""), T("\"\x7f\""),
        T("\"\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf\""),
        T("\"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\""), T("\"\xe2\x80\xa8 line separator\""),
        T("\"\\\\u0041\""),
        T("\"a long string of more than sixteen bytes \\n and some more behind\""),
    };
    /* clang-format on */
    lua_State *L = open_state();
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (!decode_copy(L, texts[i].bytes, texts[i].len))
            test_fail(__FILE__, __LINE__, "%s: %s", texts[i].bytes, lua_tostring(L, -1));
        if (lua_gettop(L) != 1)
            test_fail(__FILE__, __LINE__, "%s: stack of %d", texts[i].bytes, lua_gettop(L));
        lua_settop(L, 0);
    }
    lua_close(L);
}

static void refuses_invalid_texts(void) {
    /* clang-format off */
    static const struct text texts[] = {
        T(""), T(" "), T("\0"), T("1\0"), T("[1\0]"), T("\xef\xbb\xbf[]"), T("\xfe\xff"),
        T("[\0\0"), T("\v1"), T("\f1"),
        T("\xc2\xa0"
          "1"),
        T("//"), T("/**/1"), T("1//"), T("#1"),
        /* arrays */
        T("["), T("]"), T("[1"), T("[1,"), T("[,1]"), T("[1,]"), T("[1,,2]"), T("[1 2]"),
        T("[1}"), T("[1]]"), T("[1]x"), T("[1],"), T("[:]"), T("[1:2]"), T("[\"a\""), T("[*]"),
        T("[[1]"), T("[\"a\":1]"), T("[][]"),
        /* objects */
        T("{"), T("}"), T("{,}"), T("{1:1}"), T("{a:1}"), T("{'a':1}"), T("{\"a\"}"),
        T("{\"a\":}"), T("{\"a\":1"), T("{\"a\":1,"), T("{\"a\":1,}"), T("{\"a\":1]"),
        T("{\"a\" 1}"), T("{\"a\":1 \"b\":2}"), T("{\"a\"::1}"), T("{null:1}"),
        T("{\"a\":1,,\"b\":2}"), T("{\"a\""), T("{[]:1}"), T("{\"a\":1}#"), T("{\"a"),
        T("{\"a\":\"b"), T("{\"a\\"), T("{\"a\\q\":1}"),
        /* numbers */
        T("-"), T("+1"), T("01"), T("-01"), T("00"), T("1."), T(".5"), T("-.5"), T("1.e1"),
        T("1e"), T("1e+"), T("1e-"), T("1E"), T("1ee1"), T("1e1.5"), T("1.2.3"), T("0x10"),
        T("1_000"), T("--1"), T("- 1"), T("1-"), T("NaN"), T("Infinity"), T("-Infinity"),
        T("inf"), T("nan"), T("1e999"), T("-1e999"), T("1a"), T("0e"), T("[-]"), T("[1.]"),
        T("\xef\xbc\x91"),
        /* words */
        T("tru"), T("truE"), T("TRUE"), T("nul"), T("nulll"), T("fals"), T("undefined"), T("t"),
        /* strings */
        T("\""), T("\"a"), T("'a'"), T("a"), T("\"\\\""), T("\"\\"), T("\"\\x41\""),
        T("\"\\a\""), T("\"\\0\""), T("\"\\U0041\""), T("\"\\ \""), T("\"\\u\""), T("\"\\u0\""),
        T("\"\\u00\""), T("\"\\u004\""), T("\"\\u004g\""), T("\"\\u 041\""), T("\"\\u+041\""),
        T("\"\\u"), T("\"\\u004"), T("\"\\ud800\""), T("\"\\udc00\""), T("\"\\ud800\\ud800\""),
        T("\"\\ud800x\""), T("\"\\ud800\\n\""), T("\"\\ud800\\u0041\""),
        T("\"\\udc00\\ud800\""), T("\"\\ud800\\u\""), T("\"\\ud800\\"), T("\"\\ud800\\udc0"),
        T("\"\n\""), T("\"\t\""), T("\"\0\""), T("\"\x1f\""), T("\"\\n\n\""),
        T("\"a\\n\x01 and more text behind it\""), T("\"\\\n\""), T("\"a\"b\""),
        /* UTF-8: tails, overlong, surrogates, too high, cut */
        T("\"\x80\""), T("\"\xbf\""), T("\"\xc0\x80\""), T("\"\xc1\xbf\""), T("\"\xc2\""),
        T("\"\xc2"), T("\"\xe0\x80\x80\""), T("\"\xe0\x9f\xbf\""), T("\"\xed\xa0\x80\""),
        T("\"\xed\xbf\xbf\""), T("\"\xe2\x82\""), T("\"\xe2\x82"), T("\"\xe2\""),
        T("\"\xf0\x80\x80\x80\""), T("\"\xf0\x8f\xbf\xbf\""), T("\"\xf4\x90\x80\x80\""),
        T("\"\xf5\x80\x80\x80\""), T("\"\xf0\x9f\x98\""), T("\"\xf0\x9f\x98"), T("\"\xfe\""),
        T("\"\xff\""), T("\"\xc3\x28\""), T("\"\\n\xff\""), T("\"\\n\xe2\x82\""),
        T("{\"\xff\":1}"), T("\"sixteen bytes of text and then \xff\""),
    };
    /* clang-format on */
    lua_State *L = open_state();
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (decode_copy(L, texts[i].bytes, texts[i].len))
            test_fail(__FILE__, __LINE__, "text %zu was accepted: %s", i, texts[i].bytes);
        if (lua_gettop(L) != 1 || lua_type(L, 1) != LUA_TSTRING)
            test_fail(__FILE__, __LINE__, "%s: no message", texts[i].bytes);
        lua_settop(L, 0);
    }
    lua_close(L);
}

static void names_the_byte(void) {
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"{\"a\":1,\"b\":2 \"c\":3}", "expected ',' or '}' at byte 14"},
        {"[1 2]", "expected ',' or ']' at byte 4"},
        {"", "expected a value but the text ends at byte 1"},
        {"  ", "expected a value but the text ends at byte 3"},
        {"[1,]", "expected a value at byte 4"},
        {"{\"a\":1,}", "expected a key in quotes at byte 8"},
        {"{\"a\"}", "expected ':' at byte 5"},
        {"1 1", "expected the end of the text at byte 3"},
        {"-x", "expected a digit at byte 2"},
        {"1.", "expected a digit but the text ends at byte 3"},
        {"[1e999]", "number too large at byte 2"},
        {"\xef\xbb\xbf{}", "unexpected byte order mark at byte 1"},
        {"\"abc", "string without its closing quote at byte 1"},
        {"\"a\\qb\"", "invalid escape at byte 3"},
        {"\"a\\u12\"", "expected four hex digits after \\u at byte 3"},
        {"\"\\n\\ud800\"", "half of a surrogate pair at byte 4"},
        {"\"a\tb\"", "control byte in a string (write it as \\u00XX) at byte 3"},
        {"\"a\xff\"", "invalid UTF-8 at byte 3"},
    };
    lua_State *L = open_state();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CHECK(!decode_copy(L, cases[i].text, strlen(cases[i].text)));
        CHECK_STR(lua_tostring(L, -1), cases[i].message);
        lua_settop(L, 0);
    }
    lua_close(L);
}

static void decodes_values(void) {
    CHECK_LUA(
        "local function is(text, want)\n"
        "  local got = json.decode(text)\n"
        "  assert(got == want and math.type(got) == math.type(want), text)\n"
        "end\n"
        "is('42', 42) is('-1', -1) is('1.0', 1.0) is('1e2', 100.0) is('0', 0)\n"
        "is('9223372036854775807', math.maxinteger)\n"
        "is('-9223372036854775808', math.mininteger)\n"
        "is('9223372036854775808', 2.0^63) is('18446744073709551615', 2.0^64)\n"
        "is('-9223372036854775809', -2.0^63) is('1700000000123456789', 1700000000123456789)\n"
        "assert(1 / json.decode('-0') == -math.huge)\n"
        "assert(1 / json.decode('-0.0') == -math.huge)\n"
        "assert(json.decode('null') == json.null)\n"
        "assert(json.decode('[null]')[1] == json.null)\n"
        "assert(json.decode('{\"a\":null}').a == json.null)\n"
        "is('true', true) is('false', false) is('\"\\\\u0000\"', '\\0')\n"
        "is('\"\\\\ud834\\\\uDD1E\"', '\\u{1d11e}') is('\"\\\\u00e9\"', '\\u{e9}')\n"
        "is('\"\\\\u07ff\\\\u0800\"', '\\u{7ff}\\u{800}') is('\"\\\\/\"', '/')\n"
        "assert(json.decode('{\"a\":1,\"b\":0,\"a\":2}').a == 2)\n"
        "assert(json.decode('99999999999999999999', {big='string'}) == "
        "'99999999999999999999')\n"
        "assert(json.decode('[-9223372036854775809]', {big='string'})[1] == "
        "'-9223372036854775809')\n"
        "assert(json.decode('-0', {big='string'}) == 0)\n"
        "assert(json.decode('5', {big='string'}) == 5)\n"
        "assert(json.decode('5', {big='float'}) == 5)\n"
        "assert(json.decode('5', {}) == 5)\n"
        "assert(not pcall(json.decode, '5', {big='x'}))\n"
        "assert(not pcall(json.decode, 5))\n");
}

static void returns_errors_of_decode(void) {
    CHECK_LUA("local value, err = json.decode('[1 2]')\n"
              "assert(value == nil and err.code == 'bad_json' and err.offset == 4)\n"
              "assert(err.message == \"expected ',' or ']' at byte 4\")\n"
              "assert(tostring(err) == err.message)\n");
}

static void encodes_values(void) {
    CHECK_LUA(
        "local function is(value, want)\n"
        "  local got = json.encode(value)\n"
        "  assert(got == want, got .. ' is not ' .. want)\n"
        "end\n"
        "is(nil, 'null') is(json.null, 'null') is(true, 'true') is(false, 'false')\n"
        "is(0, '0') is(-1, '-1') is(math.mininteger, '-9223372036854775808')\n"
        "is(math.maxinteger, '9223372036854775807') is(1700000000123456789, "
        "'1700000000123456789')\n"
        "for _, n in ipairs { 9, 10, 99, 100, 101, 999, 1000, 12345, 100000 } do\n"
        "  is(n, tostring(n)) is(-n, tostring(-n))\n"
        "end\n"
        "is(3.0, '3.0') is(-0.0, '-0.0') is(0.1, '0.1') is(1/3, '0.3333333333333333')\n"
        "is(1e100, '1e+100') is(5e-324, '5e-324') is(2.5e-7, '2.5e-07')\n"
        "is(2^53, '9007199254740992.0') is(123456.789, '123456.789') is(1e-5, '0.00001')\n"
        "is(-1.5, '-1.5') is(0.5, '0.5') is(1e15, '1000000000000000.0')\n"
        "is('', '\"\"') is('a/b<>&', '\"a/b<>&\"') is('\"\\\\', [[\"\\\"\\\\\"]])\n"
        "is('\\b\\f\\n\\r\\t\\0\\x1f\\x7f', [[\"\\b\\f\\n\\r\\t\\u0000\\u001f]] .. '\\x7f\"')\n"
        "is('\\u{e9}\\u{20ac}\\u{1f600}', '\"\\u{e9}\\u{20ac}\\u{1f600}\"')\n"
        "is(('x'):rep(40) .. '\\n' .. ('y'):rep(40), '\"' .. ('x'):rep(40) .. '\\\\n' .. "
        "('y'):rep(40) .. '\"')\n"
        "is({}, '{}') is({ {} }, '[{}]') is({ 1, 'a', true }, '[1,\"a\",true]')\n"
        "is({ a = { 1 } }, '{\"a\":[1]}') is({ [''] = 1 }, '{\"\":1}')\n"
        "is({ json.null, 2 }, '[null,2]') is({ ['1'] = 1 }, '{\"1\":1}')\n"
        "is({ [3] = 'c', [2] = 'b', [1] = 'a' }, '[\"a\",\"b\",\"c\"]')\n"
        "is({ { [2] = { [2] = 2, [1] = 1 }, [1] = 'a' }, 3 }, '[[\"a\",[1,2]],3]')\n"
        "local backwards = {} for i = 300, 1, -1 do backwards[i] = i end\n"
        "is(backwards, '[' .. table.concat(backwards, ',') .. ']')\n"
        "is(setmetatable({ 1 }, { __index = error, __len = error, __pairs = error }), '[1]')\n"
        "assert(not pcall(json.encode))\n");
}

static void keeps_arrays_and_objects_apart(void) {
    CHECK_LUA(
        "local function round(text) return json.encode(json.decode(text)) end\n"
        "for _, text in ipairs { '[]', '{}', '[[],{}]', '{\"a\":[]}', '{\"a\":{}}' } do\n"
        "  assert(round(text) == text, text)\n"
        "end\n"
        "assert(json.encode(json.array()) == '[]')\n"
        "assert(json.encode(json.object()) == '{}')\n"
        "assert(json.encode(json.array {}) == '[]')\n"
        "local t = { 1 } assert(json.array(t) == t)\n"
        "assert(json.encode(json.object(json.array {})) == '{}')\n"
        "assert(json.is_array(json.array()) and json.is_array { 1 })\n"
        "assert(json.is_array(json.decode('[]')) and not json.is_array(json.decode('{}')))\n"
        "assert(not json.is_array {} and not json.is_array { a = 1 })\n"
        "assert(not json.is_array(json.object()) and not json.is_array('x'))\n"
        "local list = json.decode('[1]') list[1] = nil\n"
        "assert(json.encode(list) == '[]')\n"
        "assert(not pcall(json.array, setmetatable({}, {})))\n"
        "assert(not pcall(json.array, 1) and not pcall(json.object, 'x'))\n");
}

static void names_the_path(void) {
    CHECK_LUA(
        "local function fails(value, want)\n"
        "  local ok, message = pcall(json.encode, value)\n"
        "  assert(not ok and message == want, tostring(message))\n"
        "end\n"
        "fails(print, 'cannot encode a function')\n"
        "fails({ values = { 1, 2, { f = print } } }, "
        "'values[3].f: cannot encode a function')\n"
        "fails({ { coroutine.create(print) } }, '[1][1]: cannot encode a thread')\n"
        "fails({ a = io.stdout }, 'a: cannot encode a userdata')\n"
        "fails({ a = 0/0 }, 'a: cannot encode a NaN')\n"
        "fails({ ['a b'] = -math.huge }, '[\"a b\"]: cannot encode an infinite number')\n"
        "fails({ a = '\\xff' }, 'a: cannot encode a string with invalid UTF-8 at its byte 1')\n"
        "fails({ a = { ['\\xff'] = 1 } }, 'a: cannot encode a table with a key that is not "
        "UTF-8')\n"
        "fails({ ['k' .. ('x'):rep(99)] = print }, 'k' .. ('x'):rep(39) .. '...: cannot "
        "encode a function')\n"
        "local hole = 'cannot encode a list without item %d (use json.null for holes, or "
        "strings as keys)'\n"
        "fails({ 1, 2, nil, 4 }, hole:format(3)) fails({ [3] = 1 }, hole:format(1))\n"
        "fails({ a = { [1700000000] = 1 } }, 'a: ' .. hole:format(1))\n"
        "fails(json.array { [2] = 1 }, hole:format(1))\n"
        "local mixed = 'cannot encode a table with both list items and named fields'\n"
        "fails({ 1, a = 2 }, mixed) fails({ x = { a = 1, [1] = 2 } }, 'x: ' .. mixed)\n"
        "local keys = 'cannot encode a table with keys that are neither strings nor 1 to n'\n"
        "fails({ [1.5] = 1 }, keys) fails({ [true] = 1 }, keys) fails({ 1, [{}] = 1 }, keys)\n"
        "fails({ [0] = 1 }, keys) fails({ 1, [-1] = 1 }, keys)\n"
        "fails(json.array { x = 1 }, 'cannot encode an array with keys other than 1 to n')\n"
        "fails(json.array { 1, x = 1 }, 'cannot encode an array with keys other than 1 to n')\n"
        "fails(json.object { 1 }, 'cannot encode an object with keys that are no strings')\n"
        "local cycle = {} cycle.c = cycle\n"
        "local ok, message = pcall(json.encode, cycle)\n"
        "assert(message:find('^c.c.*nested deeper than 128 levels %(does one contain'))\n");
}

static void limits_the_depth(void) {
    CHECK_LUA(
        "for _, pair in ipairs { { '[', ']' }, { '{\"a\":', '}' } } do\n"
        "  local function nest(n)\n"
        "    return pair[1]:rep(n - 1) .. (pair[1] == '[' and '[]' or '{}') .. pair[2]:rep(n - "
        "1)\n"
        "  end\n"
        "  assert(json.encode(assert(json.decode(nest(128)))) == nest(128))\n"
        "  local ok, err = json.decode(nest(129))\n"
        "  assert(ok == nil and err.message:find('nested deeper than 128 levels at byte'))\n"
        "  assert(not json.decode(pair[1]:rep(1000000)))\n"
        "end\n"
        "local t = {} for _ = 1, 127 do t = { t } end\n"
        "assert(json.encode(t)) assert(not pcall(json.encode, { t }))\n"
        "-- wide and deep at once: values wait on the Lua stack\n"
        "local wide = ('0,'):rep(511)\n"
        "local text = ('[' .. wide):rep(127) .. '[1]' .. (']'):rep(127)\n"
        "assert(json.encode(json.decode(text)) == text)\n");
}

static void stores_long_containers_in_parts(void) {
    CHECK_LUA("for _, n in ipairs { 1, 2, 255, 256, 257, 511, 512, 513, 1024, 1025, 5000 } do\n"
              "  local list, fields = {}, {}\n"
              "  for i = 1, n do list[i] = i * 3 fields[i] = ('\"k%d\":%d'):format(i, i) end\n"
              "  local text = '[' .. table.concat(list, ',') .. ']'\n"
              "  local back = assert(json.decode(text))\n"
              "  assert(#back == n and back[n] == n * 3 and json.encode(back) == text)\n"
              "  fields[#fields + 1] = '\"k1\":0'\n"
              "  local object = assert(json.decode('{' .. table.concat(fields, ',') .. '}'))\n"
              "  assert(object.k1 == 0 and (n == 1 or object['k' .. n] == n))\n"
              "  local count = 0 for _ in pairs(object) do count = count + 1 end\n"
              "  assert(count == n)\n"
              "end\n");
}

/* ---- numbers against the C library ---- */

static uint64_t random_state;

static uint64_t random_bits(void) {
    random_state += UINT64_C(0x9E3779B97F4A7C15);
    uint64_t z = random_state;
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

/* A double of one of the kinds that matter: any bits, near one, short decimals, edges. */
static double random_double(void) {
    uint64_t bits = random_bits();
    double value;
    switch (bits % 4) {
    case 0:
        bits = random_bits();
        break;
    case 1:
        bits = (random_bits() >> 12) | (uint64_t)(1023 - 20 + (int)(random_bits() % 76)) << 52;
        break;
    case 2:
        return (double)(int64_t)(random_bits() >> (random_bits() % 60)) /
               (double)(1 + random_bits() % 100000);
    default: /* around powers of two */
        bits = ((random_bits() % 2047) << 52) + random_bits() % 5 - 2;
    }
    memcpy(&value, &bits, sizeof(value));
    return value - value == 0 ? value : 0.5;
}

/* How many digits the C library needs to give this double back. */
static int needed_digits(double value) {
    char text[64];
    for (int precision = 1; precision < 17; precision++) {
        snprintf(text, sizeof(text), "%.*e", precision - 1, value);
        if (strtod(text, NULL) == value)
            return precision;
    }
    return 17;
}

static int count_significant(const char *text) {
    int digits = 0, zeros = 0;
    for (; *text != '\0' && *text != 'e'; text++) {
        if (*text == '0' && digits > 0)
            zeros++;
        else if (*text >= '1' && *text <= '9') {
            digits += zeros + 1;
            zeros = 0;
        }
    }
    return digits;
}

static void check_one_double(double value) {
    char text[JSON_MAX_NUMBER_BYTES + 1];
    char *end = json_write_double(text, value);
    CHECK(end <= text + JSON_MAX_NUMBER_BYTES);
    *end = '\0';
    if (strtod(text, NULL) != value || strpbrk(text, ".e") == NULL)
        test_fail(__FILE__, __LINE__, "%a is written as %s", value, text);
    struct json_number number;
    json_read_number(text, end, &number);
    if (number.kind != JSON_NUMBER_FLOAT || number.real != value || number.next != end)
        test_fail(__FILE__, __LINE__, "%s is read as %a", text, number.real);
    if (value != 0 && count_significant(text) > needed_digits(value))
        test_fail(__FILE__, __LINE__, "%s is not the shortest of %a", text, value);
}

static void writes_shortest_doubles(void) {
    static const double edges[] = {
        0.0,
        1e-5,
        9.999999999999999e-6,
        1.0000000000000002e-5,
        0.1,
        0.3,
        2.0 / 3,
        4503599627370495.5,
        4503599627370497.5,
        9007199254740991.0,
        9007199254740992.0,
        9007199254740993.0,
        1e15,
        1e16,
        1e17,
        1e22,
        1e23,
        5e-324,
        2.2250738585072014e-308,
        1.7976931348623157e308,
        0.25,
        0.125,
        0.0625,
        0.9999999999999999,
        9.999999999999998,
        99.99999999999999,
        123456789.12345679,
        8.41,
        2.0919495182368195e-11,
        5e-5,
        1024.5,
    };
    random_state = 1;
    for (size_t i = 0; i < sizeof(edges) / sizeof(edges[0]); i++)
        check_one_double(edges[i]);
    for (int i = 0; i < 5000 && !test_current_failed; i++)
        check_one_double(random_double());
    for (int binary = -1074; binary < 1024; binary += 1 + (binary < -30) * 9)
        check_one_double(ldexp(1.0, binary));
}

static void check_literal(const char *text, size_t len) {
    char *copy = malloc(len); /* without a terminator */
    memcpy(copy, text, len);
    struct json_number number;
    json_read_number(copy, copy + len, &number);
    bool all = number.next == copy + len;
    free(copy);
    double want = strtod(text, NULL);
    double got = number.kind == JSON_NUMBER_INTEGER ? (double)number.integer : number.real;
    if (number.kind == JSON_NUMBER_BAD || !all || got != want || signbit(got) != signbit(want))
        test_fail(__FILE__, __LINE__, "%.100s is read as %a, not %a", text, got, want);
}

static void reads_numbers_exactly(void) {
    char text[2048];
    random_state = 2;
    for (int i = 0; i < 20000 && !test_current_failed; i++) {
        char *p = text;
        if (random_bits() % 2 != 0)
            *p++ = '-';
        int whole = (int)(random_bits() % 22);
        p += sprintf(p, "%d", (int)(random_bits() % (whole == 0 ? 1 : 9) + (whole != 0)));
        for (int n = 1; n < whole; n++)
            *p++ = (char)('0' + random_bits() % 10);
        int fraction = (int)(random_bits() % 24);
        for (int n = 0; n < fraction; n++) {
            if (n == 0)
                *p++ = '.';
            *p++ = (char)('0' + random_bits() % 10);
        }
        if (random_bits() % 3 == 0)
            p += sprintf(p, "e%d", (int)(random_bits() % 640) - 330);
        *p = '\0';
        check_literal(text, (size_t)(p - text));
    }
}

/* Half-way between two doubles, told apart only by a digit far behind. */
static void reads_long_literals(void) {
    char text[4096];
    check_literal("0.500000000000000166533453693773481063544750213623046875", 56);
    check_literal("9007199254740993", 16);
    check_literal("9007199254740993.0", 18);
    check_literal("9007199254740993.00000000000000000000000000001", 46);
    check_literal("2.4703282292062328e-324", 23);
    memset(text, '0', sizeof(text));
    memcpy(text, "9007199254740993.", 17);
    text[4000] = '1';
    text[4001] = '\0';
    check_literal(text, 4001);
    memset(text, '7', 300);
    text[300] = '\0';
    check_literal(text, 300);
    memset(text, '0', 3000);
    text[1] = '.';
    strcpy(text + 2900, "123e2900");
    check_literal(text, strlen(text));
    memset(text, '0', 3000);
    memset(text, '3', 1500);
    strcpy(text + 1800, "e-1700");
    check_literal(text, strlen(text));
}

/* ---- random documents ---- */

#define RANDOM_VALUES                                                                          \
    "local random = math.random\n"                                                             \
    "local function text()\n"                                                                  \
    "  local parts = {}\n"                                                                     \
    "  for i = 1, random(0, 12) do\n"                                                          \
    "    local kind = random(6)\n"                                                             \
    "    parts[i] = kind == 1 and utf8.char(random(0, 0xd7ff)) or\n"                           \
    "      kind == 2 and utf8.char(random(0xe000, 0x10ffff)) or\n"                             \
    "      kind == 3 and string.char(random(0, 127)) or\n"                                     \
    "      kind == 4 and ('long plain run '):rep(random(3)) or string.char(random(97, 122))\n" \
    "  end\n"                                                                                  \
    "  return table.concat(parts)\n"                                                           \
    "end\n"                                                                                    \
    "local function value(depth)\n"                                                            \
    "  local kind = random(depth > 5 and 6 or 9)\n"                                            \
    "  if kind == 1 then return json.null end\n"                                               \
    "  if kind == 2 then return random(2) == 1 end\n"                                          \
    "  if kind == 3 then return random(0) >> random(0, 63) end\n"                              \
    "  if kind == 4 then return (random() - 0.5) * 10.0 ^ random(-30, 30) end\n"               \
    "  if kind <= 6 then return text() end\n"                                                  \
    "  local t = {}\n"                                                                         \
    "  if kind == 7 then\n"                                                                    \
    "    for i = 1, random(0, 8) do t[i] = value(depth + 1) end\n"                             \
    "    return json.array(t)\n"                                                               \
    "  end\n"                                                                                  \
    "  for _ = 1, random(0, 8) do t[text()] = value(depth + 1) end\n"                          \
    "  return t\n"                                                                             \
    "end\n"

static void random_documents_round_trip(void) {
    CHECK_LUA(
        RANDOM_VALUES
        "local function same(a, b)\n"
        "  if type(a) ~= 'table' then return a == b and math.type(a) == math.type(b) end\n"
        "  if type(b) ~= 'table' or json.is_array(a) ~= json.is_array(b) then return false "
        "end\n"
        "  for k, v in pairs(a) do if not same(v, b[k]) then return false end end\n"
        "  for k in pairs(b) do if a[k] == nil then return false end end\n"
        "  return true\n"
        "end\n"
        "math.randomseed(7)\n"
        "for i = 1, 400 do\n"
        "  local v = value(0)\n"
        "  local s = json.encode(v)\n"
        "  assert(utf8.len(s) and same(v, json.decode(s)), i)\n"
        "end\n");
}

/* A damaged text is refused with an offset inside of it, or what it means can be encoded. */
static void random_damage_is_survived(void) {
    CHECK_LUA(
        RANDOM_VALUES
        "math.randomseed(8)\n"
        "local spice = { '\"', '\\\\', '{', '}', '[', ']', ',', ':', '\\0', '\\xff', '\\\\u',\n"
        "  '\\\\ud800', '9', '.', 'e', '-', ' ', '\\n', 'null', '\\xe2\\x82' }\n"
        "local refused, accepted = 0, 0\n"
        "for i = 1, 4000 do\n"
        "  local s = json.encode(value(2))\n"
        "  for _ = 1, random(3) do\n"
        "    local at = random(0, #s)\n"
        "    s = s:sub(1, at) .. spice[random(#spice)] .. s:sub(at + random(0, 3))\n"
        "  end\n"
        "  if random(4) == 1 then s = s:sub(1, random(0, #s)) end\n"
        "  local v, err = json.decode(s)\n"
        "  if v == nil then\n"
        "    refused = refused + 1\n"
        "    assert(err.offset >= 1 and err.offset <= #s + 1)\n"
        "  else\n"
        "    accepted = accepted + 1\n"
        "    assert(json.decode(json.encode(v)) ~= nil)\n"
        "  end\n"
        "end\n"
        "assert(refused > 500 and accepted > 100, refused .. ' ' .. accepted)\n");
}

/* As above, on buffers of exactly their size, byte by byte and cut everywhere. */
static void every_prefix_is_survived(void) {
    static const char text[] =
        "{\"a\":[1,-2.5e3,true,false,null,\"x\\u00e9\\ud83d\\ude00\\n\xe2\x82\xac\"],"
        "\"a longer key than 16 bytes\":\"and a longer value with an escape \\\" inside\","
        "\"n\":12345678901234567,\"m\":0.12345678901234567}";
    lua_State *L = open_state();
    for (size_t len = 0; len < sizeof(text) - 1; len++) {
        CHECK(!decode_copy(L, text, len));
        lua_settop(L, 0);
    }
    CHECK(decode_copy(L, text, sizeof(text) - 1));
    for (size_t at = 0; at < sizeof(text) - 1; at++)
        for (int byte = 0; byte < 256; byte += 5) {
            char damaged[sizeof(text)];
            memcpy(damaged, text, sizeof(text));
            damaged[at] = (char)byte;
            decode_copy(L, damaged, sizeof(text) - 1);
            lua_settop(L, 0);
        }
    lua_close(L);
}

/* ---- memory ---- */

struct budget {
    long allocations_left; /* then every request for more fails */
    size_t in_use;
};

static void *limited_alloc(void *ud, void *block, size_t old_size, size_t new_size) {
    struct budget *budget = ud;
    if (block == NULL)
        old_size = 0;
    if (new_size == 0) {
        budget->in_use -= old_size;
        free(block);
        return NULL;
    }
    if (new_size > old_size && budget->allocations_left-- <= 0)
        return NULL;
    void *result = realloc(block, new_size);
    if (result != NULL)
        budget->in_use += new_size - old_size;
    return result;
}

static int decode_and_encode(lua_State *L) {
    static const char text[] =
        "{\"list\":[1,[2,[3,[4,[]]]],{\"x\":{},\"y\":\"\\u20ac with an escape\"}],"
        "\"key\":\"a string that is longer than the forty bytes of short strings\",\"f\":0.1}";
    size_t len;
    if (!json_decode(L, text, sizeof(text) - 1))
        return lua_error(L);
    lua_createtable(L, 60, 0);
    for (int i = 1; i <= 60; i++) {
        lua_pushvalue(L, -2);
        lua_rawseti(L, -2, i);
    }
    const char *bytes = json_encode(L, -1, &len);
    lua_pushlstring(L, bytes, len);
    bytes = lua_tolstring(L, -1, &len);
    if (!json_decode(L, bytes, len))
        return lua_error(L);
    if (json_decode(L, "[1,{\"a\":\"\\u00e9\",", 18)) /* a failure half-way */
        return luaL_error(L, "accepted");
    lua_pop(L, 1);
    return 0;
}

static void survives_lack_of_memory(void) {
    bool done = false;
    for (long allowed = 0; !done && allowed < 5000; allowed += 1 + allowed / 100) {
        struct budget budget = {.allocations_left = 1000000};
        lua_State *L = lua_newstate(limited_alloc, &budget);
        CHECK(L != NULL);
        budget.allocations_left = allowed;
        lua_pushcfunction(L, decode_and_encode);
        int rc = lua_pcall(L, 0, 0, 0);
        CHECK(rc == LUA_OK || rc == LUA_ERRMEM);
        done = rc == LUA_OK;
        /* The state still works. */
        budget.allocations_left = 1000000;
        lua_pushcfunction(L, decode_and_encode);
        if (lua_pcall(L, 0, 0, 0) != LUA_OK)
            test_fail(__FILE__, __LINE__, "%ld: %s", allowed, lua_tostring(L, -1));
        lua_close(L);
        CHECK_INT(budget.in_use, 0);
    }
    CHECK(done);
}

static void lives_with_finalizers(void) {
    CHECK_LUA(
        "collectgarbage('generational') collectgarbage('incremental', 1, 1000, 1)\n"
        "local runs = 0\n"
        "local function trap()\n"
        "  setmetatable({}, { __gc = function()\n"
        "    runs = runs + 1\n"
        "    assert(json.encode { a = { 1, 2, ('z'):rep(5000) } })\n"
        "    assert(json.decode('{\"k1\":[1,\"\\\\u00e9\"],\"other\":{}}').k1[1] == 1)\n"
        "    trap()\n"
        "  end })\n"
        "end\n"
        "for _ = 1, 10 do trap() end\n"
        "local list = {}\n"
        "for i = 1, 60 do list[i] = { ['k' .. i] = ('v'):rep(i), n = i } end\n"
        "local text = json.encode(list)\n"
        "for _ = 1, 3 do\n"
        "  local back = assert(json.decode(text))\n"
        "  for i = 1, 60 do assert(back[i]['k' .. i] == ('v'):rep(i) and back[i].n == i) end\n"
        "  assert(#json.encode(back) == #text)\n"
        "end\n"
        "assert(runs > 0)\n");
}

static int decode_argument(lua_State *L) {
    size_t len;
    const char *bytes = lua_tolstring(L, 1, &len);
    return json_decode(L, bytes, len) ? 0 : lua_error(L);
}

static bool collects(lua_State *L) {
    return lua_gc(L, LUA_GCISRUNNING) != 0;
}

/* A large text is decoded while the collector waits: it goes on however that ends. */
static void collector_goes_on_after_a_large_text(void) {
    struct budget budget = {.allocations_left = 1000000};
    lua_State *L = lua_newstate(limited_alloc, &budget);
    luaL_openlibs(L);
    CHECK_INT(luaL_dostring(L, "return '[' .. ('[1,{}],'):rep(20000) .. '1]', "
                               "'[' .. ('[1,{}],'):rep(20000) .. '}'"),
              LUA_OK);
    size_t good_len, bad_len, offset;
    const char *good = lua_tolstring(L, 1, &good_len), *bad = lua_tolstring(L, 2, &bad_len);
    const struct json_options options = {.big_as_string = false};
    CHECK(json_decode_with(L, good, good_len, &options, &offset));
    CHECK_INT(lua_rawlen(L, -1), 20001);
    CHECK(collects(L));
    CHECK(!json_decode_with(L, bad, bad_len, &options, &offset));
    CHECK_INT(offset, bad_len);
    CHECK(collects(L));
    CHECK_INT(lua_gettop(L), 4);
    budget.allocations_left = 1000;
    lua_pushcfunction(L, decode_argument);
    lua_pushvalue(L, 1);
    CHECK_INT(lua_pcall(L, 1, 0, 0), LUA_ERRMEM);
    budget.allocations_left = 1000000;
    CHECK(collects(L));
    lua_gc(L, LUA_GCSTOP);
    CHECK(json_decode_with(L, good, good_len, &options, &offset));
    CHECK(!collects(L)); /* it was the script that stopped it */
    lua_close(L);
}

static size_t bytes_in_use(lua_State *L) {
    lua_gc(L, LUA_GCCOLLECT);
    return (size_t)lua_gc(L, LUA_GCCOUNT) * 1024;
}

static void gives_back_a_large_scratch_buffer(void) {
    lua_State *L = open_state();
    size_t len;
    CHECK_INT(luaL_dostring(L, "return ('x'):rep(3000000)"), LUA_OK);
    json_encode(L, -1, &len);
    CHECK_INT(len, 3000002);
    lua_settop(L, 0);
    CHECK(bytes_in_use(L) > 3000000);
    lua_pushinteger(L, 1);
    json_encode(L, -1, &len); /* may still use it */
    const char *bytes = json_encode(L, -1, &len);
    CHECK_MEM(bytes, len, "1", 1);
    CHECK_INT(lua_gettop(L), 1);
    CHECK(bytes_in_use(L) < 200000);
    lua_close(L);
}

/* The table of an object is as large as the last one that began with its first key. */
static void guesses_sizes_of_objects(void) {
    CHECK_LUA("local function object(n)\n"
              "  local fields = {}\n"
              "  for i = 1, n do fields[i] = ('\"k%d\":{\"k1\":%d}'):format(i, i) end\n"
              "  return '{' .. table.concat(fields, ',') .. '}'\n"
              "end\n"
              "for _, n in ipairs { 1, 3, 2, 100, 1, 700, 5, 0, 64, 65 } do\n"
              "  local value = assert(json.decode(object(n)))\n"
              "  local count = 0\n"
              "  for key, inner in pairs(value) do\n"
              "    count = count + 1\n"
              "    assert(key == 'k' .. inner.k1 and next(inner, 'k1') == nil)\n"
              "  end\n"
              "  assert(count == n, n)\n"
              "end\n"
              "for _ = 1, 3 do\n"
              "  local value = json.decode '{\"a\":1,\"b\":2,\"a\":[],\"a\":3}'\n"
              "  assert(value.a == 3 and value.b == 2)\n"
              "  assert(json.decode '{\"a\":1,\"b\"' == nil)\n"
              "  assert(json.decode '{\"a\":1,}' == nil)\n"
              "end");
}

/* Sequences valid and invalid, at every distance from both ends of a text. */
static void finds_invalid_utf8_anywhere(void) {
    CHECK_LUA(
        "local bad = { '\\x80', '\\xc0\\x80', '\\xe0\\x9f\\xbf', '\\xed\\xa0\\x80', "
        "'\\xed\\xbf\\xbf', '\\xe2\\x82', '\\xe2\\x28\\xa1', '\\xf0\\x8f\\xbf\\xbf', "
        "'\\xf4\\x90\\x80\\x80', '\\xf0\\x9f\\x98', '\\xff' }\n"
        "local good = { '\\xc2\\x80', '\\xdf\\xbf', '\\xe0\\xa0\\x80', '\\xed\\x9f\\xbf', "
        "'\\xee\\x80\\x80', '\\xef\\xbf\\xbf', '\\xf0\\x90\\x80\\x80', "
        "'\\xf4\\x8f\\xbf\\xbf', '\\n', 'a\\xc3\\xa9\\xe2\\x82\\xac' }\n"
        "for before = 0, 20 do for after = 0, 20 do\n"
        "  local head, tail = ('x'):rep(before), ('y'):rep(after)\n"
        "  for _, bytes in ipairs(good) do\n"
        "    local text = head .. bytes .. tail\n"
        "    assert(json.decode(json.encode(text)) == text)\n"
        "    assert(json.decode(json.encode { [text] = text })[text] == text)\n"
        "  end\n"
        "  for _, bytes in ipairs(bad) do\n"
        "    local text = head .. '\\xe2\\x82\\xac' .. bytes .. tail\n"
        "    local _, at = utf8.len(text)\n"
        "    local ok, message = pcall(json.encode, text)\n"
        "    assert(not ok and message:find('byte ' .. at, 1, true), message)\n"
        "    local value, err = json.decode('\"' .. text .. '\"')\n"
        "    assert(value == nil and err.offset == at + 1, err.message)\n"
        "    value, err = json.decode('\"\\\\n' .. text .. '\"')\n"
        "    assert(value == nil and err.offset == at + 3, err.message)\n"
        "    assert(not pcall(json.encode, { [text] = 1 }))\n"
        "    assert(not pcall(json.encode, { [text] = 1 }))\n"
        "  end\n"
        "end end");
}

/* What is kept of the last keys must never show: neither of others nor of those with escapes.
 */
static void writes_keys_again(void) {
    CHECK_LUA("for round = 1, 3 do\n"
              "  for len = 0, 40 do\n"
              "    for _, last in ipairs { 'z', '\"', '\\n', '\\0', '\\xc3\\xa9' } do\n"
              "      local key = ('k'):rep(len) .. last\n"
              "      local text = json.encode { [key] = len }\n"
              "      assert(text == '{' .. json.encode(key) .. ':' .. len .. '}', text)\n"
              "      assert(json.decode(text)[key] == len)\n"
              "      assert(json.encode { [key] = len } == text)\n"
              "    end\n"
              "  end\n"
              "  for i = 1, 2000 do\n"
              "    assert(json.encode { ['id' .. i] = i } == ('{\"id%d\":%d}'):format(i, i))\n"
              "  end\n"
              "  collectgarbage()\n"
              "end");
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    RUN(accepts_valid_texts);
    RUN(refuses_invalid_texts);
    RUN(names_the_byte);
    RUN(decodes_values);
    RUN(returns_errors_of_decode);
    RUN(encodes_values);
    RUN(keeps_arrays_and_objects_apart);
    RUN(names_the_path);
    RUN(limits_the_depth);
    RUN(stores_long_containers_in_parts);
    RUN(writes_shortest_doubles);
    RUN(reads_numbers_exactly);
    RUN(reads_long_literals);
    RUN(random_documents_round_trip);
    RUN(random_damage_is_survived);
    RUN(every_prefix_is_survived);
    RUN(survives_lack_of_memory);
    RUN(lives_with_finalizers);
    RUN(collector_goes_on_after_a_large_text);
    RUN(gives_back_a_large_scratch_buffer);
    RUN(guesses_sizes_of_objects);
    RUN(finds_invalid_utf8_anywhere);
    RUN(writes_keys_again);
    return test_end();
}
