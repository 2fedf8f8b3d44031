-- Push subscriptions: handlers that acknowledge, queue groups, durable consumers.
local eventually = require "spec.support.eventually"
local own = require "spec.support.own"
local reporting = require "spec.support.reports"
local testing = require "lunats.testing"
local unique = require "spec.support.unique"

describe("app.js.subscribe", function()
  local stream

  before_each(function() stream = own.stream "push" end)
  after_each(own.close)

  local function subscribe(...) return own.keep(app.js.subscribe(...)) end

  local function put(count, subject)
    for i = 1, count do assert(app.js.publish(subject or stream .. ".a", { i = i })) end
  end

  it("delivers old and new messages and acknowledges them", function()
    put(2)
    local seen = {}
    local sub = assert(subscribe(stream .. ".>", { durable = "d" }, function(msg)
      seen[#seen + 1] = msg.metadata.stream_sequence
    end))
    put(1)
    eventually("three messages", function() return #seen == 3 end)
    assert.same({ 1, 2, 3 }, seen)
    eventually("acknowledged", function() return assert(sub:info()).num_ack_pending == 0 end)
    assert.is_true(sub:info().push_bound)
  end)

  it("takes a message for what it is, though its headers look like a word of the server",
    function()
      local subject = stream .. ".a"
      assert(app.js.publish(subject, "", { headers = { Status = "200" } }))
      assert(app.js.publish(subject, "", { headers = { Status = "100", Description = "x" } }))
      local seen = {}
      assert(subscribe(subject, { durable = "d", data_type = "string" }, function(msg)
        seen[#seen + 1] = msg:header "Status"
      end))
      eventually("both messages", function() return #seen == 2 end)
      assert.same({ "200", "100" }, seen)
    end)

  it("naks with a delay what its handler failed on, and tells why", function()
    local calls, reports = 0, reporting.catch()
    finally(reporting.release)
    local sub = assert(subscribe(stream .. ".>", { durable = "d" }, function(msg)
      calls = math.max(calls, msg.metadata.num_delivered)
      if calls == 1 then return nil, "not yet" end
    end))
    put(1)
    eventually("the second delivery", function() return calls == 2 end)
    eventually("acknowledged", function() return sub:info().num_ack_pending == 0 end)
    assert.equal(1, #reports)
    assert.truthy(reports[1]:find("not yet", 1, true))
  end)

  it("keeps messages that wait, or are worked on, longer than ack_wait", function()
    local most, done = 0, 0
    local sub = assert(subscribe(stream .. ".>", { durable = "d", concurrency = 1,
      config = { ack_wait = 1.5 } }, function(msg)
      most = math.max(most, msg.metadata.num_delivered)
      app.sleep(done == 0 and 2.5 or 0.1)
      done = done + 1
    end))
    put(8)
    eventually("eight", function() return done == 8 end)
    eventually("acknowledged", function() return sub:info().ack_floor.stream_seq == 8 end)
    assert.equal(1, most)
    assert.equal(0, sub:info().num_redelivered)
  end)

  it("lets the members of a queue group keep what waits for them", function()
    local seen, done = {}, 0
    local sub = assert(subscribe(stream .. ".>", { queue = "q", concurrency = 1,
      config = { ack_wait = 2.5 } }, function(msg)
      seen[msg.data.i] = (seen[msg.data.i] or 0) + 1
      app.sleep(0.6)
      done = done + 1
    end))
    put(6)
    eventually("six", function() return done == 6 end)
    eventually("acknowledged", function() return sub:info().num_ack_pending == 0 end)
    assert.same({ 1, 1, 1, 1, 1, 1 }, seen)
  end)

  it("drops what is more than 'pending' in front of a handler; it comes again", function()
    local seen, free = {}, false
    local sub = assert(subscribe(stream .. ".>", { durable = "d", concurrency = 1, pending = 2,
      config = { ack_wait = 1.5 } }, function(msg)
      seen[#seen + 1] = msg.data.i
      while not free do app.sleep(0.01) end
    end))
    put(5) -- one is worked on, two wait
    eventually("two dropped", function() return sub.box:stats().dropped >= 2 end)
    free = true
    eventually("those again", function() return sub:info().ack_floor.stream_seq == 5 end)
    assert.equal(5, #seen)
  end)

  it("keeps as many bytes as 'pending_bytes' says, and the log tells how many", function()
    local svc = testing.start(([[
      app.js.subscribe("%s.>", { durable = "d", concurrency = 1, pending_bytes = 250000,
        config = { ack_wait = 60, flow_control = false } }, function() app.sleep(3600) end)
    ]]):format(stream), { server = testing.server_url(), drain_timeout = 0.1 })
    finally(function() svc:stop() end)
    for _ = 1, 6 do assert(app.js.publish(stream .. ".a", ("x"):rep(100000))) end
    local line = eventually("the line", function()
      return svc:logs("consumer d of stream [^\n]* is too slow: its queue is full; ")[1]
    end)
    assert.matches("are dropped, %d so far; 3 %(0%.3 MB%) wait, 1 of 1 handlers run",
      line.message)
  end)

  it("tells of all that was dropped, to the end", function()
    local subject = unique "dropped"
    local svc = testing.start(([[
      local sub = app.js.subscribe("%s.>", { durable = "d", concurrency = 1, pending = 1,
        config = { ack_wait = 60 } }, function() app.sleep(3600) end)
      app.listen("%s", function() return sub.box:stats().dropped end)
    ]]):format(stream, subject), { server = testing.server_url(), drain_timeout = 0.1 })
    put(2) -- one is worked on, one waits
    local function told()
      local sum, pattern = 0, "its queue is full; (%d+) messages"
      for _, line in ipairs(svc:logs(pattern)) do
        sum = sum + tonumber(line.message:match(pattern))
      end
      return sum
    end
    local dropped = 0
    repeat -- the first of a second is told at once
      put(1)
      dropped = dropped + 1
      eventually("it is dropped", function() return svc:request(subject).data == dropped end)
    until told() < dropped
    svc:stop()
    assert.equal(dropped, told())
  end)

  it("follows a durable consumer that somebody makes again for another subject", function()
    local push = require "lunats.js.push"
    local interval = push.check_interval
    push.check_interval = 0.05
    finally(function() push.check_interval = interval end)
    local last
    assert(subscribe(stream .. ".>", { durable = "d" }, function(msg)
      last = msg.metadata.stream_sequence
    end))
    put(1)
    eventually("the first message", function() return last == 1 end)
    assert(app.js.delete_consumer(stream, "d"))
    app.js.add_consumer { stream = stream, durable_name = "d", deliver_policy = "new",
      deliver_subject = unique "deliver" }
    eventually("the second message", function()
      put(1)
      return last > 1
    end)
  end)

  it("leaves acknowledging to the handler with manual_ack", function()
    local kept
    local sub = assert(subscribe(stream .. ".>", { manual_ack = true }, function(msg)
      kept = msg
    end))
    put(1)
    eventually("a message", function() return kept end)
    assert.equal(1, sub:info().num_ack_pending)
    assert(kept:ack_sync())
    assert.equal(0, sub:info().num_ack_pending)
  end)

  it("does not hand out heartbeats", function()
    local seen, pushed = {}, 0
    local sub = assert(subscribe(stream .. ".>", { data_type = "string",
      config = { idle_heartbeat = 0.1, flow_control = true } }, function(msg)
      seen[#seen + 1] = msg.data
    end))
    own.keep(app.listen(sub.deliver, { queue = false, data_type = "string" }, function()
      pushed = pushed + 1
    end))
    put(1)
    eventually("heartbeats", function() return pushed >= 3 end)
    assert.same({ '{"i":1}' }, seen)
  end)

  it("makes a consumer that a queue group shares", function()
    local count = 0
    local sub = assert(subscribe(stream .. ".>", { queue = "workers" }, function()
      count = count + 1
    end))
    put(5)
    eventually("all messages", function() return count == 5 end)
    local config = sub:info().config
    assert.equal("workers", config.durable_name)
    assert.equal("workers", config.deliver_group)
    -- another instance would be a member of the group; this one is already
    local second, err = subscribe(stream .. ".>", { queue = "workers" }, function() end)
    assert.is_nil(second)
    assert.truthy(err.message:find("concurrency", 1, true))
    sub:stop()
    assert(subscribe(stream .. ".>", { queue = "workers" }, function()
      count = count + 1
    end))
    put(1)
    eventually("one more", function() return count == 6 end)
  end)

  it("refuses a second subscriber of a durable consumer without a queue", function()
    assert(subscribe(stream .. ".>", { durable = "d" }, function() end))
    eventually("bound", function() return app.js.consumer_info(stream, "d").push_bound end)
    local sub, err = subscribe(stream .. ".>", { durable = "d" }, function() end)
    assert.is_nil(sub)
    assert.equal("jetstream", err.code)
    assert.truthy(err.message:find("has a subscriber already", 1, true))
  end)

  it("goes on where the last subscriber stopped", function()
    local seen = 0
    local first = assert(subscribe(stream .. ".>", { durable = "d" }, function()
      seen = seen + 1
    end))
    put(2)
    eventually("two messages", function() return seen == 2 end)
    first:stop()
    put(1)
    local last
    assert(subscribe(stream .. ".>", { durable = "d" }, function(msg)
      last = msg.metadata.stream_sequence
    end))
    eventually("the third message", function() return last == 3 end)
  end)

  it("deletes a nameless consumer when it is stopped", function()
    local sub = assert(subscribe(stream .. ".>", function() end))
    assert(app.js.consumer_info(stream, sub.consumer))
    sub:stop()
    eventually("deleted", function() return not app.js.consumer_info(stream, sub.consumer) end)
  end)

  describe("when its consumer is gone", function()
    local push = require "lunats.js.push"
    local interval = push.check_interval

    before_each(function() push.check_interval = 0.05 end)
    after_each(function() push.check_interval = interval end)

    for _, opts in ipairs { {}, { durable = "d" }, { durable = "d", config = {} } } do
      local kind = (opts.durable or "nameless") .. (opts.config and ", declared" or "")
      it("makes it again: " .. kind, function()
        local seen, last = 0, 0
        local sub = assert(subscribe(stream .. ".>", opts, function(msg)
          seen, last = seen + 1, msg.metadata.stream_sequence
        end))
        put(3)
        eventually("three messages", function() return last == 3 end)
        eventually("known to be acknowledged", function() return sub.floor == 3 end)
        assert(app.js.delete_consumer(stream, sub.consumer))
        put(1)
        eventually("the fourth message", function() return last == 4 end)
        -- A durable consumer is made as the script declares it, which starts at the beginning.
        assert.equal(opts.config and 7 or 4, seen)
      end)
    end
  end)

  it("notices by missing heartbeats that its consumer is gone", function()
    local last
    local sub = assert(subscribe(stream .. ".>", { heartbeat = 0.1 }, function(msg)
      last = msg.metadata.stream_sequence
    end))
    assert.equal(0.1, assert(sub:info()).config.idle_heartbeat)
    put(1)
    eventually("the first message", function() return last == 1 end)
    assert(app.js.delete_consumer(stream, sub.consumer))
    put(1)
    eventually("the second message", function() return last == 2 end)
  end)

  it("answers flow control, so that large amounts arrive", function()
    local payload, seen = ("x"):rep(50000), 0
    assert(subscribe(stream .. ".>", { concurrency = 1, data_type = "string",
      config = { max_ack_pending = -1 } }, function()
        seen = seen + 1
        if seen % 50 == 0 then app.sleep(0.001) end
      end))
    for _ = 1, 300 do app.publish(stream .. ".a", payload) end
    eventually("all", function() return seen == 300 end)
  end)

  it("refuses pull consumers, other queues and other subjects", function()
    assert(app.js.add_consumer { stream = stream, durable_name = "pull" })
    local sub, err = subscribe(stream .. ".>", { durable = "pull" }, function() end)
    assert.is_nil(sub)
    assert.truthy(err.message:find("pull consumer", 1, true))
    assert(app.js.add_consumer { stream = stream, durable_name = "q", deliver_group = "one",
      deliver_subject = unique "deliver", filter_subject = stream .. ".a" })
    sub, err = subscribe(stream .. ".a", { durable = "q", queue = "two" }, function() end)
    assert.is_nil(sub)
    assert.truthy(err.message:find("queue group one", 1, true))
    sub, err = subscribe(stream .. ".b", { durable = "q", queue = "one" }, function() end)
    assert.is_nil(sub)
    assert.truthy(err.message:find(stream .. ".a", 1, true))
  end)

  it("refuses a consumer that may deliver what the call does not cover", function()
    assert(app.js.add_consumer { stream = stream, durable_name = "d",
      deliver_subject = unique "deliver" })
    local sub, err = subscribe(stream .. ".a", { durable = "d" }, function() end)
    assert.is_nil(sub)
    assert.truthy(err.message:find("delivers all subjects", 1, true), err.message)
    assert(subscribe(stream .. ".>", { durable = "d" }, function() end)):stop()
  end)

  it("says no_stream when no stream has the subject", function()
    local sub, err = subscribe("nobody." .. stream, function() end)
    assert.is_nil(sub)
    assert.equal("no_stream", err.code)
  end)

  it("runs at most so many handlers at once", function()
    local running, most, done = 0, 0, 0
    assert(subscribe(stream .. ".>", { concurrency = 2 }, function()
      running = running + 1
      most = math.max(most, running)
      app.sleep(0.02)
      running = running - 1
      done = done + 1
    end))
    put(8)
    eventually("eight handlers", function() return done == 8 end)
    assert.equal(2, most)
  end)

  it("raises for wrong arguments", function()
    assert.has_error(function() app.js.subscribe(stream .. ".>") end)
    assert.has_error(function() app.js.subscribe(nil, function() end) end)
    assert.has_error(function() app.js.subscribe("x", { durable = "a b" }, print) end)
    assert.has_error(function() app.js.subscribe("x", { concurrency = 0 }, print) end)
    assert.has_error(function() app.js.subscribe("x", { durabel = "d" }, print) end)
  end)

  describe("at the top level of a script", function()
    it("subscribes during the start; a queue group spreads over services", function()
      local source = ([[
        local seen = 0
        app.js.subscribe("STREAM.>", { queue = "q" }, function() seen = seen + 1 end)
        app.listen("STREAM_seen", { queue = false }, function() return seen end)
      ]]):gsub("STREAM", stream)
      local one, two = testing.start(source), testing.start(source)
      put(40)
      local counts = {}
      eventually("all messages", function()
        local replies = assert(app.request_many(stream .. "_seen", nil,
          { max = 2, timeout = 20 }))
        counts = { replies[1].data, replies[2] and replies[2].data or 0 }
        return counts[1] + counts[2] == 40
      end)
      assert.is_true(counts[1] > 0 and counts[2] > 0)
      assert.equal(0, one:stop())
      assert.equal(0, two:stop())
    end)

    it("handles what has arrived when the service stops", function()
      local source = ([[
        app.js.subscribe("STREAM.>", { durable = "d", concurrency = 1 }, function()
          app.publish("STREAM_begun")
          app.sleep(0.1)
        end)
      ]]):gsub("STREAM", stream)
      local svc = testing.start(source, { drain_timeout = 20 })
      put(4)
      svc:expect(stream .. "_begun")
      eventually("all delivered", function()
        return app.js.consumer_info(stream, "d").delivered.stream_seq == 4
      end)
      assert(app.flush())
      assert.equal(0, svc:stop())
      eventually("all acknowledged", function()
        return app.js.consumer_info(stream, "d").ack_floor.stream_seq == 4
      end)
    end)

    it("keeps no fiber for what was stopped", function()
      local source = ([[
        app.on_start(function()
          local kv = assert(app.js.create_key_value { bucket = "STREAM", storage = "memory" })
          assert(kv:put("a", 1))
          local psub = app.js.pull_subscribe("STREAM.>")
          for _ = 1, 5 do
            local handles = { app.js.subscribe("STREAM.>", print), psub:consume(print),
              kv:watch(function() end) }
            assert(#handles == 3)
            assert(handles[3]:ready())
            for _, handle in ipairs(handles) do handle:stop() end
          end
          assert(app.js.delete_key_value "STREAM")
        end)
      ]]):gsub("STREAM", stream)
      local svc = own.keep(testing.start(source))
      -- Less than the pauses between two looks at a consumer.
      eventually("no fiber", function() return #svc:fibers "background" == 0 end)
    end)

    it("fails the start when there is no such stream", function()
      local ok, err = pcall(testing.start, ([[
        app.js.subscribe("nobody.%s", function() end)
      ]]):format(stream))
      assert.is_false(ok)
      assert.matches(("service.lua:1: app.js.subscribe(\"nobody.%s\"): no stream has messages "
        .. "of the subject 'nobody.%s': app.js.add_stream makes one"):format(stream, stream),
        tostring(err), 1, true)
    end)
  end)
end)
