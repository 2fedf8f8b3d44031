-- app.on_error: a service hears of its own errors, whatever they come from.
local eventually = require "spec.support.eventually"
local process = require "spec.support.process"
local testing = require "lunats.testing"
local unique = require "spec.support.unique"

local undo = {}

---Done after the test, the last first.
local function afterwards(fn) table.insert(undo, 1, fn) end

after_each(function()
  for _, fn in ipairs(undo) do fn() end
  undo = {}
  process.close_all()
end)

-- Each error goes out as a message, with what there is to know of it.
local TELLER = [[
  app.on_error(function(err, where)
    app.publish("told", { err = type(err) == "table" and { code = err.code, own = true } or err,
      kind = where.kind, name = where.name, subject = where.subject, message = where.message,
      traceback = where.traceback, id = where.id })
  end)
]]

local function serve(source)
  local svc = testing.start(source)
  afterwards(function() svc:stop() end)
  return svc
end

local function start(source) return serve(TELLER .. source) end

local function told(svc, kind)
  local one = svc:expect("told").data
  assert.equal(kind, one.kind)
  return one
end

describe("app.on_error", function()
  it("is told of a listener: its name, the subject of the message, the traceback", function()
    local subject = unique "on_error"
    local svc = start(([[
      app.listen(%q, { name = "orders" }, function() error "boom" end)
    ]]):format(subject .. ".*"))
    svc:publish(subject .. ".create", {})
    local one = told(svc, "listener")
    assert.matches("^service.lua:%d+: boom$", one.err)
    assert.equal("orders", one.name)
    assert.equal(subject .. ".create", one.subject)
    assert.matches("^listener orders %(%S+%): [^\n]*boom$", one.message)
    assert.matches("^stack traceback:\n", one.traceback)
    assert.equal(1, #svc:errors())
  end)

  it("gets the raised table itself", function()
    local subject = unique "on_error"
    local svc = start(([[
      app.listen(%q, function() error { code = "mine", message = "my own" } end)
    ]]):format(subject))
    svc:publish(subject, {})
    local one = told(svc, "listener")
    assert.same({ code = "mine", own = true }, one.err)
    assert.matches("my own", one.message)
    svc:errors()
  end)

  it("knows the id that the sender is told", function()
    local subject = unique "on_error"
    local child = process.run(([[
      app.on_error(function(err, where) print("id " .. where.id) end)
      app.listen(%q, function() error "secret" end)
    ]]):format(subject))
    child:expect "started"
    local _, err = app.request(subject, "")
    assert.equal("internal error " .. child:expect "id (%w+)\n", err.message)
  end)

  local KINDS = {
    timer = [[app.timer(3600, { name = "tick" }, function() error "x" end)]],
    task = [[app.task({ name = "tick" }, function() error "x" end)]],
    fiber = [[app.task(function() app.spawn(function() error "x" end) end)]],
    on_start = [[app.on_start(function() error "x" end)]],
    on_stop = [[app.on_stop(function() error "x" end) app.task(function() os.exit(0) end)]],
  }
  for kind, source in pairs(KINDS) do
    it("is told of " .. kind, function()
      local subject = unique "on_error"
      local seen
      local client = app.listen(subject, { queue = false }, function(msg) seen = msg.data end)
      afterwards(function() client:stop() end)
      app.flush()
      local child = process.run(([[
        app.on_error(function(err, where)
          app.sleep(0.01) -- a stop waits for it
          app.publish(%q, { kind = where.kind, name = where.name, err = err })
        end)
        %s]]):format(subject, source))
      eventually("word of the error", function() return seen end)
      assert.equal(kind, seen.kind)
      assert.matches("svc.lua:%d+: x$", seen.err)
      assert.equal((kind == "timer" or kind == "task") and "tick" or nil, seen.name)
      child:stop()
    end)
  end

  it("is told of a handler of psub:consume, with the message", function()
    local name = unique("ONERR"):gsub("%W", "")
    afterwards(function() app.js.delete_stream(name) end)
    local svc = start(([[
      app.on_start(function()
        assert(app.js.add_stream { name = %q, subjects = { %q }, storage = "memory" })
        assert(app.js.pull_subscribe(%q, { stream = %q, durable = "d" })):consume({}, function()
          error "bad order"
        end)
      end)
    ]]):format(name, name .. ".>", name .. ".>", name))
    assert(app.js.publish(name .. ".one", {}))
    local one = told(svc, "consume")
    assert.matches("bad order$", one.err)
    assert.equal("d", one.name)
    assert.equal(name .. ".one", one.subject)
    svc:errors()
  end)

  it("calls all watchers in order, and one that fails is logged and keeps none away", function()
    local svc = serve [[
      app.on_error(function() error "watcher broken" end)
      app.on_error(function(err) app.sleep(0.001) app.publish("told", err) end)
      app.on_error(function() app.publish("told", "last") end)
      app.task(function() error "first" end)
    ]]
    assert.matches("first$", svc:expect("told").raw)
    assert.equal("last", svc:expect("told").raw)
    local errors = svc:errors()
    assert.equal(2, #errors)
    assert.matches("^app.on_error: .*watcher broken", errors[2])
  end)

  it("is not told of its own errors, nor of those of fibers that it starts", function()
    local svc = serve [[
      local calls = 0
      app.on_error(function()
        calls = calls + 1
        app.spawn(function() app.sleep(0.001) error "in a fiber of it" end)
        app.sleep(0.005)
        app.publish("told", calls)
      end)
      app.task(function() error "first" end)
    ]]
    assert.equal("1", svc:expect("told").raw)
    app.sleep(0.02)
    assert.equal(2, #svc:errors())
  end)

  it("takes so many errors at once and counts the others", function()
    local svc = serve [[
      local calls = 0
      app.on_error(function()
        calls = calls + 1
        app.sleep(0.05)
        app.publish("calls", calls)
      end)
      app.task(function()
        for _ = 1, 100 do app.spawn(function() error "flood" end) end
      end)
    ]]
    for _ = 1, 16 do assert.equal(16, svc:expect("calls").data) end
    assert.equal(100, #svc:errors())
    local lines = 0
    for _, line in ipairs(svc:logs()) do
      local count = line.message:match "^app.on_error: (%d+) errors were not told"
      lines = lines + (tonumber(count) or 0)
    end
    assert.equal(84, lines)
  end)

  it("goes with its version: after a reload only the new one is told", function()
    local subject = unique "on_error"
    local source = [[
      app.on_error(function() app.publish("told", %q) end)
      app.listen(%q, function() error "x" end)
    ]]
    local svc = serve(source:format("old", subject))
    assert(svc:reload(source:format("new", subject)))
    svc:publish(subject, {})
    assert.equal("new", svc:expect("told").raw)
    assert.equal(1, #svc:errors())
  end)

  it("of the version that serves is told of a reload that fails", function()
    local svc = start [[app.listen("on_error.reload", function() end)]]
    assert.is_nil((svc:reload [[error "syntax of the new one"]]))
    local one = told(svc, "reload")
    assert.matches("syntax of the new one", one.message)
    svc:errors()
  end)

  it("gets the message where nothing was raised", function()
    local svc = start [[app.task(function() error() end)]]
    assert.equal("task: nil", told(svc, "task").err)
    svc:errors()
  end)

  it("can be declared late, and refuses what is no function", function()
    local svc = serve [[
      app.task(function()
        app.on_error(function(err) app.publish("told", err) end)
        app.publish("refused", select(2, pcall(app.on_error, "x")))
        app.spawn(function() error("late", 0) end)
      end)
    ]]
    assert.matches("app.on_error: a function expected", svc:expect("refused").raw)
    assert.equal("late", svc:expect("told").raw)
    assert.equal(1, #svc:errors())
  end)
end)
