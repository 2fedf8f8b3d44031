-- bench/order.lua in a short form, with another seed each time. LN_ORDER=1000000 is the long
-- one, LN_ORDER_SEED takes the seed of a run that has failed.
local process = require "spec.support.process"
local since = require "spec.support.since"

local MESSAGES = tonumber(os.getenv "LN_ORDER") or 3000
local SEED = tonumber(os.getenv "LN_ORDER_SEED") or os.time() % 1000000

describe("order per key", function()
  after_each(process.close_all)

  it(("is kept while workers are killed (seed %d)"):format(SEED), function()
    local child = process.spawn { process.lunats(), "lua", "bench/order.lua", "--messages",
      tostring(MESSAGES), "--keys", "20", "--partitions", "4", "--workers", "2", "--every",
      "4", "--seed", tostring(SEED) }
    assert.equal(0, child:wait(180 + MESSAGES / 200), child:output())
    assert.truthy(child:output():find "%d+ workers were killed; .* 0 faults\n")
  end)

  since.it("2.11", ("is kept in an elastic group while members are killed, come and go (seed "
    .. "%d)"):format(SEED), function()
    local child = process.spawn { process.lunats(), "lua", "bench/order.lua", "--messages",
      tostring(MESSAGES), "--keys", "20", "--partitions", "4", "--workers", "2", "--every",
      "8", "--elastic", "1", "--seed", tostring(SEED) }
    assert.equal(0, child:wait(180 + MESSAGES / 100), child:output())
    assert.truthy(child:output():find "%d+ workers were killed; .* 0 faults\n")
  end)
end)
