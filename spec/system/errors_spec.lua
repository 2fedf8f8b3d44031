-- What a raised error tells those who sent the message, and what the log says of it.
local core = require "lunats.core"
local eventually = require "spec.support.eventually"
local own = require "spec.support.own"
local process = require "spec.support.process"
local testing = require "lunats.testing"
local unique = require "spec.support.unique"

after_each(process.close_all)
after_each(own.close)

local SERVICE = [[
  app.config { name = "errs" }
  local prefix = %q
  local function listen(name, fn) app.listen(prefix .. "." .. name, fn) end
  listen("text", function() error "the password is swordfish" end)
  listen("table", function() error { message = "the password is swordfish" } end)
  listen("later", function() app.sleep(0.001) error "the password is swordfish" end)
  listen("of_another", function() assert(app.request(prefix .. ".coded", "")) end)
  listen("nothing", function() error() end)
  listen("deep", function() local function f() return 1 + f() end return f() end)
  listen("coded", function() error { code = 404, message = "no such thing" } end)
  listen("odd", function() error { code = 7, message = "strange" } end)
  listen("returned", function() return nil, { code = 409, message = "taken" } end)
  listen("words", function() return nil, "not today" end)
  listen("json", function(msg) return msg.data end)
]]

---Starts it and returns a function that asks one of its listeners.
local function serve(options)
  local prefix = unique "errs"
  local child = process.run(SERVICE:format(prefix), options)
  child:expect "started"
  return function(name)
    local reply, err = app.request(prefix .. "." .. name, "no JSON", { timeout = 60 })
    assert.is_nil(reply)
    return err.message, err.status
  end, child
end

describe("an error that a handler raises", function()
  it("is an id for the sender, which the log explains", function()
    local ask, child = serve()
    local seen = {}
    for _, name in ipairs { "text", "table", "later", "of_another", "nothing", "deep" } do
      local text, status = ask(name)
      assert.equal(500, status)
      local id = assert(text:match "^internal error (%w%w%w%w%w%w%w%w)$", text)
      assert.is_nil(seen[id])
      seen[id] = name
      child:expect(("listener [%%w._]*%s: internal error %s: "):format(name, id))
    end
    child:expect("internal error %w+: [^\n]*the password is swordfish[^\n]*\n +stack traceback")
  end)

  it("is told where it is an answer: a numeric code, a returned error, a bad body", function()
    local ask = serve()
    assert.same({ "no such thing", 404 }, { ask "coded" })
    assert.same({ "strange", 500 }, { ask "odd" })
    assert.same({ "taken", 409 }, { ask "returned" })
    assert.same({ "not today", 500 }, { ask "words" })
    local text, status = ask "json"
    assert.truthy(text:find("is not JSON", 1, true))
    assert.equal(400, status)
  end)

  it("is told with --errors full", function()
    local ask, child = serve { "--errors", "full" }
    assert.truthy(ask("text"):find("the password is swordfish", 1, true))
    child:expect "listener [^\n]*text: [^\n]*swordfish"
    assert.equal(0, child:count "internal error")
  end)

  it("is told in specs", function()
    local subject = unique "errs"
    local svc = testing.start(("app.listen(%q, function() error 'why' end)"):format(subject))
    local _, err = svc:request(subject, "")
    assert.truthy(err.message:find("why", 1, true))
    assert.equal(1, #svc:errors())
    svc:stop()
  end)
end)

describe("an error table", function()
  it("is shown by its message, with a traceback, wherever it is raised", function()
    local script = [[
      local function raise(where) error { code = 503, message = "down in " .. where } end
      app.on_stop(function() raise "on_stop" end)
      app.on_reload(function() raise "on_reload" end)
      app.task({ name = "T" }, function() raise "task" end)
      app.timer(3600, { name = "M" }, function() raise "timer" end)
      app.on_start(function() app.spawn(function() raise "spawn" end) end)
      app.listen("errs.raise", function() raise "listener" end)
    ]]
    local svc = testing.start(script)
    svc:request("errs.raise", "")
    eventually("task and timer", function()
      local text = table.concat(svc:errors())
      return text:find "down in task" and text:find "down in timer"
    end)
    assert(svc:reload(script))
    svc:stop()
    local text = table.concat(svc:errors(), "\n")
    for _, where in ipairs { "on_stop", "on_reload", "task", "timer", "spawn", "listener" } do
      assert.truthy(text:find("down in " .. where .. "\nstack traceback", 1, true), where
        .. " in:\n" .. text)
    end
  end)

  it("is shown by its message at the top level, too", function()
    local path = process.write("top.lua", [[error { message = "down at the top" }]])
    local status, output = process.lunats_to_end { "run", "-s", testing.server_url(), path }
    assert.equal(1, status)
    assert.truthy(output:find("down at the top", 1, true), output)
    assert.truthy(output:find("top.lua:1", 1, true), output)
  end)

  it("is shown by its first item, or its code, when it has no message", function()
    for source, shown in pairs {
      ['{ "db down" }'] = "db down", ["{ code = 'empty' }"] = "empty",
      ["{ code = 17 }"] = "17", ['{ "a", message = "m" }'] = "m" } do
      local svc = testing.start("app.task(function() error(" .. source .. ") end)")
      eventually("the error", function() return #svc:errors() > 0 end)
      svc:stop()
      assert.matches("^task: " .. shown .. "\nstack traceback:", svc:errors()[1])
    end
  end)

  it("without a message shows its fields", function()
    local subject = unique "errs"
    local svc = testing.start(([[
      app.listen(%q, function() error {} end)
      app.listen(%q, function() return nil, { reason = "sold \"out\"", at = { 1 } } end)
      app.listen(%q, function()
        local many = {}
        for i = 2, 20 do many[i] = ("x"):rep(100) end
        error(many)
      end)
    ]]):format(subject .. ".empty", subject .. ".fields", subject .. ".many"))
    finally(function() svc:stop() end)
    local function told(name)
      local _, err = svc:request(subject .. name, "")
      return err.message:match "^[^\n]*" -- in specs the log is below
    end
    assert.equal("an error without a message: {}", told ".empty")
    local fields = told ".fields"
    assert.truthy(fields:find('"reason": "sold \\"out\\""', 1, true), fields)
    assert.truthy(fields:find('"at": {...}', 1, true), fields)
    assert.is_true(#told ".many" < 900)
    assert.equal(2, #svc:errors())
  end)

  it("without a text says why there is none", function()
    local subject = unique "errs"
    local svc = testing.start(([[app.listen(%q, function()
      error(setmetatable({}, { __tostring = function() error "no text" end }))
    end)]]):format(subject))
    local _, err = svc:request(subject, "")
    assert.truthy(err.message:find("__tostring fails", 1, true), err.message)
    assert.equal(1, #svc:errors())
    svc:stop()
  end)
end)

describe("an error on the way out of a handler that has failed", function()
  it("is logged, and the sender is told the first, as are variables that close", function()
    local subject = unique "errs"
    local svc = testing.start(([[app.listen(%q, function()
      local _ <close> = setmetatable({}, { __close = function(_, err)
        error("closing after " .. err.message)
      end })
      error { code = 409, message = "taken" }
    end)]]):format(subject))
    finally(function() svc:stop() end)
    local _, err = svc:request(subject, "")
    assert.equal(409, err.status)
    assert.equal("taken", err.message:match "^[^\n]*")
    assert.equal(2, #svc:errors())
    assert.truthy(svc:errors()[1]:find(": taken\n", 1, true))
    assert.truthy(svc:errors()[2]:find("closing after taken\n", 1, true), svc:errors()[2])
  end)
end)

describe("an error on the way out of what has failed", function()
  local CLOSER = "local function fail()\n"
    .. "local _ <close> = setmetatable({}, { __close = function(_, err)\n"
    .. "error('closing after ' .. err.message) end })\n"
    .. "error { code = 'taken', message = 'taken' } end\n"
  local BOTH = "taken\nstack traceback:\n.*in [^\n]*'fail'.*\nthen, on the way out: [^\n]*:3: "
    .. "closing after taken\nstack traceback:\n.*:3: in "

  for _, case in ipairs {
    { "a task", "app.task(function() fail() end)" },
    { "a timer", "local t t = app.timer(0.01, function() t:stop() fail() end)" },
    { "a fiber", "app.task(function() app.spawn(function() fail() end) end)" },
    { "a watcher of errors", "app.on_error(function() fail() end) "
      .. "app.task(function() error 'x' end)" },
    { "a handler of a consumer", [[app.task(function()
      app.js.publish("STREAM.a", "1")
      app.js.subscribe("STREAM.a", { config = { max_deliver = 1 } }, function() fail() end)
    end)]] },
    { "a handler of an ordered consumer", [[app.task(function()
      app.js.publish("STREAM.a", "1")
      app.js.subscribe("STREAM.a", { ordered = true }, function() fail() end)
    end)]] },
  } do
    it("is told below the error of " .. case[1], function()
      local stream = own.stream "closing"
      local svc = testing.start(CLOSER .. case[2]:gsub("STREAM", stream))
      local function found()
        for _, text in ipairs(svc:errors()) do
          if text:find(BOTH) then return text end
        end
      end
      local text = eventually("the error", found)
      assert.is_nil(text:find("lunats/", 1, true), text)
      svc:stop()
    end)
  end

  it("is told below the error of a hook", function()
    local path = process.write("hook.lua", CLOSER .. "app.on_start(function() fail() end) "
      .. "app.listen('x', print)")
    local status, output = process.lunats_to_end { "run", "-s", testing.server_url(), path }
    assert.equal(1, status)
    assert.matches("ERROR hook: taken\n%s*stack traceback:\n.*in [^\n]*'fail'.*\n"
      .. "%s*then, on the way out: [^\n]*:3: closing after taken\n", output)
  end)
end)

describe("a mistake in a call of ours", function()
  it("has a traceback that begins at the call", function()
    local path = process.write("cfg.lua", "local function configure()\n"
      .. "  app.config { name = 'cfg', limits = { memory = '12x' } }\nend\nconfigure()")
    local status, output = process.lunats_to_end { "run", "-s", testing.server_url(), path }
    assert.equal(1, status)
    assert.matches("cfg%.lua:2: app%.config: limits%.memory [^\n]*\n%s*stack traceback:\n"
      .. "%s*[^\n]*cfg%.lua:2: in [^\n]*'configure'\n", output)
    assert.is_nil(output:find("lunats/", 1, true), output)
  end)
end)

describe("a handler of a push consumer that a stop cuts off", function()
  it("leaves its message unacknowledged", function()
    local stream = unique "cut"
    assert(app.js.add_stream { name = stream, subjects = { stream .. ".>" },
      storage = "memory" })
    finally(function() app.js.delete_stream(stream) end)
    local child = process.run(([[
      app.js.subscribe(%q, { stream = %q, durable = "c" }, function()
        print "handling"
        io.flush()
        app.sleep(3600)
      end)]]):format(stream .. ".>", stream), { "--drain-timeout", "0.1" })
    child:expect "started"
    assert(app.js.publish(stream .. ".a", "x"))
    child:expect "handling"
    child:stop()
    local info = assert(app.js.consumer_info(stream, "c"))
    assert.equal(1, info.num_ack_pending)
    assert.equal(0, child:count "nothing is sent")
  end)
end)

describe("core.traceback", function()
  it("takes any value", function()
    for _, value in ipairs { "text", 17, true, { message = 5 }, print } do
      assert.truthy(core.traceback(value):find("\nstack traceback:\n", 1, true))
    end
    assert.truthy(core.traceback({ message = 5 }):find "^5\n")
    assert.truthy(core.traceback(nil):find "^nil\n")
  end)
end)

describe("an error on the way out of what was cancelled", function()
  ---Waits until it is cancelled, and fails then.
  local WORK = [[
    local function work()
      local _ <close> = setmetatable({}, { __close = function(_, err)
        error("closing after " .. (err and err.code or "nothing"))
      end })
      app.publish("waits", "")
      app.sleep(3600)
    end
  ]]

  ---@param finish fun(svc: testing.service)
  ---@param options table|nil
  local function errors_of(source, finish, options)
    local svc = testing.start(WORK .. source, options)
    svc:expect "waits"
    finish(svc)
    local errors = svc:errors()
    svc:stop()
    assert.equal(1, #errors, table.concat(errors, "\n"))
    return errors[1]
  end

  local function ask(svc) assert(svc:request("cancel", "")) end

  for _, case in ipairs {
    { "a fiber", [[
      app.task(function() fiber = app.spawn(work) end)
      app.listen("cancel", function() fiber:cancel() app.sleep(0) return 1 end) ]] },
    { "app.timeout", "app.task(function() app.timeout(0.01, work) app.publish('over', '') end)",
      function(svc) svc:expect "over" end },
    { "app.leader", [[
      local lead = app.leader("closing", work)
      app.listen("cancel", function() lead:stop() app.sleep(0.01) return 1 end) ]] },
  } do
    it("is logged, of " .. case[1], function()
      assert.matches("^[^\n]*:3: closing after cancelled$", errors_of(case[2], case[3] or ask))
    end)
  end

  for _, case in ipairs {
    { "a task", "app.task(work)" },
    { "a timer", "app.timer(60, work)" },
    { "a watcher of errors",
      "app.on_error(work) app.task(function() error { code = 1 } end)", 2 },
    { "a handler", "app.listen('it', work) app.task(function() app.publish('it', '') end)" },
    { "a handler of an ordered consumer", [[app.task(function()
      app.js.publish("STREAM.a", "1")
      app.js.subscribe("STREAM.a", { ordered = true }, work)
    end)]] },
    { "a fiber that waits again and again", [[app.task(function()
      local _ <close> = setmetatable({}, { __close = function() error "closing after all" end })
      app.publish("waits", "")
      while true do pcall(app.sleep, 3600) end
    end)]] },
  } do
    it("is logged, of " .. case[1] .. " when the service stops", function()
      local stream = case[2]:find "STREAM" and own.stream "closing" or ""
      local source = WORK .. case[2]:gsub("STREAM", stream)
      local svc = testing.start(source, { drain_timeout = 0.05 })
      svc:expect "waits"
      svc:stop()
      local errors = svc:errors()
      assert.equal(case[3] or 1, #errors, table.concat(errors, "\n"))
      assert.matches(":%d+: closing after ", errors[#errors])
    end)
  end

  it("is not the cancellation, which variables meet that wait", function()
    local svc = testing.start [[
      local function work()
        local _ <close> = setmetatable({}, { __close = function() app.sleep(1) end })
        app.publish("waits", "")
        assert(app.request("nobody", "", { timeout = 3600 }))
      end
      app.listen("nobody", function() app.sleep(3600) end)
      app.task(function() fiber = app.spawn(work) end)
      app.task(work)
      app.listen("cancel", function() fiber:cancel() app.sleep(0.01) return 1 end)
    ]]
    svc:expect "waits"
    svc:expect "waits"
    ask(svc)
    svc:stop()
    assert.same({}, svc:errors())
  end)
end)
