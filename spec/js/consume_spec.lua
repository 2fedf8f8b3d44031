-- psub:consume(): continuous consuming, its promises about acknowledgements, and its end.
local core = require "lunats.core"
local consume = require "lunats.js.consume"
local dead_letter = require "lunats.js.dead_letter"
local eventually = require "spec.support.eventually"
local clean_loop = require "spec.support.clean_loop"
local own = require "spec.support.own"
local reporting = require "spec.support.reports"
local since = require "spec.support.since"
local testing = require "lunats.testing"
local unique = require "spec.support.unique"

describe("psub:consume", function()
  local stream, reports
  local backoff, retry = consume.backoff, consume.retry_first
  local retry_dead = dead_letter.retry_first

  before_each(function()
    reports = reporting.catch()
    consume.backoff, consume.retry_first = { 0.05 }, 0.05
    dead_letter.retry_first = 0.05
    stream = own.stream "consume"
  end)
  after_each(function()
    own.close()
    reporting.release()
    consume.backoff, consume.retry_first = backoff, retry
    dead_letter.retry_first = retry_dead
  end)

  local function subscribe(opts)
    return own.keep(app.js.pull_subscribe(stream .. ".a", opts or { durable = "d" }))
  end

  ---A consumer that the subscription finds.
  local function found(config)
    local fields = { stream = stream, durable_name = "d", filter_subject = stream .. ".a" }
    for name, value in pairs(config or {}) do fields[name] = value end
    assert(app.js.add_consumer(fields))
  end

  local function put(count)
    for i = 1, count do assert(app.js.publish(stream .. ".a", { i = i })) end
  end

  local function info(name) return assert(app.js.consumer_info(stream, name or "d")) end

  it("handles what is there and what comes in order and acknowledges it", function()
    put(5)
    local got = {}
    local handle = assert(subscribe():consume(function(msg)
      app.sleep(0.001)
      got[#got + 1] = msg.data.i
    end))
    eventually("five", function() return #got == 5 end)
    put(5)
    eventually("ten", function() return #got == 10 end)
    assert.same({ 1, 2, 3, 4, 5, 1, 2, 3, 4, 5 }, got)
    eventually("acknowledged", function()
      return info().ack_floor.stream_seq == 10 and info().num_ack_pending == 0
    end)
    assert.equal(10, handle:stats().acked)
    assert.same({}, reports)
  end)

  for _, case in ipairs { { 1, 1 }, { 2, 1 }, { 100, 10 }, { 7, 7 } } do
    it(("keeps its bounds: %d messages, %d at once"):format(case[1], case[2]), function()
      local running, most, done, here = 0, 0, 0, 0
      local handle
      put(40)
      handle = assert(subscribe():consume({ max_messages = case[1],
        concurrency = case[2] }, function()
          running = running + 1
          most = math.max(most, running)
          here = math.max(here, handle:stats().received - done)
          eventually("as many as may", function() return most >= case[2] end)
          app.sleep(0.002)
          running = running - 1
          done = done + 1
        end))
      eventually("all", function() return done == 40 end)
      assert.equal(case[2], most)
      assert.is_true(here <= case[1] + case[2])
      assert.equal(40, handle:stats().received)
    end)
  end

  it("goes on when requests expire", function()
    local got = 0
    local psub = subscribe { durable = "d", config = { max_expires = 0.2, max_batch = 3 } }
    local requests = 0
    local listener = app.listen(("$JS.API.CONSUMER.MSG.NEXT.%s.d"):format(stream),
      { queue = false }, function() requests = requests + 1 end)
    assert(psub:consume({ max_messages = 10 }, function() got = got + 1 end))
    -- Four of at most three messages, and the same again when they have expired.
    eventually("more requests", function() return requests >= 8 end)
    listener:stop()
    put(20)
    eventually("all", function() return got == 20 end)
  end)

  it("delivers a message again after an error, later and later", function()
    put(1)
    local at = {}
    assert(subscribe():consume({ backoff = { 0.05, 0.6 } }, function(msg)
      at[#at + 1] = core.clock()
      assert.equal(#at, msg.metadata.num_delivered)
      if #at == 1 then error "not yet" end
      if #at < 4 then return nil, "neither" end
    end))
    eventually("the fourth", function() return #at == 4 end)
    assert.is_true(at[2] - at[1] >= 0.045)
    assert.is_true(at[3] - at[2] >= 0.59 and at[4] - at[3] >= 0.59)
    assert.equal(3, #reports)
    assert.truthy(reports[1]:find("comes again in 0.05 s: ", 1, true))
    assert.truthy(reports[1]:find("not yet", 1, true))
    assert.truthy(reports[2]:find("comes again in 0.6 s: ", 1, true))
    assert.truthy(reports[1]:find("stack traceback", 1, true))
    assert.truthy(reports[2]:find("neither", 1, true))
    eventually("acknowledged", function() return info().num_ack_pending == 0 end)
  end)

  it("leaves acknowledging to the handler where it says so", function()
    put(2)
    local got = 0
    assert(subscribe { durable = "d", config = { ack_wait = 30 } }:consume(
      { manual_ack = true }, function(msg)
        got = got + 1
        if msg.data.i == 2 then msg:ack() end
      end))
    eventually("two", function() return got == 2 and info().num_ack_pending == 1 end)
  end)

  it("respects what the handler has said itself", function()
    clean_loop.expected_errors(1) -- the log tells that it is terminated
    put(1)
    local got = 0
    assert(subscribe():consume(function(msg)
      got = got + 1
      if got == 1 then msg:nak() else msg:term() end
    end))
    eventually("twice", function() return got == 2 and info().num_ack_pending == 0 end)
  end)

  it("keeps messages that take longer than ack_wait", function()
    put(2)
    local seen, redelivered = 0, 0
    assert(subscribe { durable = "d", config = { ack_wait = 2 } }:consume(function(msg)
      if msg.metadata.num_delivered > 1 then redelivered = redelivered + 1 end
      app.sleep(2.5) -- longer than ack_wait
      seen = seen + 1
    end))
    eventually("all", function() return seen == 2 end)
    assert.equal(0, redelivered)
    eventually("acknowledged", function() return info().num_ack_pending == 0 end)
  end)

  it("drops messages that became too old while they waited here", function()
    put(3)
    local got, handle = {}, nil
    handle = assert(subscribe { durable = "d", config = { ack_wait = 0.3 } }:consume(
      function(msg)
        got[#got + 1] = msg.metadata.num_delivered
        if #got == 1 then -- no loop turns, so nothing is said to the server
          eventually("the others", function() return handle:stats().queued == 2 end)
          local due = core.hrtime() + 0.5
          while core.hrtime() < due do end -- luacheck: ignore
        end
      end))
    eventually("all", function() return info().num_ack_pending == 0 and #got >= 3 end)
    assert.equal(2, handle:stats().dropped)
  end)

  it("hands over dead letters once they are stored", function()
    local graves = unique "graves"
    assert(app.js.add_stream { name = graves })
    assert(app.js.publish(stream .. ".a", "poison", { headers = { Colour = "red" },
      msg_id = "m1" }))
    local tries = 0
    assert(subscribe():consume({ max_deliver = 3, dead_letter = graves }, function()
      tries = tries + 1
      error "never"
    end))
    eventually("the end", function()
      return tries == 3 and info().num_ack_pending == 0
    end)
    local psub = own.keep(app.js.pull_subscribe(graves))
    local msg = assert(psub:fetch(1, { data_type = "string" }))[1]
    assert.equal("poison", msg.data)
    assert.equal("red", msg:header "Colour")
    assert.equal("the handler failed", msg:header "Dead-Letter-Reason")
    assert.truthy(msg:header "Dead-Letter-Error":find("never", 1, true))
    assert.equal(stream, msg:header "Dead-Letter-Stream")
    assert.equal("d", msg:header "Dead-Letter-Consumer")
    assert.equal("1", msg:header "Dead-Letter-Sequence")
    assert.equal(stream .. ".a", msg:header "Dead-Letter-Subject")
    assert.equal("3", msg:header "Dead-Letter-Deliveries")
    assert.truthy(msg:header "Nats-Msg-Id":find("^" .. stream .. ":d:1:%d+%.%d+$"))
    assert(app.js.delete_stream(graves))
  end)

  it("keeps trying to store a dead letter", function()
    local graves = unique "graves"
    put(1)
    assert(subscribe():consume({ max_deliver = 1, dead_letter = graves }, function()
      error "never"
    end))
    eventually("a report", function()
      return reports[1] and reports[1]:find("cannot be published", 1, true)
    end)
    assert.equal(1, info().num_ack_pending)
    assert(app.js.add_stream { name = graves })
    eventually("stored", function()
      return app.js.stream_info(graves).state.messages == 1 and info().num_ack_pending == 0
    end)
    assert(app.js.delete_stream(graves))
  end)

  it("does not try again what was delivered too often without a result", function()
    local graves = unique "graves"
    assert(app.js.add_stream { name = graves })
    put(1)
    local psub = subscribe()
    for _ = 1, 2 do assert(psub:fetch(1))[1]:nak() end -- as after two crashes
    assert(psub:consume({ max_deliver = 2, dead_letter = graves }, function()
      error "must not run"
    end))
    eventually("a report", function() return reports[1] end)
    assert.equal(1, app.js.stream_info(graves).state.messages)
    assert.matches("is given up after 3 deliveries (delivered too often without a result) and "
      .. "is a dead letter", reports[1], 1, true)
    assert.equal(1, #reports)
    assert(app.js.delete_stream(graves))
  end)

  it("gives back what it has not started when it is stopped", function()
    put(10)
    local started, ended, open = 0, 0, false
    local psub = subscribe { durable = "d", config = { ack_wait = 1 } }
    local handle = assert(psub:consume(function()
      started = started + 1
      eventually("the stop", function() return open end)
      ended = ended + 1
    end))
    eventually("all here", function() return handle:stats().queued == 9 end)
    handle:stop()
    assert.is_false(handle:closed())
    open = true
    eventually("closed", function() return handle:closed() end)
    assert.equal(1, started)
    assert.equal(1, ended)
    assert.equal(1, handle:stats().acked)
    assert.equal(9, handle:stats().returned)
    -- Servers of 2.9 forget one of them, until its ack_wait is over, and deliver another twice.
    local seen, count = {}, 0
    while count < 9 do
      local msg = assert(subscribe():fetch(1, { timeout = 15 }))[1]
      local seq = msg.metadata.stream_sequence
      if not seen[seq] then seen[seq], count = true, count + 1 end
      assert(msg:ack())
    end
    assert.is_nil(seen[1])
  end)

  it("handles what is here when it is drained", function()
    put(10)
    local ended = 0
    local handle = assert(subscribe():consume(function()
      app.sleep(0.005)
      ended = ended + 1
    end))
    eventually("all here", function() return handle:stats().received == 10 end)
    handle:drain()
    put(1)
    eventually("closed", function() return handle:closed() end)
    assert.equal(10, ended)
    assert.equal(1, info().num_pending)
  end)

  it("can be stopped by its own handler", function()
    put(3)
    local handle, got = nil, 0
    handle = assert(subscribe():consume(function()
      got = got + 1
      if handle then handle:stop() end
      app.sleep(0.01)
      handle:stop()
    end))
    eventually("closed", function() return handle:closed() end)
    assert.is_true(got <= 2)
  end)

  it("ends and tells when a consumer that it found was deleted", function()
    found()
    local err
    -- A server that deletes it before it has looked at the request says nothing at all.
    local opts = { heartbeat = 0.4, on_error = function(e) err = e end }
    local handle = assert(subscribe():consume(opts, function() end))
    assert(app.js.delete_consumer(stream, "d"))
    eventually("the error", function() return err end)
    assert.equal("consumer_lost", err.code)
    assert.equal(10014, err.err_code)
    eventually("closed", function() return handle:closed() end)
  end)

  it("reports its end where nobody listens", function()
    found()
    assert(subscribe():consume({ heartbeat = 0.4 }, function() end))
    assert(app.js.delete_consumer(stream, "d"))
    eventually("the report", function() return reports[1] end)
    assert.truthy(reports[1]:find("is gone", 1, true))
  end)

  for field, value in pairs { max_batch = 10, max_expires = 3, max_bytes = 1000 } do
    it(("goes on when somebody lowers %s of its consumer"):format(field), function()
      found()
      local got, err = 0, nil
      local handle = assert(subscribe():consume({ expires = 10, heartbeat = 0.5,
        on_error = function(e) err = e end }, function() got = got + 1 end))
      put(1)
      eventually("the first one", function() return got == 1 end)
      assert(app.js.update_consumer { stream = stream, durable_name = "d", [field] = value })
      put(150) -- more than the requests that are open
      eventually("all", function() return got == 151 end)
      assert.is_nil(err)
      assert.is_false(handle:closed())
    end)
  end

  it("keeps waiting messages when somebody shortens ack_wait of its consumer", function()
    local interval = consume.check_interval
    consume.check_interval = 0.05
    finally(function() consume.check_interval = interval end)
    found()
    local most, done = 0, 0
    local handle = assert(subscribe():consume(function(msg)
      most = math.max(most, msg.metadata.num_delivered)
      if done == 0 then app.sleep(3) end
      done = done + 1
    end))
    assert(app.js.update_consumer { stream = stream, durable_name = "d", ack_wait = 1.5 })
    eventually("the change", function() return handle.limits.ack_wait == 1.5 end)
    put(3)
    eventually("three", function() return done == 3 end)
    assert.equal(1, most)
    assert.equal(3, handle:stats().received)
  end)

  it("ends when its requests are refused for another reason", function()
    found { max_expires = 3 }
    local info_of = app.js.consumer_info
    local consumers = require "lunats.js.consumers"
    local original, err = consumers.info, nil
    finally(function() consumers.info = original end)
    -- As if the limit that the server enforces could not be seen.
    function consumers.info(...)
      local reply = assert(info_of(...))
      reply.config.max_expires = nil
      return reply
    end
    assert(subscribe():consume({ on_error = function(e) err = e end }, function() end))
    eventually("the error", function() return err end)
    assert.equal("jetstream", err.code)
    assert.truthy(err.message:find("MaxRequestExpires", 1, true), err.message)
  end)

  local kinds = { nameless = {}, declared = { durable = "d", config = {} } }
  for what, opts in pairs(kinds) do
    it("makes a lost consumer again: " .. what, function()
      local interval = consume.check_interval
      consume.check_interval = 0.05
      local got = {}
      local psub = subscribe(opts)
      assert(psub:consume(function(msg)
        got[#got + 1] = msg.metadata.stream_sequence
      end))
      put(3)
      eventually("three", function() return #got == 3 end)
      -- A nameless one goes on behind what is known to be acknowledged.
      eventually("the floor", function() return opts.config or psub.floor == 3 end)
      assert(app.js.delete_consumer(stream, psub.consumer))
      put(1)
      eventually("the fourth", function() return table.concat(got):find "4" end)
      -- Newer servers may give a consumer the state of the one that they have just deleted.
      if not since "2.11" then
        -- What is declared starts where it is declared to start.
        assert.equal(opts.config and "1 2 3 1 2 3 4" or "1 2 3 4", table.concat(got, " "))
      end
      consume.check_interval = interval
    end)
  end

  it("needs no acknowledgement where the consumer has none", function()
    put(3)
    local got = 0
    local handle = assert(subscribe { config = { ack_policy = "none" } }:consume(function()
      got = got + 1
    end))
    eventually("three", function() return got == 3 end)
    assert.equal(0, handle:stats().acked)
  end)

  it("refuses what cannot work", function()
    local psub = subscribe()
    local function fn() end
    for _, opts in ipairs { { concurrency = 0 }, { max_messages = 1.5 }, { timout = 1 },
      { backoff = {} }, { backoff = { -1 } }, { expires = 0 }, { heartbeat = 20 },
      { max_deliver = 0 }, { dead_letter = "a b" },
      { manual_ack = true, dead_letter = "x" } } do
      assert.has_error(function() psub:consume(opts, fn) end)
    end
    assert.has_error(function() psub:consume {} end)
    local handle, err = subscribe { durable = "all", config = { ack_policy = "all" } }:consume(
      { concurrency = 2 }, fn)
    assert.is_nil(handle)
    assert.truthy(err.message:find("concurrency", 1, true))
  end)

  it("leaves no memory behind", function()
    local psub, got = subscribe(), 0
    local handle = assert(psub:consume(function() got = got + 1 end))
    local function round(count)
      local before = got
      for _ = 1, count do app.publish(stream .. ".a", "{}") end
      eventually("all", function() return got == before + count end)
    end
    round(500)
    collectgarbage()
    collectgarbage()
    local before = collectgarbage "count"
    round(3000)
    collectgarbage()
    collectgarbage()
    assert.is_true(collectgarbage "count" - before < 20)
    handle:stop()
  end)

  describe("in a service", function()
    local SCRIPT = [[
      local psub = app.js.pull_subscribe("%s.a", { durable = "d" })
      psub:consume({ concurrency = 2 }, function(msg)
        app.publish("begin", msg.data)
        assert(app.request "go.on")
        app.publish("end", msg.data)
      end)
    ]]

    it("stops in order: running handlers finish, the others go back", function()
      put(10)
      local status, stopping
      local svc = testing.start(SCRIPT:format(stream), { stubs = { ["go.on"] = function()
        return eventually("the stop", function() return stopping end)
      end } })
      svc:expect("begin", { where = function(msg) return msg.data.i == 2 end })
      app.spawn(function() status = svc:stop() end)
      app.sleep(0) -- the stop has begun
      stopping = true
      assert.equal(0, eventually("the end", function() return status end))
      assert.equal(2, #svc:calls "begin")
      assert.equal(2, #svc:calls "end")
      -- It has sent them on a connection of its own.
      eventually("the acknowledgements", function() return info().ack_floor.stream_seq == 2 end)
      assert.is_true(#assert(subscribe():fetch(8, { timeout = 2 })) >= 7)
    end)

    it("fails the start when there is no stream", function()
      local ok, err = pcall(testing.start, SCRIPT:format "nowhere")
      assert.is_false(ok)
      assert.matches("no stream", tostring(err))
    end)

    ---@param fault fun(broker, svc) what happens while a service consumes
    local function through(fault)
      local svc, broker = own.service [[
        app.on_start(function() assert(app.js.add_stream { name = "S" }) end)
        app.js.pull_subscribe("S", { durable = "d", config = { ack_wait = 1 } }):consume(
          { heartbeat = 0.3 }, function(msg)
            app.sleep(0.001)
            app.log.info("seq " .. msg.metadata.stream_sequence)
          end)
        app.timer(0.01, { delay = 0 }, function()
          app.js.publish("S", "x", { timeout = 0.5 })
        end)
      ]]
      local function handled() return #svc:logs "^seq" end
      eventually("20 messages", function() return handled() >= 20 end)
      fault(broker, svc)
      local before = handled()
      eventually("more messages", function() return handled() > before + 20 end)
      -- What the server had delivered into the void comes again after ack_wait.
      local seen, last = {}, 0
      local function note()
        for _, line in ipairs(svc:logs "^seq") do
          local seq = tonumber(line.message:match "%d+")
          seen[seq], last = true, math.max(last, seq)
        end
      end
      note()
      local goal = last
      eventually("every message", function()
        note()
        for seq = 1, goal do
          if not seen[seq] then return false end
        end
        return true
      end)
    end

    it("goes on when the server is killed and comes back", function()
      through(function(broker, svc) own.outage(svc, broker) end)
    end)

    it("goes on when the server was frozen", function()
      through(function(broker)
        broker:pause()
        app.sleep(1) -- more than two heartbeats
        broker:resume()
      end)
    end)
  end)
end)
