-- How the garbage of a service is collected, by the size of what it keeps. spec/unit has more.
local eventually = require "spec.support.eventually"
local testing = require "lunats.testing"

-- What it keeps is one piece, so that all this is quick here.
local SOURCE = [[
  local kept
  app.listen("collector.keep", function(msg)
    kept = ("x"):rep(2^10):rep(2^10 * msg.data)
    return true
  end)
  app.listen("collector.drop", function()
    kept = nil
    return true
  end)
  app.listen("collector.look", function() return collectgarbage "count" / 1024 end)]]

describe("A service that drops much of what it kept", function()
  it("gives it up while little runs, before it has allocated as much again", function()
    local svc = testing.start(SOURCE)
    finally(function() svc:stop() end)
    local function megabytes() return assert(svc:request "collector.look").data end
    assert(svc:request("collector.keep", 40, { timeout = 60 }))
    assert.is_true(megabytes() > 40)
    for _ = 1, 2 do
      assert(svc:request "collector.drop")
      eventually("a collection", function() return megabytes() < 10 end)
      assert(svc:request("collector.keep", 40, { timeout = 60 }))
    end
  end)
end)
