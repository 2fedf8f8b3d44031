-- The soaks of bench/, in short forms: nothing lost, whatever is killed or reloaded meanwhile.
-- LN_SOAK=10 makes them ten times as long.
local process = require "spec.support.process"

local FACTOR = tonumber(os.getenv "LN_SOAK") or 1

local function times(number) return tostring(number * FACTOR // 1 | 0) end

local function bench(...)
  return process.lunats_to_end({ "lua", ... }, { timeout = 180 * FACTOR })
end

describe("a soak", function()
  after_each(process.close_all)

  it("loses no message of a stream whose server is killed again and again", function()
    local status, output = bench("bench/soak.lua", times(20000), "1")
    assert.equal(0, status, output)
    local all = times(20000)
    assert.matches(("result: %s stored, %s handled"):format(all, all), output)
    assert.matches("lost: 0", output)
  end)

  it("loses no request of a service that is reloaded under load", function()
    local status, output = bench("bench/reload.lua", times(20), "2000")
    assert.equal(0, status, output)
    assert.matches("lost 0, answered twice 0, wrong 0", output)
  end)

  it("handles every message of a stream once while the service is reloaded", function()
    local all = times(5000)
    local status, output = bench("--embedded", "bench/reload_consume.lua", times(10), all)
    assert.equal(0, status, output)
    assert.matches(("handled %s of %s, more than once 0"):format(all, all), output)
  end)

  it("answers through saves of every kind", function()
    local status, output = bench("--embedded", "bench/saves.lua", times(15))
    assert.equal(0, status, output)
    assert.matches(" 0 not answered", output)
  end)
end)
