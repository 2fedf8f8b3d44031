-- Replicated buckets and object stores in a cluster that loses a server.
local process = require "spec.support.process"
local testing = require "lunats.testing"

---Elections take seconds, under sanitizers and load more.
local PATIENCE = 50

local SOURCE = [[
  local function insist(fn)
    for _ = 1, 100 do
      local result = fn()
      if result then return result end
      app.sleep(0.25)
    end
    error "in vain"
  end

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
      print(("burst %d ends at %d."):format(burst, last))
      app.sleep(1)
    end
    print("object", #insist(function() return store:get "x" end))
    print("keys", #insist(function() return kv:keys() end))
    print "over"
  end)
]]

describe("a cluster that loses the server of a service", function()
  local cluster
  setup(function() cluster = testing.cluster(3) end)
  teardown(function()
    process.close_all()
    cluster:stop()
  end)

  it("keeps buckets, objects and watches", function()
    local command = { process.lunats(), "run" }
    for _, url in ipairs(cluster.urls) do
      command[#command + 1] = "--server"
      command[#command + 1] = url
    end
    command[#command + 1] = process.write("svc.lua", SOURCE)
    local svc = process.spawn(command)
    svc:expect("burst 1 ends", PATIENCE)
    local port = svc:output():match "connected to nats://127%.0%.0%.1:(%d+)"
    for i, url in ipairs(cluster.urls) do
      if url:match ":(%d+)$" == port then cluster[i]:stop() end
    end
    svc:expect("object%s+1000000\nkeys%s+7\nover", PATIENCE)
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
