-- A service with two connections: what it sends and hears over the second one.
local core = require "lunats.core"
local eventually = require "spec.support.eventually"
local process = require "spec.support.process"
local testing = require "lunats.testing"

describe("app.connect", function()
  local near, far, svc, client

  ---`client` is one at the far server, where `other` of the service is.
  setup(function()
    near, far = testing.broker(), testing.broker()
  end)

  teardown(function()
    near:stop()
    far:stop()
  end)

  before_each(function() client = assert(core.connect { servers = { far.url } }) end)

  after_each(function()
    if svc then svc:stop() end
    svc = nil
    client.handle:close()
    process.close_all()
  end)

  local function start(source, opts)
    opts = opts or {}
    opts.server = opts.server or near.url
    svc = testing.start(("local FAR = %q\n"):format(far.url) .. source, opts)
    return svc
  end

  ---A service with `other`, connected in on_start, which then runs the code.
  local function start_with(code, opts)
    return start(([[
      local other
      app.on_start(function()
        other = assert(app.connect { server = FAR, name = "far" })
        %s
      end)
      app.listen("do", { data_type = "string" }, function(msg)
        local chunk = assert(load("local other, app, FAR = ... " .. msg.data))
        local result, err = chunk(other, app, FAR)
        if err then return { err = { code = err.code, message = err.message } } end
        return { result = result }
      end)
    ]]):format(code or ""), opts)
  end

  ---Runs code in a handler of the service; what it returns.
  local function run(code)
    local reply = assert(svc:request("do", code, { timeout = 10 })).data
    return reply.result, reply.err
  end

  describe("sends", function()
    it("messages to the other server, and none to its own", function()
      start_with()
      local got = {}
      client.listen("news.>", nil, function(msg) got[#got + 1] = msg.raw end)
      assert(client.flush())
      assert.is_true(run [[return other.publish("news.1", "hello") and other.flush()]])
      eventually("the message", function() return got[1] end)
      assert.same({ "hello" }, got)
      assert.same({}, svc:calls "news.>")
    end)

    it("requests, whose replies come back over it", function()
      start_with()
      client.listen("square", nil, function(msg) return { result = msg.data.n ^ 2 } end)
      assert(client.flush())
      assert.equal(49, run [[return other.request("square", { n = 7 }).data.result]])
      assert.equal(1, run [[return #other.request_many("square", { n = 1 }, { max = 1 })]])
      local _, err = run [[return app.request("square", { n = 7 })]]
      assert.equal("no_responders", err.code)
    end)

    it("and knows of its connection", function()
      start_with()
      assert.equal("connected", run "return other.nats.status()")
      assert.equal(far.url:match ":%d+$", run "return other.nats.connected_url":match ":%d+$")
      assert.equal(near.url:match ":%d+$", run "return app.nats.connected_url":match ":%d+$")
      assert.is_true(run "return assert(other.nats.rtt()) > 0")
      assert.is_true(run "return other.nats.max_payload > 0 and other.nats.client_id > 0")
      assert.equal("connection far (connected)", run "return tostring(other)")
      assert.equal("far", run "return other.name")
    end)
  end)

  describe("listens", function()
    it("from on_start on, and replies over it", function()
      start_with [[other.listen("greet", function(msg) return "hello " .. msg.raw end)]]
      eventually("the listener", function() return (client.request("greet", "you")) end)
      assert.equal("hello you", assert(client.request("greet", "you")).raw)
      local _, err = run [[return app.request("greet", "")]]
      assert.equal("no_responders", err.code)
    end)

    it("and may respond when the handler is over", function()
      start_with [[other.listen("later", function(msg)
        app.spawn(function() app.sleep(0.01) msg:respond("at last") end)
      end)]]
      eventually("the listener", function() return (client.request("later", "")) end)
    end)

    it("to what is published there, for a bridge", function()
      start_with [[other.listen("leaf.>", function(msg)
        app.publish("from." .. msg.subject, msg.raw)
      end)]]
      eventually("the listener", function()
        return run "return other.nats.stats().subscriptions" == 1
      end)
      run "return other.flush()"
      assert(client.publish("leaf.a", "x"))
      assert.equal("x", svc:expect("from.leaf.a").raw)
    end)

    it("as long as the handle of its listener says", function()
      start_with [[local l = other.listen("short", function() return 1 end)
        app.listen("end", function() l:stop() return 1 end)]]
      eventually("the listener", function() return (client.request("short", "")) end)
      assert(svc:request("end", ""))
      eventually("its end", function()
        return select(2, client.request("short", "", { timeout = 0.1 })) end)
    end)

    it("with errors of handlers in the log and in the reply", function()
      start_with [[
        other.listen("bad", function() return nil, { code = 404, message = "no" } end)
        other.listen("worse", function() error "boom" end)]]
      local err
      eventually("the listener", function()
        err = select(2, client.request("bad", ""))
        return err.code == "service_error"
      end)
      assert.equal(404, err.status)
      err = select(2, client.request("worse", ""))
      assert.truthy(err.message:find "boom")
      assert.truthy(svc:errors()[1]:find "boom")
    end)
  end)

  describe("has JetStream", function()
    it("of the other server: streams, fetch, acknowledgements", function()
      start_with()
      assert.equal("FETCHED", run [[
        assert(other.js.add_stream { name = "FETCHED", subjects = { "fetched.*" } })
        return assert(other.js.publish("fetched.a", { n = 1 })).stream]])
      assert.equal(1, run [[
        local psub = assert(other.js.pull_subscribe("fetched.*", { durable = "w" }))
        local msgs = assert(psub:fetch(1))
        assert(msgs[1]:ack_sync())
        return msgs[1].data.n]])
      assert.equal(0, run [[
        return assert(other.js.consumer_info("FETCHED", "w")).num_ack_pending]])
      local _, err = run [[return app.js.stream_info("FETCHED")]]
      assert.equal("not_found", err.code)
    end)

    it("consume and push", function()
      start_with [[
        assert(other.js.add_stream { name = "EATEN", subjects = { "eaten.*" } })
        local psub = assert(other.js.pull_subscribe("eaten.*", { durable = "c" }))
        assert(psub:consume(function(msg) app.publish("out.pulled", msg.raw) end))
        assert(other.js.subscribe("eaten.*", { durable = "p" }, function(msg)
          app.publish("out.pushed", msg.raw)
        end))]]
      assert(run [[return other.js.publish("eaten.1", "one")]])
      assert.equal("one", svc:expect("out.pulled").raw)
      assert.equal("one", svc:expect("out.pushed").raw)
      for _, name in ipairs { "c", "p" } do
        eventually("the acknowledgement", function()
          return run(([[return assert(other.js.consumer_info("EATEN", %q)).num_ack_pending]])
            :format(name)) == 0
        end)
      end
    end)

    it("asynchronous publishes", function()
      start_with()
      assert.equal(3, run [[
        assert(other.js.add_stream { name = "ASYNC", subjects = { "async" } })
        for i = 1, 3 do other.js.publish_async("async", i) end
        assert(other.js.flush(5))
        return assert(other.js.stream_info("ASYNC")).state.messages]])
    end)

    it("key-value and object stores", function()
      start_with()
      assert.equal("v", run [[
        local kv = assert(other.js.create_key_value { bucket = "far" })
        local seen
        local watch = assert(kv:watch(function(entry) seen = entry.value end))
        assert(kv:put("k", "v"))
        for _ = 1, 500 do if seen then break end app.sleep(0.01) end
        watch:stop()
        return seen]])
      assert.equal("bytes", run [[
        local store = assert(other.js.create_object_store { bucket = "things" })
        assert(store:put("a", "bytes"))
        return (assert(store:get("a")))]])
      local _, err = run [[return app.js.key_value("far")]]
      assert.truthy(err)
    end)

    it("of a domain", function()
      start_with()
      assert.is_true(run [[
        return assert(other.js.context { prefix = "$JS.API" }.account_info()) ~= nil]])
      local _, err = run [[return other.js.context { domain = "nowhere" }.account_info()]]
      assert.equal("no_responders", err.code)
    end)
  end)

  describe("refuses", function()
    local function message_of(code)
      start(([[app.listen("try", function()
        local ok, err = pcall(function() %s end)
        return tostring(err)
      end)]]):format(code))
      return assert(svc:request("try", "")).raw
    end

    it("an unknown option, naming the nearest", function()
      local text = message_of [[app.connect { sever = FAR }]]
      assert.truthy(text:find("service.lua:3: app.connect: unknown option 'sever' "
        .. "(did you mean 'server'?)", 1, true), text)
    end)

    it("a call without a server", function()
      local text = message_of [[app.connect {}]]
      assert.truthy(text:find("service.lua:3: app.connect: no server: give", 1, true), text)
    end)

    it("what is no URL, without showing its password", function()
      local text = message_of [[app.connect { server = "nats://a:secret@far:99999" }]]
      assert.truthy(text:find("app.connect: server 'nats://far:99999': ", 1, true), text)
      assert.is_nil(text:find("secret", 1, true))
    end)

    it("a URL that a blank in its password cuts, without showing any of it", function()
      local text = message_of [[app.connect { server = "nats://a:secret word@far" }]]
      assert.truthy(text:find("app.connect: a blank in user, password or token of a server: "
        .. "write %20", 1, true), text)
      assert.is_nil(text:find("secret", 1, true))
    end)

    it("the top level of a script", function()
      local ok, err = pcall(start, [[app.connect { server = FAR }]])
      assert.is_false(ok)
      assert.truthy(err:find("app.connect cannot wait at the top level", 1, true), err)
    end)

    it("a time limit that means nothing", function()
      local text = message_of [[app.connect { server = FAR, retry = true, timeout = 1 }]]
      assert.truthy(text:find("no 'timeout' with 'retry'", 1, true), text)
    end)
  end)

  describe("fails", function()
    local function failure_of(options)
      start(([[app.listen("try", function()
        local other, err = app.connect %s
        return { other = other ~= nil, code = err.code, message = err.message }
      end)]]):format(options))
      local reply = assert(svc:request("try", "")).data
      assert.is_false(reply.other)
      return reply
    end

    it("where nobody is", function()
      local port = core.free_port()
      local err = failure_of(("{ server = 'nats://127.0.0.1:%d' }"):format(port))
      assert.equal("disconnected", err.code)
      local text = ("cannot connect to nats://127.0.0.1:%d: Connection refused"):format(port)
      assert.truthy(err.message:find(text, 1, true), err.message)
    end)

    it("with a wrong password, which it keeps to itself", function()
      local url = far.url:gsub("//([^:]*):[^@]*@", "//%1:wrong-one@")
      local err = failure_of(("{ server = %q }"):format(url))
      assert.equal("permission", err.code)
      assert.is_nil(err.message:find("wrong-one", 1, true))
    end)

    it("when it takes too long", function()
      local hung = process.server()
      hung:signal "STOP"
      local err = failure_of(("{ server = %q, connect_timeout = 30, timeout = 0.05 }")
        :format(hung.url))
      assert.equal("timeout", err.code)
      assert.equal(("cannot connect to %s in time"):format(hung.url), err.message)
    end)
  end)

  it("with retry waits for its server in the background and keeps what is published", function()
    local port = core.free_port()
    start(([[
      app.on_start(function()
        local other = app.connect { server = "nats://127.0.0.1:%d", retry = true,
          name = "late" }
        app.listen("early", function()
          other.publish("kept", "for later")
          local reply, err = other.request("x", "")
          return { status = other.nats.status(), code = err.code }
        end)
      end)]]):format(port))
    local reply
    eventually("the listener", function() reply = svc:request("early", "") return reply end)
    assert.equal("connecting", reply.data.status)
    assert.equal("disconnected", reply.data.code)
    local late = testing.broker { port = port, config = "jetstream: disabled" }
    finally(function() late:stop() end)
    eventually("the connection", function()
      return svc:logs("^connection late: connected to nats://127.0.0.1:")[1]
    end)
    assert.truthy(svc:logs("^connection late: waiting for a server at nats://127")[1])
    svc:stop()
    svc = nil
  end)

  describe("when it is closed", function()
    it("answers all with closed", function()
      start_with()
      run "other.close() other.close() return true"
      for _, call in ipairs { "publish('x', 1)", "request('x', 1)", "flush()", "nats.rtt()",
        "js.publish('x', 1)", "js.stream_info('S')", "request_many('x', 1)" } do
        local err
        eventually(call, function()
          err = select(2, run(("return other.%s"):format(call)))
          return err and err.code == "closed"
        end)
      end
      assert.equal("closed", run "return other.nats.status()")
      local err = select(2, svc:request("do", "return other.listen('x', print)"))
      assert.truthy(err.message:find "cannot listen to x: the connection is closed")
      svc:errors()
      assert.equal("connected", run "return app.nats.status()")
    end)

    it("lets its handlers finish and reply", function()
      start_with [[other.listen("slow", function()
          other.close()
          app.sleep(0.05)
          return assert(other.flush()) and "done"
        end)]]
      local reply
      eventually("the listener", function()
        reply = client.request("slow", "")
        return reply
      end)
      assert.equal("done", reply.raw)
      eventually("the end", function() return run "return other.nats.status()" == "closed" end)
    end)

    it("sends what was published", function()
      start_with()
      local count = 0
      client.listen("last", nil, function() count = count + 1 end)
      assert(client.flush())
      run [[for _ = 1, 1000 do other.publish("last", ("x"):rep(1000)) end
        other.close() return true]]
      eventually("all messages", function() return count == 1000 end)
    end)

    it("ends what reads from streams over it", function()
      start_with()
      local result, err = run [[
        assert(other.js.add_stream { name = "CUT", subjects = { "cut" } })
        local psub = assert(other.js.pull_subscribe("cut", { durable = "d" }))
        local handle = assert(psub:consume(function() end))
        local fetch = app.spawn(function() return psub:fetch(1, { timeout = 30 }) end)
        app.sleep(0.05)
        other.close()
        local msgs, why = fetch:await(10)
        for _ = 1, 500 do if handle:closed() then break end app.sleep(0.01) end
        return { why = why.code, closed = handle:closed() }]]
      assert.is_nil(err)
      assert.same({ why = "closed", closed = true }, result)
    end)

    it("by the end of its block", function()
      start_with()
      assert.equal("closed", run [[
        local nats
        do
          local third <close> = assert(app.connect { server = FAR })
          nats = third.nats
        end
        for _ = 1, 500 do if nats.status() == "closed" then break end app.sleep(0.01) end
        return nats.status()]])
    end)
  end)

  it("is closed when nobody can reach it any more, but not while it listens", function()
    local narrow = testing.broker { config = "max_connections: 2" }
    finally(function()
      svc:stop()
      svc = nil
      narrow:stop()
    end)
    start(([[
      app.on_start(function()
        assert(app.connect { server = %q }).listen("kept", function() return "here" end)
      end)
      app.listen("many", function()
        for i = 1, 20 do
          local other, err
          for _ = 1, 500 do
            other, err = app.connect { server = %q }
            if other then break end
            app.sleep(0.01) -- the one before is closing
          end
          if not other then return "cannot connect: " .. err.message end
          other = nil
          collectgarbage()
          collectgarbage()
        end
        return "all"
      end)]]):format(narrow.url, narrow.url))
    assert.equal("all", assert(svc:request("many", "", { timeout = 20 })).raw)
    local asking
    eventually("a place", function()
      asking = core.connect { servers = { narrow.url } }
      return asking
    end)
    assert.equal("here", assert(asking.request("kept", "")).raw)
    asking.handle:close()
  end)

  describe("when its server goes away", function()
    it("comes back by itself and says in the log which one it is", function()
      local port = core.free_port()
      local third = testing.broker { port = port, config = "jetstream: disabled" }
      start(([[
        app.on_start(function()
          local other = assert(app.connect { server = "nats://127.0.0.1:%d", name = "third" })
          other.listen("there", function() return "still" end)
          app.listen("ask", function()
            local reply, err = other.request("there", "")
            return reply and reply.raw or err.code
          end)
        end)]]):format(port))
      eventually("the listener", function()
        local reply = svc:request("ask", "")
        return reply and reply.raw == "still"
      end)
      third:stop()
      eventually("the loss", function()
        return svc:logs("^connection third: connection lost")[1]
      end)
      assert.equal("disconnected", assert(svc:request("ask", "")).raw)
      third = testing.broker { port = port, config = "jetstream: disabled" }
      finally(function()
        svc:stop()
        svc = nil
        third:stop()
      end)
      eventually("the listener again", function()
        local reply = svc:request("ask", "")
        return reply and reply.raw == "still"
      end)
      assert.truthy(svc:logs("^connection third: connected again to nats://127")[1])
      assert.same({}, svc:logs "^connection lost")
    end)
  end)

  it("is waited for by svc:advance", function()
    client.listen("tick", nil, function() app.sleep(0.002) return "tock" end)
    assert(client.flush())
    start([[
      local other
      app.on_start(function() other = assert(app.connect { server = FAR }) end)
      app.timer(60, { delay = 60 }, function()
        app.publish("got", assert(other.request("tick", "", { timeout = 1 })).raw)
      end)]], { clock = "manual" })
    svc:advance(180)
    assert.equal(3, #svc:calls "got")
  end)

  describe("at a stop of the service", function()
    it("does not wait for a server that hangs", function()
      local hung = testing.broker()
      finally(function() hung:stop() end)
      start(([[
        app.on_start(function()
          assert(app.connect { server = %q }).listen("x", function() end)
        end)]]):format(hung.url), { drain_timeout = 30 })
      hung:pause()
      local began = core.hrtime()
      assert.equal(0, svc:stop())
      svc = nil
      assert(core.hrtime() - began < 10) -- far less on a machine that is not busy
      hung:resume()
    end)

    it("finishes handlers, then on_stop sends over it, then it closes", function()
      start_with [[
        other.listen("work", { queue = false }, function()
          app.publish("begun", "")
          app.sleep(0.1)
          other.publish("order", "handler")
        end)
        app.on_stop(function() assert(other.publish("order", "on_stop")) end)]]
      local order = {}
      client.listen("order", nil, function(msg) order[#order + 1] = msg.raw end)
      eventually("the listener", function()
        return run "return other.nats.stats().subscriptions" == 1
      end)
      run "return other.flush()"
      assert(client.publish("work", ""))
      svc:expect "begun"
      assert.equal(0, svc:stop())
      svc = nil
      eventually("both", function() return order[2] end)
      assert.same({ "handler", "on_stop" }, order)
    end)
  end)

  it("is made anew by a new version, and the old one's closes after its handlers", function()
    local source = [[
      app.on_start(function()
        local other = assert(app.connect { server = FAR, name = "far" })
        other.listen("version", function() app.sleep(0.05) return %d end)
        app.listen("own", function() return 1 end)
      end)]]
    local prefix = ("local FAR = %q\n"):format(far.url)
    start(source:format(1))
    eventually("the listener", function() return (client.request("version", "")) end)
    local answers, lost, stop = {}, 0, false
    local asking = {}
    for i = 1, 4 do
      asking[i] = app.spawn(function()
        while not stop do
          local reply = client.request("version", "", { timeout = 5 })
          if reply then answers[#answers + 1] = reply.data else lost = lost + 1 end
        end
      end)
    end
    assert(svc:reload(prefix .. source:format(2)))
    eventually("the new version", function() return answers[#answers] == 2 end)
    stop = true
    for _, fiber in ipairs(asking) do fiber:await() end
    assert.equal(0, lost)
    assert.equal(2, #svc:logs "^connection far: connected to")
    assert.same({}, svc:logs "^connection far: connection lost")
  end)

  it("goes on reading from streams in a new version", function()
    local source = ([[
      local FAR = %q
      app.on_start(function()
        local other = assert(app.connect { server = FAR, name = "far" })
        assert(other.js.ensure_stream { name = "KEPT", subjects = { "kept.*" } })
        assert(other.js.subscribe("kept.*", { durable = "pushed" }, function(msg)
          app.publish("out.pushed." .. VERSION, msg.raw)
        end))
        local psub = assert(other.js.pull_subscribe("kept.*", { durable = "pulled" }))
        assert(psub:consume(function(msg) app.publish("out.pulled." .. VERSION, msg.raw) end))
      end)
      app.listen("version", function() return VERSION end)
    ]]):format(far.url)
    start("VERSION = 1\n" .. source)
    assert(client.publish("kept.a", "one"))
    svc:expect "out.pushed.1"
    svc:expect "out.pulled.1"
    assert(svc:reload("VERSION = 2\n" .. source))
    eventually("the new version", function() -- the old one handles what has been under way
      assert(client.publish("kept.a", "two"))
      return svc:calls("out.pushed.2")[1] and svc:calls("out.pulled.2")[1]
    end)
  end)
end)
