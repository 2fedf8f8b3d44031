-- A replicated stream whose leader is killed in the middle of publishing and reading.
local own = require "spec.support.own"
local process = require "spec.support.process"
local testing = require "lunats.testing"

---Elections take seconds, under sanitizers and load more.
local PATIENCE = 60

local SOURCE = [[
  local COUNT = 200

  local eventually = require "spec.support.eventually"
  local function insist(fn) return eventually("success", fn, 60) end

  local function reader(name, durable)
    local seen, count = {}, 0
    return function(msg)
      local id = msg.data.id
      if not seen[id] then
        seen[id] = true
        count = count + 1
        if count == COUNT then print(name .. " has seen all") end
      end
    end, { durable = durable, stream = "S", config = { num_replicas = 3, ack_wait = 2 } }
  end

  app.task(function()
    local stream = insist(function()
      return app.js.add_stream { name = "S", subjects = { "s" }, num_replicas = 3 }
    end)
    local consume, options = reader("consume", "c")
    insist(function() return app.js.pull_subscribe("s", options) end):consume(consume)
    local last = 0
    insist(function()
      return app.js.subscribe("s", { ordered = true, stream = "S" }, function(msg)
        local sequence = msg.metadata.stream_sequence
        if sequence ~= last + 1 then print("ordered jumps", last, sequence) end
        last = sequence
        if last == COUNT then print "ordered has seen all" end
      end)
    end)
    app.spawn(function()
      local fetch, fetch_options = reader("fetch", "f")
      local psub = insist(function() return app.js.pull_subscribe("s", fetch_options) end)
      while true do
        for _, msg in ipairs(psub:fetch(10, { timeout = 1 }) or {}) do
          fetch(msg)
          msg:ack()
        end
        app.sleep(0)
      end
    end)
    for id = 1, COUNT do
      insist(function()
        return app.js.publish("s", { id = id }, { msg_id = id, timeout = 2 })
      end)
      if id == COUNT // 2 then
        print("half; the leader is " .. stream.cluster.leader .. ".")
      elseif id > COUNT // 2 then
        app.sleep(0.02) -- so that it is killed while there are messages to come
      end
    end
    print "all stored"
  end)
]]

describe("a cluster that loses the leader of a stream", function()
  after_each(function()
    process.close_all()
    own.close()
  end)

  it("loses no message that was acknowledged, and no order", function()
    local cluster = own.keep(testing.cluster(3))
    local svc = process.run(SOURCE, {}, { servers = cluster.urls })
    local leader = svc:expect("half; the leader is n(%d)%.", PATIENCE)
    cluster[tonumber(leader)]:kill()
    svc:expect("all stored", PATIENCE)
    for _, reader in ipairs { "consume", "fetch", "ordered" } do
      svc:expect(reader .. " has seen all", PATIENCE)
    end
    assert.is_nil(svc:output():find("ordered jumps", 1, true), svc:output())
    assert.equal(0, svc:stop(PATIENCE))
  end)
end)
