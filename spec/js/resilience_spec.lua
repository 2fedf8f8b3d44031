-- Every way of reading a stream, with a server that is killed, frozen or restarted meanwhile:
-- nothing is lost, and no memory stays behind.
local eventually = require "spec.support.eventually"
local process = require "spec.support.process"

---Each calls seen(msg) for what it reads.
local READERS = {
  fetch = [[
    local psub = app.js.pull_subscribe("S", { durable = "d", config = { ack_wait = 1 } })
    app.task({ restart = "on_error" }, function()
      while true do
        for _, msg in ipairs(psub:fetch(20, { timeout = 0.5 }) or {}) do
          seen(msg)
          msg:ack()
        end
      end
    end)
  ]],
  consume = [[
    app.js.pull_subscribe("S", { durable = "d", config = { ack_wait = 1 } }):consume(
      { heartbeat = 0.4, concurrency = 3 }, function(msg)
        app.sleep(0.001)
        seen(msg)
      end)
  ]],
  push = [[
    app.js.subscribe("S", { durable = "d", heartbeat = 0.4, config = { ack_wait = 1 } }, seen)
  ]],
  ordered = [[
    app.js.subscribe("S", { ordered = true, heartbeat = 0.4 }, seen)
  ]],
}

local SERVICE = [[
  app.on_start(function() assert(app.js.ensure_stream { name = "S" }) end)
  local count = 0
  local function seen(msg)
    count = count + 1
    print("seq", msg.metadata.stream_sequence)
    if count %% 100 == 0 then
      collectgarbage()
      collectgarbage()
      print("memory", collectgarbage "count")
    end
  end
  %s
  local id = 0
  app.timer(0.005, { delay = 0 }, function()
    id = id + 1
    app.js.publish_async("S", { id = id }, { timeout = 1 })
  end)
]]

local function restart_after(signal)
  return function(server, args, service)
    server:signal(signal)
    server:wait()
    service:expect "connection lost"
    process.server { port = server.port, args = args }
  end
end

---What happens to the server; returns when it is usable again.
local DISTURBANCES = {
  ["is killed and comes back"] = restart_after "KILL",
  ["is restarted in order"] = restart_after "TERM",
  ["is frozen for a while"] = function(server)
    server:signal "STOP"
    app.sleep(1) -- more than two heartbeats
    server:signal "CONT"
  end,
}

describe("reading a stream while its server", function()
  after_each(process.close_all)

  local function last_memory(service)
    local last
    for value in service:output():gmatch "memory%s+([%d.]+)" do last = tonumber(value) end
    return last
  end

  ---The first number below the highest that was not seen; `once`: nothing twice, in order.
  local function gap(output, once)
    local seen, last, before = {}, 0, 0
    for text in output:gmatch "seq%s+(%d+)" do
      local seq = tonumber(text)
      if once then assert.equal(before + 1, seq) end
      seen[seq], before = true, seq
      last = math.max(last, seq)
    end
    for seq = 1, last do
      if not seen[seq] then return seq end
    end
  end

  for what, disturb in pairs(DISTURBANCES) do
    for reader, source in pairs(READERS) do
      it(("%s: %s"):format(what, reader), function()
        local args = { "-js", "-sd", process.path "js" }
        local server = process.server { args = args }
        local service = process.spawn({ process.lunats(), "run", "--server", server.url,
          process.write("svc.lua", SERVICE:format(source)) })
        service:expect "memory"
        local memory = last_memory(service)
        disturb(server, args, service)
        local before = service:count "memory"
        eventually("more messages", function()
          return service:count "memory" >= before + 3
        end, 40)
        -- What was under way has left coroutines in the pool: up to 256 publishes at a time.
        assert.is_true(last_memory(service) < memory + 1000, last_memory(service) - memory)
        -- What was delivered to nobody comes again after ack_wait.
        eventually("every message", function() return not gap(service:output()) end)
        assert.equal(0, service:stop(40))
        assert.is_nil(gap(service:output(), reader == "ordered"))
      end)
    end
  end
end)
