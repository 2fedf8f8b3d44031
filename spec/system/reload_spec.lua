-- Hot reload: the next version takes over while the service serves.
local testing = require "lunats.testing"
local eventually = require "spec.support.eventually"
local own = require "spec.support.own"

local start = own.start

after_each(own.close)

local function version(n)
  return ([[
    app.config { version = "%d.0.0" }
    app.listen("version", function() return %d end)
  ]]):format(n, n)
end

describe("a reload", function()
  it("puts the new version in the place of the old one", function()
    local svc = start(version(1))
    assert.equal(1, assert(svc:request("version")).data)
    assert(svc:reload(version(2)))
    assert.equal(2, assert(svc:request("version")).data)
  end)

  it("keeps the subscription of a listener that stays", function()
    local svc = start(version(1))
    local subscriptions = svc.handle:subscriptions()
    for i = 2, 20 do assert(svc:reload(version(i))) end
    assert.equal(20, assert(svc:request("version")).data)
    assert.equal(subscriptions, svc.handle:subscriptions())
  end)

  for _, case in ipairs {
    { "a syntax error", "app.listen(\n", "service.lua:2" },
    { "an error at the top level", "local x = nil\nlocal y = x.y\n", "service.lua:2" },
    { "a failing on_start", "app.on_start(function()\nerror 'no'\nend)\n",
      "service.lua:2: no" },
    { "another name", 'app.config { name = "other" }\n', "cannot change the name" },
    { "a wrong subject", 'app.listen("a..b", function() end)\n', "invalid subject" },
  } do
    it("with " .. case[1] .. " leaves the old version in place", function()
      local svc = start(version(1))
      local ok, err = svc:reload(case[2])
      assert.is_nil(ok)
      assert.truthy(err.message:find(case[3], 1, true), err.message)
      assert.equal(1, assert(svc:request("version")).data)
      assert(svc:reload(version(3)))
      assert.equal(3, assert(svc:request("version")).data)
    end)
  end

  for where, source in pairs {
    ["at its top level"] = "os.exit(3)\n",
    ["with success"] = "os.exit(true)\n",
    ["in pcall"] = "pcall(os.exit, 3)\n",
    ["in a coroutine"] = "coroutine.wrap(function() os.exit(3) end)()\n",
    ["in on_start"] = "app.on_start(function() os.exit(3) end)\n",
    ["in on_start after waiting"] = "app.on_start(function() app.sleep(0.01) os.exit(3) end)\n",
    ["in a fiber beside on_start"] =
      "app.on_start(function() app.spawn(function() os.exit(3) end) app.sleep(1e3) end)\n",
    ["as it is closed again"] =
      "local guard = setmetatable({}, { __gc = function() os.exit(3) end }) "
      .. "error('os.exit(3) follows' .. tostring(guard))\n",
  } do
    it("to a version that calls os.exit " .. where .. " is refused", function()
      local svc = start(version(1))
      local ok, err = svc:reload(source .. version(2))
      assert.is_nil(ok)
      assert.matches("service.lua:1", err.message, 1, true)
      assert.matches("os%.exit%([03]%)", err.message)
      assert.equal(1, assert(svc:request("version")).data)
      assert(svc:reload(version(3)))
      assert.equal(3, assert(svc:request("version")).data)
    end)
  end

  it("ends the service when the version that has taken over calls os.exit", function()
    local svc = start(version(1))
    assert(svc:reload(version(2) .. "app.on_reload(function() os.exit(4) end)"))
    eventually("its end", function() return not svc.handle:running() end)
    assert.equal(4, svc:stop())
    assert.matches("os.exit%(4%) was called", svc:errors()[1])
  end)

  it("runs on_start of the new version while the old one serves", function()
    local answers = {}
    local svc = start(version(1), { stubs = { slow = function()
      return eventually("the answers", function() return #answers == 5 end)
    end } })
    app.spawn(function()
      for i = 1, 5 do answers[i] = assert(svc:request("version")).data end
    end)
    local slow = 'app.on_start(function() assert(app.request("slow")) end)\n'
    assert(svc:reload(slow .. version(2)))
    assert.same({ 1, 1, 1, 1, 1 }, answers)
    assert.equal(2, assert(svc:request("version")).data)
  end)

  it("subscribes what is new and drains what is gone", function()
    local svc = start('app.listen("old", function() return "old" end)\n')
    assert(svc:reload('app.listen("new", function() return "new" end)\n'))
    assert.equal("new", assert(svc:request("new")).raw)
    local _, err = svc:request("old")
    assert.equal("no_responders", err.code)
  end)

  it("lets handlers in flight finish on the old version", function()
    local open = false
    local svc = start([[
      app.listen("slow", function() app.request("gate") return "old" end)
    ]] .. version(1), { stubs = { gate = function()
      return eventually("the end of the test", function() return open end)
    end } })
    local answer, err
    app.spawn(function() answer, err = svc:request("slow", "", { timeout = 10 }) end)
    svc:expect "gate"
    assert(svc:reload('app.listen("slow", function() return "new" end)\n' .. version(2)))
    assert.equal("new", assert(svc:request("slow")).raw)
    assert.is_nil(answer)
    open = true
    eventually("the answer", function() return answer or err end)
    assert.equal("old", assert(answer, err).raw)
  end)

  it("cancels tasks and timers of the old version and starts the new ones", function()
    local svc = start([[
      app.task(function()
        local guard <close> = setmetatable({}, { __close = function()
          app.publish("left", "")
        end })
        app.sleep(1e6)
      end)
    ]] .. version(1))
    assert(svc:reload('app.task(function() app.publish("begun", "") end)\n' .. version(2)))
    svc:expect "left"
    svc:expect "begun"
  end)

  it("keeps the phase of a timer", function()
    local source = [[
      app.timer(10, { name = "tick", delay = 10 }, function() app.publish("tick", "%s") end)
    ]] .. "\n"
    local svc = start(source:format "old", { clock = "manual" })
    svc:advance(7)
    assert(svc:reload(source:format "new"))
    svc:advance(2.9)
    assert.equal(0, #svc:calls "tick")
    svc:advance(0.1)
    assert.equal("new", svc:calls("tick")[1].raw)
  end)

  it("carries app.state across and tells the new version", function()
    local svc = start([[
      app.state.count = 41
      app.state.list = { 1, 2.5, "x", { true } }
      app.state.same = app.state.list
      app.state.empty = app.json.array {}
      app.config { version = "1.2.3" }
    ]])
    assert(svc:reload([[
      local at_load = app.state.count
      app.state.count = app.state.count or 0
      app.on_reload(function(old)
        app.publish("state", { old = old, at_load = at_load, count = app.state.count,
          list = app.state.list, shared = app.state.same == app.state.list,
          empty = app.state.empty })
      end)
    ]]))
    local state = svc:expect "state"
    assert.equal("1.2.3", state.data.old)
    assert.equal(41, state.data.at_load)
    assert.equal(41, state.data.count)
    assert.equal("x", state.data.list[3])
    assert.is_true(state.data.shared)
    assert.truthy(state.raw:find('"empty":[]', 1, true))
  end)

  it("loses nothing that a local name has put into app.state, over several reloads", function()
    local source = [[
      app.state.users = app.state.users or {}
      local users = app.state.users
      app.listen("add", function(msg)
        users[#users + 1] = msg.raw
        return { users = users, state = app.state.users }
      end)
    ]]
    local svc = start(source)
    local all = {}
    for i, name in ipairs { "ada", "bob", "eve" } do
      all[i] = name
      assert.same({ users = all, state = all }, svc:request("add", name).data)
      assert(svc:reload(source .. "-- " .. name))
    end
  end)

  it("names what cannot be copied and leaves the old version in place", function()
    local svc = start("app.state.users = { { callback = print } }\n" .. version(1))
    local ok, err = svc:reload(version(2))
    assert.is_nil(ok)
    local expected = "app.state.users[1].callback: cannot copy a function"
    assert.truthy(err.message:find(expected, 1, true), err.message)
    assert.equal(1, assert(svc:request("version")).data)
  end)

  it("refuses a version after which there could be none, and takes the mended one", function()
    local svc = start("app.state.n = 1\n" .. version(1))
    local ok, err = svc:reload("app.state.call = print\n" .. version(2))
    assert.is_nil(ok)
    assert.truthy(err.message:find("app.state.call: cannot copy a function, so the version "
      .. "after this one could not take over", 1, true), err.message)
    assert.equal(1, assert(svc:request("version")).data)
    assert(svc:reload("assert(app.state.n == 1 and not app.state.call)\n" .. version(3)))
    assert.equal(3, assert(svc:request("version")).data)
  end)

  it("is warned of when the first version could have none after it", function()
    local svc = start("app.state.list = { [print] = 1 }\n" .. version(1))
    eventually("the warning", function() return svc:logs "cannot be reloaded"[1] end)
    assert.matches("^app.state.list%[function: [^%]]+%]: cannot copy a function: this service "
      .. "cannot be reloaded, only started again$", svc:logs "cannot be reloaded"[1].message)
  end)

  it("loses no request and answers none twice", function()
    local svc = start(version(0))
    local wrong, answered, done = 0, 0, 0
    for _ = 1, 8 do
      app.spawn(function()
        while done < 1 do
          local reply = svc:request("version")
          if reply and math.type(reply.data) == "integer" then
            answered = answered + 1
          else
            wrong = wrong + 1
          end
        end
      end)
    end
    for i = 1, 30 do assert(svc:reload(version(i))) end
    done = 1
    assert.equal(30, assert(svc:request("version")).data)
    assert.equal(0, wrong)
    assert.is_true(answered > 30)
  end)

  it("hands a durable push consumer over", function()
    local stream = "RELOAD_PUSH"
    assert(app.js.add_stream { name = stream, subjects = { "reload.push.*" } })
    finally(function() own.close() app.js.delete_stream(stream) end)
    local source = [[
      app.js.subscribe("reload.push.*", { durable = "worker", stream = "RELOAD_PUSH" },
        function(msg) app.publish("handled", { n = msg.data.n, by = %d }) end)
    ]] .. "\n"
    local svc = start(source:format(1))
    assert(app.js.publish("reload.push.a", { n = 1 }))
    assert.same({ n = 1, by = 1 }, svc:expect("handled").data)
    assert(svc:reload(source:format(2)))
    assert(app.js.publish("reload.push.a", { n = 2 }))
    assert.same({ n = 2, by = 2 }, svc:expect("handled").data)
  end)

  it("hands a pull consumer over", function()
    local stream = "RELOAD_PULL"
    assert(app.js.add_stream { name = stream, subjects = { "reload.pull.*" } })
    finally(function() own.close() app.js.delete_stream(stream) end)
    local source = [[
      app.task(function()
        local psub = assert(app.js.pull_subscribe("reload.pull.*",
          { durable = "worker", stream = "RELOAD_PULL" }))
        while true do
          for _, msg in ipairs(assert(psub:fetch(1))) do
            app.publish("handled", { n = msg.data.n, by = %d })
            msg:ack()
          end
        end
      end)
    ]] .. "\n"
    local svc = start(source:format(1))
    for n = 1, 3 do assert(app.js.publish("reload.pull.a", { n = n })) end
    for n = 1, 3 do assert.same({ n = n, by = 1 }, svc:expect("handled").data) end
    assert(svc:reload(source:format(2)))
    for n = 4, 6 do assert(app.js.publish("reload.pull.a", { n = n })) end
    -- One that was on its way to the old version comes a second time, perhaps later.
    local seen = {}
    for _ = 4, 6 do
      local data = svc:expect("handled").data
      assert.equal(2, data.by)
      seen[data.n] = true
    end
    assert.same({ [4] = true, [5] = true, [6] = true }, seen)
  end)

  it("hands a consume over with its queue: no message is delivered twice", function()
    local stream = "RELOAD_CONSUME"
    assert(app.js.add_stream { name = stream, subjects = { "reload.consume" } })
    finally(function() own.close() app.js.delete_stream(stream) end)
    local source = [[
      local psub = app.js.pull_subscribe("reload.consume", { durable = "worker",
        stream = "RELOAD_CONSUME" })
      psub:consume(function(msg)
        assert(app.request("gate", { n = msg.data, by = %d,
          delivery = msg.metadata.num_delivered }))
      end)
      app.listen("id", function() end)
    ]] .. "\n"
    local seen, gates = {}, {}
    local svc = start(source:format(1), { stubs = { gate = function(msg)
      seen[#seen + 1] = ("%d by %d, delivery %d"):format(msg.data.n, msg.data.by,
        msg.data.delivery)
      while not gates[msg.data.n] do app.sleep(0.002) end
      return "go on"
    end } })
    for n = 1, 8 do assert(app.js.publish("reload.consume", n)) end
    eventually("the first message", function() return #seen == 1 end)
    for v = 2, 3 do assert(svc:reload(source:format(v))) end
    app.sleep(0.02) -- in which nothing happens: the next one waits for the first one's handler
    assert.same({ "1 by 1, delivery 1" }, seen)
    for n = 1, 8 do gates[n] = true end
    eventually("all messages", function() return #seen == 8 end)
    for n = 2, 8 do assert.equal(("%d by 3, delivery 1"):format(n), seen[n]) end
    eventually("the acknowledgements", function()
      return app.js.consumer_info(stream, "worker").num_ack_pending == 0
    end)
    assert.equal(0, app.js.consumer_info(stream, "worker").num_redelivered)
  end)

  it("starts nothing new in the old version", function()
    local reloaded
    local svc = start([[
      app.listen("late", function()
        app.publish("running")
        app.request("gate")
        app.timer(0.001, function() app.publish("from.the.old") end)
        app.task(function() app.publish("from.the.old") end)
        return "done"
      end)
    ]], { stubs = { gate = function()
      return eventually("the reload", function() return reloaded end)
    end } })
    local answer
    app.spawn(function() answer = svc:request("late") end)
    svc:expect("running")
    assert(svc:reload(version(2)))
    reloaded = true
    eventually("the answer", function() return answer end)
    assert.equal("done", answer.raw)
    app.sleep(0.02) -- in which nothing happens
    assert.equal(0, #svc:calls("from.the.old"))
  end)

  it("leaves nothing of the old versions behind", function()
    local stream = "RELOAD_REST"
    assert(app.js.add_stream { name = stream, subjects = { "reload.rest.>" } })
    assert(app.js.create_key_value { bucket = "reload_rest" })
    finally(function()
      app.js.delete_stream(stream)
      app.js.delete_key_value "reload_rest"
    end)
    local source = [[
      app.listen("id", function() end)
      app.timer(0.01, function() app.sleep(0.005) end)
      app.task(function() app.sleep(1000) end)
      app.task(function() app.request("silent", "", { timeout = 1000 }) end)
      app.js.subscribe("reload.rest.a", { durable = "pushed", stream = "RELOAD_REST" },
        function() end)
      app.js.subscribe("reload.rest.b", { ordered = true, stream = "RELOAD_REST" },
        function() end)
      local psub = app.js.pull_subscribe("reload.rest.c", { durable = "pulled",
        stream = "RELOAD_REST" })
      psub:consume(function() end)
      app.on_start(function()
        assert(app.js.key_value "reload_rest"):watch(">", function() end)
      end)
    ]]
    local svc = start(source, { stubs = { silent = function() end } })
    local function rest()
      return { subscriptions = svc.handle:subscriptions(),
        consumers = #app.js.consumer_names(stream),
        watches = #app.js.consumer_names "KV_reload_rest" }
    end
    assert(svc:reload(source))
    local first
    eventually("the first rest", function()
      first = rest()
      return first.consumers == 3 and first.watches == 1
    end)
    for _ = 1, 20 do assert(svc:reload(source)) end
    local now
    eventually(function() return app.json.encode(now) end, function()
      now = rest()
      -- The first look may have seen a subscription that was about to end.
      return now.subscriptions <= first.subscriptions and now.consumers == first.consumers
        and now.watches == first.watches
    end)
  end)

  it("is given up when the service stops meanwhile", function()
    local svc = testing.start('app.listen("end", function() os.exit(0) end)' .. version(1))
    local ok, err = svc:reload('app.on_start(function() app.request("end") end)' .. version(2))
    assert.is_nil(ok)
    assert.equal("the reload was given up", err.message)
    assert.equal(0, svc:stop())
  end)
end)
