-- Fibers that a script holds: await, cancel, app.timeout.
local clean_loop = require "spec.support.clean_loop"
local core = require "lunats.core"
local eventually = require "spec.support.eventually"
local process = require "spec.support.process"
local testing = require "lunats.testing"

after_each(process.close_all)

local function start(source)
  local svc = testing.start(source, { clock = "manual" })
  finally(function() svc:stop() end)
  return svc
end

describe("f:await", function()
  it("returns what the function returns, nils included, as often as it is asked", function()
    local f = app.spawn(function(...) app.sleep(0.01) return ... end, 1, nil, 3, nil)
    for _ = 1, 2 do assert.same(table.pack(1, nil, 3, nil), table.pack(f:await())) end
  end)

  it("returns at once what has ended before", function()
    local f = app.spawn(function() return "here" end)
    app.sleep(0)
    assert.equal("here", f:await())
  end)

  it("returns nil, err as the function has returned it", function()
    assert.same(table.pack(nil, "no"),
      table.pack(app.spawn(function() return nil, "no" end):await()))
  end)

  it("returns a raised text as an error, each time, and nothing is logged", function()
    local f = app.spawn(function() error "broken" end)
    for _ = 1, 3 do
      local value, err = f:await()
      assert.is_nil(value)
      assert.equal("error", err.code)
      assert.matches("fiber_spec.lua:%d+: broken$", err.message)
    end
    assert.same({}, testing.errors())
  end)

  it("returns a raised table as it is", function()
    local mine = { code = "mine" }
    assert.equal(mine, select(2, app.spawn(error, mine):await()))
  end)

  it("gives up after its timeout, while the fiber goes on", function()
    local f = app.spawn(function() app.sleep(0.05) return "late" end)
    local value, err = f:await(0.001)
    assert.is_nil(value)
    assert.equal("timeout", err.code)
    assert.equal("late", f:await())
  end)

  it("can be called by many at once", function()
    local f = app.spawn(function() app.sleep(0.01) return 1 end)
    local waiting, sum = {}, 0
    for i = 1, 5 do waiting[i] = app.spawn(function() return f:await() end) end
    for _, one in ipairs(waiting) do sum = sum + one:await() end
    assert.equal(5, sum)
  end)

  it("works in a coroutine", function()
    local f = app.spawn(function() app.sleep(0.01) return 7 end)
    assert.equal(7, coroutine.wrap(function() return f:await() end)())
  end)

  it("of the own fiber raises", function()
    local f
    f = app.spawn(function() app.sleep(0) return pcall(f.await, f) end)
    local ok, err = f:await()
    assert.is_false(ok)
    assert.matches("a fiber cannot await itself", err)
  end)

  for _, bad in ipairs { -1, 0 / 0, "x", false, math.huge } do
    it("refuses a timeout of " .. tostring(bad), function()
      local f = app.spawn(function() end)
      assert.error_matches(function() f:await(bad) end, "f:await: the timeout must be a number")
    end)
  end
end)

describe("An error of a fiber", function()
  it("is logged at once when nobody awaits it, and returned later all the same", function()
    clean_loop.expected_errors(1)
    local f = app.spawn(function() error "lonely" end)
    app.sleep(0)
    local errors = testing.errors()
    assert.equal(1, #errors)
    assert.matches("lonely\nstack traceback:", errors[1])
    assert.matches("lonely", select(2, f:await()).message)
  end)

  it("is not logged when its parent awaits another one of them first", function()
    local first = app.spawn(function() app.sleep(0.02) return 1 end)
    local second = app.spawn(function() error "second" end)
    assert.equal(1, first:await())
    assert.matches("second", select(2, second:await()).message)
    second, first = nil, nil -- luacheck: ignore 311
    collectgarbage()
    assert.same({}, testing.errors())
  end)

  it("that its parent then forgets is logged when it is collected", function()
    clean_loop.expected_errors(1)
    local function forget()
      local first = app.spawn(function() app.sleep(0.02) end)
      app.spawn(function() error "forgotten" end)
      first:await()
    end
    forget()
    collectgarbage()
    local errors = testing.errors()
    assert.equal(1, #errors)
    assert.matches("forgotten\nstack traceback:", errors[1])
  end)

  it("is logged when the one that awaits it has given up", function()
    clean_loop.expected_errors(1)
    local f = app.spawn(function() app.sleep(0.02) error "too late" end)
    assert.equal("timeout", select(2, f:await(0.001)).code)
    local text = eventually("the error", function() return testing.errors()[1] end)
    assert.matches("too late", text)
  end)

  it("that yields by mistake is logged and ends the fiber", function()
    clean_loop.expected_errors(1)
    local f = app.spawn(coroutine.yield)
    assert.equal("the fiber has failed, see the log", tostring(select(2, f:await())))
    assert.matches("coroutine.yield outside", testing.errors()[1])
  end)
end)

describe("f:cancel", function()
  it("ends a fiber that waits, and closes what it has open", function()
    local closed, went_on
    local f = app.spawn(function()
      local _ <close> = setmetatable({}, { __close = function() closed = true end })
      app.sleep(1000)
      went_on = true
    end)
    app.sleep(0)
    assert.is_true(f:cancel())
    local value, err = f:await()
    assert.is_nil(value)
    assert.equal("cancelled", err.code)
    assert.is_true(closed)
    assert.is_nil(went_on)
    assert.same({}, testing.errors())
  end)

  it("of one that has not begun keeps it from beginning", function()
    local begun
    local f = app.spawn(function() begun = true end)
    assert.is_true(f:cancel())
    assert.equal("cancelled", select(2, f:await()).code)
    assert.is_nil(begun)
  end)

  it("of one that has ended says so and changes nothing", function()
    local f = app.spawn(function() return 1 end)
    f:await()
    assert.is_false(f:cancel())
    assert.equal(1, f:await())
  end)

  it("wakes those that await the fiber", function()
    local f = app.spawn(app.sleep, 1000)
    local other = app.spawn(function() return select(2, f:await()).code end)
    app.sleep(0)
    f:cancel()
    assert.equal("cancelled", other:await())
  end)

  it("of one that awaits leaves the awaited fiber alone", function()
    local f = app.spawn(function() app.sleep(0.02) return "mine" end)
    local other = app.spawn(function() f:await() end)
    app.sleep(0)
    other:cancel()
    assert.equal("cancelled", select(2, other:await()).code)
    assert.equal("mine", f:await())
  end)

  it("of the own fiber ends it at its next wait", function()
    local f, reached
    f = app.spawn(function()
      f:cancel()
      reached = true
      app.sleep(0)
      reached = "too far"
    end)
    assert.equal("cancelled", select(2, f:await()).code)
    assert.is_true(reached)
  end)

  it("lets the fiber return something when it catches the error", function()
    local f = app.spawn(function()
      local ok, err = pcall(app.sleep, 1000)
      return ok, err.code
    end)
    app.sleep(0)
    f:cancel()
    assert.same({ false, "cancelled" }, { f:await() })
  end)

  it("ends one that never stops trying", function()
    local f = app.spawn(function() while true do pcall(app.sleep, 1000) end end)
    app.sleep(0)
    f:cancel()
    assert.equal("cancelled", select(2, f:await()).code)
  end)
end)

describe("app.timeout", function()
  it("returns what the function returns in time", function()
    assert.same(table.pack(1, nil, 2),
      table.pack(app.timeout(10, function(...) app.sleep(0) return ... end, 1, nil, 2)))
  end)

  it("ends the function when the time is up, before it returns", function()
    local closed
    local value, err = app.timeout(0.01, function()
      local _ <close> = setmetatable({}, { __close = function() closed = true end })
      app.sleep(1000)
    end)
    assert.is_nil(value)
    assert.equal("timeout", err.code)
    assert.equal("not done within 0.01 s", tostring(err))
    assert.is_true(closed)
  end)

  it("raises what the function raises", function()
    local mine = {}
    local ok, err = pcall(app.timeout, 10, error, mine)
    assert.is_false(ok)
    assert.equal(mine, err)
    assert.error_matches(function() app.timeout(10, error, "text") end, "^text$")
    assert.same({}, testing.errors())
  end)

  it("is cancelled together with its caller", function()
    local closed
    local f = app.spawn(function()
      app.timeout(1000, function()
        local _ <close> = setmetatable({}, { __close = function() closed = true end })
        app.sleep(1000)
      end)
    end)
    app.sleep(0)
    app.sleep(0)
    f:cancel()
    f:await()
    app.sleep(0)
    assert.is_true(closed)
  end)

  it("does not go on when the function calls os.exit", function()
    for _, call in ipairs { "app.timeout(60, os.exit, 3)", "pcall(app.timeout, 60, os.exit, 3)",
      "app.timeout(60, app.timeout, 60, function() app.sleep(0) os.exit(3) end)",
      "app.timeout(60, table.sort, { 2, 1 }, function() os.exit(3) end)" } do
      local child = process.run(([[
        app.task(function() %s print "behind it" end)]]):format(call))
      assert.equal(3, child:wait())
      assert.equal(1, child:count "os.exit(3) was called: stopping")
      assert.equal(0, child:count "ERROR", child:output())
      assert.equal(0, child:count "behind it")
    end
  end)

  it("tells the sender of a request what os.exit in its place does", function()
    local answers = {}
    for i, call in ipairs { "os.exit(0)", "app.timeout(60, os.exit, 0)" } do
      local svc = testing.start('app.listen("fiber.exit", function() ' .. call .. ' end)')
      local msg, err = svc:request("fiber.exit", "")
      answers[i] = { msg and msg.data, err and err.code, err and err.message }
      svc:stop()
    end
    assert.same(answers[1], answers[2])
  end)

  it("nests: the shorter one counts", function()
    local outer = table.pack(app.timeout(1000, function()
      return select(2, app.timeout(0.01, app.sleep, 1000)).code
    end))
    assert.equal("timeout", outer[1])
    local _, err = app.timeout(0.01, app.timeout, 1000, app.sleep, 1000)
    assert.equal("timeout", err.code)
  end)

  it("refuses wrong arguments", function()
    for _, bad in ipairs { -1, "x", false } do
      assert.error_matches(function() app.timeout(bad, print) end, "the time must be a number")
    end
    assert.error_matches(function() app.timeout(nil, print) end, "the time must be a number")
    assert.error_matches(function() app.timeout(1) end, "app.timeout: a function expected")
  end)

  it("cannot be called where nothing can wait", function()
    local ok, err = pcall(table.sort, { 2, 1 }, function()
      app.timeout(1, function() end)
    end)
    assert.is_false(ok)
    assert.matches("app.timeout cannot wait here", err)
  end)
end)

describe("Fibers of a service", function()
  it("are awaited on its own clock", function()
    local svc = start [[
      app.listen("fiber.slow", function()
        local f = app.spawn(function() app.sleep(60) return "done" end)
        local _, err = f:await(30)
        local _, late = app.timeout(10, app.sleep, 60)
        return { err.code, late.code, f:await() }
      end)
    ]]
    local reply
    app.spawn(function() reply = assert(svc:request "fiber.slow") end)
    while not reply do
      svc:advance(5)
      app.sleep(0)
    end
    assert.same({ "timeout", "timeout", "done" }, reply.data)
  end)

  it("may bound what on_start and on_stop do", function()
    local svc = testing.start [[
      local function bounded() return select(2, app.timeout(0.01, app.sleep, 1000)).code end
      app.on_start(function() app.log.info("up " .. bounded()) end)
      app.on_stop(function() app.log.info("down " .. bounded()) end)
    ]]
    svc:stop()
    local said = {}
    for _, line in ipairs(svc:logs "timeout") do said[#said + 1] = line.message end
    assert.same({ "up timeout", "down timeout" }, said)
  end)

  it("that are held or awaited do not hinder a stop or a reload", function()
    local source = [[
      local kept
      app.task(function()
        kept = app.spawn(app.sleep, 1000)
        app.spawn(function() kept:await() end)
        app.timeout(1000, app.sleep, 1000)
      end)
      app.listen("fiber.kept", function() return { kept = kept ~= nil } end)
    ]]
    local svc = testing.start(source)
    assert.is_true(assert(svc:request "fiber.kept").data.kept)
    local began = core.hrtime()
    assert(svc:reload(source .. "\n"))
    assert.is_true(assert(svc:request "fiber.kept").data.kept)
    svc:stop()
    assert.is_true(core.hrtime() - began < 4)
    assert.same({}, svc:errors())
  end)
end)
