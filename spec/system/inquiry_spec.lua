-- SIGUSR1: what runs is in the log, and nothing else happens.
local eventually = require "spec.support.eventually"
local process = require "spec.support.process"
local testing = require "lunats.testing"
local unique = require "spec.support.unique"

after_each(process.close_all)

local SOURCE = [[
  app.config { name = "busy", version = "1.2.3" }
  local prefix = %q
  app.listen(prefix .. ".slow", { concurrency = 1 }, function() app.sleep(60) end)
  app.listen(prefix .. ".echo", function(msg) return msg.raw end)
  app.timer(3600, { name = "hourly", delay = 1800 }, function() end)
  app.task({ name = "worker" }, function() app.sleep(3600) end)
  app.on_start(function()
    assert(app.js.add_stream { name = prefix, subjects = { prefix .. "js.>" },
      storage = "memory" })
    assert(app.js.pull_subscribe(prefix .. "js.>", { stream = prefix, durable = "d" }))
      :consume({}, function() end)
  end)
]]

describe("SIGUSR1", function()
  it("writes what runs into the log, while the service serves on", function()
    local prefix = unique("BUSY"):gsub("%W", "")
    finally(function() app.js.delete_stream(prefix) end)
    local child = process.run(SOURCE:format(prefix))
    child:expect "started"
    for _ = 1, 3 do app.publish(prefix .. ".slow", "x") end
    assert(app.request(prefix .. ".echo", "x"))
    eventually("all of it", function()
      child:signal "USR1"
      return child:output():find "running 1 of 1, queued 2, received"
    end)
    for _, pattern in ipairs {
      "INFO  busy: what runs:\n",
      "version 1%.2%.3, instance %w+, Lua has %d+ KiB\n",
      "connection: connected to nats://127%.0%.0%.1:%d+, messages in %d+, out %d+, ",
      "listeners: 2\n",
      "%.slow %([^\n]*svc%.lua:3%): running 1 of 1, queued 2, received %d, failed 0\n",
      "timers and tasks: 2\n",
      "timer hourly: every 3600 s, the next in 1[78]%d%d%.%d+ s, ticks 0, skipped 0",
      "task worker: once, ticks 1, skipped 0, errors 0\n",
      "consumers: 1\n +consume: consumer 'd' of stream '" .. prefix .. "': running 0, queued 0",
      "fibers: 1 of handlers, %d+ in the background\n",
      "handler: stack traceback:\n[^\n]*\n%s+[^\n]*svc.lua:3: in function <[^\n]*svc.lua:3>",
    } do
      assert.matches(pattern, child:output())
    end
    assert(app.request(prefix .. ".echo", "x"))
    child:signal "KILL"
  end)

  it("tells of further connections", function()
    local prefix = unique("FAR"):gsub("%W", "")
    finally(function() app.js.delete_stream(prefix) end)
    local child = process.run(([[
      app.on_start(function()
        local other = assert(app.connect { server = %q, name = "far" })
        other.listen(%q, function() end)
        assert(other.js.add_stream { name = %q, subjects = { %q }, storage = "memory" })
        assert(other.js.subscribe(%q, { durable = "d" }, function() end))
      end)]]):format(testing.server_url(), prefix .. ".far", prefix, prefix .. "js",
      prefix .. "js"))
    child:expect "started"
    child:signal "USR1"
    child:expect "connection far: connected to nats://127%.0%.0%.1:%d+, messages in %d+"
    child:expect "connection far, listeners: 1\n[^\n]*%.far %([^\n]*svc%.lua:3%): running 0"
    child:expect("consumers: 1\n +push: consumer 'd' of stream '" .. prefix .. "'")
    assert.equal(0, child:stop())
  end)

  it("is answered where the log is of warnings only, and before the start", function()
    local child = process.run("app.on_start(function() print 'here' app.sleep(60) end)",
      { "--log-level", "warn" })
    child:expect "here"
    child:signal "USR1"
    child:expect "WARN  svc: what runs:\n"
    child:expect "phase: stack traceback:.-svc.lua:1: in"
    child:signal "KILL"
  end)

  it("lists twenty fibers and counts the others", function()
    local child = process.run [[
      app.task(function()
        for _ = 1, 5000 do app.spawn(app.sleep, 60) end
        print "spawned"
      end)
    ]]
    child:expect "spawned"
    child:signal "USR1"
    child:expect "fibers: 0 of handlers, 5000 in the background"
    child:expect "and 4980 more"
    assert.equal(20, child:count "background: stack traceback")
    assert.equal(0, child:stop())
  end)

  it("changes nothing about a stop, however late it comes", function()
    local child = process.run("app.on_stop(function() app.sleep(0.05) end)")
    child:expect "started"
    child:signal "TERM"
    eventually("the end", function()
      child:signal "USR1"
      return child:status()
    end)
    assert.equal(0, child:status(), child:output())
  end)
end)
