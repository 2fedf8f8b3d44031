-- Coroutines: those of fibers, which nobody else can use, and those of the script.
local clean_loop = require "spec.support.clean_loop"
local testing = require "lunats.testing"
local eventually = require "spec.support.eventually"

---Starts a service for one test.
local function start(source)
  local svc = testing.start(source)
  finally(function() svc:stop() end)
  return svc
end

---The first line of each error of the service, without its place.
local function messages(svc)
  local list = {}
  for i, text in ipairs(svc:errors()) do
    list[i] = text:match "^[^\n]*":gsub("^.-service%.lua:%d+: ", "")
  end
  return list
end

-- Far up a deep stack a message handler that is forgotten lies behind the end of what the next
-- one has.
local DOWN = [[
  local function down(n, fn)
    local a, b, c, d = n, n, n, n
    if n == 0 then return (xpcall(fn, debug.traceback)) end
    return (down(n - 1, fn))
  end
]]

describe("a handler", function()
  it("has a coroutine that nobody had before", function()
    local svc = start [[
      local context = setmetatable({}, { __mode = "k" })
      local function mine()
        local co = coroutine.running()
        context[co] = context[co] or {}
        return context[co]
      end
      app.listen("login", function(msg) mine().user = msg.data return "hello" end)
      app.listen("whoami", function() return { user = mine().user or "nobody" } end)
    ]]
    svc:request("login", "ada")
    svc:request("login", "bob")
    for _ = 1, 3 do assert.same({ user = "nobody" }, svc:request("whoami").data) end
  end)

  it("has no debug hook of the one before", function()
    local svc = start [[
      app.listen("guarded", function()
        debug.sethook(function() error "too many instructions" end, "", 1000)
        return "done"
      end)
      app.listen("hook", function() return { hook = debug.gethook() ~= nil } end)
    ]]
    svc:request "guarded"
    assert.same({ hook = false }, svc:request("hook").data)
  end)

  it("has no debug hook of what showed the error of the one before", function()
    local svc = start [[
      local failing = setmetatable({}, { __tostring = function()
        debug.sethook(function() end, "", 1000)
        return "text"
      end })
      app.listen("fails", function() app.spawn(error, failing) return "ok" end)
      app.listen("hooked", function()
        local hooked, done = 0, 0
        for _ = 1, 20 do -- more than have been before: there are new coroutines
          app.spawn(function()
            hooked = hooked + select("#", debug.gethook()) - 1
            app.sleep(0)
            done = done + 1
          end)
        end
        while done < 20 do app.sleep(0.001) end
        return hooked
      end)
    ]]
    svc:request "fails"
    eventually("the error", function() return #svc:errors() == 1 end)
    assert.equal(0, svc:request("hooked").data)
  end)

  for name, depth in pairs { shallow = 1, deep = 2000 } do
    it("fails with its own message after a stray yield in a " .. name .. " xpcall", function()
      local svc = start(DOWN .. [[
        app.listen("yields", function(msg)
          return down(msg.data, function() coroutine.yield() end)
        end)
        app.listen("spawns", function()
          app.spawn(function() error "message of the spawned function" end)
          return "ok"
        end)
      ]])
      for _ = 1, 3 do svc:request("yields", depth) end
      assert.equal(3, #svc:errors())
      for _ = 1, 5 do svc:request "spawns" end
      eventually("all errors", function() return #svc:errors() >= 8 end)
      for _, text in ipairs { table.unpack(messages(svc), 4) } do
        assert.equal("message of the spawned function", text)
      end
    end)
  end

  it("ends at a coroutine.yield, which names what waits, with its variables closed", function()
    local svc = start [[
      app.listen("yields", function()
        local _ <close> = setmetatable({}, { __close = function() app.log.info "closed" end })
        pcall(coroutine.yield, 1)
        app.log.info "not reached"
      end)
    ]]
    svc:request "yields"
    local text = svc:errors()[1]
    assert.matches("coroutine.yield outside a coroutine of your own.*app.sleep", text)
    assert.matches("service.lua:3: in function", text)
    assert.equal(1, #svc:logs "closed")
    assert.same({}, svc:logs "not reached")
  end)
end)

describe("the end of a service", function()
  for name, task in pairs {
    ["os.exit"] = "down(2000, function() os.exit(0) end)",
    ["a task that swallows its cancellation"] = [[
      down(2000, function()
        while true do xpcall(function() app.sleep(1000) end, debug.traceback) end
      end)]],
    ["a task that waits in a coroutine"] = [[
      down(2000, function()
        while true do pcall(coroutine.wrap(function() pcall(app.sleep, 1000) end)) end
      end)]],
  } do
    it("reports what on_stop raises, after " .. name, function()
      local svc = testing.start(DOWN .. [[
        app.on_stop(function() error "message of on_stop" end)
        app.task(function()
          app.publish "runs"
          ]] .. task .. [[
        end)
      ]])
      svc:expect "runs"
      svc:stop()
      local list = messages(svc)
      assert.matches("message of on_stop", list[1])
      assert.same({ "an on_stop hook failed" }, { table.unpack(list, 2) })
    end)
  end

  it("closes variables that fail without calling a message handler", function()
    local svc = testing.start(DOWN .. [[
      local function failing()
        return setmetatable({}, { __close = function()
          app.log.info "closed"
          error "message of a variable"
        end })
      end
      app.task(function()
        app.publish "runs"
        local one <close> = failing()
        down(2000, function()
          local two <close> = failing()
          while true do pcall(app.sleep, 1000) end
        end)
      end)
    ]])
    svc:expect "runs"
    svc:stop()
    assert.equal(2, #svc:logs "closed")
    assert.same({ "message of a variable" }, messages(svc))
  end)
end)

describe("a fiber that waits", function()
  for _, how in ipairs { "resume", "close" } do
    it("refuses coroutine." .. how .. " of others and gets its result", function()
      local subject = "spec.coroutine." .. app.instance_id
      local handle = app.listen(subject, function(msg) app.sleep(0.01) return msg.raw end)
      finally(function() handle:stop() end)
      local co, result
      app.spawn(function()
        co = coroutine.running()
        result = table.pack(app.request(subject, "hello"))
      end)
      app.sleep(0)
      assert.equal("normal", coroutine.status(co))
      local called, ok, err = pcall(coroutine[how], co, "x")
      if how == "close" then called, err = not called, ok end
      assert.is_true(called)
      assert.matches("cannot " .. how .. " a coroutine that waits", err)
      eventually("the reply", function() return result end)
      assert.equal("hello", result[1].raw)
      eventually("its end", function() return coroutine.status(co) == "dead" end)
      assert.same({ false, "cannot resume dead coroutine" }, { coroutine.resume(co) })
    end)
  end

  for how, fn in pairs {
    ["returned values"] = function() return print, 1 end,
    ["yielded by mistake"] = function() coroutine.yield(print) end,
    ["failed"] = function() error "text" end,
  } do
    it("is dead for everybody when it " .. how, function()
      local co
      app.spawn(function()
        co = coroutine.running()
        return fn()
      end)
      eventually("its end", function() return co and coroutine.status(co) ~= "normal" end)
      assert.equal("dead", coroutine.status(co))
      assert.same({ false, "cannot resume dead coroutine" }, { coroutine.resume(co) })
      if how ~= "returned values" then
        clean_loop.expected_errors(1)
        assert.equal(1, #testing.errors())
      end
    end)
  end

  it("can be woken by a callback in a coroutine of its own", function()
    local function await(start_work)
      local co, results
      co = coroutine.create(function() return coroutine.yield() end)
      coroutine.resume(co)
      start_work(function(...) results = table.pack(coroutine.resume(co, ...)) end)
      eventually("the callback", function() return results end)
      return table.unpack(results, 2, results.n)
    end
    assert.equal("value", await(function(done) app.spawn(done, "value") end))
  end)
end)

describe("coroutine.close", function()
  it("gives the error of a variable, whatever xpcall the coroutine is in", function()
    local called
    local co = coroutine.create(function()
      local _ <close> = setmetatable({}, { __close = function() error("of a variable", 0) end })
      xpcall(coroutine.yield, function() called = true end)
    end)
    coroutine.resume(co)
    assert.same({ false, "of a variable" }, { coroutine.close(co) })
    assert.is_nil(called)
    assert.equal("dead", coroutine.status(co))
  end)
end)

describe("coroutine.resume", function()
  it("returns an error when there are more results than the stack holds", function()
    local function results() return table.unpack({}, 1, 999950) end
    local ok, err = coroutine.resume(coroutine.create(results))
    assert.is_false(ok)
    assert.matches("too many results", err)
  end)
end)

describe("coroutine.wrap", function()
  it("adds where it was called to an error, as Lua does", function()
    local wrapped = coroutine.wrap(function() error("inside", 0) end)
    local _, err = pcall(function() wrapped() end)
    assert.matches("coroutine_spec.lua:%d+: inside$", err)
  end)
end)
