-- What the log of a process looks like, and where else it goes.
local eventually = require "spec.support.eventually"
local process = require "spec.support.process"
local testing = require "lunats.testing"
local unique = require "spec.support.unique"

after_each(process.close_all)

local function source(name, code)
  return ("app.config { name = %q }\n%s"):format(name, code)
end

---The lines on stderr as JSON, those of the service only.
local function lines_of(child)
  local lines = {}
  for line in child:output():gmatch "[^\n]+" do
    local record = line:sub(1, 1) == "{" and app.json.decode(line)
    if record and record.service then lines[#lines + 1] = record end
  end
  return lines
end

local function listen(subject)
  local seen = {}
  local listener = app.listen(subject, { queue = false, data_type = "string" }, function(msg)
    seen[#seen + 1] = { subject = msg.subject, text = msg.raw, data = app.json.decode(msg.raw) }
  end)
  finally(function() listener:stop() end)
  assert(app.flush())
  return seen
end

describe("a flood of one line", function()
  local function run(code, options)
    local child = process.run(source(unique "flood", code), options)
    child:expect "started, connected"
    return child
  end

  it("is cut after a hundred in a second, and counted", function()
    local child = run [[
      app.task(function()
        for i = 1, 1334 do app.log.warn("no answer from " .. i) end
        app.log.info("something else")
      end)
    ]]
    child:expect "WARN  %S+ repeated 1,234 times in 1 s: no answer from 101 repeated=1234\n"
    assert.equal(100 + 1, child:count "no answer from")
    assert.equal(1, child:count "something else")
  end)

  it("is told of at the end as well", function()
    local child = run [[
      app.on_stop(function()
        for _ = 1, 150 do app.log.error("the same") end
      end)
    ]]
    child:signal "TERM"
    assert.equal(0, child:wait())
    assert.truthy(child:output():find("ERROR %S+ repeated 50 times in [%d.]+ s: the same"))
    assert.equal(101, child:count "the same")
  end)

  it("is one of errors of a handler, too, whatever their ids", function()
    local name = unique "boom"
    local child = process.run(source(name, ([[
      app.listen(%q, function() error("boom") end)
    ]]):format(name)))
    child:expect "started, connected"
    for _ = 1, 300 do assert(app.publish(name, "x")) end
    -- On a busy machine in more than a second, each of which has a hundred of its own.
    eventually("all of them", function()
      local told, all = 0, child:output()
      for count in all:gmatch "ERROR %S+ repeated ([%d,]+) times in [%d.]+ s: listener" do
        told = told + tonumber((count:gsub(",", "")))
      end
      local _, whole = all:gsub("ERROR %S+ listener", "")
      return told > 0 and told + whole == 300
    end)
  end)

  it("is none of lines that say different things", function()
    local child = run [[
      app.task(function()
        for i = 1, 150 do app.log.info("order " .. i .. " stored") end
        for i = 1, 150 do app.log.warn("order refused", { id = i }) end
        for i = 1, 150 do app.log.info("one" .. ("x"):rep(i)) end
        app.log.info("all written")
      end)
    ]]
    child:expect "all written"
    assert.equal(150, child:count "stored")
    assert.equal(150, child:count "order refused")
    assert.equal(150, child:count ": onex")
  end)

  it("is written whole with --log-limit off, and cut earlier with another number", function()
    local code = [[
      app.task(function()
        for _ = 1, 150 do app.log.info("the same") end
        app.log.info("all written")
      end)
    ]]
    local whole, cut = run(code, { "--log-limit", "off" }), run(code, { "--log-limit", "5" })
    whole:expect "all written"
    assert.equal(150, whole:count "the same")
    cut:expect "repeated 145 times in 1 s: the same"
  end)
end)

describe("--log-subject", function()
  it("publishes each line as JSON, from the first after the connection to the last", function()
    local name = unique "heard"
    local seen = listen(("logs.of.%s.*"):format(name))
    local child = process.run(source(name, ([[
      app.listen(%q, function()
        app.log.info("two\nlines", { id = 7 })
        app.log.debug("not this one")
        return app.instance_id
      end)
    ]]):format(name)), { "--log-subject", "logs.of" })
    child:expect "started, connected"
    local id = assert(app.request(name, "")).raw
    child:signal "TERM"
    assert.equal(0, child:wait())
    local last = eventually("the last line", function()
      return #seen >= 3 and seen[#seen].data.message == "stopped" and seen
    end)
    assert.equal(3, #last)
    assert.equal(("logs.of.%s.%s"):format(name, id), seen[1].subject)
    assert.truthy(seen[1].data.message:find "^started, connected to")
    assert.same({ "info", name, "two\nlines", 7, name, name }, { seen[2].data.level,
      seen[2].data.service, seen[2].data.message, seen[2].data.id, seen[2].data.listener,
      seen[2].data.subject })
    assert.truthy(seen[2].text:find('^{"time":"%d+%-'))
    assert.truthy(child:output():find("INFO  " .. name .. ": two", 1, true))
  end)

  it("never waits for a connection, and counts what is lost without one", function()
    local name = unique "lost"
    local server = process.server()
    local child = process.run(source(name, [[
      app.timer(0.02, function() app.log.info("still here") end)
    ]]), { "--log-subject", "logs.lost" }, { servers = { server.url } })
    child:expect "still here"
    server:signal "KILL"
    server:wait()
    child:expect "connection lost"
    local before = child:count "still here"
    eventually("further lines", function() return child:count "still here" > before + 3 end)
    local again = process.server { port = server.port }
    local watcher = process.spawn { process.lunats(), "sub", "--server", again.url, "--retry",
      "logs.lost.>" }
    watcher:expect "still here"
    child:expect "connected again"
  end)

  it("tells those who listen how many they have missed while the server was busy", function()
    local name = unique "busy"
    local server = process.server()
    local child = process.run(source(name, ([[
      app.listen(%q, function(msg)
        app.log.info("begins")
        if msg.data == "say" then return end
        local filler = ("x"):rep(1000000)
        repeat -- until the buffers on the way take no more
          local room = app.timeout(2, function() return app.publish("fill", filler) end)
        until not room
        for i = 1, 300 do -- which may take three times as much of what is not written yet
          app.log.info(("x"):rep(16000) .. i)
          if i & 31 == 0 then app.sleep(0) end -- its slice is a second
        end
        app.log.info("all written")
      end)
    ]]):format(name)), { "--log-subject", "logs.busy", "--ping-interval", "60" },
      { servers = { server.url } })
    child:expect "started, connected"
    local watcher = process.spawn { process.lunats(), "sub", "--server", server.url,
      "--ping-interval", "60", "logs.busy.>" }
    watcher:expect "listening to"
    assert.equal(0, (process.lunats_to_end { "pub", "--server", server.url, name, '"fill"' }))
    child:expect "begins"
    server:signal "STOP"
    child:expect "all written"
    server:signal "CONT"
    eventually("a line that tells", function()
      assert.equal(0, (process.lunats_to_end { "pub", "--server", server.url, name, '"say"' }))
      return watcher:count "log lines were not published" > 0
    end)
    watcher:expect '"lines":%d%d+'
  end)

  it("tells once that the server does not let lines through", function()
    local name = unique "refused"
    local config = process.write("deny.conf", [[
      authorization {
        users = [ { user: u, password: p, permissions: { publish: { deny: "logs.>" } } } ]
      }
    ]])
    local server = process.server { args = { "-c", config } }
    local child = process.run(source(name, [[
      app.timer(0.02, function() app.log.info("still here") end)
    ]]), { "--log-subject", "logs", "--user", "u", "--password", "p" },
      { servers = { server.url } })
    child:expect "log lines are not published: .*logs%.refused"
    local function further_lines(count)
      local before = child:count "still here"
      eventually("further lines", function()
        return child:count "still here" > before + count
      end)
    end
    eventually("no more of them", function() -- those under way are refused as well
      local refused = server:count "Publish Violation"
      further_lines(10)
      return server:count "Publish Violation" == refused
    end)
    assert.equal(1, child:count "are not published")
  end)

  it("has to be a subject", function()
    for _, bad in ipairs { "logs.>", "a b", "", "a..b" } do
      local status, text = process.lunats_to_end { "run", "--log-subject", bad, "x.lua" }
      assert.equal(2, status)
      assert.truthy(text:find("is not a subject without wildcards", 1, true), text)
    end
  end)
end)

describe("the level of a running service", function()
  local function run(options)
    local name = unique "level"
    local child = process.run(source(name, ([[
      app.listen(%q, function(msg)
        app.log.debug("debug " .. msg.raw)
        app.log.info("info " .. msg.raw)
        return app.instance_id
      end)
    ]]):format(name)), options)
    child:expect "started, connected"
    local id = assert(app.request(name, "0")).raw
    return child, name, ("lunats.control.%s.%s.log_level"):format(name, id)
  end

  it("is changed by a request, told, and reset", function()
    local child, name, subject = run { "--control" }
    assert.same({ level = "info", option = "info" }, assert(app.request(subject, "")).data)
    assert.same({ level = "debug", option = "info" },
      assert(app.request(subject, "debug\n")).data)
    assert(app.request(name, "1"))
    assert.same({ level = "error", option = "info" },
      assert(app.request(subject, '"error"')).data)
    assert(app.request(name, "2"))
    assert.same({ level = "info", option = "info" }, assert(app.request(subject, "reset")).data)
    assert(app.request(name, "3"))
    child:expect "info 3"
    assert.equal(1, child:count "debug 1")
    assert.equal(0, child:count "info 2")
    assert.equal(0, child:count "debug 3")
    assert.equal(1, child:count "the log level is debug from now on")
    assert.equal(1, child:count "the log level is error from now on")
    assert.equal(1, child:count "the log level is info from now on")
  end)

  it("lasts over a reload", function()
    local child, name, subject = run { "--control" }
    assert(app.request(subject, "debug"))
    child:signal "HUP"
    child:expect "reloaded in"
    assert(app.request(name, "1"))
    child:expect "debug 1"
  end)

  it("is that of one service of a process", function()
    local one, other = unique "one", unique "other"
    local code = [[
      app.listen(app.name, function() app.log.debug("debug of " .. app.name)
        return app.instance_id end)
    ]]
    local child = process.spawn { process.lunats(), "run", "--control", "--server",
      testing.server_url(), process.write("one.lua", source(one, code)),
      process.write("other.lua", source(other, code)) }
    child:expect(one .. ": started")
    child:expect(other .. ": started")
    local id = assert(app.request(one, "")).raw
    assert(app.request(("lunats.control.%s.%s.log_level"):format(one, id), "debug"))
    assert(app.request(one, ""))
    assert(app.request(other, ""))
    child:expect("debug of " .. one)
    assert.equal(0, child:count("debug of " .. other))
  end)

  it("has to be one", function()
    local _, _, subject = run { "--control" }
    for _, bad in ipairs { "loud", "debug info", ("x"):rep(1000), "\0" } do
      local reply, err = app.request(subject, bad)
      assert.is_nil(reply)
      assert.equal(400, err.status)
      assert.truthy(err.message:find("debug, info, warn, error, off", 1, true))
    end
  end)

  it("cannot be changed without --control", function()
    local _, _, subject = run {}
    local reply, err = app.request(subject, "debug")
    assert.is_nil(reply)
    assert.equal("no_responders", err.code)
  end)
end)

describe("colours", function()
  local script = source("plain", "app.task(function() os.exit() end)")

  ---Whether the output has any, on a terminal or not.
  local function coloured(env, terminal)
    local words = { process.lunats(), "run", "--server", testing.server_url(),
      process.write("svc.lua", script) }
    local all = { TERM = "xterm", NO_COLOR = "", CLICOLOR = "", CLICOLOR_FORCE = "" }
    for name, value in pairs(env) do all[name] = value end
    if terminal then
      words = { "script", "-qec", table.concat(words, " "), "/dev/null" }
    end
    local child = process.spawn(words, { env = all })
    assert.equal(0, child:wait())
    assert.truthy(child:output():find("started, connected", 1, true), child:output())
    return child:count "\27[" > 0
  end

  it("are for terminals", function()
    assert.is_true(coloured({}, true))
    assert.is_false(coloured({}, false))
  end)

  it("are as the environment wants them", function()
    assert.is_false(coloured({ NO_COLOR = "1" }, true))
    assert.is_false(coloured({ TERM = "dumb" }, true))
    assert.is_false(coloured({ CLICOLOR = "0" }, true))
    assert.is_true(coloured({ CLICOLOR_FORCE = "1" }, false))
    assert.is_false(coloured({ CLICOLOR_FORCE = "0" }, false))
    assert.is_false(coloured({ CLICOLOR_FORCE = "1", NO_COLOR = "1" }, true))
  end)
end)

describe("JSON lines", function()
  it("of errors of a handler say which listener, subject and trace they are about", function()
    local name = unique "failing"
    local child = process.run(source(name, ([[
      app.listen(%q, { name = "failing" }, function(msg)
        if msg.data == "sleep" then app.sleep(0.001) end
        error("boom by " .. msg.data)
      end)
    ]]):format(name .. ".*")), { "--log-format", "json" })
    child:expect "started, connected"
    local trace = ("ab12"):rep(8)
    for _, how in ipairs { "sleep", "go" } do
      app.request(name .. ".x", ("%q"):format(how), { headers = {
        traceparent = ("00-%s-00f067aa0ba902b7-01"):format(trace) } })
      child:expect("boom by " .. how)
    end
    local lines = lines_of(child)
    for i = #lines - 1, #lines do
      assert.equal("error", lines[i].level)
      assert.same({ "failing", name .. ".x", trace }, { lines[i].listener, lines[i].subject,
        lines[i].trace_id })
    end
  end)

  it("have each name once, whatever the fields are called", function()
    local name = unique "names"
    local child = process.run(source(name, ([[
      app.listen(%q, function()
        app.log.info("fields", { time = 1, time_ = 2, level = 3, service = 4, message = 5,
          message_ = 6, message__ = 7, listener = 8, ["a\0"] = 9, ["a\\x00"] = 10,
          ["\255"] = 11, ["\\xff"] = 12, fields_cut = 13 })
        return 1
      end)
    ]]):format(name)), { "--log-format", "json" })
    child:expect "started, connected"
    assert(app.request(name, ""))
    child:expect '"fields"'
    local text = child:output():match '[^\n]*"message":"fields"[^\n]*'
    local seen = {}
    for key in text:gmatch '[{,]"([^"]*)":' do
      assert.is_nil(seen[key], key)
      seen[key] = true
    end
    for _, line in ipairs(lines_of(child)) do
      if line.message == "fields" then assert.equal(8, line.listener) end
    end
    assert.truthy(seen.time_ and seen.message___ and seen.subject and seen.fields_cut_)
  end)
end)
