-- Whether a process lives and is ready: the server away, hanging or leaving; consumers that are
-- gone; checks of the script; a stop.
local admin = require "spec.support.admin"
local core = require "lunats.core"
local eventually = require "spec.support.eventually"
local process = require "spec.support.process"
local testing = require "lunats.testing"

after_each(process.close_all)

---A service with an admin port; opts: as process.run.
local function run(source, opts, ...)
  local child = process.run(source, { "--admin", "127.0.0.1:0", ... }, opts)
  return child, admin.url(child)
end

local SIMPLE = 'app.listen("spec.health", function() return 1 end)'

---The only reason of a 503.
local function expect_reason(url, reason, timeout)
  local ready = admin.expect_ready(url, 503, timeout)
  assert.is_false(ready.ready)
  assert.equal(1, #ready.reasons, app.json.encode(ready))
  assert.equal(reason, ready.reasons[1].reason, app.json.encode(ready))
  return ready.reasons[1]
end

local function is_alive(url)
  assert.equal(200, (admin.get(url, "/livez")))
  assert.equal(200, (admin.get(url, "/healthz")))
end

describe("a service", function()
  it("is ready once it has started", function()
    local child, url = run('app.on_start(function() app.request("spec.gate", 1, { timeout = 15 '
      .. '}) end)\n' .. SIMPLE)
    local conn = assert(app.connect { server = testing.server_url(), connect_timeout = 15 })
    local gate = conn.listen("spec.gate", { concurrency = 1 }, function()
      local reason = expect_reason(url, "starting")
      assert.equal("svc", reason.service)
      assert.matches("on_start", reason.detail)
      is_alive(url)
      return 1
    end)
    child:expect "started, connected to"
    local ready = admin.expect_ready(url, 200)
    assert.is_true(ready.ready)
    assert.equal(0, #ready.reasons)
    gate:stop()
    conn.close()
    assert.equal(0, child:stop())
  end)

  it("is not ready without a server, but alive, and ready again when it is back", function()
    local server = process.server()
    local child, url = run(SIMPLE, { servers = { server.url } })
    admin.expect_ready(url, 200)
    server:stop()
    expect_reason(url, "disconnected")
    is_alive(url)
    process.server { port = server.port }
    admin.expect_ready(url, 200)
    assert.equal(0, child:stop())
  end)

  it("notices a server that hangs, within two ping intervals, and its return", function()
    local server = process.server()
    local child, url = run(SIMPLE, { servers = { server.url } }, "--ping-interval", "1")
    admin.expect_ready(url, 200)
    server:signal "STOP"
    local began = core.hrtime()
    expect_reason(url, "disconnected")
    assert.is_true(core.hrtime() - began < 10) -- far less on a machine that is not busy
    is_alive(url)
    server:signal "CONT"
    admin.expect_ready(url, 200)
    assert.equal(0, child:stop())
  end)

  it("is not ready while its lame-duck server is about to leave, and serves", function()
    local config = process.write("nats.conf", 'lame_duck_duration: "30s"\n'
      .. 'lame_duck_grace_period: "20s"\n')
    local server = process.server { args = { "-c", config } }
    local child, url = run(SIMPLE, { servers = { server.url } })
    admin.expect_ready(url, 200)
    local conn = assert(app.connect { server = server.url })
    server:signal "USR2"
    expect_reason(url, "lame_duck")
    is_alive(url)
    assert.equal("1", assert(conn.request("spec.health", "")).raw)
    conn.close()
    assert.equal(0, child:stop())
  end)

  it("is not ready while it stops", function()
    local child, url = run([[app.listen("spec.slow", function() app.sleep(30) end)]], nil,
      "--drain-timeout", "60")
    child:expect "started, connected to"
    local conn = assert(app.connect { server = testing.server_url(), connect_timeout = 15 })
    assert(conn.publish("spec.slow", 1))
    assert(conn.flush())
    child:signal "TERM"
    expect_reason(url, "draining")
    is_alive(url)
    conn.close()
    child:signal "KILL"
    child:wait()
  end)
end)

describe("a consumer", function()
  local server

  before_each(function()
    server = process.server { args = { "-js", "-sd", process.path "js" } }
  end)

  local function consume(options)
    return run(([[
      app.on_start(function()
        assert(app.js.ensure_stream { name = "S", subjects = { "s.>" } })
      end)
      app.task(function()
        local psub = app.js.pull_subscribe("s.>", %s)
        assert(psub:consume({ heartbeat = 0.5 }, function() end))
      end)]]):format(options), { servers = { server.url } })
  end

  local function api(subject, body)
    local conn = assert(app.connect { server = server.url })
    local reply = assert(conn.request("$JS.API." .. subject, body or ""))
    conn.close()
    assert.is_nil(reply.data.error)
  end

  it("that is gone, and not made again, makes the service not ready until it is there again",
    function()
      local conn = assert(app.connect { server = server.url })
      assert(conn.request("$JS.API.STREAM.CREATE.S", { name = "S", subjects = { "s.>" } }))
      local config = { stream_name = "S", config = { durable_name = "worker",
        ack_policy = "explicit" } }
      assert(conn.request("$JS.API.CONSUMER.DURABLE.CREATE.S.worker", config))
      conn.close()
      local child, url = consume '{ durable = "worker" }'
      admin.expect_ready(url, 200)
      api "STREAM.DELETE.S"
      local reason = expect_reason(url, "consumer_missing")
      assert.equal("S", reason.stream)
      assert.equal("worker", reason.consumer)
      is_alive(url)
      child:expect "consumer 'worker' of stream 'S'"
      child:stop()
    end)

  it("that it has found and somebody deletes is read again when it is there again", function()
    local conn = assert(app.connect { server = server.url })
    assert(conn.request("$JS.API.STREAM.CREATE.S", { name = "S", subjects = { "s.>" } }))
    local function make()
      assert(conn.request("$JS.API.CONSUMER.DURABLE.CREATE.S.worker", { stream_name = "S",
        config = { durable_name = "worker", ack_policy = "explicit" } }))
    end
    make()
    local child, url = consume '{ durable = "worker" }'
    admin.expect_ready(url, 200)
    api "CONSUMER.DELETE.S.worker"
    local reason = expect_reason(url, "consumer_missing")
    assert.equal("worker", reason.consumer)
    child:expect "is gone: consumer not found [^\n]*; waiting for it"
    assert.equal(1, select(2, child:output():gsub("is gone", "")))
    make()
    admin.expect_ready(url, 200)
    conn.close()
    child:stop()
  end)

  it("is no reason of its own while the server hangs, and read again when that is back",
    function()
      local child, url = run([[
        app.on_start(function()
          assert(app.js.ensure_stream { name = "S", subjects = { "s.>" } })
        end)
        app.js.subscribe("s.>", { durable = "p", stream = "S", heartbeat = 0.5 },
          function(msg) app.log.info("got " .. msg.raw) end)
        app.js.subscribe("s.>", { stream = "S", ordered = true, heartbeat = 0.5 },
          function(msg) end)]], { servers = { server.url } }, "--ping-interval", "1")
      admin.expect_ready(url, 200)
      server:signal "STOP"
      eventually("the loss", function()
        local ready = admin.expect_ready(url, 503)
        return #ready.reasons == 1 and ready.reasons[1].reason == "disconnected"
      end)
      server:signal "CONT"
      admin.expect_ready(url, 200)
      local conn = assert(app.connect { server = server.url })
      assert(conn.publish("s.x", "it"))
      conn.close()
      child:expect "got it"
      assert.equal(0, child:stop())
    end)

  ---An API beside $JS.API that hands on all but requests for messages, while it is told so.
  local function leaky_api(conn)
    local hole = {}
    conn.listen("FAKE.>", { data_type = "string", queue = false }, function(msg)
      local subject = "$JS.API" .. msg.subject:sub(#"FAKE" + 1)
      if not msg.subject:find("MSG.NEXT", 1, true) then
        return conn.request(subject, msg.raw, { data_type = "string" })
      elseif not hole.open then
        conn.publish(subject, msg.raw, { reply_to = msg.reply_to })
      end
    end)
    return hole
  end

  it("of which nothing comes although the server knows it is silent until something does",
    function()
      local conn = assert(app.connect { server = server.url })
      finally(function() conn.close() end)
      local hole = leaky_api(conn)
      local child, url = run([[
        app.on_start(function()
          assert(app.js.ensure_stream { name = "S", subjects = { "s.>" } })
        end)
        app.task(function()
          local psub = app.js.pull_subscribe("s.>", { durable = "worker" })
          assert(psub:consume({ heartbeat = 0.3, expires = 1 }, function(msg)
            app.log.info("got " .. msg.raw)
          end))
        end)]], { servers = { server.url } }, "--js-prefix", "FAKE")
      child:expect "started, connected to"
      assert(conn.publish("s.x", "one"))
      child:expect "got one"
      admin.expect_ready(url, 200)
      hole.open = true
      assert(conn.publish("s.x", "two"))
      local reason = expect_reason(url, "consumer_silent")
      assert.equal("worker", reason.consumer)
      eventually("a silence that stays", function()
        local detail = expect_reason(url, "consumer_silent").detail
        return detail:find("though the server knows it", 1, true)
      end)
      hole.open = false
      child:expect "got two"
      admin.expect_ready(url, 200)
      assert.equal(0, child:stop())
    end)

  it("that is made again at once does not show", function()
    local child, url = consume '{ durable = "worker", config = { durable_name = "worker" } }'
    admin.expect_ready(url, 200)
    api "CONSUMER.DELETE.S.worker"
    eventually(function() return "the consumer: " .. child:output() end, function()
      local conn = assert(app.connect { server = server.url })
      local reply = conn.request("$JS.API.CONSUMER.INFO.S.worker", "")
      conn.close()
      return reply and not reply.data.error
    end)
    admin.expect_ready(url, 200)
    assert.equal(0, child:stop())
  end)
end)

describe("app.health", function()
  it("makes the service ready or not, with the reason", function()
    local child, url = run([[
      local why
      app.health("database", { interval = 0.1, timeout = 0.3 }, function()
        if why == "slow" then app.sleep(30) end
        if why == "raise" then error("it broke") end
        if why then return nil, why end
        return true
      end)
      app.health("cache", { interval = 0.1, critical = false }, function()
        return nil, "it is cold"
      end)
      app.listen("spec.why", function(msg) why = msg.data.why return 1 end)]], nil)
    admin.expect_ready(url, 200)
    local conn = assert(app.connect { server = testing.server_url(), connect_timeout = 15 })
    local function set(why) assert(conn.request("spec.why", { why = why })) end
    for why, text in pairs { ["no route"] = "^no route$", raise = "it broke",
      slow = "not done within 0.3 s" } do
      set(why)
      local reason = expect_reason(url, "health")
      assert.equal("database", reason.check)
      eventually(text, function()
        local _, body = admin.get(url, "/readyz")
        return (app.json.decode(body).reasons[1] or { detail = "" }).detail:find(text)
      end)
      is_alive(url)
      set(nil)
      admin.expect_ready(url, 200)
    end
    local _, body = admin.get(url, "/healthz")
    local checks = app.json.decode(body).services[1].checks
    assert.equal("database", checks[1].name)
    assert.equal("ok", checks[1].status)
    assert.equal("cache", checks[2].name)
    assert.equal("failed", checks[2].status)
    assert.equal("it is cold", checks[2].why)
    assert.is_false(checks[2].critical)
    child:expect "WARN .*health check database fails: no route"
    child:expect "INFO .*health check database is well again"
    conn.close()
    assert.equal(0, child:stop())
  end)

  it("keeps its result over a reload, and forgets checks that are gone", function()
    local one = 'app.health("one", { interval = 60 }, function() return nil, "first" end)\n'
    local two = 'app.health("two", { interval = 60 }, function() return true end)\n'
    local child, url = run(one .. two .. SIMPLE, nil, "--watch")
    child:expect "started, connected to"
    expect_reason(url, "health")
    local function edit(text)
      local file = assert(io.open(child.command[#child.command], "w"))
      file:write(text)
      file:close()
    end
    edit('app.health("one", { interval = 60 }, function() return true end)\n' .. SIMPLE)
    child:expect "reloaded in"
    local _, body = admin.get(url, "/healthz")
    local checks = app.json.decode(body).services[1].checks
    eventually("one check", function()
      _, body = admin.get(url, "/healthz")
      checks = app.json.decode(body).services[1].checks
      return #checks == 1
    end)
    assert.equal("first", checks[1].why) -- it is due in a minute
    edit 'app.config {' -- a version that fails
    child:expect "reload failed"
    _, body = admin.get(url, "/healthz")
    assert.equal("one", app.json.decode(body).services[1].checks[1].name)
    assert.equal(0, child:stop())
  end)

  it("fails also with a reason that is no text, or very long", function()
    local child, url = run([[
      local function raise() error "no" end
      local odd = setmetatable({}, { __tostring = raise })
      app.health("odd", function() return nil, odd end)
      app.health("raised", function() error(odd) end)
      app.health("long", function() return nil, ("x"):rep(1e6) end)
    ]] .. SIMPLE)
    for _, name in ipairs { "odd", "raised", "long" } do
      child:expect("health check " .. name .. " fails")
    end
    local reasons = admin.expect_ready(url, 503).reasons
    assert.equal("a table without text", reasons[1].detail)
    assert.equal("raised", reasons[2].check)
    assert.equal(1000, #reasons[3].detail)
    assert.equal(0, child:stop())
  end)

  it("says what is wrong with its arguments", function()
    for call, text in pairs {
      ['app.health(1, print)'] = "the name must be a string",
      ['app.health("x")'] = "app.health",
      ['app.health("x\\n", print)'] = "must be UTF-8 without control characters",
      ['app.health("x\\xff", print)'] = "must be UTF-8 without control characters",
      ['app.health("x", { interval = 0 }, print)'] = "interval must be a number of seconds",
      ['app.health("x", { timeout = "1" }, print)'] = "timeout",
      ['app.health("x", { intervall = 1 }, print)'] = "interval",
      ['app.health("x", print) app.health("x", print)'] = "there is a check 'x' already",
    } do
      local calls = call:gsub(" app", ", app")
      local source = ("\nlocal _, err = pcall(function() return %s end) error(err, 0)\n")
        :format(calls)
      local ok, err = pcall(testing.start, source, { server = testing.server_url() })
      assert.is_false(ok)
      assert.matches("service.lua:2: app.health", tostring(err), 1, true)
      assert.matches(text, tostring(err), 1, true)
    end
  end)
end)

describe("app.on_connection", function()
  it("tells the present state and each change", function()
    local server = process.server()
    local child = run([[
      app.on_connection(function(state, detail) app.log.info("now " .. state .. " " .. detail)
      end)]] .. SIMPLE, { servers = { server.url } })
    child:expect("now connected nats://127.0.0.1:" .. server.port)
    server:signal "USR2"
    child:expect "now lame_duck"
    server:signal "KILL"
    child:expect "now disconnected %S+"
    process.server { port = server.port }
    child:expect("now disconnected.*now connected nats://127.0.0.1:" .. server.port)
    assert.equal(0, child:stop())
  end)
end)
