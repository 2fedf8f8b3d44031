-- lunats check --permissions: a real server with what it prints has nothing to refuse.
local check = require "spec.support.check"
local complaint = require "spec.support.complaint"
local eventually = require "spec.support.eventually"
local process = require "spec.support.process"
local since = require "spec.support.since"

after_each(process.close_all)

---@return string configuration  without the warnings before it
local function permissions(path, options)
  local status, output = check("--permissions", path, table.unpack(options or {}))
  assert.equal(0, status, output)
  return (output:match "# Permissions.*")
end

---A server with a user for each script, and one for the spec.
---@param options string[]|nil  of run, and of check
---@param more string|nil  configuration of JetStream
local function serve(paths, options, more)
  local users = {}
  for i, path in ipairs(paths) do
    users[i] = ("{ user: u%d, password: p\n%s}"):format(i, permissions(path, options))
  end
  local config = process.write("server.conf", ([[
    jetstream: { store_dir: %q %s }
    authorization { users: [ { user: spec, password: p }
    %s ] }
  ]]):format(process.path "store", more or "", table.concat(users, "\n")))
  local server = process.server { args = { "-c", config } }
  local services = {}
  for i, path in ipairs(paths) do
    services[i] = process.spawn { process.lunats(), "run", "-s",
      ("nats://u%d:p@127.0.0.1:%d"):format(i, server.port), path,
      table.unpack(options or {}) }
  end
  for _, service in ipairs(services) do service:expect "started, connected" end
  local connection = assert(app.connect { server = ("nats://spec:p@127.0.0.1:%d"):format(
    server.port) })
  finally(function() connection.close() end)
  return connection, server, services
end

---Nobody was refused anything, until the end.
---@param except string|nil  pattern of a warning that is meant to be there
local function assert_allowed(server, services, except)
  for _, service in ipairs(services) do
    assert.equal(0, service:stop())
    local output = service:output():gsub(except or "^$", "")
    assert.is_nil(complaint(output))
  end
  assert.is_nil(server:output():match "[^\n]*[Vv]iolation[^\n]*")
end

local function ask(connection, subject, body)
  return assert(connection.request(subject, body)).data
end

---What works on every example.
local CASES = {
  ["examples/hello.lua"] = function(connection)
    assert.equal("Hello, Ada!", ask(connection, "hello.greet", { name = "Ada" }).text)
  end,
  ["examples/orders.lua"] = function(connection)
    ask(connection, "orders.create", { sku = "A1", amount = 2 })
    assert.equal(1, ask(connection, "orders.count").orders)
  end,
  ["examples/kv_config.lua"] = function(connection)
    ask(connection, "shop.set", { key = "discount", value = 0.5 })
    eventually("the setting", function()
      return ask(connection, "shop.settings").discount == 0.5
    end)
  end,
  ["examples/object_store.lua"] = function(connection)
    ask(connection, "reports.make", { name = "may", rows = 20000 })
    ask(connection, "reports.make", { name = "may", rows = 10 })
    assert.equal(10, ask(connection, "reports.sum", { name = "may" }).rows)
    assert.same({ "may" }, ask(connection, "reports.list"))
  end,
  ["examples/patterns/fan_out.lua"] = function(connection)
    assert.equal(3, ask(connection, "offers.best", { sku = "A1", count = 2 }).asked)
  end,
  ["examples/jetstream/work_queue.lua"] = function(connection)
    ask(connection, "shop.orders", { id = 1, sku = "A1", amount = 2 })
    eventually("the order", function() return ask(connection, "shop.stats").shipped[1] == 1 end)
  end,
}

describe("lunats check --permissions", function()
  for path, use in pairs(CASES) do
    it("prints what " .. path .. " needs", function()
      local connection, server, services = serve { path }
      use(connection)
      local name = services[1]:output():match "INFO  ([%w_]+): started"
      assert.equal(name, ask(connection, "$SRV.PING." .. name).name)
      assert_allowed(server, services)
    end)
  end

  it("prints what publishers and consumers of a stream need", function()
    local _, server, services = serve { "examples/jetstream/js_publish.lua",
      "examples/jetstream/js_listen_pull.lua", "examples/jetstream/js_listen_push.lua" }
    services[2]:expect "pulled"
    services[3]:expect "pushed"
    assert_allowed(server, services)
  end)

  it("prints what needs one instance of the fleet", function()
    local path = process.write("svc.lua", [[
      app.config { name = "once" }
      app.timer(60, { singleton = true }, function() print "ticks" end)
      app.leader("work", { ttl = 4 }, function() app.sleep(2) print "leads" end)
      app.cron("* * * * * *", { catch_up = 60 }, function() print "runs" end)
      app.cron("@daily", { name = "other", dead_letter = "dead" }, print)
    ]])
    local _, server, services = serve { path }
    for _, word in ipairs { "ticks", "leads", "runs" } do services[1]:expect(word) end
    assert_allowed(server, services, "[^\n]* WARN [^\n]*no stream takes the subject of its dead"
      .. "[^\n]*")
  end)

  it("prints what consumer groups need", function()
    local path = process.write("svc.lua", [[
      app.config { name = "groups" }
      app.on_start(function()
        assert(app.js.add_stream { name = "P", subjects = { "0.p", "1.p" } })
        local kv = assert(app.js.create_key_value { bucket = "static-consumer-groups" })
        assert(kv:put("P.described", { max_members = 2 }))
      end)
      app.js.consumer_group("P", "said", { partitions = 2, ttl = 6 }, function(msg)
        print("said " .. msg.data)
      end)
      app.js.consumer_group("P", "described", { ttl = 6 }, function(msg)
        print("described " .. msg.data)
      end)
      app.timer(0.1, function() app.publish("1.p", "7") end)
    ]])
    local _, server, services = serve { path }
    services[1]:expect "said 7"
    services[1]:expect "described 7"
    assert_allowed(server, services)
  end)

  since.it("2.11", "prints what elastic consumer groups need", function()
    local path = process.write("svc.lua", [[
      app.config { name = "groups" }
      app.on_start(function()
        assert(app.js.add_stream { name = "E", subjects = { "e.*" } })
        local elastic = assert(app.js.create_elastic_group("E", "read", { partitions = 2,
          filters = { "e.*" } }))
        assert(elastic:add_members { "east", "west" })
        assert(elastic:info() and elastic:active())
        assert(app.js.create_elastic_group("E", "gone", { partitions = 2,
          filters = { "e.*" } }))
        assert(app.js.delete_elastic_group("E", "gone"))
        assert(#app.js.elastic_group_names "E" == 1)
      end)
      app.js.consumer_group("E", "read", { elastic = true, member = "east", ttl = 6 },
        function(msg) print("east " .. msg.data) end)
      app.js.consumer_group("E", "read", { elastic = true, member = "west", ttl = 6 },
        function(msg) print("west " .. msg.data) end)
      app.timer(0.1, function()
        for i = 1, 8 do app.publish("e." .. i, "7") end
      end)
    ]])
    local _, server, services = serve { path }
    services[1]:expect "east 7"
    services[1]:expect "west 7"
    assert_allowed(server, services)
  end)

  ---All that is given up is taken back once, and handled then.
  local LETTERS = [[
    app.config { name = "letters" }
    app.leader("work", function() print "leads" end)
    app.cron("* * * * * *", { catch_up = 60 }, function() print "runs" end)
    app.listen("letters.ask", { key = "subject:2" }, function() return "answered" end)
    app.on_start(function()
      assert(app.js.add_stream { name = "IN", subjects = { "in.>" } })
      assert(app.js.add_stream { name = "DEAD", subjects = { "dead.>" } })
      local kv = assert(app.js.create_key_value { bucket = "b" })
      assert(kv:put("k", 1))
    end)
    app.task(function()
      local mended = false
      assert(app.js.pull_subscribe("in.*", { stream = "IN", durable = "d" }):consume({
        key = "subject:2", max_deliver = 1, dead_letter = "dead.in" }, function()
          if not mended then return nil, "on purpose" end
          print "handled"
        end))
      assert(app.js.publish("in.a", "1"))
      local letters, list = assert(app.js.dead_letters "DEAD"), nil
      repeat
        app.sleep(0.05)
        list = assert(letters:list())
      until #list > 0
      assert(letters:get(list[1].seq))
      mended = true
      assert(letters:redrive {})
      assert(app.js.publish("in.a", "2"))
    end)
  ]]

  for _, options in ipairs { {}, { "--js-domain", "hub" } } do
    it("prints what keys, dead letters and their redrive, leases and jobs need"
      .. (options[1] and " in another domain" or ""), function()
      local path = process.write("svc.lua", LETTERS)
      local connection, server, services = serve({ path }, options,
        options[1] and ", domain: hub")
      for _, word in ipairs { "leads", "runs", "handled" } do services[1]:expect(word) end
      eventually("both messages", function() return services[1]:count "handled" == 2 end)
      assert.equal("answered", connection.request("letters.ask", "").raw)
      assert_allowed(server, services, "[^\n]*on purpose[^\n]*")
    end)
  end

  it("leaves out the redrive of letters that are only looked at", function()
    local text = permissions(process.write("svc.lua", [[
      app.task(function() print(#app.js.dead_letters("DEAD"):list()) end)
    ]]))
    assert.truthy(text:find('"$JS.API.STREAM.MSG.GET.DEAD"', 1, true), text)
    for _, word in ipairs { "DELETE", "KV_", "%$KV", "redrive" } do
      assert.is_nil(text:find(word), text)
    end
  end)

  it("prints what the functions of JetStream need", function()
    local path = process.write("svc.lua", [[
      app.config { name = "all" }
      app.listen("all.ok", function() return true end)
      app.on_start(function()
        local kv = assert(app.js.create_key_value { bucket = "b", history = 5 })
        local watch = assert(kv:watch(function() end))
        assert(watch:ready())
        assert(kv:put("k", "1"))
        local entry = assert(kv:get("k"))
        assert(kv:update("k", "2", entry.revision))
        assert(kv:create("l", "3"))
        assert(#assert(kv:keys()) == 2)
        assert(#assert(kv:history("k")) == 2)
        assert(kv:delete("k"))
        assert(kv:purge("l"))
        assert(kv:status())
        local store = assert(app.js.create_object_store { bucket = "o" })
        assert(store:put("x", ("x"):rep(300000)))
        assert(store:get("x"))
        assert(store:info("x"))
        assert(#assert(store:list()) == 1)
        assert(store:delete("x"))
        assert(store:status())
      end)
      app.on_start(function()
        local STREAM = "S"
        assert(app.js.add_stream { name = STREAM, subjects = { "s.>" } })
        assert(app.js.update_stream { name = STREAM, max_age = 60 })
        assert(app.js.ensure_stream { name = STREAM, max_age = 70 })
        assert(app.js.publish("s.a", "1"))
        assert(assert(app.js.publish_async("s.b", "2")):await())
        assert(app.js.streams())
        assert(app.js.stream_names())
        assert(app.js.find_stream("s.a"))
        assert(app.js.account_info())
        assert(app.js.get_msg(STREAM, { seq = 1 }))
        assert(app.js.get_msg(STREAM, { last_by_subject = "s.b" }))
        assert(app.js.add_consumer { stream = STREAM, durable_name = "c" })
        assert(app.js.ensure_consumer { stream = STREAM, durable_name = "c", ack_wait = 60 })
        assert(app.js.consumer_info(STREAM, "c"))
        assert(app.js.consumers(STREAM))
        local psub = app.js.pull_subscribe("s.*", { stream = STREAM, durable = "p" })
        assert(psub:fetch(1))[1]:ack_sync()
        local done = app.js.pull_subscribe("s.b")
        assert(#assert(done:fetch(1)) == 1)
        done:stop()
        local seen = false
        local sub = app.js.subscribe("s.a", { ordered = true }, function() seen = true end)
        while not seen do app.sleep(0.01) end
        sub:stop()
        assert(app.js.delete_consumer(STREAM, "c"))
        assert(app.js.delete_msg(STREAM, 1))
        assert(app.js.purge_stream(STREAM))
        assert(app.js.delete_stream(STREAM))
      end)
    ]])
    local connection, server, services = serve { path }
    assert.is_true(ask(connection, "all.ok"))
    assert_allowed(server, services)
  end)

  it("names the options that change something, without those it is given", function()
    local path = process.write("x.lua", "app.listen('x', print)")
    assert.matches("# For %-%-control, %-%-console, %-%-log%-subject, %-%-inbox%-prefix, "
      .. "%-%-js%-prefix, %-%-js%-domain\n# of run", permissions(path))
    assert.matches("# For %-%-console, %-%-inbox%-prefix\n# of run", permissions(path,
      { "--control", "--log-subject", "logs", "--js-domain", "hub" }))
    assert.is_nil(permissions(path, { "--control", "--console", "--log-subject", "logs",
      "--inbox-prefix", "I", "--js-prefix", "J" }):find "# For")
  end)

  it("prints what the options of run need that it is given, too", function()
    local path = process.write("svc.lua", [[
      app.config { name = "svc" }
      app.listen("x", function() return { id = app.instance_id } end)
      app.on_start(function() assert(app.js.account_info()) end)
    ]])
    local options = { "--control", "--console", "--log-subject", "logs.of", "--inbox-prefix",
      "_IN.svc", "--js-prefix", "$JS.API" }
    local connection, server, services = serve({ path }, options)
    local logged
    local listener = connection.listen("logs.of.svc.*", function(msg) logged = msg.data end)
    local id = ask(connection, "x", "").id
    assert.equal("debug", ask(connection, ("lunats.control.svc.%s.log_level"):format(id),
      "debug").level)
    assert.equal("reloaded", ask(connection, ("lunats.control.svc.%s.reload"):format(id),
      "").status)
    assert.equal(id, ask(connection, "lunats.console.svc", "").id)
    assert.is_true(ask(connection, "lunats.console.svc." .. id, { code = "1" }).ok)
    eventually("a line of its log", function() return logged end)
    listener:stop()
    assert_allowed(server, services, "[^\n]* svc: [^\n]*console[^\n]*")
    local text = permissions(path, { "--js-domain", "hub" })
    assert.truthy(text:find('"$JS.hub.API.INFO"', 1, true), text)
    assert.is_nil(text:find("lunats.c", 1, true), text)
  end)

  it("prints what --js-domain needs at a server of this domain", function()
    local path = process.write("svc.lua", [[
      app.on_start(function()
        assert(app.js.ensure_stream { name = "ORD", subjects = { "ord.>" } })
        assert(app.js.create_key_value { bucket = "settings" })
      end)
      app.task(function()
        local psub = assert(app.js.pull_subscribe("ord.>", { stream = "ORD", durable = "w" }))
        assert(psub:consume(function() print "consumed" end))
        assert(app.js.key_value("settings"):put("a", 1))
        assert(app.js.publish("ord.new", {}))
      end)
    ]])
    local options = { "--js-domain", "hub" }
    local _, server, services = serve({ path }, options, ", domain: hub")
    services[1]:expect "consumed"
    assert_allowed(server, services)
    local text = permissions(path, options)
    for _, subject in ipairs { "$JS.hub.API.STREAM.INFO.ORD", "$JS.API.STREAM.INFO.ORD" } do
      assert.truthy(text:find('"' .. subject .. '"', 1, true), text)
    end
  end)

  it("leaves out what a script does not do", function()
    local text = permissions "examples/hello.lua"
    assert.is_nil(text:find('\n    "$JS', 1, true))
    assert.is_nil(text:find('"[*]*%.?>"  '))
    text = permissions "examples/jetstream/js_publish.lua"
    assert.is_nil(text:find("CONSUMER", 1, true))
    assert.truthy(text:find('"test.app2.stream"', 1, true))
  end)

  it("follows names, and says what is only known when it runs", function()
    local path = process.write("svc.lua", [[
      local NAME = "A"
      local subjects = { "a.one", "a.two" }
      for _ = 1, 2 do app.log.info "loop" end
      local function publish(subject, kind, id)
        app.publish(subject, "x")
        app.publish(subjects[2], "x")
        app.publish("b." .. kind .. ".x", "x")
        app.publish(("c.%s.d-%d"):format(kind, id), "x")
        if kind then id = 1 else id = 2 end
        app.publish(id, "x")
        app.js.purge_stream(NAME)
      end
      app.listen("x.*", { queue = false }, function(msg)
        publish(msg.data.subject, "k", 1)
        msg:respond("1")
      end)
      app.js.subscribe("a.>", { durable = "d" }, print)
    ]])
    local text = permissions(path)
    for _, subject in ipairs { "a.two", "b.>", "c.*.*", "$JS.API.STREAM.PURGE.A",
      "$JS.API.STREAM.NAMES", "$JS.API.CONSUMER.INFO.*.d", "x.*" } do
      assert.truthy(text:find('"' .. subject .. '"', 1, true), subject .. "\n" .. text)
    end
    assert.is_nil(text:find('"a.one"', 1, true))
    for _, line in ipairs { 5, 10 } do
      assert.matches(("#   line %d: the subject of app%%.publish is only known when it runs\n")
        :format(line), text)
    end
    assert.matches("allow_responses: { max: 100,", text)
  end)

  it("allows a reply for each subscription that gets the same message", function()
    local path = process.write("svc.lua", [[
      app.listen("a.b", { queue = "one" }, print)
      app.listen("a.b", { queue = "one" }, print) -- shares the subscription
      app.listen("a.*", { queue = "one" }, print) -- gets it, or a.b does
      app.listen("a.*", { queue = "two" }, print)
      app.listen("a.>", { queue = false }, print)
      app.listen("c", { queue = "three" }, print)
    ]])
    assert.matches("allow_responses: { max: 5,", permissions(path))
    assert.matches("allow_responses: { max: 1,", permissions "examples/hello.lua")
  end)

  it("says which modules beside the script it has not looked at", function()
    local path = process.write("svc.lua", [[
      local json = require "lunats.json"
      local send = require "sends"
      app.listen("a", function() send(json.null) end)
    ]])
    local module = assert(io.open(path:match "^.*/" .. "sends.lua", "w"))
    module:write [[return function() app.publish("x", 1) end]]
    module:close()
    local text = permissions(path)
    assert.matches("# +line 2: what the module sends publishes and asks for is not listed",
      text)
    assert.is_nil(text:find("lunats.json", 1, true))
  end)

  it("prints nothing but errors for a script with errors", function()
    local path = process.write("svc.lua", "app.lisen('x', print)")
    local status, output = process.lunats_to_end { "check", "--permissions", path }
    assert.equal(1, status)
    assert.is_nil(output:find "permissions: {")
  end)
end)
