-- app.mutex: one fiber at a time.
local core = require "lunats.core"
local testing = require "lunats.testing"

describe("A mutex", function()
  it("lets one fiber in at a time, in the order of their arrival", function()
    local m, inside, order, fibers = app.mutex(), 0, {}, {}
    for i = 1, 5 do
      fibers[i] = app.spawn(function()
        return m:with(function(...)
          inside = inside + 1
          assert(inside == 1)
          app.sleep(0.001)
          order[#order + 1] = i
          inside = inside - 1
          return i, ...
        end, "more")
      end)
    end
    for i, f in ipairs(fibers) do assert.same({ i, "more" }, { f:await() }) end
    assert.same({ 1, 2, 3, 4, 5 }, order)
  end)

  it("is not taken by a newcomer before those that wait", function()
    local m, order = app.mutex(), {}
    m:lock()
    local f = app.spawn(function() m:with(function() order[#order + 1] = "waiter" end) end)
    app.sleep(0)
    m:unlock()
    m:with(function() order[#order + 1] = "newcomer" end)
    f:await()
    assert.same({ "waiter", "newcomer" }, order)
  end)

  it("is unlocked when the function raises", function()
    local m = app.mutex()
    assert.error_matches(function() m:with(error, "oops") end, "oops")
    assert.equal(m, m:lock(0))
  end)

  it("is unlocked when the fiber is cancelled, while it holds it and while it waits", function()
    local m = app.mutex()
    local holder = app.spawn(function() m:with(app.sleep, 1000) end)
    local waiter = app.spawn(function() m:with(app.sleep, 1000) end)
    local last = app.spawn(function() return m:with(function() return "in" end) end)
    app.sleep(0)
    waiter:cancel()
    holder:cancel()
    assert.equal("in", last:await(5))
  end)

  it("is handed on by one that is cancelled right after it was its turn", function()
    local m = app.mutex()
    m:lock()
    local waiter = app.spawn(function() m:with(app.sleep, 1000) end)
    app.sleep(0)
    m:unlock()
    waiter:cancel()
    assert.equal(m, m:lock(5))
  end)

  it("is unlocked at the end of the block of a to-be-closed variable", function()
    local m = app.mutex()
    do
      local _ <close> = m:lock()
      local other = app.spawn(function() return select(2, m:lock(0.001)).code end)
      assert.equal("timeout", other:await())
    end
    do
      local _ <close> = m:lock(1)
      m:unlock()
    end
    assert.equal(m, m:lock(0))
  end)

  it("is not waited for longer than the timeout", function()
    local m = app.mutex()
    m:lock()
    local f = app.spawn(function()
      local _ <close>, err = m:lock(0.01) -- luacheck: ignore 211
      return err
    end)
    local err = f:await()
    assert.equal("timeout", err.code)
    m:unlock()
    assert.equal(m, m:lock(0))
  end)

  it("raises for a fiber that holds it already, and for one that does not", function()
    local m = app.mutex()
    assert.error_matches(function() m:unlock() end, "this fiber does not hold the mutex")
    m:lock()
    assert.error_matches(function() m:lock() end, "this fiber holds the mutex already")
    assert.error_matches(function() m:with(print) end, "this fiber holds the mutex already")
    local _, err = app.spawn(function() m:unlock() end):await()
    assert.matches("this fiber does not hold the mutex", err.message)
  end)

  it("refuses wrong arguments", function()
    local m = app.mutex()
    assert.error_matches(function() m:lock "x" end, "mutex:lock: the timeout must be a number")
    assert.error_matches(function() m:with(1) end, "mutex:with: a function expected")
  end)

  it("can be made at the top level of a service, not locked there", function()
    local svc = testing.start [[
      local m, n = app.mutex(), 0
      local ok, err = pcall(m.lock, m)
      app.listen("mutex.add", function()
        return m:with(function()
          local was = n
          app.sleep(0)
          n = was + 1
          return { n, ok, err }
        end)
      end)
    ]]
    finally(function() svc:stop() end)
    local fibers, last = {}, 0
    for i = 1, 10 do fibers[i] = app.spawn(function() return svc:request "mutex.add" end) end
    for _, f in ipairs(fibers) do
      local data = assert(f:await()).data
      last = math.max(last, data[1])
      assert.is_false(data[2])
      assert.matches("mutex:lock: nothing runs yet", data[3])
    end
    assert.equal(10, last)
  end)

  it("that is held does not hinder a reload or a stop", function()
    local source = [[
      local m = app.mutex()
      app.task(function() m:with(app.sleep, 1000) end)
      app.task(function() m:lock() app.sleep(1000) end)
      app.listen("mutex.up", function() return true end)
    ]]
    local svc = testing.start(source)
    assert(svc:request "mutex.up")
    local began = core.hrtime()
    assert(svc:reload(source .. "\n"))
    assert(svc:request "mutex.up")
    svc:stop()
    assert.is_true(core.hrtime() - began < 4)
    assert.same({}, svc:errors())
  end)
end)
