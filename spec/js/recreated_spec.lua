-- Streams that are deleted and made again under their name: whatever reads them begins anew.
local consume = require "lunats.js.consume"
local core = require "lunats.core"
local eventually = require "spec.support.eventually"
local failed = require "spec.support.failed"
local logged = require "spec.support.logged"
local generation = require "lunats.js.generation"
local ordered = require "lunats.js.ordered"
local own = require "spec.support.own"
local push = require "lunats.js.push"
local testing = require "lunats.testing"

---Each opens a reader of the stream that calls `seen` for each message.
local READERS = {
  ["an ordered subscription"] = function(stream, seen)
    return app.js.subscribe(stream .. ".>", { ordered = true }, seen)
  end,
  ["an ordered subscription to what is new"] = function(stream, seen)
    return app.js.subscribe(stream .. ".>", { ordered = true,
      config = { deliver_policy = "new" } }, seen)
  end,
  ["a nameless push subscription"] = function(stream, seen)
    return app.js.subscribe(stream .. ".>", { heartbeat = 0.1 }, seen)
  end,
  ["a durable push subscription"] = function(stream, seen)
    return app.js.subscribe(stream .. ".>", { durable = "d", heartbeat = 0.1 }, seen)
  end,
  ["a queue group"] = function(stream, seen)
    return app.js.subscribe(stream .. ".>", { queue = "q" }, seen)
  end,
  ["a push subscription to a consumer that was there"] = function(stream, seen)
    assert(app.js.add_consumer { stream = stream, durable_name = "d",
      deliver_subject = core.new_inbox() })
    return app.js.subscribe(nil, { durable = "d", stream = stream }, seen)
  end,
  ["a nameless consume"] = function(stream, seen)
    return app.js.pull_subscribe(stream .. ".>"):consume({ heartbeat = 0.2 }, seen)
  end,
  ["a durable consume"] = function(stream, seen)
    return app.js.pull_subscribe(stream .. ".>", { durable = "d" }):consume(
      { heartbeat = 0.2 }, seen)
  end,
  ["a consume of a consumer that was there"] = function(stream, seen)
    assert(app.js.add_consumer { stream = stream, durable_name = "d" })
    return app.js.pull_subscribe(nil, { durable = "d", stream = stream }):consume(
      { heartbeat = 0.2 }, seen)
  end,
}

describe("a stream that is deleted and made again", function()
  local stream, reports, warnings
  local report, log = core.report, core.log
  local settings = { { ordered, "heartbeat", 0.1 }, { ordered, "retry_first", 0.05 },
    { push, "check_interval", 0.05 }, { consume, "retry_first", 0.05 },
    { consume, "check_interval", 0.05 } }

  before_each(function()
    reports, warnings = {}, {}
    core.report = function(text) reports[#reports + 1] = text end -- luacheck: ignore
    core.log = function(_, text) warnings[#warnings + 1] = text end -- luacheck: ignore
    for _, one in ipairs(settings) do one[1][one[2]], one[4] = one[3], one[1][one[2]] end
    stream = own.stream("recreated", { storage = "memory" })
  end)
  after_each(function()
    own.close()
    core.report, core.log = report, log -- luacheck: ignore
    for _, one in ipairs(settings) do one[1][one[2]] = one[4] end
  end)

  local function make()
    assert(app.js.add_stream { name = stream, subjects = { stream .. ".>" },
      storage = "memory" })
  end

  local function put(generation_number, count)
    for i = 1, count do
      assert(app.js.publish(stream .. ".a", ("%d/%d"):format(generation_number, i)))
    end
  end

  for name, open in pairs(READERS) do
    for _, gap in ipairs { false, true } do
      it(("is read from its beginning by %s%s"):format(name, gap and ", after a while" or ""),
        function()
          local seen = {}
          own.keep(assert(open(stream, function(msg) seen[msg.raw] = true end)))
          put(1, 5)
          eventually("the first stream", function() return seen["1/5"] end)
          assert(app.js.delete_stream(stream))
          if gap then eventually("a report", function() return reports[1] end) end
          make()
          put(2, 2)
          eventually("the second stream", function() return seen["2/1"] and seen["2/2"] end)
          assert.truthy(warnings[1]:find(stream, 1, true), warnings[1])
          assert.equal(gap and 1 or 0, #reports, reports[1])
        end)
    end
  end

  it("is watched from its beginning", function()
    local kv = own.bucket()
    assert(kv:put("old", "1"))
    local seen = {}
    local handle = own.keep(kv:watch(function(entry) seen[entry.key] = entry.value end))
    assert(handle:ready())
    assert(app.js.delete_key_value(kv.bucket))
    kv = assert(app.js.create_key_value { bucket = kv.bucket, storage = "memory" })
    assert(kv:put("new", "2"))
    eventually("the new key", function() return seen.new end)
    assert.equal("2", seen.new)
  end)

  it("ends what reads it once", function()
    local handle = own.keep(ordered.open { stream = stream,
      created = assert(app.js.stream_info(stream)).created })
    put(1, 1)
    assert(handle:next(5))
    assert(app.js.delete_stream(stream))
    make()
    failed("consumer_lost", handle:next(5))
  end)

  it("is fetched from by a subscription that has only found its consumer", function()
    assert(app.js.add_consumer { stream = stream, durable_name = "d" })
    local psub = app.js.pull_subscribe(stream .. ".>", { durable = "d", stream = stream })
    put(1, 1)
    assert(assert(psub:fetch(1))[1]:ack_sync())
    assert(app.js.delete_stream(stream))
    make()
    put(2, 1)
    local list = assert(psub:fetch(1, { heartbeat = 0.2 }))
    assert.equal("2/1", list[1].raw)
  end)

  it("is read by those as well who may not look at it", function()
    core.report, core.log = report, log -- luacheck: ignore
    local broker = own.keep(testing.broker { config = [[
      authorization { users = [ { user: all, password: b }, { user: a, password: b,
        permissions: { publish: { deny: ["$JS.API.STREAM.INFO.>"] } } } ] }
    ]] })
    own.keep(testing.start([[
      app.on_start(function()
        assert(app.js.add_stream { name = "S", subjects = { "s.>" } })
      end)
    ]], { server = broker.url, user = "all", password = "b" }))
    local svc = own.keep(testing.start([[
      local function seen(msg) app.log.info("seen " .. msg.data) end
      app.js.subscribe("s.>", { stream = "S", durable = "p" }, seen)
      app.js.subscribe("s.>", { stream = "S", ordered = true }, seen)
      app.js.pull_subscribe("s.>", { stream = "S", durable = "c" }):consume(seen)
      app.task(function() assert(app.js.publish("s.a", 1)) end)
    ]], { server = broker.url, user = "a", password = "b" }))
    logged(svc, "^seen 1", 3)
    svc:errors() -- that it may not
  end)

  it("is read whole by a consume whose new consumer is lost soon", function()
    local seen, handled = {}, core.gate()
    local psub = app.js.pull_subscribe(stream .. ".>")
    own.keep(psub:consume({ heartbeat = 0.2, max_messages = 1 }, function(msg)
      if seen[msg.raw] then return end
      seen[msg.raw] = true
      if msg.raw == "2/2" then handled:wait() end
    end))
    put(1, 5)
    eventually("acknowledgements", function() return psub.floor == 5 end)
    consume.check_interval = 60 -- so that it learns nothing between the two losses
    app.sleep(0.1)
    assert(app.js.delete_stream(stream))
    make()
    put(2, 10)
    eventually("the second stream", function() return seen["2/2"] end)
    assert(app.js.delete_consumer(stream, psub.consumer))
    handled:open()
    eventually("its end", function() return seen["2/10"] end)
    for i = 1, 10 do assert.is_true(seen["2/" .. i], i) end
  end)

  it("is another one when it has fewer messages than were read", function()
    put(1, 3)
    local same = assert(generation.of(stream))
    assert.is_false(same:replaced(3))
    assert.is_true(same:replaced(4))
  end)
end)
