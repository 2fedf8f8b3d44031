-- Pull subscriptions and what a script can do with a message of a stream.
local core = require "lunats.core"
local eventually = require "spec.support.eventually"
local clean_loop = require "spec.support.clean_loop"
local own = require "spec.support.own"
local since = require "spec.support.since"
local testing = require "lunats.testing"
local unique = require "spec.support.unique"

describe("app.js.pull_subscribe", function()
  local stream

  before_each(function() stream = own.stream "pull" end)
  after_each(own.close)

  local function subscribe(...) return own.keep(app.js.pull_subscribe(...)) end

  local function put(count, subject)
    for i = 1, count do assert(app.js.publish(subject or stream .. ".a", { i = i })) end
  end

  ---Waits until a fetch waits at the server.
  local function fetching(name)
    eventually("the fetch", function()
      return assert(app.js.consumer_info(stream, name)).num_waiting == 1
    end)
  end

  local function pending_acks(name)
    return assert(app.js.consumer_info(stream, name)).num_ack_pending
  end

  it("fetches messages with their metadata", function()
    put(3)
    local before = core.now()
    local psub = subscribe(stream .. ".>", { durable = "d" })
    local msgs = assert(psub:fetch(2))
    assert.equal(2, #msgs)
    assert.equal(1, msgs[1].data.i)
    assert.equal(stream .. ".a", msgs[1].subject)
    local meta = msgs[2].metadata
    assert.equal(stream, meta.stream)
    assert.equal("d", meta.consumer)
    assert.equal(2, meta.stream_sequence)
    assert.equal(2, meta.consumer_sequence)
    assert.equal(1, meta.num_delivered)
    assert.equal(1, meta.num_pending)
    assert.is_nil(meta.domain)
    assert.is_true(math.abs(meta.timestamp - before) < 60)
    for _, msg in ipairs(msgs) do assert(msg:ack()) end
    eventually("all acknowledged", function() return pending_acks "d" == 0 end)
    assert.equal(3, assert(psub:fetch(1, { timeout = 5 }))[1].data.i)
  end)

  it("returns an empty list when nothing comes", function()
    local psub = subscribe(stream .. ".>", { durable = "d" })
    assert.same({}, assert(psub:fetch(1, { timeout = 0.1 })))
    local began = core.clock()
    assert.same({}, assert(psub:fetch(1, { no_wait = true })))
    assert.is_true(core.clock() - began < 4) -- and not the 5 s of a time-out
  end)

  it("takes what is there without waiting", function()
    put(2)
    local psub = subscribe(stream .. ".>")
    local msgs = assert(psub:fetch(10, { no_wait = true, data_type = "string" }))
    assert.equal(2, #msgs)
    assert.equal('{"i":1}', msgs[1].data)
  end)

  it("respects max_bytes", function()
    put(5)
    local psub = subscribe(stream .. ".>")
    local msgs = assert(psub:fetch(5, { max_bytes = 300 }))
    assert.is_true(#msgs >= 1 and #msgs < 5)
    local none, err = psub:fetch(5, { max_bytes = 5 })
    assert.is_nil(none)
    assert.equal("jetstream", err.code)
    assert.truthy(err.message:find("max_bytes", 1, true))
  end)

  it("has no bound where max_bytes is math.huge", function()
    put(5)
    local opts = { max_bytes = math.huge }
    assert.equal(5, #assert(subscribe(stream .. ".>"):fetch(5, opts)))
    assert.same({ max_bytes = math.huge }, opts)
  end)

  it("wakes a fetch that waits when a message comes", function()
    local psub = subscribe(stream .. ".>", { durable = "d" })
    core.spawn(function() put(1) end)
    local msgs = assert(psub:fetch(1, { timeout = 15 }))
    assert.equal(1, #msgs)
  end)

  it("delivers only the subject it is for", function()
    put(1, stream .. ".x")
    put(1, stream .. ".y")
    local psub = subscribe(stream .. ".y")
    local msgs = assert(psub:fetch(5, { no_wait = true }))
    assert.equal(1, #msgs)
    assert.equal(stream .. ".y", msgs[1].subject)
  end)

  it("lets several fibers fetch at once", function()
    local psub = subscribe(stream .. ".>", { durable = "d" })
    local seen, ended = {}, 0
    for _ = 1, 3 do
      core.spawn(function()
        for _, msg in ipairs(assert(psub:fetch(2, { timeout = 15 }))) do
          seen[#seen + 1] = msg.data.i
          msg:ack()
        end
        ended = ended + 1
      end)
    end
    put(6)
    eventually("three fetches", function() return ended == 3 end)
    table.sort(seen)
    assert.same({ 1, 2, 3, 4, 5, 6 }, seen)
  end)

  it("binds to a durable consumer and goes on where it was", function()
    put(2)
    local first = subscribe(stream .. ".>", { durable = "d" })
    assert(first:fetch(1))[1]:ack()
    first:stop()
    local again = subscribe(stream .. ".>", { durable = "d" })
    assert.equal(2, assert(again:fetch(1))[1].data.i)
  end)

  it("binds without a subject", function()
    assert(app.js.add_consumer { stream = stream, durable_name = "d" })
    put(1)
    local psub = subscribe(nil, { stream = stream, durable = "d" })
    assert.equal(1, #assert(psub:fetch(1)))
    assert.equal("d", assert(psub:info()).name)
  end)

  it("refuses a consumer for another subject, and push consumers", function()
    assert(app.js.add_consumer { stream = stream, durable_name = "d",
      filter_subject = stream .. ".a" })
    local none, err = subscribe(stream .. ".b", { durable = "d" }):fetch(1)
    assert.is_nil(none)
    assert.truthy(err.message:find(stream .. ".a", 1, true))
    assert(app.js.add_consumer { stream = stream, durable_name = "push",
      deliver_subject = unique "deliver" })
    none, err = subscribe(nil, { stream = stream, durable = "push" }):fetch(1)
    assert.is_nil(none)
    assert.truthy(err.message:find("push consumer", 1, true))
  end)

  describe("refuses a durable consumer with messages that the call does not cover:", function()
    local subject = require "lunats.subject"
    local cases = {
      ["it has no filter"] = {},
      ["its filter is wider"] = { one = ".>" },
      ["one of its filters is another one"] = { several = { ".a.x", ".b" } },
      ["one of its filters is wider"] = { several = { ".a.x", ".*.y" } },
    }
    for why, case in pairs(cases) do
      it(why, function()
        local several = case.several
        local made, err = app.js.add_consumer { stream = stream, durable_name = "d",
          filter_subject = case.one and stream .. case.one,
          filter_subjects = several and { stream .. several[1], stream .. several[2] } }
        if not made then return pending(err.message) end -- several filters: 2.10
        local none
        none, err = subscribe(stream .. ".a.>", { durable = "d" }):fetch(1)
        assert.is_nil(none)
        assert.equal("jetstream", err.code)
        assert.truthy(err.message:find("'" .. stream .. ".a.>' only", 1, true), err.message)
        assert.same({}, assert(subscribe(nil, { durable = "d", stream = stream }):fetch(1,
          { no_wait = true })))
      end)
    end

    it("but not what it covers", function()
      assert(app.js.add_consumer { stream = stream, durable_name = "all" })
      assert(subscribe(stream .. ".>", { durable = "all" }):info())
      if not app.js.add_consumer { stream = stream, durable_name = "two",
        filter_subjects = { stream .. ".a.x", stream .. ".a.y" } } then
        return
      end
      assert(subscribe(stream .. ".a.*", { durable = "two" }):info())
    end)

    it("a pattern covers narrower ones", function()
      assert.is_true(subject.matches("a.*", "a.b"))
      assert.is_true(subject.matches("a.>", "a.*.>"))
      assert.is_true(subject.matches("a.*", "a.*"))
      assert.is_false(subject.matches("a.*", "a.>"))
      assert.is_false(subject.matches("a.b", "a.*"))
      assert.is_false(subject.matches("a.b.>", "a.>"))
    end)
  end)

  it("creates the consumer as configured", function()
    local psub = subscribe(stream .. ".>", { durable = "d",
      config = { ack_wait = 7.5, max_ack_pending = 3 } })
    local config = assert(psub:info()).config
    assert.equal(7.5, config.ack_wait)
    assert.equal(3, config.max_ack_pending)
  end)

  it("keeps within the limits of the consumer", function()
    put(5)
    local psub = subscribe(stream .. ".>", { durable = "d",
      config = { max_batch = 2, max_expires = 0.2 } })
    assert.equal(2, #assert(psub:fetch(5, { timeout = 2 })))
    assert.equal(2, #assert(psub:fetch(5, { timeout = 2 })))
    assert.equal(1, #assert(psub:fetch(1, { timeout = 2 })))
    local began = core.clock()
    assert.same({}, assert(psub:fetch(1, { timeout = 0.7 })))
    assert.is_true(core.clock() - began > 0.5)
  end)

  it("keeps within limits that somebody has changed", function()
    put(5)
    assert(app.js.add_consumer { stream = stream, durable_name = "d" })
    local psub = subscribe(nil, { stream = stream, durable = "d" })
    assert.equal(1, #assert(psub:fetch(1)))
    assert(app.js.update_consumer { stream = stream, durable_name = "d", max_batch = 2,
      max_expires = 1 })
    assert.equal(2, #assert(psub:fetch(4, { timeout = 15 })))
    assert(app.js.update_consumer { stream = stream, durable_name = "d", max_bytes = 500 })
    assert.equal(1, #assert(psub:fetch(1, { timeout = 15, max_bytes = 100000 })))
  end)

  it("says no_stream when no stream has the subject", function()
    local none, err = subscribe("nobody." .. stream):fetch(1)
    assert.is_nil(none)
    assert.equal("no_stream", err.code)
  end)

  it("says consumer_lost when somebody deletes a consumer it has not made", function()
    assert(app.js.add_consumer { stream = stream, durable_name = "d" })
    local psub = subscribe(stream .. ".>", { durable = "d" })
    assert(psub:info())
    core.spawn(function()
      fetching "d"
      app.js.delete_consumer(stream, "d")
    end)
    local none, err = psub:fetch(1, { timeout = 15 })
    assert.is_nil(none)
    assert.equal("consumer_lost", err.code)
    none, err = psub:fetch(1, { timeout = 0.1 })
    assert.is_nil(none)
    assert.equal("consumer_lost", err.code)
  end)

  it("makes its own consumer again when it was deleted", function()
    local psub = subscribe(stream .. ".>", { durable = "d" })
    assert(psub:info())
    core.spawn(function()
      fetching "d"
      app.js.delete_consumer(stream, "d")
      put(1)
    end)
    local msgs = assert(psub:fetch(1, { timeout = 15 }))
    assert.equal(1, #msgs)
    assert.equal("d", msgs[1].metadata.consumer)
  end)

  it("ends a fetch when it is stopped, and deletes a nameless consumer", function()
    local psub = subscribe(stream .. ".>")
    local name = assert(psub:info()).name
    core.spawn(function()
      fetching(name)
      psub:stop()
    end)
    local none, err = psub:fetch(1, { timeout = 15 })
    assert.is_nil(none)
    assert.equal("closed", err.code)
    none, err = psub:fetch(1)
    assert.is_nil(none)
    assert.equal("closed", err.code)
    eventually("deleted", function() return not app.js.consumer_info(stream, name) end)
  end)

  it("raises for wrong arguments", function()
    local psub = subscribe(stream .. ".>")
    for _, case in ipairs { { 0 }, { 1.5 }, { "1" }, { 1, { timout = 1 } },
      { 1, { timeout = 0 } }, { 1, { max_bytes = 0 } } } do
      assert.has_error(function() psub:fetch(case[1], case[2]) end)
    end
    assert.has_error(function() app.js.pull_subscribe(nil) end)
    assert.has_error(function() app.js.pull_subscribe("x", { durable = "a.b" }) end)
    assert.has_error(function()
      app.js.pull_subscribe("x", { config = { deliver_subject = "d" } })
    end)
  end)

  describe("msg", function()
    local psub

    before_each(function()
      psub = subscribe(stream .. ".>", { durable = "m", config = { ack_wait = 20 } })
      put(1)
    end)

    local function next_msg(timeout)
      return assert(psub:fetch(1, { timeout = timeout or 15 }))[1]
    end

    it("can be acknowledged once", function()
      local msg = next_msg()
      assert.is_true(assert(msg:ack()))
      for _, method in ipairs { "ack", "nak", "term", "in_progress", "ack_sync" } do
        local ok, err = msg[method](msg)
        assert.is_nil(ok)
        assert.equal("already_acked", err.code)
      end
    end)

    it("ack_sync returns when the server has it", function()
      local msg = next_msg()
      assert.equal(1, pending_acks "m")
      assert.is_true(assert(msg:ack_sync()))
      assert.equal(0, pending_acks "m")
    end)

    it("nak brings it again at once", function()
      assert(next_msg():nak())
      local msg = next_msg()
      assert.equal(2, msg.metadata.num_delivered)
      assert(msg:ack())
    end)

    it("nak with a delay brings it later", function()
      assert(next_msg():nak(1.5))
      assert.is_nil(next_msg(0.1))
      assert.equal(2, next_msg().metadata.num_delivered)
    end)

    it("term tells its reason to servers that know reasons, and ends it on all", function()
      local advisory
      local subject = ("$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.%s.m"):format(stream)
      local listener = app.listen(subject, { queue = false },
        function(msg) advisory = msg.data end)
      finally(function() listener:stop() end)
      assert(app.flush())
      local msg = next_msg()
      clean_loop.expected_errors(1) -- the log tells of it
      assert(msg:term("not for us: " .. ("x"):rep(1000)))
      eventually("the advisory", function() return advisory end)
      assert.equal(msg.metadata.stream_sequence, advisory.stream_seq)
      local told = since "2.10.4" and "not for us: " .. ("x"):rep(488) or nil
      assert.equal(told, advisory.reason)
      assert.equal(0, pending_acks "m")
      assert.is_nil(next_msg(0.1))
    end)

    it("in_progress leaves it open", function()
      local msg = next_msg()
      assert(msg:in_progress())
      assert(msg:in_progress())
      assert(msg:ack_sync())
    end)

    it("ack_sync fails when the consumer is gone, and may be tried again", function()
      local msg = next_msg()
      assert(app.js.delete_consumer(stream, "m"))
      local ok, err = msg:ack_sync(0.2)
      assert.is_nil(ok)
      assert.is_true(err.code == "no_responders" or err.code == "timeout")
      ok, err = msg:ack_sync(0.2)
      assert.is_nil(ok)
      assert.not_equal("already_acked", err.code)
    end)
  end)

  it("raises a clear error for messages that come from no stream", function()
    local subject = unique "core"
    local result
    local handle = app.listen(subject, function(msg)
      assert(msg.metadata == nil)
      result = { pcall(msg.ack, msg) }
      return true
    end)
    assert(app.request(subject, "x"))
    handle:stop()
    assert.is_false(result[1])
    assert.truthy(tostring(result[2]):find("does not come from a stream", 1, true))
  end)

  describe("at the top level of a script", function()
    it("gives a subscription that finds its consumer when first used", function()
      put(1)
      local svc = testing.start(([[
        local psub = app.js.pull_subscribe("%s.>")
        app.task(function()
          local msg = assert(psub:fetch(1))[1]
          msg:ack()
          app.publish("got", msg.data)
        end)
      ]]):format(stream))
      assert.equal(1, svc:expect("got").data.i)
      assert.equal(0, svc:stop())
    end)

    it("acknowledges on the connection by which the message came", function()
      local broker = testing.broker()
      local confirmed, failed
      local svc = testing.start([[
        app.on_start(function()
          assert(app.js.add_stream { name = "S" })
          assert(app.js.add_consumer { stream = "S", durable_name = "d",
            deliver_subject = "delivered" })
          assert(app.js.publish("S", "x"))
        end)
        app.listen("unacknowledged", function()
          return app.js.consumer_info("S", "d").num_ack_pending
        end)
      ]], { server = broker.url, stubs = {
        delivered = function(msg) confirmed, failed = msg:ack_sync() end,
      } })
      finally(function()
        svc:stop()
        broker:stop()
      end)
      eventually("the message", function() return confirmed or failed end)
      assert.is_nil(failed)
      assert.equal(0, assert(svc:request "unacknowledged").data)
    end)

    it("goes on fetching when the server was gone for a while", function()
      local svc, broker = own.service [[
        local psub
        app.on_start(function()
          assert(app.js.add_stream { name = "S" })
          psub = app.js.pull_subscribe("S", { durable = "d" })
        end)
        app.task(function()
          while true do
            local msgs = psub:fetch(1, { timeout = 20 })
            for _, msg in ipairs(msgs or {}) do
              app.log.info "fetched"
              msg:ack_sync()
            end
          end
        end)
        app.timer(0.05, { delay = 0 }, function()
          app.js.publish("S", "x", { timeout = 0.2 })
        end)
      ]]
      local function fetched() return #svc:logs "fetched" end
      eventually("two messages", function() return fetched() >= 2 end)
      own.outage(svc, broker)
      local before = fetched()
      eventually("more messages", function() return fetched() > before + 3 end)
    end)
  end)
end)
