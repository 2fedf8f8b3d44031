local eventually = require "spec.support.eventually"
local testing = require "lunats.testing"

local TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"

describe("the lines of a service", function()
  local svc

  local function start(source)
    svc = testing.start(source, { name = "talker" })
    return svc
  end

  ---The context of the only line with that text.
  local function context(text)
    local lines = eventually(text, function()
      local found = svc:logs("^" .. text)
      return found[1] and found
    end)
    assert.equal(1, #lines)
    return lines[1].context
  end

  after_each(function()
    if svc then svc:stop() end
    svc = nil
  end)

  it("say which listener and subject they are about", function()
    start [[
      app.listen("talk.*", { name = "talks" }, function(msg)
        app.log.info("got " .. msg.subject)
        app.sleep(0.01)
        app.log.info("slept")
        warn("by warn")
        return 1
      end)
    ]]
    assert(svc:request("talk.a"))
    assert.same({ listener = "talks", subject = "talk.a" }, context "got talk.a")
    assert.same({ listener = "talks", subject = "talk.a" }, context "slept")
  end)

  it("say which trace the message belongs to", function()
    start [[app.listen("traced", function() app.log.info("here") return 1 end)]]
    for _, header in ipairs { "00-" .. TRACE .. "-00f067aa0ba902b7-01", "00-x", "nonsense" } do
      assert(svc:request("traced", "", { headers = { TraceParent = header } }))
    end
    local ids = {}
    for i, line in ipairs(svc:logs "here") do ids[i] = line.context.trace_id or false end
    assert.same({ TRACE, false, false }, ids)
  end)

  it("say so in fibers that a handler spawns, also when it has ended", function()
    start [[
      app.listen("parent", function()
        app.spawn(function()
          app.sleep(0.01)
          app.log.info("child")
          app.spawn(function() app.sleep(0.01) app.log.info("grandchild") end)
        end)
        return 1
      end)
      app.listen("other", function() app.log.info("stranger") return 1 end)
    ]]
    assert(svc:request("parent", "", { headers = {
      traceparent = "00-" .. TRACE .. "-00f067aa0ba902b7-01" } }))
    assert(svc:request("other"))
    local same = { listener = "parent", subject = "parent", trace_id = TRACE }
    assert.same(same, context "child")
    assert.same(same, context "grandchild")
    assert.same({ listener = "other", subject = "other" }, context "stranger")
  end)

  it("name timers and tasks, and what these spawn", function()
    start [[
      app.timer(60, { name = "beat" }, function()
        app.log.info("tick")
        app.spawn(function() app.log.info("of the tick") end)
      end)
      app.timer(90, function() app.log.info("nameless tick") end)
      app.task({ name = "sync" }, function() app.log.info("work") end)
      app.task(function() app.log.info("nameless work") end)
      app.on_start(function() app.log.info("hook") end)
    ]]
    assert.same({ timer = "beat" }, context "tick")
    assert.same({ timer = "beat" }, context "of the tick")
    assert.same({ timer = "every 90 s" }, context "nameless tick")
    assert.same({ task = "sync" }, context "work")
    assert.is_nil(context "nameless work")
    assert.is_nil(context "hook")
  end)

  it("name the consumer and the stream", function()
    start [[
      app.on_start(function()
        assert(app.js.add_stream { name = "TALKS", subjects = { "talks.>" },
          storage = "memory" })
      end)
      app.on_stop(function() app.js.delete_stream "TALKS" end)
      app.task(function()
        local psub = assert(app.js.pull_subscribe("talks.>", { durable = "READER" }))
        psub:consume(function(msg) app.log.info("read " .. msg.subject) end)
        assert(app.js.publish("talks.one", "x"))
      end)
    ]]
    assert.same({ consumer = "READER", stream = "TALKS", subject = "talks.one" },
      context "read talks.one")
  end)

  it("leave a name to the script that uses it", function()
    start [[
      app.listen("own", function()
        app.log.info("mine", { subject = "my own", more = 1 })
        return 1
      end)
    ]]
    assert(svc:request("own"))
    assert.same({ listener = "own" }, context "mine")
    assert.same({ subject = "my own", more = 1 }, svc:logs("mine")[1].fields)
  end)

  it("show zero bytes and all that follows them", function()
    start [[
      app.listen("zero", function()
        app.log.info("a\0b", { ["k\0l"] = "v\0w", k = 1 })
        return 1
      end)
    ]]
    assert(svc:request("zero"))
    local line = svc:logs("^a")[1]
    assert.equal("a\\x00b", line.message)
    assert.same({ ["k\\x00l"] = "v\0w", k = 1 }, line.fields)
  end)

  it("show zero bytes of errors, and so does the answer", function()
    start [[app.listen("zero", function() error("a\0b", 0) end)]]
    local reply, err = svc:request("zero")
    assert.is_nil(reply)
    assert.equal("a\\x00b", err.message:match "^[^\n]+")
    assert.matches("listener zero: a\\x00b\nstack traceback", svc:errors()[1], 1, true)
  end)
end)
