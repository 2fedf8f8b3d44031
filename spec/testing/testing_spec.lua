-- lunats.testing: services under test in the same process.
local eventually = require "spec.support.eventually"
local testing = require "lunats.testing"

local services

local function start(source, opts)
  local svc = testing.start(source, opts)
  services[#services + 1] = svc
  return svc
end

before_each(function() services = {} end)
after_each(function()
  for _, svc in ipairs(services) do svc:stop() end
end)

describe("lunats.testing", function()
  describe("start", function()
    it("runs a script from a file", function()
      local svc = start("examples/hello.lua")
      local reply = assert(svc:request("hello.greet", { name = "Ada" }))
      assert.equal("Hello, Ada!", reply.data.text)
      svc:expect("hello.greeted", { where = function(msg) return msg.data.name == "Ada" end })
      assert.equal("hello", svc.name)
    end)

    it("tells why a script cannot be loaded", function()
      local ok, err = pcall(testing.start, "app.listen(\n")
      assert.is_false(ok)
      assert.truthy(err:find("service.lua:", 1, true), err)
    end)

    it("tells why on_start failed", function()
      local ok, err = pcall(testing.start, "app.on_start(function()\nerror 'no luck' end)\n")
      assert.is_false(ok)
      assert.truthy(err:find("service.lua:2: no luck", 1, true), err)
    end)

    it("tells that there is no server", function()
      local ok, err = pcall(testing.start, "local x = 1\n", { server = "nats://127.0.0.1:1" })
      assert.is_false(ok)
      assert.truthy(tostring(err):find("127.0.0.1:1", 1, true), err)
    end)

    it("refuses unknown options by naming the nearest", function()
      assert.error_matches(function() testing.start("x\n", { clok = "manual" }) end,
        "did you mean 'clock'")
    end)
  end)

  describe("the manual clock", function()
    it("fires a day of timers at once and in order", function()
      local svc = start([[
        local hours, minutes = 0, 0
        app.timer(3600, { delay = 3600 }, function() hours = hours + 1 end)
        app.timer(60, { delay = 60 }, function() minutes = minutes + 1 end)
        app.listen("count", function() return { hours = hours, minutes = minutes } end)
      ]], { clock = "manual" })
      svc:advance(86400)
      assert.same({ hours = 24, minutes = 1440 }, assert(svc:request("count")).data)
    end)

    it("stands still by itself", function()
      local svc = start([[
        local began = app.now()
        app.listen("age", function() return app.now() - began end)
      ]] .. "\n", { clock = "manual" })
      assert.equal(0, assert(svc:request("age")).data)
      svc:advance(10)
      assert.equal(10, assert(svc:request("age")).data)
    end)

    it("lets requests of a timer be answered before time goes on", function()
      local answered = 0
      local svc = start([[
        app.timer(10, function()
          local reply = assert(app.request("price", "", { timeout = 1 }))
          app.publish("seen", reply.data)
        end)
      ]] .. "\n", { clock = "manual", stubs = { price = function()
        answered = answered + 1
        return answered
      end } })
      svc:advance(100)
      assert.equal(11, #svc:calls("seen"))
    end)

    it("fires deadlines of requests that nobody answers", function()
      local svc = start([[
        app.listen("silent", function() app.sleep(1000) end)
        app.timer(60, { delay = 60 }, function()
          local _, err = app.request("silent", "", { timeout = 5 })
          app.publish("outcome", err.code)
        end)
      ]] .. "\n", { clock = "manual" })
      svc:advance(70)
      assert.equal("timeout", svc:expect("outcome").raw)
    end)
  end)

  describe("doubles", function()
    it("answer for other services and remember nothing wrong", function()
      local svc = start([[
        app.listen("buy", function(msg)
          local paid, err = app.request("payments.charge", { cents = msg.data.cents })
          if not paid then return nil, { code = 402, message = err.message } end
          return { receipt = paid.data.receipt }
        end)
      ]], { stubs = { ["payments.charge"] = function(msg)
        if msg.data.cents > 100 then return nil, { code = 402, message = "too much" } end
        return { receipt = "r1" }
      end } })
      assert.equal("r1", assert(svc:request("buy", { cents = 5 })).data.receipt)
      local _, err = svc:request("buy", { cents = 500 })
      assert.equal(402, err.status)
      assert.equal(2, #svc:calls("payments.charge"))
      assert.equal(500, svc:calls("payments.>")[2].data.cents)
    end)

    it("build JetStream messages for calling a handler directly", function()
      local msg = testing.fake_js_msg { data = { id = 7 }, metadata = { num_delivered = 3 } }
      local function handler(m)
        if m.metadata.num_delivered > 2 then return m:term("too often") end
        m:ack()
      end
      handler(msg)
      assert.equal("term", msg.settled)
      assert.equal("too often", msg.detail)
      assert.is_nil(msg:ack())
    end)
  end)

  describe("faults", function()
    local broker
    before_each(function() broker = testing.broker() end)
    after_each(function() broker:stop() end)

    it("kill and restart the server", function()
      local svc = start('app.listen("ping", function() return "pong" end)\n',
        { server = broker.url })
      assert(svc:request("ping"))
      broker:kill()
      broker:restart()
      local reply = eventually("a reply", function()
        return svc:request("ping", "", { timeout = 0.5 })
      end)
      assert.equal("pong", reply.raw)
    end)

    it("cut one service off", function()
      local svc = start('app.listen("ping", function() return "pong" end)\n',
        { server = broker.url })
      svc:partition(1)
      local _, err = svc:request("ping", "", { timeout = 0.1 })
      assert.truthy(err)
      eventually("a reply", function()
        return svc:request("ping", "", { timeout = 0.5 })
      end)
    end)
  end)

  it("starts servers with TLS", function()
    local files = testing.certificates()
    for _, tls in ipairs { true, "verify" } do
      local broker = testing.broker { tls = tls }
      local svc = testing.start('app.listen("ping", function() return "pong" end)\n', {
        server = broker.url, tls_ca = files.ca,
        tls_cert = tls == "verify" and files.cert or nil,
        tls_key = tls == "verify" and files.key or nil })
      assert.equal("pong", assert(svc:request("ping")).raw)
      svc:stop()
      local ok = pcall(testing.start, "local x = 1\n", { server = broker.url })
      assert.is_false(ok)
      broker:stop()
    end
  end)

  it("starts services on servers that want an NKey", function()
    local seed = os.tmpname()
    local file <close> = assert(io.open(seed, "w"))
    -- The pair that the documentation of nats-server uses.
    file:write "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY\n"
    file:flush()
    local broker = testing.broker { config = "authorization { users = [\n"
      .. "{ nkey: UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4 } ] }\n" }
    local source = 'app.listen("ping", function() return "pong" end)\n'
    local svc = testing.start(source, { server = broker.url, nkey = seed })
    assert.equal("pong", assert(svc:request("ping")).raw)
    svc:stop()
    assert.is_false((pcall(testing.start, source, { server = broker.url })))
    broker:stop()
    os.remove(seed)
  end)

  it("gives services an inbox and a JetStream API of their own", function()
    local source = [[
      local core = require "lunats.core"
      app.listen(app.name .. ".prefix", function() return core.js_prefix() end)
      app.listen("ask", function() return app.request("whom", "").raw end)
    ]]
    local reply_to
    local stubs = { whom = function(msg) reply_to = msg.reply_to return "me" end }
    local svc = start(source, { inbox_prefix = "_INBOX.me", js_domain = "hub", stubs = stubs,
      name = "one" })
    assert.equal("$JS.hub.API", assert(svc:request("one.prefix")).raw)
    assert.equal("me", assert(svc:request("ask")).raw)
    assert.matches("^_INBOX%.me%.", reply_to)
    local subjects = {}
    for _, msg in ipairs(svc:calls ">") do subjects[#subjects + 1] = msg.subject end
    assert.same({ "whom" }, subjects)
    svc = start(source, { js_prefix = "hub.api", name = "two" })
    assert.equal("hub.api", assert(svc:request("two.prefix")).raw)
    svc = start(source, { name = "three" })
    assert.equal("$JS.API", assert(svc:request("three.prefix")).raw)
    assert.error_matches(function() start(source, { js_prefix = "a", js_domain = "b" }) end,
      "js_domain and js_prefix exclude each other")
  end)

  it("runs two services side by side", function()
    local source = 'app.listen("%s", function() return app.name end)\n'
    local one = start(source:format "one", { name = "first" })
    local two = start(source:format "two", { name = "second" })
    assert.equal("first", assert(one:request("one")).raw)
    assert.equal("second", assert(one:request("two")).raw)
    assert.not_equal(one.instance_id, two.instance_id)
  end)

  it("keeps log lines and lists of errors", function()
    local svc = start([[
      app.listen("fail", function() error("ouch") end)
      app.on_start(function() app.log.warn("careful") end)
    ]] .. "\n")
    svc:request("fail")
    assert.equal(1, #svc:errors())
    assert.truthy(svc:errors()[1]:find("service.lua:1: ouch", 1, true))
    assert.same({ level = "warn", message = "careful" }, svc:logs()[1])
  end)

  it("sees what is sent by on_start hooks", function()
    local svc = start('app.on_start(function() app.publish("early", "x") end)\n')
    assert.equal("x", svc:expect("early").raw)
  end)

  it("keeps the fields of log lines and the headers of messages", function()
    local svc = start([[
      app.task(function()
        app.log.info("fields", { n = 1, x = 0.5, yes = true, text = "a\0b", list = { 1, 2 } })
        app.publish("out", "x", { headers = { One = "1", Many = { "a", "b", "c" } } })
        app.publish("bare", "y")
      end)
    ]])
    assert.same({ One = "1", Many = { "a", "b", "c" } }, svc:expect("out").headers)
    assert.same({}, svc:expect("bare").headers)
    local line = svc:logs("^fields$")[1]
    assert.same({ n = 1, x = 0.5, yes = true, text = "a\0b", list = { 1, 2 } }, line.fields)
    assert.equal("integer", math.type(line.fields.n))
  end)

  it("stops with the exit status of a process", function()
    local svc = testing.start('app.on_stop(function() app.publish("bye", "x") end)\n')
    assert.equal(0, svc:stop())
    assert.equal("x", svc:calls("bye")[1].raw)
  end)
end)
