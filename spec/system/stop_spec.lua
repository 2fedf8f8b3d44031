-- How long a stop takes when the server is in trouble: without running handlers never more than
-- two seconds, whatever happens, and next to nothing when all is well.
local core = require "lunats.core"
local eventually = require "spec.support.eventually"
local process = require "spec.support.process"
local lfs = require "lfs"
local testing = require "lunats.testing"

local SERVICE = [[
  app.listen("spec.stop.request", function() return 1 end)
  app.timer(0.05, function() app.publish("spec.stop.news", "x") end)
]]

local server

before_each(function() server = process.server() end)
after_each(function()
  server:signal "CONT"
  process.close_all()
end)

---How long this thread was ready to run and did not get its turn: that of a machine under load.
local function waited()
  local file = io.open "/proc/self/schedstat"
  if not file then return 0 end
  local _, nanoseconds = file:read("n", "n")
  file:close()
  return (nanoseconds or 0) / 1e9
end

---How long a function takes, less the time in which other processes had its turn.
local function seconds(fn)
  local began, before = core.hrtime(), waited()
  fn()
  return core.hrtime() - began - (waited() - before)
end

---Stops all threads of the server, until it is continued.
local function hang()
  local tasks = ("/proc/%d/task/"):format(server.pid)
  server:signal "STOP"
  eventually("the server to hang", function()
    for task in lfs.dir(tasks) do
      local file = task:find "^%d" and io.open(tasks .. task .. "/stat")
      local stat = file and file:read "a" or "(x) T"
      if file then file:close() end
      if not stat:find "%) [Tt]" then return false end
    end
    return true
  end)
end

local function start(source)
  return testing.start(source or SERVICE, { server = server.url, drain_timeout = 30 })
end

describe("a stop", function()
  it("of an idle service takes less than half a second", function()
    local svc = start()
    local took = seconds(function() assert.equal(0, svc:stop()) end)
    assert(took < 0.5, took)
  end)

  it("takes less than two seconds when the server hangs", function()
    local svc = start()
    hang()
    local took = seconds(function() assert.equal(0, svc:stop()) end)
    assert(took < 2, took)
    assert.equal(1, #svc:logs "the server does not answer")
  end)

  -- What the kernel takes is no sign of life.
  it("takes less than two seconds when the server hangs and tasks go on publishing", function()
    local svc = start [[
      app.listen("spec.stop.request", function() return 1 end)
      for _ = 1, 50 do
        app.task(function()
          while true do
            app.sleep(0.001)
            app.publish("spec.stop.news", "x")
          end
        end)
      end
    ]]
    hang()
    local took = seconds(function() assert.equal(0, svc:stop()) end)
    assert(took < 2, took)
    assert.equal(1, #svc:logs "the server does not answer")
  end)

  it("waits for a handler also when the server hangs", function()
    local svc = testing.start([[
      app.listen("spec.stop.slow", function(msg)
        app.log.info "begun"
        app.sleep(1.5)
        app.log.info "done"
      end)
    ]], { server = server.url, drain_timeout = 30 })
    local asks = testing.start([[
      app.on_start(function() app.publish("spec.stop.slow", "x") end)
    ]], { server = server.url })
    eventually("the handler", function() return #svc:logs "begun" > 0 end)
    asks:stop()
    hang()
    assert.equal(0, svc:stop())
    assert.equal(1, #svc:logs "done")
  end)

  it("takes less than two seconds when the server has died, with messages kept", function()
    local svc = start()
    server:signal "KILL"
    eventually("the loss", function() return #svc:logs "connection lost" > 0 end)
    local took = seconds(function() svc:stop() end)
    assert(took < 2, took)
  end)

  for name, urls in pairs {
    ["nobody"] = function(dead) return dead end,
    ["many, none of them there"] = function(dead) return (dead .. ","):rep(50) .. dead end,
    ["hosts that never answer or have no address"] = function(dead)
      return dead .. ",nats://192.0.2.1:4222,nats://198.51.100.1:4222,nats://nowhere.invalid"
    end,
  } do
    it("takes less than two seconds while a server is waited for: " .. name, function()
      server:stop()
      local child = process.spawn { process.lunats(), "run", "--retry", "-s", urls(server.url),
        process.write("svc.lua", SERVICE) }
      child:expect "waiting for a server"
      child:signal "TERM"
      local took = seconds(function() assert.equal(0, child:wait()) end)
      assert(took < 2, took)
    end)
  end
end)
