-- The life of a service process: start, stop, failures, outages.
local complaint = require "spec.support.complaint"
local eventually = require "spec.support.eventually"
local own = require "spec.support.own"
local process = require "spec.support.process"
local testing = require "lunats.testing"
local tsan = require "spec.support.tsan"

local function listen(...) return own.keep(app.listen(...)) end

after_each(function()
  own.close()
  process.close_all()
end)

local count = 0
local function subject()
  count = count + 1
  return ("spec.life.%s.%d"):format(app.instance_id, count)
end

---The positions of texts in the output must grow.
local function assert_order(child, texts)
  local at = 1
  for _, text in ipairs(texts) do
    local first, last = child:output():find(text, at, true)
    assert(first, ("%q does not follow in:\n%s"):format(text, child:output()))
    at = last
  end
end

---No error, no traceback in what a process wrote.
local function assert_clean(child)
  assert.is_nil(complaint(child:output()))
end

describe("a start", function()
  it("goes in order: on_start one by one, listeners, tasks and timers, event", function()
    local s, events = subject(), {}
    listen("lunats.events.>", { queue = false }, function(msg)
      events[#events + 1] = { subject = msg.subject, data = msg.data }
    end)
    listen(s .. ".outside", function() return true end)
    assert(app.flush())
    local child = process.run(([[
      app.config { name = "ordered", version = "1.0.1" }
      local s = "%s"
      app.listen(s, function() return true end)
      app.task(function() app.log.info "a task" end)
      app.timer(100, function() app.log.info "a timer" end)
      app.on_start(function()
        assert(app.request(s .. ".outside"))
        local _, err = app.request(s)
        app.log.info("first hook, " .. err.code)
        app.listen(s .. ".late", function() return "late" end)
      end)
      app.on_start(function() app.sleep(0.01) app.log.info "second hook" end)
    ]]):format(s))
    child:expect "a timer"
    assert_order(child, { "first hook, no_responders", "second hook", "started", "a task",
      "a timer" })
    assert.is_true(assert(app.request(s)).data)
    assert.equal("late", assert(app.request(s .. ".late")).raw)
    eventually("the event", function() return events[1] end)
    assert.matches("^lunats%.events%.ordered%.%w+%.started$", events[1].subject)
    assert.equal("1.0.1", events[1].data.version)
    assert.equal("ordered", events[1].data.service)
    assert.equal(0, child:stop())
    eventually("the other event", function() return events[2] end)
    assert.matches("^lunats%.events%.ordered%.%w+%.stopped$", events[2].subject)
    assert_clean(child)
  end)

  for _, case in ipairs {
    { "an error in on_start", "\napp.on_start(function() error 'no disk' end)", 1,
      "svc.lua:2: no disk.-stack traceback" },
    { "an error table in on_start",
      "app.on_start(function() assert(app.request('nobody.here')) end)", 1, "nobody listens" },
    { "an error at the top level", "\n\nerror 'top'", 1, "svc.lua:3: top.-stack traceback" },
    { "a syntax error", "\n\nlocal x = = 1", 1, "svc.lua:3: unexpected symbol near '='\n$" },
    { "byte code", "\27Lua", 1, "binary chunk" },
    { "os.exit at the top level", "os.exit(7)", 7,
      "WARN  svc: .*svc.lua:1: os.exit%(7%) was called: stopping\n$" },
    { "os.exit in on_start", "app.on_start(function() os.exit(6) end)", 6, "exit%(6%) was" },
    { "os.exit(true)", "app.task(function() os.exit(true) end)", 0,
      "INFO  svc: .*svc.lua:1: os.exit%(0%) was called: stopping\n.*stopped" },
    { "os.exit(false)", "app.task(function() os.exit(false) end)", 1, "stopped" },
    { "os.exit without an argument", "app.task(function() os.exit() end)", 0, "stopped" },
    { "os.exit in a place that cannot wait",
      "app.task(function() table.sort({ 1, 2 }, function() os.exit(5) end) end)", 5, "" },
    { "a bad queue", "app.listen('a', { queue = 'x y' }, print)", 1, "svc.lua:1: .-queue" },
  } do
    it(("with %s ends with status %d"):format(case[1], case[3]), function()
      local child = process.run(case[2])
      assert.equal(case[3], child:wait())
      assert.matches(case[4], child:output())
      if case[3] ~= 1 then assert.equal(0, child:count "ERROR", child:output()) end
    end)
  end

  it("of a missing file ends with a clear text", function()
    local status, output = process.lunats_to_end { "run", "no/such/file.lua" }
    assert.is_true(status == 1 or status == 2)
    assert.matches("no/such/file.lua", output)
  end)

  it("without a server ends with status 3 and advice", function()
    local server = process.server()
    server:stop()
    local status, output = process.lunats_to_end { "run", "-s", server.url,
      process.write("alone.lua", "app.on_stop(function() print 'never started' end)") }
    assert.equal(3, status)
    for _, word in ipairs { server.url, "--server", "--retry", "--embedded" } do
      assert.truthy(output:find(word, 1, true), word)
    end
    assert.is_nil(output:find("never started", 1, true))
    assert.is_nil(output:find "%.c:%d") -- no place in the source of nats.c
  end)

  it("with --retry waits for a server", function()
    local server = process.server()
    server:stop()
    local path = process.write("patient.lua", "app.task(function() app.log.info 'at last' end)")
    local child = process.spawn { process.lunats(), "run", "--retry", "-s", server.url, path }
    child:expect "waiting for a server"
    process.server { port = server.port }
    child:expect "at last"
    assert.equal(0, child:stop())
  end)

  it("with --retry can be stopped while it waits", function()
    local server = process.server()
    server:stop()
    local path = process.write("patient.lua", "")
    local child = process.spawn { process.lunats(), "run", "--retry", "-s", server.url, path }
    child:expect "waiting for a server"
    assert.equal(0, child:stop())
  end)
end)

describe("a stop", function()
  for _, signal in ipairs { "TERM", "INT" } do
    it(("by SIG%s goes in order"):format(signal), function()
      local s = subject()
      local child = process.run(([[
        app.listen("%s", function()
          app.log.info "handler begins"
          assert(app.request("%s.gate"))
          app.log.info "handler ends"
          return "done"
        end)
        app.task(function()
          local _ <close> = setmetatable({}, { __close = function() app.log.info "task" end })
          app.sleep(1000)
        end)
        app.on_stop(function() app.log.info "first on_stop" app.sleep(0.01) end)
        app.on_stop(function()
          assert(app.publish("%s.bye", "x"))
          app.log.info "second on_stop"
        end)
      ]]):format(s, s, s))
      local bye, reply
      listen(s .. ".bye", function() bye = true end)
      listen(s .. ".gate", function() return child:expect "svc: task" end)
      child:expect "started"
      app.spawn(function() reply = app.request(s) end)
      child:expect "handler begins"
      child:signal(signal)
      assert.equal(0, child:wait())
      assert_order(child, { "stopping", "task", "handler ends", "first on_stop",
        "second on_stop", "stopped" })
      eventually("the reply and the publish", function() return bye and reply end)
      assert.equal("done", reply.raw)
      assert_clean(child)
    end)
  end

  it("handles every message that had arrived", function()
    local s, got = subject(), 0
    listen(s .. ".out", { queue = false }, function() got = got + 1 end)
    local child = process.run(([[
      app.listen("%s", { concurrency = 2 }, function(msg)
        app.sleep(0.001)
        app.publish("%s.out", msg.data)
      end)
    ]]):format(s, s))
    child:expect "started"
    for i = 1, 200 do assert(app.publish(s, i)) end
    assert(app.flush())
    eventually("the first", function() return got > 0 end)
    assert.equal(0, child:stop())
    assert(app.flush())
    eventually("all of them", function() return got == 200 end)
    assert_clean(child)
  end)

  it("cuts a handler at --drain-timeout, whose caller gets an error reply", function()
    local s = subject()
    local child = process.run(([[
      app.listen("%s", function()
        local _ <close> = setmetatable({}, { __close = function() app.log.info "closed" end })
        app.log.info "handler begins"
        app.sleep(1000)
      end)
      app.on_stop(function() app.log.info "on_stop" end)
    ]]):format(s), { "--drain-timeout", "0.1" })
    child:expect "started"
    local reply, err
    app.spawn(function() reply, err = app.request(s) end)
    child:expect "handler begins"
    assert.equal(0, child:stop())
    assert_order(child, { "1 handler did not finish", "closed", "on_stop", "stopped" })
    eventually("the error", function() return err end)
    assert.is_nil(reply)
    assert.equal(503, err.status)
  end)

  it("cuts on_stop at --drain-timeout", function()
    local child = process.run("app.on_stop(function() app.sleep(1000) end)",
      { "--drain-timeout", "0.05" })
    child:expect "started"
    child:stop()
    assert.equal(1, child:count "on_stop took longer")
  end)

  it("with an error in on_stop ends with status 1, after the other hooks", function()
    local child = process.run [[
      app.on_stop(function() error "cannot clean up" end)
      app.on_stop(function() app.log.info "the other hook" end)
    ]]
    child:expect "started"
    assert.equal(1, child:stop())
    assert_order(child, { "svc.lua:1: cannot clean up", "the other hook" })
  end)

  it("by two signals ends at once", function()
    local child = process.run [[
      app.on_stop(function() app.log.info "in on_stop" app.sleep(1000) end)
    ]]
    child:expect "started"
    child:signal "TERM"
    child:expect "in on_stop"
    local status = eventually("the end", function()
      child:signal "INT"
      return child:status()
    end)
    assert.equal(130, status)
  end)

  it("by two signals of one stop, as timeout sends them, goes in order", function()
    local child = process.run [[
      app.on_stop(function() app.sleep(0.05) app.log.info "cleaned up" end)
    ]]
    child:expect "started"
    os.execute(("kill -TERM %s; kill -TERM %s"):format(child.pid, child.pid))
    assert.equal(0, child:wait())
    child:expect "cleaned up"
  end)

  it("by two signals ends at once, even a script in an endless loop", function()
    if tsan then return pending "ThreadSanitizer holds signals back in an endless loop" end
    local child = process.run [[
      app.task(function()
        app.log.info "busy"
        while true do end
      end)
    ]]
    child:expect "busy"
    local status = eventually("the end", function()
      child:signal "TERM"
      return child:status()
    end)
    assert.equal(143, status)
  end)

  for _, closed in ipairs { "0<&-", "2>&-", "1>&- 2>&-", "0<&- 1>&- 2>&-" } do
    it("goes in order when it was started with " .. closed, function()
      local echo = "spec.life." .. app.instance_id
      local script = process.write("svc.lua", ([[
        app.listen("%s", function(msg)
          app.log.info(("x"):rep(1000))
          print "printed"
          return msg.raw
        end)
      ]]):format(echo))
      local child = process.spawn { "sh", "-c", 'exec "$0" run -s "$1" "$2" ' .. closed,
        process.lunats(), testing.server_url(), script }
      eventually("a reply", function()
        return app.request(echo, "x", { timeout = 1 })
      end)
      for _ = 1, 100 do -- more than a pipe holds
        assert.equal("hello", assert(app.request(echo, "hello")).raw)
      end
      assert.equal(0, child:stop())
    end)
  end

  it("during on_start ends with status 0 and starts nothing", function()
    local child = process.run [[
      app.on_start(function()
        app.log.info "in on_start"
        app.sleep(1000)
      end)
      app.on_start(function() app.log.info "not reached" end)
      app.task(function() app.log.info "not reached" end)
    ]]
    child:expect "in on_start"
    assert.equal(0, child:stop())
    assert.equal(0, child:count "not reached")
    assert.equal(0, child:count "ERROR")
  end)

  it("while disconnected ends soon", function()
    local server = process.server()
    local path = process.write("lost.lua", [[
      app.listen("lost", function() end)
      app.on_stop(function()
        app.publish("x", "y")
        local _, err = app.request("x", nil, { timeout = 0.05 })
        app.log.info("request: " .. err.code)
      end)
    ]])
    local child = process.spawn { process.lunats(), "run", "-s", server.url, "--drain-timeout",
      "1", path }
    child:expect "started"
    server:signal "KILL"
    child:expect "connection lost"
    local began = app.now()
    assert.equal(0, child:stop())
    assert.is_true(app.now() - began < 10)
    assert.matches("request: %a+", child:output())
    assert.matches("WARN.* %d+ bytes that were published could not be sent", child:output())
  end)

  it("by os.exit in a handler uses its status, and the caller is answered", function()
    local s = subject()
    local child = process.run(([[
      app.listen("%s", function() pcall(os.exit, 3) app.log.info "not reached" end)
      app.on_stop(function() app.log.info "on_stop" end)
    ]]):format(s))
    child:expect "started"
    local _, err = app.request(s)
    assert.equal("service_error", err.code)
    assert.equal(3, child:wait())
    assert.equal(1, child:count "on_stop")
    assert.equal(0, child:count "not reached")
  end)

  it("by os.exit in on_stop ends at once with its status", function()
    for status = 0, 4, 4 do
      local child = process.run(("app.on_stop(function() os.exit(%d) end)"):format(status))
      child:expect "started"
      assert.equal(status, child:stop())
      assert.equal(1, child:count ": stopped")
      assert.equal(0, child:count "ERROR", child:output())
    end
  end)

  it("follows when the server refuses a declared listener", function()
    local path = process.write("server.conf", [[
      authorization { users = [
        { user: a, password: b, permissions: { subscribe: { deny: ["refused"] } } } ] }
    ]])
    local server = process.server { args = { "-c", path } }
    local script = process.write("deaf.lua", "app.listen('refused', function() end)")
    local child = process.spawn { process.lunats(), "run", "-s", server.url, "--user", "a",
      "--password", "b", script }
    assert.equal(1, child:wait())
    assert.equal(1, child:count "Permissions Violation")
  end)
end)

describe("two services in a process", function()
  it("run side by side under their own names", function()
    local s = subject()
    local source = "app.listen('%s.' .. app.name, function() return app.name end)"
    local a = process.write("a.lua", source:format(s))
    local b = process.write("b.lua", source:format(s))
    local child = process.spawn { process.lunats(), "run", "-s", testing.server_url(), a, b }
    child:expect "started.*started"
    assert.equal("a", assert(app.request(s .. ".a")).raw)
    assert.equal("b", assert(app.request(s .. ".b")).raw)
    assert.equal(0, child:stop())
    assert.equal(2, child:count ": stopped")
  end)

  for name, bad in pairs {
    ["fails to load"] = "error 'bad'",
    ["fails in on_start"] = "app.on_start(function() app.sleep(0.02) error 'bad' end)",
    ["exits"] = "app.task(function() app.sleep(0.02) os.exit(1) end)",
  } do
    it("end together with status 1 when one " .. name, function()
      local good = process.write("good.lua", "app.listen('good', function() end)")
      local other = process.write("other.lua", bad)
      local child = process.spawn { process.lunats(), "run", "-s", testing.server_url(), good,
        other }
      assert.equal(1, child:wait())
    end)
  end
end)

describe("an outage", function()
  it("is survived: listeners answer again, timers go on, requests fail meanwhile", function()
    local server = process.server()
    local path = process.write("robust.lua", [[
      local n = 0
      app.timer(0.01, function()
        n = n + 1
        local reply, err = app.request("robust", nil, { timeout = 2 })
        app.log.info("tick", { ok = reply and reply.data, err = err and err.code })
      end)
      app.listen("robust", function() return true end)
    ]])
    local child = process.spawn { process.lunats(), "run", "-s", server.url, path }
    child:expect "tick ok=true"
    server:signal "KILL"
    child:expect "connection lost"
    child:expect "tick err="
    server:wait()
    process.server { port = server.port }
    child:expect "connected again.-tick ok=true"
    assert.equal(0, child:stop())
    assert.equal(0, child:count "ERROR", child:output())
  end)
end)

describe("a flood", function()
  it("of 20000 requests of two clients gets every reply", function()
    local s = subject()
    local server = process.run(([[
      app.listen("%s", function(msg) return msg.data end)
    ]]):format(s))
    server:expect "started"
    local CLIENT = ([[
      app.task(function()
        local left, wrong = 100, 0
        for f = 1, 100 do
          app.spawn(function()
            for i = 1, 100 do
              local n = f * 1000 + i
              local reply, err = app.request("%s", n)
              if not reply or reply.data ~= n then
                wrong = wrong + 1
                app.log.error(tostring(err))
              end
            end
            left = left - 1
            if left == 0 then app.log.info("done, wrong: " .. wrong) os.exit(0) end
          end)
        end
      end)
    ]]):format(s)
    local clients = { process.run(CLIENT), process.run(CLIENT) }
    for _, client in ipairs(clients) do
      client:expect("done, wrong: 0", 60)
      assert.equal(0, client:wait())
    end
    assert.equal(0, server:stop())
    assert_clean(server)
  end)
end)

describe("--embedded", function()
  it("leaves no server behind, however the process ends", function()
    for _, signal in ipairs { "TERM", "KILL" } do
      local path = process.write("inner.lua", "app.listen('x', function() end)")
      local child = process.spawn { process.lunats(), "run", "--embedded", path }
      local url = child:expect "connected to (nats://[%d.:]+)"
      child:signal(signal)
      child:wait()
      eventually("the end of the server", function()
        local status = process.lunats_to_end { "run", "-s", url,
          process.write("probe.lua", "app.task(function() os.exit(0) end)") }
        return status == 3
      end)
    end
  end)

  it("can be stopped at any time of its start", function()
    for _, ms in ipairs { 0, 5, 10, 20, 30, 40 } do
      local path = process.write("inner.lua", "app.listen('x', function() end)")
      local child = process.spawn { process.lunats(), "run", "--embedded", path }
      app.sleep(ms / 1000) -- somewhere in its start: it ends in order wherever that is
      local status = child:stop()
      assert.is_true(status == 0 or status == 143, tostring(status) .. child:output())
    end
  end)
end)
