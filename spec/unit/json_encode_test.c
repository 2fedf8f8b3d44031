/* SPDX-License-Identifier: Apache-2.0 */
/* Lua values into JSON texts, and back. */
#include "spec/unit/json.h"

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
        "  assert(not ok and message:sub(-#want) == want, tostring(message))\n"
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
        "assert(message:find(': c.c.*nested deeper than 128 levels %(does one contain'))\n");
}

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
    RUN(encodes_values);
    RUN(keeps_arrays_and_objects_apart);
    RUN(names_the_path);
    RUN(random_documents_round_trip);
    RUN(random_damage_is_survived);
    RUN(finds_invalid_utf8_anywhere);
    RUN(writes_keys_again);
    return test_end();
}
