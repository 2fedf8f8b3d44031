-- A service that uses all the memory that it may: its handlers fail and are named, everything
-- else goes on.
local eventually = require "spec.support.eventually"
local own = require "spec.support.own"
local process = require "spec.support.process"
local testing = require "lunats.testing"
local unique = require "spec.support.unique"

after_each(function()
  own.close()
  process.close_all()
end)

---A service of its own process; PREFIX in the source is a subject of its own.
local function run(source, options)
  local prefix = unique "memory"
  local child = process.run(source:gsub("PREFIX", prefix), options)
  child:expect "started"
  return child, function(name, body)
    return app.request(prefix .. "." .. name, body, { timeout = 20 })
  end
end

---Asks for something that fails with status 500 for want of memory.
local function refused(ask, name, body)
  local reply, err = ask(name, body)
  assert.is_nil(reply)
  assert.equal(500, err.status)
  assert.matches("not enough memory", err.message)
  return err.message
end

local FULL = { "--errors", "full", "--memory", "12M" }

local BOMBS = [[
  local kept = {}
  app.listen("PREFIX.ok", function() return "ok" end)
  app.listen("PREFIX.strings", function()
    local t, s = {}, ("x"):rep(1000):rep(1000)
    while true do t[#t + 1] = s .. #t end
  end)
  app.listen("PREFIX.tables", function() local t while true do t = { t } end end)
  app.listen("PREFIX.rep", function() return #("x"):rep(1000):rep(100000) end)
  app.listen("PREFIX.concat", function() local s = "xxxxx" while true do s = s .. s end end)
  app.listen("PREFIX.join", function()
    local t = {} for i = 1, 100 do t[i] = ("x"):rep(1000):rep(1000) end
    return #table.concat(t)
  end)
  app.listen("PREFIX.coroutines", function()
    local t = {} while true do t[#t + 1] = coroutine.create(print) end
  end)
  app.listen("PREFIX.json", function(msg)
    local t = { msg.data } while true do t = { t, msg.data, app.json.decode(msg.raw) } end
  end)
  app.listen("PREFIX.caught", function()
    local t = {}
    local ok, err = pcall(function() while true do t[#t + 1] = { t } end end)
    return { ok = ok, err = err }
  end)
  app.listen("PREFIX.keep", function() while true do kept[#kept + 1] = { #kept } end end)
  app.listen("PREFIX.forget", function() kept = {} return "forgotten" end)
]]

describe("--memory", function()
  it("fails the handlers that want more, by name, and the service goes on", function()
    local child, ask = run(BOMBS, FULL)
    for _, name in ipairs { "strings", "tables", "rep", "concat", "join", "coroutines" } do
      local text = refused(ask, name)
      assert.matches("would exceed the 12%.0 MiB of %-%-memory %(Lua has %d", text)
      assert.equal("ok", assert(ask "ok").raw)
    end
    refused(ask, "json", { a = { 1, 2, 3 } })
    local caught = assert(ask "caught").data
    assert.same({ ok = false, err = "not enough memory" }, caught)
    assert.equal("ok", assert(ask "ok").raw)
    assert.equal(0, child:stop())
    assert.matches("ERROR svc: listener [^\n]*%.strings: [^\n]*svc%.lua:5: not enough memory: "
      .. "[^\n]*\n +stack traceback:\n[^\n]*svc%.lua:5: in function", child:output())
  end)

  it("keeps what works with what is left working", function()
    local child, ask = run([[
      local kept = {}
      app.listen("PREFIX.keep", function(msg)
        kept[#kept + 1] = ("x"):rep(1000):rep(1000) .. #kept
        return #kept
      end)
      app.listen("PREFIX.forget", function() local n = #kept kept = {} return n end)
    ]], FULL)
    local count = 0
    while ask "keep" do count = count + 1 end
    assert.is_true(count > 8 and count < 13, count)
    refused(ask, "keep")
    assert.equal(count, assert(ask "forget").data)
    assert.equal(1, assert(ask "keep").data)
    child:signal "USR1"
    child:expect("memory: Lua [%d.]+ MiB, fibers [%d.]+ KiB, messages and buffers [%d.]+ KiB; "
      .. "of the 12%.0 MiB of %-%-memory")
    assert.equal(0, child:stop())
  end)

  it("is enough for one size of things after the other", function()
    local child, ask = run([[
      app.listen("PREFIX.sizes", function(msg)
        local base, t = ("x"):rep(msg.data), {}
        for i = 1, 5000000 // (#base + 80) do t[i] = base .. i end
        return #t
      end)
    ]], FULL)
    for size = 8, 1200, 149 do
      assert.equal(5000000 // (size + 80), assert(ask("sizes", size)).data)
    end
    assert.equal(0, child:stop())
    assert.equal(0, child:count "not enough memory")
  end)

  it("ends a service in order whose memory is full to the brim", function()
    local child, ask = run(BOMBS .. [[
      app.on_stop(function() app.log.info "cleaned up" end)
    ]], FULL)
    refused(ask, "keep")
    ask "keep"
    child:stop()
    child:expect "svc: stopped"
  end)

  it("is as small as the script wants it", function()
    local child, ask = run([[
      app.config { limits = { memory = "8M" } }
      app.listen("PREFIX.tables", function() local t while true do t = { t } end end)
    ]], FULL)
    assert.matches("would exceed the 8%.0 MiB of limits%.memory", refused(ask, "tables"))
    child:stop()
    child, ask = run([[
      app.config { limits = { memory = "1G" } }
      app.listen("PREFIX.tables", function() local t while true do t = { t } end end)
    ]], FULL)
    assert.matches("would exceed the 12%.0 MiB of %-%-memory", refused(ask, "tables"))
    child:stop()
  end)

  it("concerns a script that is too large to be loaded", function()
    local child = process.run("t = {} for i = 1, 1e9 do t[i] = { i } end", { "--memory", "8M" })
    assert.equal(1, child:wait())
    assert.matches("svc%.lua:1: not enough memory: [^\n]* 8%.0 MiB of %-%-memory[^\n]*\n"
      .. " +stack traceback:", child:output())
  end)

  it("leaves timers and tasks alive", function()
    local child = process.run([[
      local n = 0
      app.timer(0.05, { name = "greedy" }, function()
        n = n + 1
        if n > 1 then app.log.info "still ticking" return end
        local t while true do t = { t } end
      end)
      app.task({ restart = "on_error" }, function()
        if n > 1 then app.log.info "task again" return end
        local t while true do t = { t } end
      end)
    ]], FULL)
    child:expect "timer greedy: [^\n]*svc.lua:5: not enough memory"
    child:expect "task: [^\n]*svc.lua:9: not enough memory"
    child:expect "still ticking"
    child:expect "task again"
    assert.equal(0, child:stop())
  end)

  it("counts the finalizers that wait, and runs them", function()
    local child, ask = run([[
      local finalized = 0
      app.listen("PREFIX.litter", function()
        for i = 1, 4 do
          setmetatable({ ("x"):rep(1000):rep(1000) .. i }, { __gc = function()
            finalized = finalized + 1
          end })
        end
        return "done"
      end)
      app.listen("PREFIX.count", function() return finalized end)
    ]], FULL)
    local done = 0
    for _ = 1, 60 do if ask "litter" then done = done + 1 end end
    assert.is_true(done > 10, done)
    assert.is_true(assert(ask "count").data > 20)
    assert.equal(0, child:stop())
  end)

  it("belongs to a version: the next one begins anew", function()
    local prefix = unique "memory"
    local svc = testing.start((([[
      app.config { limits = { memory = "16M" } }
      local kept = {}
      app.listen("PREFIX", function()
        for i = 1, 12 do kept[#kept + 1] = ("x"):rep(1000):rep(1000) .. #kept end
        return "kept"
      end)
    ]]):gsub("PREFIX", prefix)))
    assert.equal("kept", assert(svc:request(prefix)).raw)
    assert(svc:reload((([[
      app.config { limits = { memory = "32M" } }
      local kept = {}
      app.listen("PREFIX", function()
        for i = 1, 24 do kept[#kept + 1] = ("x"):rep(1000):rep(1000) .. #kept end
        return "more"
      end)
    ]]):gsub("PREFIX", prefix))))
    assert.equal("more", assert(svc:request(prefix)).raw)
    svc:stop()
  end)

  it("hands app.state on, however full the old version is", function()
    local prefix = unique "memory"
    local source = ([[
      app.config { limits = { memory = "16M" } }
      app.state.kept = app.state.kept or {}
      app.listen("PREFIX.fill", function()
        local kept = app.state.kept
        while true do kept[#kept + 1] = ("x"):rep(5000) .. #kept end
      end)
      app.listen("PREFIX.count", function() return #app.state.kept end)
    ]]):gsub("PREFIX", prefix)
    local svc = testing.start(source)
    assert.is_nil((svc:request(prefix .. ".fill")))
    assert.equal(1, #svc:errors())
    assert(svc:reload((source:gsub("16M", "64M"))))
    assert.is_true(assert(svc:request(prefix .. ".count")).data > 1000)
    svc:stop()
  end)
end)

describe("messages", function()
  it("wait in no more than half of the memory, and what comes on top is told", function()
    local prefix = unique "memory"
    local child = process.run(([[
      app.listen("PREFIX.slow", { concurrency = 1, data_type = "string" }, function(msg)
        while msg.raw == "wait" and not go do app.sleep(0.01) end
        app.publish("PREFIX.done", #msg.raw)
      end)
      app.listen("PREFIX.go", { data_type = "string" }, function() go = true end)
    ]]):gsub("PREFIX", prefix), { "--memory", "16M" })
    child:expect "started"
    local done = 0
    local listener = app.listen(prefix .. ".done", function() done = done + 1 end)
    finally(function() listener:stop() end)
    local large = ("x"):rep(1000):rep(900)
    app.publish(prefix .. ".slow", "wait")
    for _ = 1, 20 do app.publish(prefix .. ".slow", large) end
    app.publish(prefix .. ".go", "") -- which arrives behind them
    child:expect "listener [^\n]*slow is too slow: its queue is full"
    eventually("what has waited", function() return done == 10 end)
    app.publish(prefix .. ".slow", large)
    eventually("one more", function() return done == 11 end)
    assert.equal(0, child:stop())
    assert.equal(0, child:count "not enough memory")
  end)
end)

describe("bytes that are to be sent", function()
  ---Sends as much as it may, and says how many bytes wait for that.
  local SOURCE = [[
    app.config { limits = { memory = "%s" } }
    local text, most = ("x"):rep(60000), 0
    app.listen("go", function()
      app.spawn(function()
        while not app.state.over do app.publish("sink", text) end
      end)
      return true
    end)
    app.listen("over", { data_type = "string" }, function() app.state.over = true end)
    app.timer(0.01, function()
      if app.nats.stats().buffered > most then
        most = app.nats.stats().buffered
        app.log.info("waits: " .. most)
      end
    end)
  ]]

  ---@return integer bytes  that have waited at most
  local function waited(svc)
    local lines = svc:logs "^waits: "
    return lines[1] and tonumber(lines[#lines].message:match "%d+") or 0
  end

  ---How many bytes the second version lets wait while the server reads nothing.
  local function bound(first, second, at_least)
    local broker = own.keep(testing.broker())
    local svc = own.start(SOURCE:format(first), { server = broker.url })
    assert(svc:reload(SOURCE:format(second)))
    assert(svc:request("go", ""))
    broker:pause()
    eventually("what waits", function() return waited(svc) > at_least end)
    app.sleep(0.1) -- in which it would become more
    local bytes = waited(svc)
    broker:resume()
    svc:publish("over", "")
    return bytes
  end

  it("may become more in a version that may have more memory", function()
    assert.is_true(bound("16M", "1G", 900000) < 1200000)
  end)

  it("become fewer in a version that may have less", function()
    assert.is_true(bound("1G", "16M", 200000) < 400000)
  end)
end)

describe("replies of app.request_many", function()
  it("are a quarter of the memory, and what is left out is told", function()
    local prefix = unique "many"
    local child = process.run(([[
      app.listen("PREFIX.ask", function()
        return #assert(app.request_many("PREFIX.all", nil, { stall = 5 }))
      end)
    ]]):gsub("PREFIX", prefix), { "--memory", "16M" })
    child:expect "started"
    local body = ("x"):rep(1000):rep(900)
    local listener = app.listen(prefix .. ".all", function(msg)
      for _ = 1, 30 do msg:respond(body) end
    end)
    finally(function() listener:stop() end)
    assert.equal(5, assert(app.request(prefix .. ".ask", nil, { timeout = 20 })).data)
    child:expect "has ended after 5 replies: they have 4%.0 MiB, more are taken with max_bytes"
    assert.equal(0, child:stop())
    assert.equal(0, child:count "not enough memory")
  end)
end)

describe("messages of a stream", function()
  local BODY, COUNT = ("x"):rep(1000):rep(960), 30
  local stream

  before_each(function()
    stream = unique "large"
    assert(app.js.add_stream { name = stream, subjects = { stream .. ".>" },
      storage = "memory" })
    for _ = 1, COUNT do assert(app.js.publish(stream .. ".a", BODY)) end
  end)

  after_each(function() app.js.delete_stream(stream) end)

  ---What a service does with all of them: each is handled once.
  local function handles_all(source)
    local child = process.run(source:gsub("STREAM", stream), { "--memory", "16M" })
    eventually("all messages", function() return child:count "message " >= COUNT end)
    for number = 1, COUNT do
      assert.equal(1, child:count(("message %d of delivery 1."):format(number)), child:output())
    end
    assert.equal(0, child:stop())
    assert.equal(0, child:count "not enough memory")
  end

  it("are fetched in parts that fit in", function()
    handles_all([[
      app.task(function()
        local psub = assert(app.js.pull_subscribe("STREAM.>", { durable = "d" }))
        while true do
          local opts = { timeout = 5, data_type = "string" }
          for _, msg in ipairs(assert(psub:fetch(100, opts))) do
            app.log.info(("message %d of delivery %d."):format(
            msg.metadata.stream_sequence, msg.metadata.num_delivered))
            msg:ack()
          end
          collectgarbage()
        end
      end)]])
  end)

  it("are fetched one by one where one is as large as a part", function()
    handles_all([[
      app.config { limits = { memory = "3600K" } }
      app.task(function()
        local psub = assert(app.js.pull_subscribe("STREAM.>", { durable = "d" }))
        while true do
          local opts = { timeout = 5, data_type = "string" }
          for _, msg in ipairs(assert(psub:fetch(5, opts))) do
            app.log.info(("message %d of delivery %d."):format(
            msg.metadata.stream_sequence, msg.metadata.num_delivered))
            msg:ack()
          end
          collectgarbage()
        end
      end)]])
  end)

  it("go back to it where they are larger than those before, and come again", function()
    assert(app.js.purge_stream(stream))
    local child = process.run(([[
      app.task(function()
        local psub = assert(app.js.pull_subscribe("STREAM.>", { durable = "d" }))
        local slow = true
        psub:consume({ data_type = "string" }, function(msg)
          if #msg.raw > 10 and slow then app.sleep(2) slow = false end
          app.log.info((#msg.raw > 10 and "large %d." or "small %d"):format(
            msg.metadata.stream_sequence))
        end)
      end)]]):gsub("STREAM", stream), { "--memory", "16M" })
    child:expect "started"
    for _ = 1, 400 do assert(app.js.publish(stream .. ".a", "small")) end
    eventually("the small ones", function() return child:count "small " == 400 end)
    for _ = 1, COUNT do assert(app.js.publish(stream .. ".a", BODY)) end
    for number = COUNT + 401, 2 * COUNT + 400 do
      child:expect(("large %d%%."):format(number))
    end
    assert.equal(0, child:stop())
    assert.equal(0, child:count "not enough memory")
  end)

  it("are asked for as far as they fit in", function()
    handles_all([[
      app.task(function()
        local psub = assert(app.js.pull_subscribe("STREAM.>", { durable = "d" }))
        local time = 2 -- for what was asked for to come
        psub:consume({ concurrency = 1, data_type = "string" }, function(msg)
          app.sleep(time)
          time = 0
          app.log.info(("message %d of delivery %d."):format(
            msg.metadata.stream_sequence, msg.metadata.num_delivered))
        end)
      end)]])
  end)
end)

describe("limits.fibers", function()
  it("is where app.spawn raises, and all else goes on", function()
    local child, ask = run([[
      app.config { limits = { fibers = 50 } }
      app.listen("PREFIX.wide", function()
        for i = 1, 1000 do app.spawn(function() app.sleep(60) end) end
      end)
      app.listen("PREFIX.ok", function() return "ok" end)
    ]], { "--errors", "full", "--drain-timeout", "0.1" })
    local _, err = ask "wide"
    assert.matches("svc%.lua:3: cannot start a fiber: 50 of the service live already, "
      .. "which is its limit %(limits%.fibers%)", err.message)
    assert.equal("ok", assert(ask "ok").raw)
    child:signal "KILL"
  end)

  it("is not needed where memory ends first", function()
    local child, ask = run([[
      app.listen("PREFIX.wide", function()
        while true do app.spawn(function() app.sleep(60) end) end
      end)
      app.listen("PREFIX.ok", function() return "ok" end)
    ]], { "--errors", "full", "--memory", "8M", "--drain-timeout", "0.1" })
    local _, err = ask "wide"
    assert.matches("svc%.lua:2: cannot start a fiber: more than three quarters of the 8%.0 MiB "
      .. "of %-%-memory are used", err.message)
    assert.equal("ok", assert(ask "ok").raw)
    child:signal "KILL"
  end)
end)
