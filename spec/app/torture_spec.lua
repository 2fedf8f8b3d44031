-- Every function with every kind of wrong argument, in every stage of a script's life: the
-- process goes on, and errors say what was wrong. LN_TORTURE=50 makes it fifty times as long,
-- LN_TORTURE_SEED=n repeats a run.
local process = require "spec.support.process"
local testing = require "lunats.testing"

local FACTOR = tonumber(os.getenv "LN_TORTURE") or 1
local SEED = os.getenv "LN_TORTURE_SEED" or "1"

after_each(process.close_all)

describe("a service that calls everything with anything", function()
  it("goes on to its end, and is told what is wrong", function()
    local broker = testing.broker()
    finally(function() broker:stop() end)
    local env = { NATS_URL = broker.url, LN_TORTURE_SEED = SEED }
    local status, output = process.lunats_to_end({ "run", "--log-level", "off",
      "--slice", "1000", "--drain-timeout", "30", "--http", "127.0.0.1:0",
      "spec/support/torture.lua" },
      { env = env, timeout = 120 * FACTOR })
    local complaints = {}
    for line in output:gmatch "COMPLAINT ([^\n]*)" do complaints[#complaints + 1] = line end
    assert.same({}, complaints, "seed " .. SEED)
    assert.truthy(output:find("stage end", 1, true), output)
    assert.is_true(status <= 1, status) -- 1: a hook of on_stop has failed
  end)
end)
