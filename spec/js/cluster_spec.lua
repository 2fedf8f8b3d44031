-- Replicated buckets and object stores in a cluster that loses a server.
local own = require "spec.support.own"
local process = require "spec.support.process"
local testing = require "lunats.testing"

---Elections take seconds, under sanitizers and load more.
local PATIENCE = 60

local SOURCE = [[
  local eventually = require "spec.support.eventually"
  local function insist(fn) return eventually("success", fn, 60) end

  app.task(function()
    local kv = insist(function()
      return app.js.create_key_value { bucket = "b", history = 64, replicas = 3 }
    end)
    local store = insist(function()
      return app.js.create_object_store { bucket = "o", replicas = 3 }
    end)
    insist(function()
      return kv:watch(function(entry) print("seen " .. entry.revision) end)
    end)
    insist(function() return store:put("x", ("x"):rep(1000000)) end)
    for burst = 1, 2 do
      local last
      for i = 1, 40 do
        last = insist(function() return kv:put("k" .. i % 7, burst) end)
      end
      local server = app.nats.connected_url
      print(("burst %d ends at %d."):format(burst, last))
      insist(function() return burst == 2 or app.nats.connected_url ~= server end)
    end
    print("object", #insist(function() return store:get "x" end))
    print("keys", #insist(function() return kv:keys() end))
    print "over"
  end)
]]

describe("a cluster that loses the server of a service", function()
  after_each(function()
    process.close_all()
    own.close()
  end)

  it("keeps buckets, objects and watches", function()
    local cluster = own.keep(testing.cluster(3))
    local svc = process.run(SOURCE, {}, { servers = cluster.urls })
    svc:expect("burst 1 ends", PATIENCE)
    local port = svc:output():match "connected to nats://127%.0%.0%.1:(%d+)"
    for i, url in ipairs(cluster.urls) do
      if url:match ":(%d+)$" == port then cluster[i]:stop() end
    end
    for _, line in ipairs { "object%s+1000000\n", "keys%s+7\n", "over\n" } do
      svc:expect(line, PATIENCE) -- entries may be seen in between
    end
    local last = svc:expect "burst 2 ends at (%d+)%."
    svc:expect(("seen %d\n"):format(last), PATIENCE)
    local expected = 0
    for revision in svc:output():gmatch "seen (%d+)\n" do
      expected = expected + 1
      assert.equal(expected, tonumber(revision))
    end
    assert.is_true(expected >= 80)
  end)
end)
