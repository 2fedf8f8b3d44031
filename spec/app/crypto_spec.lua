-- app.crypto: digests, random bytes, base64. The vectors are those of FIPS 180 and RFC 4231.
local failed = require "spec.support.failed"

local crypto = app.crypto

describe("app.crypto", function()
  it("makes SHA-256 digests", function()
    local abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert.equal(abc, crypto.sha256 "abc")
    assert.equal("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
      crypto.sha256 "")
    local raw = crypto.sha256("abc", "raw")
    assert.equal(abc, (raw:gsub(".", function(c) return ("%02x"):format(c:byte()) end)))
    assert.equal(raw, crypto.base64_decode(crypto.sha256("abc", "base64")))
  end)

  it("makes HMACs", function()
    assert.equal("b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
      crypto.hmac_sha256(("\x0b"):rep(20), "Hi There"))
    assert.equal("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
      crypto.hmac_sha256("Jefe", "what do ya want for nothing?"))
    assert.equal("60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
      crypto.hmac_sha256(("\xaa"):rep(131),
        "Test Using Larger Than Block-Size Key - Hash Key First"))
    assert.equal(32, #crypto.hmac_sha256("", "", "raw"))
  end)

  it("compares strings, also of different lengths and with zeros", function()
    assert.is_true(crypto.equal("a\0b", "a\0b"))
    assert.is_true(crypto.equal("", ""))
    assert.is_false(crypto.equal("a\0b", "a\0c"))
    assert.is_false(crypto.equal("a", "ab"))
  end)

  it("gives as many random bytes as asked for, others each time", function()
    for _, count in ipairs { 1, 16, 4096 } do assert.equal(count, #crypto.random(count)) end
    assert.not_equal(crypto.random(16), crypto.random(16))
  end)

  it("makes UUIDs of version 4", function()
    local seen = {}
    for _ = 1, 200 do
      local id, x = crypto.uuid(), "[0-9a-f]"
      assert.matches("^" .. x:rep(8) .. "%-" .. x:rep(4) .. "%-4" .. x:rep(3) .. "%-[89ab]"
        .. x:rep(3) .. "%-" .. x:rep(12) .. "$", id)
      assert.is_nil(seen[id])
      seen[id] = true
    end
  end)

  it("encodes and decodes base64", function()
    for bytes, text in pairs { [""] = "", f = "Zg==", fo = "Zm8=", foo = "Zm9v",
      ["\xfb\xff\0"] = "+/8A" } do
      assert.equal(text, crypto.base64_encode(bytes))
      assert.equal(bytes, crypto.base64_decode(text))
    end
    for _, bad in ipairs { "Zg", "Zg=", "Z===", "-_8A", " Zm9v", "Zm9v\n", "Zm9v=" } do
      failed("invalid", crypto.base64_decode(bad))
    end
  end)

  it("refuses wrong arguments, naming the function", function()
    for name, arguments in pairs { sha256 = { 1 }, hmac_sha256 = { "k" }, equal = { "a" },
      random = { -1 }, base64_encode = { {} }, base64_decode = {} } do
      local _, err = pcall(function() crypto[name](table.unpack(arguments)) end)
      assert.matches("crypto_spec.lua:%d+: app.crypto." .. name .. ": ", err)
    end
    for _, count in ipairs { 0, 1.5, "x", 1 << 21 } do
      assert.error_matches(function() crypto.random(count) end, "from 1 to 1048576")
    end
    assert.error_matches(function() crypto.sha256("a", "binary") end, "the form is")
  end)
end)
