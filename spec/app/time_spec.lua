-- Time: sleep, timers, tasks, and where waiting is possible.
local core = require "lunats.core"
local eventually = require "spec.support.eventually"
local testing = require "lunats.testing"

---A service whose time stands still but for svc:advance().
local function start(source)
  local svc = testing.start(source, { clock = "manual" })
  finally(function() svc:stop() end)
  return svc
end

local function number(svc, subject) return assert(svc:request(subject)).data end

describe("app.sleep", function()
  it("of 0 s lets messages in, however often it is repeated", function()
    local subject = core.new_inbox()
    local done = false
    local handle = app.listen(subject, function() done = true end)
    app.publish(subject, "")
    local began = core.hrtime()
    while not done and core.hrtime() - began < 5 do app.sleep(0) end
    handle:stop()
    assert.is_true(done)
  end)

  it("waits as long as it is told", function()
    local began = core.hrtime()
    app.sleep(0.03)
    assert.is_true(core.hrtime() - began >= 0.029)
  end)

  it("waits in full after a long computation", function()
    local busy = core.hrtime()
    while core.hrtime() - busy < 0.05 do end -- luacheck: ignore 542
    local began = core.hrtime()
    app.sleep(0.03)
    assert.is_true(core.hrtime() - began >= 0.029)
  end)

  it("with 0 lets others run", function()
    local order = {}
    app.spawn(function() order[#order + 1] = "other" end)
    order[#order + 1] = "me"
    app.sleep(0)
    order[#order + 1] = "me again"
    assert.same({ "me", "other", "me again" }, order)
  end)

  for _, bad in ipairs { -1, 0 / 0, "x", {}, false } do
    it("refuses " .. tostring(bad), function()
      assert.has_error(function() app.sleep(bad) end)
    end)
  end

  it("refuses no argument", function() assert.has_error(function() app.sleep() end) end)

  it("wakes many sleepers in the order of their time", function()
    local order = {}
    for _, ms in ipairs { 30, 10, 20 } do
      app.spawn(function() app.sleep(ms / 1000) order[#order + 1] = ms end)
    end
    eventually("all", function() return #order == 3 end)
    assert.same({ 10, 20, 30 }, order)
  end)
end)

describe("app.now", function()
  it("is Unix time with fractions", function()
    assert.is_true(math.abs(app.now() - os.time()) <= 2)
    assert.equal("float", math.type(app.now()))
  end)
end)

describe("app.spawn", function()
  it("passes arguments, nil included", function()
    local got
    app.spawn(function(...) got = table.pack(...) end, 1, nil, "x", nil)
    app.sleep(0)
    assert.equal(4, got.n)
    assert.same({ 1, nil, "x" }, { got[1], got[2], got[3] })
  end)

  it("wants a function", function()
    assert.has_error(function() app.spawn "x" end)
    assert.has_error(function() app.spawn() end)
  end)

  it("runs ten thousand fibers", function()
    local sum = 0
    for i = 1, 10000 do
      app.spawn(function() app.sleep(0) sum = sum + i end)
    end
    eventually("all fibers", function() return sum == 50005000 end)
  end)

  it("an error in one is logged with its traceback and hurts nobody else", function()
    local svc = start [[
      app.task(function()
        app.spawn(function() error "spawned and failed" end)
        app.spawn(function() error(setmetatable({}, { __tostring = error })) end)
        app.sleep(0)
        app.publish "still.here"
      end)
    ]]
    svc:expect "still.here"
    local errors = svc:errors()
    assert.equal(2, #errors)
    assert.matches("service.lua:2: spawned and failed.-stack traceback", errors[1])
  end)
end)

describe("app.timer", function()
  it("ticks at once, then again and again", function()
    local svc = start [[
      local timer = app.timer(60, function() app.publish "tick" end)
      app.listen("ticks", function() return timer.ticks end)
    ]]
    svc:expect "tick"
    svc:advance(59.9)
    assert.equal(1, #svc:calls "tick")
    svc:advance(0.2)
    assert.equal(2, #svc:calls "tick")
    svc:advance(120)
    assert.equal(4, #svc:calls "tick")
    assert.equal(4, number(svc, "ticks"))
  end)

  it("waits for its delay first", function()
    local svc = start [[app.timer(10, { delay = 30 }, function() app.publish "tick" end)]]
    svc:advance(29.9)
    assert.same({}, svc:calls "tick")
    svc:advance(0.2)
    assert.equal(1, #svc:calls "tick")
    svc:advance(10)
    assert.equal(2, #svc:calls "tick")
  end)

  it("never overlaps; late ticks are skipped and counted", function()
    local svc = start [[
      local timer = app.timer(5, function()
        app.publish("work", "begin")
        app.sleep(30)
        app.publish("work", "end")
      end)
      app.listen("skipped", function() return timer.skipped end)
    ]]
    svc:advance(100)
    local order = {}
    for i, msg in ipairs(svc:calls "work") do order[i] = msg.raw end
    assert.same({ "begin", "end", "begin", "end", "begin", "end", "begin" }, order)
    assert.equal(3 * 5, number(svc, "skipped"))
  end)

  it("lives on after an error, which is counted", function()
    local svc = start [[
      local odd = setmetatable({}, { __tostring = function() error "x" end })
      local errors = { "text", {}, odd, { code = "cancelled" }, false }
      local n = 0
      local timer = app.timer(60, function()
        n = n + 1
        if n <= #errors then error(errors[n]) end
      end)
      app.listen("counters", function() return { timer.ticks, timer.errors } end)
    ]]
    svc:advance(10 * 60)
    assert.same({ 11, 5 }, number(svc, "counters"))
    assert.equal(5, #svc:errors())
  end)

  it("stops by its handle, also from inside", function()
    local svc = start [[
      local timer
      timer = app.timer(60, { delay = 60 }, function()
        app.publish "tick"
        timer:stop()
      end)
    ]]
    svc:advance(600)
    assert.equal(1, #svc:calls "tick")
  end)

  it("stopped before its first tick never ticks", function()
    local svc = start [[
      app.timer(60, function() app.publish "tick" end):stop()
      app.task(function() app.publish "tick" end):stop()
    ]]
    svc:advance(600)
    assert.same({}, svc:calls "tick")
  end)

  it("is forgotten when it has been stopped", function()
    local svc = start [[
      local periodic = require "lunats.periodic"
      app.listen("fifty", function()
        local timers = {}
        for i = 1, 50 do timers[i] = app.timer(3600, function() end) end
        app.sleep(0)
        for _, timer in ipairs(timers) do timer:stop() end
        app.sleep(0)
        return #periodic.list()
      end)
    ]]
    assert.equal(0, number(svc, "fifty"))
  end)

  it("gives back what its function holds when it is stopped before it begins", function()
    local svc = start [[
      local periodic = require "lunats.periodic"
      local held = setmetatable({}, { __mode = "k" })
      app.listen("begun", function()
        for _ = 1, 10 do
          local large = {}
          held[large] = true
          app.timer(3600, { delay = 3600 }, function() large.used = true end):stop()
        end
        app.sleep(0)
        collectgarbage()
        collectgarbage()
        return #periodic.list() + (next(held) and 1 or 0)
      end)
    ]]
    assert.equal(0, number(svc, "begun"))
  end)

  it("gives back what its function holds when it stops itself, not at the next tick", function()
    local svc = start [[
      local periodic = require "lunats.periodic"
      local held = setmetatable({}, { __mode = "k" })
      for i = 1, 10 do
        local large, handle = {}, nil
        held[large] = true
        local function once()
          large.used = true
          handle:stop()
          if i % 2 == 0 then error "last" end
        end
        handle = i <= 5 and app.timer(3600, once) or app.task({ restart = "on_error" }, once)
      end
      app.listen("held", function()
        collectgarbage()
        collectgarbage()
        return #periodic.list() + (next(held) and 1 or 0)
      end)
    ]]
    assert.equal(0, number(svc, "held"))
    assert.equal(5, #svc:errors())
  end)

  for _, case in ipairs {
    { "an interval of 0", { 0, print }, "greater than 0" },
    { "a negative interval", { -1, print }, "greater than 0" },
    { "an endless interval", { math.huge, print }, "greater than 0" },
    { "an interval that is no number", { "1", print }, "greater than 0" },
    { "no function", { 1 }, "function expected" },
    { "options instead of a function", { 1, { delay = 1 } }, "function expected" },
    { "an unknown option", { 1, { dealy = 1 }, print }, "did you mean 'delay'" },
    { "a negative delay", { 1, { delay = -1 }, print }, "delay must be" },
    { "a delay that is no number", { 1, { delay = "x" }, print }, "delay" },
  } do
    it("refuses " .. case[1], function()
      local ok, err = pcall(app.timer, table.unpack(case[2]))
      assert.is_false(ok)
      assert.matches(case[3], tostring(err))
    end)
  end
end)

describe("app.task", function()
  it("runs once", function()
    local svc = start [[
      local task = app.task(function() app.publish "run" end)
      app.listen("ticks", function() return task.ticks end)
    ]]
    svc:advance(3600)
    assert.equal(1, #svc:calls "run")
    assert.equal(1, number(svc, "ticks"))
  end)

  it("with an interval runs periodically", function()
    local svc = start [[app.task({ interval = 60 }, function() app.publish "run" end)]]
    svc:expect "run"
    svc:advance(600)
    assert.equal(11, #svc:calls "run")
  end)

  it("that fails ends, without restart", function()
    local svc = start [[
      local task = app.task(function() error "once" end)
      app.listen("counters", function() return { task.ticks, task.errors } end)
    ]]
    svc:advance(3600)
    assert.same({ 1, 1 }, number(svc, "counters"))
    assert.equal(1, #svc:errors())
  end)

  it('with restart = "on_error" runs again with back-off until it succeeds', function()
    local svc = start [[
      local runs = 0
      local task = app.task({ restart = "on_error" }, function()
        runs = runs + 1
        app.publish "run"
        if runs < 3 then error "again" end
      end)
      app.listen("counters", function() return { task.ticks, task.errors } end)
    ]]
    svc:expect "run"
    for _, step in ipairs { { 0.09, 1 }, { 0.02, 2 }, { 0.18, 2 }, { 0.02, 3 }, { 60, 3 } } do
      svc:advance(step[1])
      assert.equal(step[2], #svc:calls "run")
    end
    assert.same({ 3, 2 }, number(svc, "counters"))
    assert.equal(2, #svc:errors())
  end)

  for _, case in ipairs {
    { "no function", {}, "function expected" },
    { "an unknown restart", { { restart = "always" }, print }, "restart must be" },
    { "an interval of 0", { { interval = 0 }, print }, "greater than 0" },
    { "an unknown option", { { intervall = 1 }, print }, "did you mean 'interval'" },
  } do
    it("refuses " .. case[1], function()
      local ok, err = pcall(app.task, table.unpack(case[2]))
      assert.is_false(ok)
      assert.matches(case[3], tostring(err))
    end)
  end
end)

describe("waiting is possible", function()
  for name, fn in pairs {
    pcall = function()
      local ok, result = pcall(function() app.sleep(0) return "in" end)
      return ok and result
    end,
    xpcall = function()
      local function failing() app.sleep(0) error "x" end
      local ok, result = xpcall(failing, function() return "in" end)
      return not ok and result
    end,
    ["a coroutine.wrap iterator"] = function()
      local text = ""
      for part in coroutine.wrap(function()
        for _, c in ipairs { "i", "n" } do app.sleep(0) coroutine.yield(c) end
      end) do text = text .. part end
      return text
    end,
    ["coroutines in coroutines"] = function()
      local outer = coroutine.wrap(function(first)
        local inner = coroutine.create(function(x)
          app.sleep(0)
          local y = coroutine.yield(x .. "1")
          app.sleep(0)
          return y .. "2"
        end)
        local _, a = coroutine.resume(inner, first)
        coroutine.yield(a)
        local _, b = coroutine.resume(inner, "n")
        return b
      end)
      return outer "i" == "i1" and outer() == "n2" and "in"
    end,
    ["the scope of a to-be-closed variable"] = function()
      local closed
      do
        local function close() app.sleep(0) closed = "in" end
        local _ <close> = setmetatable({}, { __close = close })
        app.sleep(0)
      end
      return closed
    end,
    ["a for loop with a closing value"] = function()
      local closed
      local closing = setmetatable({}, { __close = function() closed = "in" end })
      for _ in function() app.sleep(0) return nil end, nil, nil, closing do end
      return closed
    end,
  } do
    it("in " .. name, function() assert.equal("in", fn()) end)
  end
end)

describe("waiting gives a clear error", function()
  local function sleepy() app.sleep(0.001) end
  for name, fn in pairs {
    ["table.sort"] = function() table.sort({ 3, 2, 1 }, sleepy) end,
    ["string.gsub"] = function() return (("x"):gsub("x", sleepy)) end,
    ["a metamethod of a C function"] = function()
      tostring(setmetatable({}, { __tostring = sleepy }))
    end,
    ["a coroutine inside table.sort"] = function()
      table.sort({ 3, 2, 1 }, function(a, b) coroutine.wrap(sleepy)() return a < b end)
    end,
    ["require"] = function()
      package.preload.sleepy = sleepy
      finally(function() package.preload.sleepy = nil end)
      require "sleepy"
    end,
  } do
    it("in " .. name, function()
      local ok, err = pcall(fn)
      assert.is_false(ok)
      assert.matches("cannot wait here", tostring(err))
      app.sleep(0) -- and the fiber is as good as before
    end)
  end

  it("in a request inside a coroutine inside gsub, and the next request works", function()
    local s = "spec.time." .. app.instance_id
    local handle = app.listen(s, function() return "pong" end)
    finally(function() handle:stop() end)
    local ok, err
    local _ = ("x"):gsub("x", function()
      ok, err = coroutine.resume(coroutine.create(function() return app.request(s) end))
    end)
    assert.is_false(ok)
    assert.matches("cannot wait here", tostring(err))
    assert.equal("pong", assert(app.request(s)).raw)
  end)

  for name, source in pairs {
    ["the top level"] = "app.sleep(1)",
    ["a coroutine at the top level"] = "coroutine.wrap(function() app.sleep(1) end)()",
    ["a request at the top level"] = "assert(app.request('x'))",
  } do
    it("at " .. name, function()
      local ok, err = pcall(testing.start, source)
      assert.is_false(ok)
      assert.matches("service.lua:1:.-top level", tostring(err))
    end)
  end
end)

describe("a coroutine that waits", function()
  it("can be resumed by its own fiber only", function()
    local co, result = nil, {}
    app.spawn(function()
      co = coroutine.create(function() app.sleep(0.01) return "slept" end)
      result = table.pack(coroutine.resume(co))
    end)
    app.sleep(0)
    assert.equal("normal", coroutine.status(co))
    local ok, err = coroutine.resume(co)
    assert.is_false(ok)
    assert.matches("waits", err)
    assert.has_error(function() coroutine.close(co) end)
    eventually("its end", function() return result[1] ~= nil end)
    assert.same({ true, "slept", n = 2 }, result)
    assert.equal("dead", coroutine.status(co))
    assert.is_true(coroutine.close(co))
  end)

  it("can be created in one fiber and go on in another between its waits", function()
    local co = coroutine.create(function()
      for i = 1, 4 do app.sleep(0) coroutine.yield(i) end
    end)
    local seen = {}
    for _ = 1, 4 do
      app.spawn(function() seen[#seen + 1] = select(2, coroutine.resume(co)) end):await()
    end
    assert.same({ 1, 2, 3, 4 }, seen)
  end)

  it("passes errors on, with their values", function()
    local value = {}
    local wrapped = coroutine.wrap(function() app.sleep(0) error(value) end)
    local ok, err = pcall(wrapped)
    assert.is_false(ok)
    assert.equal(value, err)
    assert.has_error(function() wrapped() end)
  end)

  it("refuses itself and what is no coroutine", function()
    assert.is_false((coroutine.resume(coroutine.running())))
    assert.has_error(function() coroutine.resume "x" end)
    assert.has_error(function() coroutine.close "x" end)
    assert.has_error(function() coroutine.status() end)
    assert.has_error(function() coroutine.wrap(1) end)
  end)
end)

describe("a stop", function()
  it("cancels tasks and runs their to-be-closed variables", function()
    local svc = testing.start [[
      app.task(function()
        local _ <close> = setmetatable({}, { __close = function() app.log.info "closed" end })
        local inner = coroutine.wrap(function()
          local _ <close> = setmetatable({}, { __close = function() app.log.info "inner" end })
          app.publish "waits"
          app.sleep(1000)
        end)
        inner()
        app.log.info "not reached"
      end)
    ]]
    svc:expect "waits"
    assert.equal(0, svc:stop())
    assert.same({}, svc:logs "not reached")
    local order = {}
    for _, line in ipairs(svc:logs()) do order[#order + 1] = line.message end
    assert.matches("inner.*closed.*stopped", table.concat(order, " "))
  end)

  it("ends a fiber that catches the cancellation for ever", function()
    local svc = testing.start [[
      app.task(function()
        local _ <close> = setmetatable({}, { __close = function() app.log.info "closed" end })
        app.publish "stubborn"
        while true do pcall(app.sleep, 1000) end
      end)
      app.timer(1000, function() while true do pcall(app.request, "x.y") end end)
    ]]
    svc:expect "stubborn"
    assert.equal(0, svc:stop())
    assert.equal(1, #svc:logs "closed")
  end)

  it("ends one that catches it inside coroutines, too", function()
    local svc = testing.start [[
      app.task(function()
        app.publish "stubborn"
        while true do
          coroutine.resume(coroutine.create(function()
            while true do pcall(app.sleep, 1000) end
          end))
        end
      end)
    ]]
    svc:expect "stubborn"
    assert.equal(0, svc:stop())
  end)

  it("may call everything in finalizers without harm", function()
    local svc = testing.start [[
      for _, name in ipairs { "publish", "listen", "sleep", "request", "flush", "timer",
        "task", "spawn", "on_stop", "on_start", "request_many" } do
        setmetatable({}, { __gc = function()
          pcall(app[name], "x", function() end)
          pcall(app[name], 1, function() end)
          pcall(app[name], function() end)
          pcall(app[name], "x", "y")
        end })
      end
      local kept = {}
      for _, name in ipairs { "publish", "listen", "sleep", "request", "timer", "spawn" } do
        kept[#kept + 1] = setmetatable({}, { __gc = function()
          pcall(app[name], "x", function() end)
          pcall(app[name], 1, function() end)
          pcall(app[name], function() end)
          pcall(os.exit, 1)
        end })
      end
      app.listen("gc.spec", function() collectgarbage() return kept[1] and 1 end)
      app.on_start(function() collectgarbage() end)
    ]]
    assert.is_number(svc:stop())
  end)
end)
