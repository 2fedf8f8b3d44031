-- lunats.msgpack: values as MessagePack.
local msgpack = require "lunats.msgpack"
local own = require "spec.support.own"

after_each(own.close)

local function hex(text)
  return (text:gsub("%x%x", function(digits) return string.char(tonumber(digits, 16)) end))
end

---From the specification: value, bytes.
local CASES = {
  { app.json.null, "c0" }, { false, "c2" }, { true, "c3" }, { 0, "00" }, { 127, "7f" },
  { 128, "cc80" }, { 255, "ccff" }, { 256, "cd0100" }, { 65535, "cdffff" },
  { 65536, "ce00010000" }, { 4294967295, "ceffffffff" }, { 4294967296, "cf0000000100000000" },
  { math.maxinteger, "cf7fffffffffffffff" }, { -1, "ff" }, { -32, "e0" }, { -33, "d0df" },
  { -128, "d080" }, { -129, "d1ff7f" }, { -32768, "d18000" }, { -32769, "d2ffff7fff" },
  { -2147483648, "d280000000" }, { -2147483649, "d3ffffffff7fffffff" },
  { math.mininteger, "d38000000000000000" }, { 1.0, "cb3ff0000000000000" }, { "", "a0" },
  { "ab", "a26162" }, { "\xff", "c401ff" }, { { 1, { "a" } }, "920191a161" },
  { { a = { true } }, "81a16191c3" }, { { [5] = 1 }, "810501" }, { app.json.array(), "90" },
}

describe("lunats.msgpack", function()
  it("writes and reads values as the specification says", function()
    for _, case in ipairs(CASES) do
      assert.equal(hex(case[2]), msgpack.encode(case[1]), case[2])
      local value = msgpack.decode(hex(case[2]))
      assert.same(case[1], value)
      assert.equal(math.type(case[1]), math.type(value))
    end
    assert.equal("\xc0", msgpack.encode(nil))
  end)

  it("keeps what is long", function()
    for _, n in ipairs { 31, 32, 255, 256, 65535, 65536 } do
      for _, letter in ipairs { "x", "\xff" } do
        local text = letter:rep(n)
        assert.equal(text, (msgpack.decode(msgpack.encode(text))))
      end
      local list, map = {}, {}
      for i = 1, n do list[i], map["k" .. i] = i, i end
      assert.same(list, (msgpack.decode(msgpack.encode(list))))
      assert.same(map, (msgpack.decode(msgpack.encode(map))))
    end
  end)

  it("reads what others write, and lists as lists", function()
    assert.equal(1.5, (msgpack.decode(hex "ca3fc00000")))
    assert.equal(2.0 ^ 64, (msgpack.decode(hex "cfffffffffffffffff")))
    assert.equal("a", (msgpack.decode(hex "da000161")))
    assert.equal("[]", app.json.encode((msgpack.decode(hex "dc0000"))))
    assert.equal("{}", app.json.encode((msgpack.decode(hex "80"))))
  end)

  for bytes, text in pairs {
    [""] = "it ends too early", ["93 01"] = "it ends too early",
    ["a3 61"] = "it ends too early",
    ["db ff ff ff ff 61"] = "it ends too early", ["dd ff ff ff ff"] = "it ends too early",
    ["01 02"] = "there is more behind the value", ["c1"] = "the byte 0xc1",
    ["d6 ff 00 00 00 00"] = "the byte 0xd6", ["81 c0 01"] = "the key of a map",
    ["81 cb 7f f8 00 00 00 00 00 00 01"] = "the key of a map",
    [("91 "):rep(101)] = "more than 100",
  } do
    it(("refuses '%s'"):format(bytes:sub(1, 30)), function()
      local value, err = msgpack.decode(hex(bytes:gsub(" ", "")))
      assert.is_nil(value)
      assert.equal("bad_msgpack", err.code)
      assert.matches(text, err.message, 1, true)
    end)
  end

  it("raises for what it cannot write", function()
    local inside = {}
    inside.inside = inside
    for text, value in pairs { ["cannot encode a function"] = { print },
      ["more than 100 tables"] = inside,
      ["a list with holes"] = app.json.array { 1, x = 2 } } do
      assert.error_matches(function() msgpack.encode(value) end,
        "msgpack.encode: .*" .. text)
    end
  end)

  it("is how a listener may speak", function()
    own.keep(app.listen("spec.msgpack", { data_type = "string" }, function(msg)
      local order = assert(msgpack.decode(msg.data))
      return msgpack.encode { total = order.price * order.count }
    end))
    app.flush()
    local reply = assert(app.request("spec.msgpack", msgpack.encode { price = 3, count = 4 }))
    assert.same({ total = 12 }, (msgpack.decode(reply.raw)))
  end)
end)
