-- $SRV: how tools and services of other languages find a service.
local eventually = require "spec.support.eventually"
local json = require "lunats.json"
local process = require "spec.support.process"
local testing = require "lunats.testing"
local unique = require "spec.support.unique"

local name, services

before_each(function() name, services = unique "found", {} end)
after_each(function()
  for _, svc in ipairs(services) do svc:stop() end
  process.close_all()
end)

local function start(source, ...)
  local svc = testing.start(source:gsub("NAME", name), ...)
  services[#services + 1] = svc
  return svc
end

---All answers to $SRV.<verb>.<rest>.
local function ask(verb, rest)
  local answers = {}
  local to = ("$SRV.%s%s"):format(verb, rest and "." .. rest or "")
  for i, msg in ipairs(assert(app.request_many(to, "{}", { timeout = 5, stall = 0.3 }))) do
    answers[i] = msg.data
  end
  return answers
end

---The one answer of the service of this test.
local function ask_one(verb)
  local answers = ask(verb, name)
  assert.equal(1, #answers)
  return answers[1]
end

local function endpoints(verb)
  local found = {}
  for _, one in ipairs(ask_one(verb).endpoints) do found[one.name] = one end
  return found
end

local ORDERS = [[
  app.config { name = "NAME", version = "1.2.3-rc.1", description = "Orders",
    metadata = { team = "shop" } }
  app.listen("NAME.*", { description = "any order", metadata = { a = "1" } }, function(msg)
    if msg.data == 1 then return nil, { code = 404, message = "no such order" } end
    if msg.data == 2 then error "broken" end
    return "ok"
  end)
  app.listen("NAME.all.>", { queue = false }, function() end)
  app.listen("NAME.hidden", { endpoint = false }, function() return "here" end)
]]

describe("a service that is looked for", function()
  it("answers alone, by its name, and by its name and id", function()
    start(ORDERS)
    local ping = ask_one "PING"
    assert.equal("io.nats.micro.v1.ping_response", ping.type)
    assert.same({ ping }, ask("PING", name .. "." .. ping.id))
    local _, err = app.request(("$SRV.PING.%s.other"):format(name), "")
    assert.equal("no_responders", err.code)
    local found
    for _, one in ipairs(ask "PING") do found = found or one.id == ping.id end
    assert.is_true(found)
  end)

  it("tells its version, description, metadata and endpoints", function()
    start(ORDERS)
    local info = ask_one "INFO"
    assert.equal("io.nats.micro.v1.info_response", info.type)
    assert.equal("1.2.3-rc.1", info.version)
    assert.equal("Orders", info.description)
    assert.equal("shop", info.metadata.team)
    assert.equal("lunats", info.metadata["_nats.client.created.library"])
    assert.truthy(info.metadata["_nats.client.created.version"]:match "^%d+%.%d+%.%d+")
    assert.same({
      { name = name .. "_any", subject = name .. ".*",
        queue_group = ("%s:%s.*"):format(name, name),
        metadata = { a = "1", description = "any order" } },
      { name = name .. "_all_all", subject = name .. ".all.>", queue_group = "",
        metadata = json.null },
    }, info.endpoints)
  end)

  it("counts requests, errors and time, and tells the last error", function()
    local svc = start(ORDERS)
    for i = 1, 3 do svc:request(name .. ".x", i) end
    assert.equal(1, #svc:errors())
    local one = endpoints("STATS")[name .. "_any"]
    assert.equal(3, one.num_requests)
    assert.equal(2, one.num_errors)
    assert.truthy(one.last_error:find "^500:.*broken")
    assert.equal("integer", math.type(one.processing_time))
    assert.equal(one.processing_time // 3, one.average_processing_time)
    assert.truthy(one.processing_time > 0)
    assert.truthy(ask_one("STATS").started:match "^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d+Z$")
  end)

  it("counts the time that a handler waits, and in front of it", function()
    local svc = start [[
      app.config { name = "NAME" }
      app.listen("NAME", { concurrency = 1 }, function() app.sleep(0.1) return "ok" end)
    ]]
    local first = app.spawn(svc.request, svc, name)
    assert(svc:request(name))
    first:await()
    local one = endpoints("STATS")[name]
    assert.truthy(one.processing_time >= 295e6, one.processing_time)
  end)

  it("has an empty list of endpoints and version 0.0.0 when it declares none", function()
    start [[app.config { name = "NAME" } app.task(function() app.sleep(100) end)]]
    assert.same({}, ask_one("INFO").endpoints)
    local to = "$SRV.STATS." .. name
    assert.truthy(assert(app.request(to, "")).raw:find('"endpoints":[]', 1, true))
    assert.equal("0.0.0", ask_one("INFO").version)
    assert.equal("", ask_one("INFO").description)
  end)

  it("answers while its handlers are all busy", function()
    local svc = start([[
      app.config { name = "NAME" }
      app.listen("NAME", { concurrency = 2 }, function()
        app.sleep(600)
        app.publish("NAME.done", "")
      end)
    ]], { drain_timeout = 0.1 })
    for _ = 1, 6 do app.publish(name, "") end
    eventually("two handlers", function() return svc.handle:listeners()[1].received == 2 end)
    assert(app.request("$SRV.INFO." .. name, ""))
    assert.same({}, svc:calls(name .. ".done"))
  end)

  it("is found as long as it serves", function()
    local svc = start(ORDERS)
    ask_one "PING"
    svc:stop()
    services = {}
    local _, err = app.request("$SRV.PING." .. name, "")
    assert.equal("no_responders", err.code)
  end)

  it("is not found with discover = false", function()
    start [[app.config { name = "NAME", discover = false } app.listen("NAME", print)]]
    local _, err = app.request("$SRV.PING." .. name, "")
    assert.equal("no_responders", err.code)
  end)

  it("does not answer to subjects of the server", function()
    local stream = unique "STREAM"
    assert(app.js.add_stream { name = stream, subjects = { stream } })
    start(ORDERS)
    app.publish("$SRV.PING." .. name, "", { reply_to = "$JS.API.STREAM.DELETE." .. stream })
    ask_one "PING" -- in order behind the other
    assert(app.js.stream_info(stream))
    assert(app.js.delete_stream(stream))
  end)
end)

describe("a reload", function()
  it("keeps id, start and counters, and shows the next version and its endpoints", function()
    local svc = start(ORDERS)
    assert(svc:request(name .. ".x", 0))
    local before = ask_one "STATS"
    assert(svc:reload(([[
      app.config { name = "NAME", version = "2.0.0", description = "Anew" }
      app.listen("NAME.*", function() return "new" end)
      app.listen("NAME.more.x", { name = "more" }, function() return "new" end)
    ]]):gsub("NAME", name)))
    assert(svc:request(name .. ".x", 0))
    local stats, info = ask_one "STATS", ask_one "INFO"
    assert.equal(before.id, stats.id)
    assert.equal(before.started, stats.started)
    assert.equal("2.0.0", stats.version)
    assert.equal("Anew", info.description)
    assert.equal(2, #stats.endpoints)
    assert.equal(2, stats.endpoints[1].num_requests)
    assert.equal("more", stats.endpoints[2].name)
    assert.equal(0, stats.endpoints[2].num_requests)
  end)

  it("that fails changes nothing", function()
    local svc = start(ORDERS)
    local before = ask_one "INFO"
    assert.falsy(svc:reload(([[
      app.config { name = "NAME", version = "2.0.0" }
      app.listen("NAME.*", print)
      app.on_start(function() error "no" end)
    ]]):gsub("NAME", name)))
    svc:errors()
    assert.same(before, ask_one "INFO")
  end)

  it("may hide the service and show it again", function()
    local svc = start(ORDERS)
    local source = ([[
      app.config { name = "NAME", discover = %s } app.listen("NAME.*", print)
    ]]):gsub("NAME", name)
    assert(svc:reload(source:format "false"))
    eventually("nobody to answer", function()
      local _, err = app.request("$SRV.PING." .. name, "", { timeout = 0.2 })
      return err and err.code == "no_responders"
    end)
    assert(svc:reload(source:format "true"))
    eventually("an answer", function() return app.request("$SRV.PING." .. name, "") end)
  end)
end)

describe("names of endpoints", function()
  it("are those of the listeners, each once", function()
    start [[
      app.config { name = "NAME" }
      for _ = 1, 2 do app.listen("NAME.a.b", { queue = "q", name = "the first!" }, print) end
      app.listen({ "NAME.c", "NAME.d" }, { name = "the_first_" }, print)
    ]]
    local names = {}
    for i, one in ipairs(ask_one("INFO").endpoints) do names[i] = one.name end
    assert.same({ "the_first_", "the_first__2", "the_first__3", "the_first__4" }, names)
  end)
end)

describe("app.config", function()
  local function refused(config, text)
    local svc, err = pcall(testing.start, ("app.config(%s)"):format(config))
    assert.falsy(svc)
    assert.truthy(tostring(err):find(text, 1, true), err)
  end

  for _, version in ipairs { "1", "1.2", "01.2.3", "1.2.3-", "1.2.3-a..b", "1.2.3-01", "1.2.3+",
    "v1.2.3", "1.2.3 ", "1.2.3-ä", "" } do
    it(("refuses the version %q"):format(version), function()
      refused(("{ version = %q }"):format(version), "must be a semantic version")
    end)
  end

  it("refuses metadata that others cannot read", function()
    refused("{ metadata = { a = 1 } }", "app.config: metadata must be a table of strings")
    refused("{ metadata = { 'x' } }", "app.config: metadata must be a table of strings")
    refused("{ metadata = { ['_nats.x'] = '1' } }", "kept for NATS")
    refused("{ metadata = { x = '\\xff' } }", "UTF-8")
    refused("{ metadata = { x = ('x'):rep(200000) } }", "at most 131072")
  end)

  it("refuses what would be cut off at a zero byte", function()
    refused([[{ name = "orders\0x" }]], "app.config: name must not hold a zero byte")
    refused([[{ version = "1.0.0\0x" }]], "app.config: version must not hold a zero byte")
    refused([[{ description = "a\0b" }]], "app.config: description must not hold a zero byte")
  end)

  it("sets the queue group of listeners that name none", function()
    start [[
      app.config { name = "NAME", queue = "q" }
      app.listen("NAME.a", print)
      app.listen("NAME.b", { queue = "own" }, print)
      app.listen("NAME.c", { queue = false }, print)
    ]]
    local groups = {}
    for i, one in ipairs(ask_one("INFO").endpoints) do groups[i] = one.queue_group end
    assert.same({ "q", "own", "" }, groups)
  end)
end)

describe("app.group", function()
  it("puts a prefix in front of subjects, and shares options", function()
    local svc = start [[
      app.config { name = "NAME" }
      local v1 = app.group("NAME.v1",
        { queue = "q", metadata = { a = "1" }, description = "one" })
      v1:listen("create", { metadata = { b = "2" } }, function() return "created" end)
      v1:group("admin", { queue = "admin" }):listen({ "drop", "purge" }, function(msg)
        return msg.subject
      end)
    ]]
    assert.equal("created", assert(svc:request(name .. ".v1.create")).raw)
    assert.equal(name .. ".v1.admin.purge", assert(svc:request(name .. ".v1.admin.purge")).raw)
    local info = ask_one("INFO").endpoints
    assert.equal("q", info[1].queue_group)
    assert.same({ a = "1", b = "2", description = "one" }, info[1].metadata)
    assert.equal("admin", info[2].queue_group)
  end)

  it("refuses what is no prefix, naming itself", function()
    for _, bad in ipairs { "''", "'a.>'", "'a..b'", "'a b'", "nil" } do
      local ok, err = pcall(testing.start, ("app.group(%s)"):format(bad))
      assert.falsy(ok)
      assert.truthy(tostring(err):find("app.group", 1, true), err)
    end
  end)
end)

describe("a server that does not allow $SRV", function()
  it("is a warning, and the service serves", function()
    local config = process.write("server.conf", [[
      authorization { users = [ { user: u, password: p,
        permissions: { subscribe: { deny: "$SRV.>" } } } ] }
    ]])
    local server = process.server { args = { "-c", config } }
    local url = server.url:gsub("//", "//u:p@")
    local run = process.run([[app.config { name = "orders" } app.listen("a", print)]], {},
      { servers = { url } })
    run:expect "started, connected"
    run:expect "WARN .*tools cannot discover this service.*discover = false"
    assert.equal(1, run:count "tools cannot discover")
    assert.equal(0, run:stop())
  end)
end)
