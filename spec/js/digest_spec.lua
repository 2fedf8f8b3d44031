-- SHA-256 and base64 of the host.
local core = require "lunats.core"

local function hex(bytes)
  return (bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

describe("core.sha256", function()
  it("knows the vectors of FIPS 180", function()
    assert.equal("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
      hex(core.sha256():final()))
    assert.equal("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
      hex(core.sha256():update "abc":final()))
    local digest = core.sha256()
    for _ = 1, 1000 do digest:update(("a"):rep(1000)) end
    assert.equal("cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
      hex(digest:final()))
  end)

  it("is of no use after final()", function()
    local digest = core.sha256()
    digest:final()
    assert.has_error(function() digest:update "a" end)
    assert.has_error(function() digest:final() end)
  end)
end)

describe("base64", function()
  it("knows the vectors of RFC 4648", function()
    local cases = { [""] = "", f = "Zg==", fo = "Zm8=", foo = "Zm9v", foob = "Zm9vYg==",
      fooba = "Zm9vYmE=", foobar = "Zm9vYmFy" }
    for bytes, text in pairs(cases) do
      assert.equal(text, core.base64(bytes))
      assert.equal(text, core.base64url(bytes))
      assert.equal(bytes, core.base64_decode(text))
      assert.equal(bytes, core.base64url_decode(text))
    end
  end)

  it("has an alphabet of its own for URLs", function()
    assert.equal("+/+/", core.base64 "\xfb\xff\xbf")
    assert.equal("-_-_", core.base64url "\xfb\xff\xbf")
    assert.equal("\xfb\xff\xbf", core.base64url_decode "-_-_")
    assert.is_nil(core.base64url_decode "+/+/")
    assert.is_nil(core.base64_decode "-_-_")
  end)

  it("takes all bytes there and back", function()
    local bytes = {}
    for i = 0, 255 do bytes[#bytes + 1] = string.char(i) end
    local all = table.concat(bytes):rep(5)
    for len = 0, #all, 7 do
      local some = all:sub(1, len)
      assert.equal(some, core.base64_decode(core.base64(some)))
      assert.equal(some, core.base64url_decode(core.base64url(some)))
    end
  end)

  it("gives nil for what is not base64", function()
    for _, text in ipairs { "A", "AB", "ABC", "A===", "====", "AB=C", " AAA", "AAA\n", "Ä==",
      "AA\0A", "=AAA" } do
      assert.is_nil(core.base64_decode(text), text)
    end
  end)
end)
