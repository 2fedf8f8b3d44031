-- The soaks of bench/, in short forms: nothing lost, whatever is killed or reloaded meanwhile.
local process = require "spec.support.process"

local function bench(...)
  return process.lunats_to_end { "lua", ... }
end

describe("a short soak", function()
  after_each(process.close_all)

  it("loses no message of a stream whose server is killed again and again", function()
    local status, output = bench("bench/soak.lua", "20000", "1")
    assert.equal(0, status, output)
    assert.matches("result: 20000 stored, 20000 handled", output)
    assert.matches("lost: 0", output)
  end)

  it("loses no request of a service that is reloaded under load", function()
    local status, output = bench("bench/reload.lua", "20", "2000")
    assert.equal(0, status, output)
    assert.matches("lost 0, answered twice 0, wrong 0", output)
  end)

  it("handles every message of a stream once while the service is reloaded", function()
    local status, output = bench("--embedded", "bench/reload_consume.lua", "10", "5000")
    assert.equal(0, status, output)
    assert.matches("handled 5000 of 5000, more than once 0", output)
  end)

  it("answers through saves of every kind", function()
    local status, output = bench("--embedded", "bench/saves.lua", "15")
    assert.equal(0, status, output)
    assert.matches(" 0 not answered", output)
  end)
end)
