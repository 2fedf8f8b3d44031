-- bench/fleet.lua in a short form. LN_FLEET=1800 makes it half an hour, with five restarts of
-- everything.
local process = require "spec.support.process"

local SECONDS = tonumber(os.getenv "LN_FLEET") or 30
local ROUNDS = SECONDS < 600 and 1 or 5

---Beside what it lasts: as long as it takes on a busy machine until all is well after each
---step.
local PATIENCE = 300

describe("a fleet in a cluster", function()
  after_each(process.close_all)

  it("loses nothing while each server and each process is restarted", function()
    local child = process.spawn { process.lunats(), "lua", "bench/fleet.lua", "--rounds",
      tostring(ROUNDS), "--seconds", tostring(SECONDS) }
    assert.equal(0, child:wait(SECONDS * 1.5 + PATIENCE), child:output())
    assert.matches("nothing was lost", child:output())
  end)
end)
