-- Code that does not wait: it is ended with an error, and everything else goes on.
local eventually = require "spec.support.eventually"
local process = require "spec.support.process"
local testing = require "lunats.testing"
local tsan = require "spec.support.tsan"
local unique = require "spec.support.unique"

if tsan then return pending "ThreadSanitizer keeps back the signal that ends what runs on" end

local services = {}

after_each(function()
  for _, svc in ipairs(services) do svc:stop() end
  services = {}
  process.close_all()
end)

local CONFIG = "app.config { limits = { slice = 0.1 } } "
  .. "local function spin() while true do end end "
local ENDED = "service%.lua:%d+: ended after [%d.]+ s without a wait: its slice is 0%.1 s"

---A service in this process; NAME in the source is a subject of its own.
local function start(source)
  local subject = unique "runaway"
  local text = (CONFIG .. source):gsub("NAME", subject)
  local svc = testing.start(text)
  services[#services + 1] = svc
  return svc, subject
end

---A pattern that takes years to be found.
local STUCK = [[ ("a"):rep(200):find(("a?"):rep(100) .. ("a"):rep(201)) ]]

describe("a handler that does not wait", function()
  for name, body in pairs {
    ["a loop"] = "spin()",
    ["a loop that catches the error"] = "while true do pcall(spin) end",
    ["a loop of coroutines"] = "while true do pcall(coroutine.wrap(spin)) end",
    ["a metamethod"] = "return setmetatable({}, { __index = spin }).x",
    ["an iterator"] = "for _ in function() return 1 end do end",
    ["a comparison of table.sort"] = "table.sort({ 3, 2, 1 }, spin)",
    ["a recursion"] = "local function f() return f() end return f()",
    ["a variable that is closed"] =
      "local _ <close> = setmetatable({}, { __close = spin }) return 1",
    ["a variable of a coroutine that was ended"] = [[
      return coroutine.wrap(function()
        local _ <close> = setmetatable({}, { __close = spin })
        spin()
      end)()]],
    ["a message handler"] = "xpcall(error, spin, 'x') spin()",
    ["a debug hook"] = "debug.sethook(spin, '', 1) return 1",
    ["a loop without hooks"] = "while true do debug.sethook() end",
    ["our own functions"] = "while true do app.json.encode { 1, 2, 3 } end",
    ["a module"] = "package.preload.spin = spin require 'spin'",
  } do
    it("is ended, and named with its subject: " .. name, function()
      local svc, subject = start(([[
        app.listen("NAME.*", { name = "reports" }, function() %s end)
        app.listen("NAME", function() return "fine" end)
      ]]):format(body))
      local reply, err = svc:request(subject .. ".monthly", nil, { timeout = 30 })
      assert.is_nil(reply)
      assert.equal(500, err.status)
      assert.matches(ENDED, err.message)
      local text = svc:errors()[1]
      assert.matches(("^listener reports %%(%s%%.monthly%%): %s"):format(subject, ENDED), text)
      assert.matches("\nstack traceback:\n", text)
      assert.equal("fine", assert(svc:request(subject, nil, { timeout = 30 })).raw)
    end)
  end

  it("can catch the error, which has the code slice, and clean up", function()
    local svc, subject = start [[
      app.listen("NAME", function()
        local ok, err = pcall(spin)
        return { ok = ok, code = err.code, text = tostring(err) }
      end)
    ]]
    local reply = assert(svc:request(subject, nil, { timeout = 30 })).data
    assert.is_false(reply.ok)
    assert.equal("slice", reply.code)
    assert.matches("^" .. ENDED .. "$", reply.text)
    assert.matches("^listener %S+ has held the loop for [%d.]+ s, was ended at service.lua:1: ",
      svc:logs "has held the loop"[1].message)
    assert.same({}, svc:errors())
  end)

  it("is not one that waits now and then", function()
    local svc, subject = start [[
      app.listen("NAME", function()
        for _ = 1, 10 do
          local till = os.clock() + 0.03
          while os.clock() < till do end
          app.sleep(0)
        end
        return "done"
      end)
    ]]
    assert.equal("done", assert(svc:request(subject, nil, { timeout = 60 })).raw)
  end)

  it("is not one that pays for a finalizer without end: that is ended", function()
    local svc, subject = start [[
      app.listen("NAME", function()
        setmetatable({}, { __gc = spin })
        collectgarbage()
        return "done"
      end)
    ]]
    assert.equal("done", assert(svc:request(subject, nil, { timeout = 30 })).raw)
    eventually("the warning", function() return svc:logs "error in __gc"[1] end)
    assert.matches("^error in __gc %(" .. ENDED .. "%)$", svc:logs "error in __gc"[1].message)
  end)
end)

describe("what does not wait", function()
  it("is ended: a timer, which ticks on", function()
    local svc, subject = start [[
      local ticks = 0
      app.timer(0.01, { name = "tick" }, function()
        ticks = ticks + 1
        if ticks < 3 then while true do pcall(spin) end end
        app.publish "NAME.ticked"
      end)
    ]]
    svc:expect(subject .. ".ticked", { timeout = 30 })
    local errors = svc:errors()
    assert.equal(2, #errors)
    assert.matches("^timer tick: " .. ENDED, errors[1])
  end)

  it("is ended: a task, which starts again", function()
    local svc, subject = start [[
      app.state.runs = 0
      app.task({ restart = "on_error" }, function()
        app.state.runs = app.state.runs + 1
        if app.state.runs == 1 then spin() end
        app.publish "NAME.done"
      end)
    ]]
    svc:expect(subject .. ".done", { timeout = 30 })
    assert.matches("^task: " .. ENDED, svc:errors()[1])
  end)

  it("is ended with the limits of the version that runs", function()
    local svc, subject = start [[app.listen("NAME", function() spin() end)]]
    local source = ([[
      app.config { limits = { slice = 0.2 } }
      app.listen(%q, function() while true do end end)
    ]]):format(subject)
    assert(svc:reload(source))
    local _, err = svc:request(subject, nil, { timeout = 30 })
    assert.matches("its slice is 0%.2 s", err.message)
    svc:errors()
  end)
end)

describe("the services of a process", function()
  it("go on when one of them has to be ended; of option and script the smaller slice counts",
    function()
      local subject = unique "runaway"
      local neighbour = process.write("neighbour.lua", ([[
        app.listen(%q, function() return "hello" end)
      ]]):format(subject .. ".hello"))
      local child = process.run(([[
        app.config { limits = { slice = 3600 } }
        local function spin() while true do end end
        app.listen(%q, function() while true do pcall(spin) end end)
      ]]):format(subject .. ".loop"), { "--slice", "0.2", "--errors", "full", neighbour })
      child:expect "svc: started"
      child:expect "neighbour: started"
      local _, err = app.request(subject .. ".loop", nil, { timeout = 30 })
      assert.matches("its slice is 0%.2 s$", err.message)
      assert.equal("hello", assert(app.request(subject .. ".hello", nil, { timeout = 30 })).raw)
      assert.equal(0, child:stop())
    end)

  it("stop in order while one of them computes without end", function()
    local child = process.run("app.task(function() print 'computing' io.flush() "
      .. "while true do end end)", { "--slice", "0.2" })
    child:expect "computing"
    assert.equal(0, child:stop())
    child:expect "ERROR svc: task: %S+svc.lua:1: ended after"
  end)

  it("are not to blame while the process is stopped", function()
    local subject = unique "runaway"
    local child = process.run(([[
      app.listen(%q, function()
        print "computing"
        io.flush()
        local till = os.clock() + 0.3
        while os.clock() < till do end
        return "done"
      end)
    ]]):format(subject), { "--slice", "0.6" })
    child:expect "started"
    local asked = app.spawn(app.request, subject, nil, { timeout = 30 })
    child:expect "computing"
    child:signal "STOP"
    app.sleep(1.5)
    child:signal "CONT"
    assert.equal("done", assert(asked:await()).raw)
    assert.equal(0, child:stop())
  end)
end)

describe("a top level that computes on and on", function()
  it("is told, as is what a signal waits for, and a further one ends the process", function()
    local child = process.run "print 'loading'\nwhile true do end"
    child:expect("WARN +the top level has held the loop for [%d.]+ s, and goes on: nothing "
      .. "else runs\n%s*stack traceback:\n[^\n]*svc.lua:2: in main chunk\n", 60)
    child:signal "TERM"
    child:expect("WARN +the top level has held the loop for [%d.]+ s: terminated, stopping "
      .. "when that ends %(once more to end at once%)\n%s*stack traceback:\n"
      .. "[^\n]*svc.lua:2: in ", 60)
    assert.is_nil(child:status())
    eventually("the end", function()
      child:signal "TERM"
      return child:status()
    end)
    assert.equal(128 + 15, child:status())
  end)
end)

describe("a function in C that takes long", function()
  it("is told with the traceback while it lasts, and --stall-exit ends the process", function()
    local child = process.run("app.task({ name = 'match' }, function()\n return" .. STUCK
      .. "end)", { "--slice", "0.1", "--stall-exit", "0.6" })
    local told = child:expect("WARN +svc: task match has held the loop for [%d.]+ s, in a "
      .. "function in C, which nothing can end: nothing else runs\n[^\n]*stack traceback:\n"
      .. "[^\n]*svc.lua:2:.*")
    assert.truthy(told)
    assert.equal(4, child:wait(60))
    child:expect("ERROR svc: task match has held the loop for [%d.]+ s, [%d.]+ s of that "
      .. "computing or asleep: ending the process %(%-%-stall%-exit%)\n[^\n]*stack "
      .. "traceback:\n[^\n]*svc.lua:2:")
  end)

  it("is told as JSON, too", function()
    local child = process.run("app.task({ name = 'match' }, function() return" .. STUCK
      .. "end)", { "--slice", "0.1", "--stall-exit", "0.6", "--log-format", "json" })
    assert.equal(4, child:wait(60))
    local line = child:expect('{[^\n]*"task match has held the loop[^\n]*stall%-exit[^\n]*\n')
    local record = assert(app.json.decode(line))
    assert.equal("error", record.level)
    assert.equal("svc", record.service)
    assert.matches("\nstack traceback:\n\t[^\n]*svc.lua:1:", record.message)
  end)

  it("is ended when it has blocked for ten slices, without computing", function()
    local subject = unique "runaway"
    local child = process.run(([[
      app.listen(%q, function() while true do os.execute "sleep 0.1" end end)
    ]]):format(subject), { "--slice", "0.1", "--errors", "full" })
    child:expect "started"
    local _, err = app.request(subject, nil, { timeout = 60 })
    assert.matches("ended after", err.message)
    assert.equal(0, child:stop())
  end)
end)
