/* SPDX-License-Identifier: Apache-2.0 */
/* JSON texts into Lua values: what is valid, what is said about the rest. */
#include "spec/unit/json.h"

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

/* "[0,0,...," and a string with an escape, that is too long for the stack of a buffer. */
static size_t write_long_string(char *out, int values, const char *end) {
    char *at = out;
    *at++ = '[';
    for (int i = 0; i < values; i++, at += 2)
        memcpy(at, "0,", 2);
    memcpy(at, "\"\\n", 3);
    memset(at + 3, 'x', LUAL_BUFFERSIZE);
    at += 3 + LUAL_BUFFERSIZE;
    memcpy(at, end, strlen(end));
    return (size_t)(at - out) + strlen(end);
}

/* A long buffer has to be closed, which may take the last place of Lua's stack. */
static void fails_with_any_place_left_on_the_stack(void) {
    static const char *const ends[] = {"\\q\"]", "\1\"]", "\xff\"]", "", "\"]"};
    lua_State *L = open_state();
    for (int values = 0; values < 400; values++)
        for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
            char text[2 * 400 + LUAL_BUFFERSIZE + 16];
            size_t len = write_long_string(text, values, ends[i]);
            lua_State *thread = lua_newthread(L); /* its stack is small */
            bool decoded = decode_copy(thread, text, len);
            CHECK(decoded == (i + 1 == sizeof(ends) / sizeof(ends[0])));
            CHECK(lua_gettop(thread) == 1);
            CHECK(lua_type(thread, 1) == (decoded ? LUA_TTABLE : LUA_TSTRING));
            lua_settop(L, 0);
        }
    lua_close(L);
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    RUN(accepts_valid_texts);
    RUN(refuses_invalid_texts);
    RUN(names_the_byte);
    RUN(decodes_values);
    RUN(returns_errors_of_decode);
    RUN(limits_the_depth);
    RUN(stores_long_containers_in_parts);
    RUN(guesses_sizes_of_objects);
    RUN(every_prefix_is_survived);
    RUN(fails_with_any_place_left_on_the_stack);
    return test_end();
}
