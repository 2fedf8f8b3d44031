-- bench/chaos.lua in a short form, with another seed each time. LN_CHAOS=600 makes it ten
-- minutes, LN_CHAOS_SEED takes the seed of a run that has failed.
local process = require "spec.support.process"

local SECONDS = tonumber(os.getenv "LN_CHAOS") or 20
local SEED = tonumber(os.getenv "LN_CHAOS_SEED") or os.time() % 1000000

---Beside what it lasts: the start, and as long as it takes until all is well again.
local PATIENCE = 180

describe("chaos", function()
  after_each(process.close_all)

  it(("loses nothing (seed %d)"):format(SEED), function()
    local child = process.spawn({ "bench/chaos.sh", "--seconds", tostring(SECONDS), "--seed",
      tostring(SEED) }, { env = { LUNATS = process.lunats() } })
    local status = child:wait(SECONDS * 1.5 + PATIENCE)
    assert.equal(0, status, child:output())
  end)
end)
