-- The option key of psub:consume and app.js.subscribe: in order per key, parallel across keys.
local clean_loop = require "spec.support.clean_loop"
local consume = require "lunats.js.consume"
local core = require "lunats.core"
local eventually = require "spec.support.eventually"
local own = require "spec.support.own"
local reporting = require "spec.support.reports"

describe("consuming in order per key", function()
  local stream, reports
  local backoff = consume.backoff

  before_each(function()
    reports = reporting.catch()
    consume.backoff = { 0.05 }
    stream = own.stream "key"
  end)
  after_each(function()
    own.close()
    reporting.release()
    consume.backoff = backoff
  end)

  local function subscribe(config)
    return own.keep(app.js.pull_subscribe(stream .. ".>", { durable = "d", config = config }))
  end

  ---Publishes to <stream>.<customer>, with the customer in a header and in the body, too.
  local function put(customer, i)
    assert(app.js.publish(("%s.%s"):format(stream, customer), { customer = customer, i = i },
      { headers = { Customer = customer } }))
  end

  local function by_body(msg) return msg.data.customer end

  ---What a handler has begun, by key.
  local function record()
    local seen = setmetatable({}, { __index = function(t, name)
      local list = {}
      rawset(t, name, list)
      return list
    end })
    return seen, function(msg)
      local list = seen[msg.data.customer]
      list[#list + 1] = msg.data.i
      return list
    end
  end

  local function info() return assert(app.js.consumer_info(stream, "d")) end

  for name, key in pairs { ["a function"] = by_body, ["a token of the subject"] = "subject:2",
    ["the subject"] = "subject", ["a header"] = "header:customer" } do
    it("handles one of a key at a time, several keys at once, by " .. name, function()
      local seen, note = record()
      local running, most, total, done = {}, 0, 0, 0
      for i = 1, 10 do
        for _, customer in ipairs { "a", "b", "c" } do put(customer, i) end
      end
      local handle = assert(subscribe():consume({ key = key }, function(msg)
        local customer = msg.data.customer
        assert(not running[customer], "two of a key")
        running[customer] = true
        total = total + 1
        most = math.max(most, total)
        note(msg)
        app.sleep(math.random() / 200)
        total, running[customer] = total - 1, nil
        done = done + 1
      end))
      eventually("all", function() return done == 30 end)
      assert.equal(3, most)
      for _, customer in ipairs { "a", "b", "c" } do
        assert.same({ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 }, seen[customer])
      end
      eventually("acknowledged", function()
        return info().ack_floor.stream_seq == 30 and handle:stats().keys == 0
      end)
      assert.same({}, reports)
    end)
  end

  it("lets nothing of its key overtake a message that has failed", function()
    local seen, note = record()
    local deliveries = {}
    for i = 1, 3 do put("a", i) end
    for i = 1, 3 do put("b", i) end
    assert(subscribe():consume({ key = by_body, backoff = { 1.5, 0.05 } }, function(msg)
      note(msg)
      if msg.data.customer ~= "a" or msg.data.i ~= 1 then return end
      deliveries[#deliveries + 1] = msg.metadata.num_delivered
      if #deliveries < 4 then error "not yet" end
    end))
    eventually("the other key", function() return #seen.b == 3 end)
    assert.same({ 1 }, seen.a)
    eventually("all", function() return #seen.a == 6 end)
    assert.same({ 1, 1, 1, 1, 2, 3 }, seen.a)
    assert.same({ 1, 2, 3, 4 }, deliveries)
    eventually("acknowledged", function() return info().ack_floor.stream_seq == 6 end)
    assert.equal(0, info().num_redelivered) -- it has never left
    assert.truthy(reports[1]:find("failed (delivery 1) and comes again in 1.5 s", 1, true))
    assert.equal(3, #reports)
  end)

  it("treats nak as a failure, with its delay", function()
    local seen, note = record()
    local at = {}
    for i = 1, 2 do put("a", i) end
    assert(subscribe():consume({ key = by_body, manual_ack = true }, function(msg)
      note(msg)
      at[#at + 1] = core.clock()
      if #at == 1 then
        assert(msg:nak(0.2))
        assert.equal("already_acked", select(2, msg:ack()).code)
      elseif #at == 2 then
        assert(msg:nak())
      else
        assert(msg:ack())
      end
    end))
    eventually("all", function() return #seen.a == 4 end)
    assert.same({ 1, 1, 1, 2 }, seen.a)
    assert.is_true(at[2] - at[1] >= 0.19)
    eventually("acknowledged", function() return info().ack_floor.stream_seq == 2 end)
    assert.same({}, reports)
  end)

  it("goes on with a key whose message is given up or terminated", function()
    local seen, note = record()
    local dead = own.stream "dead"
    clean_loop.expected_errors(1) -- the log tells that it was terminated
    for i = 1, 4 do put("a", i) end
    assert(subscribe():consume({ key = by_body, backoff = { 0.02 }, max_deliver = 2,
      dead_letter = dead .. ".a" }, function(msg)
        note(msg)
        if msg.data.i == 1 then error "never" end
        if msg.data.i == 2 then assert(msg:term "no use") end
      end))
    eventually("all", function() return #seen.a == 5 end)
    assert.same({ 1, 1, 2, 3, 4 }, seen.a)
    local letter = assert(app.js.get_msg(dead, { seq = 1 }))
    assert.equal("2", letter:header "Dead-Letter-Deliveries")
    assert.equal("1", letter:header "Dead-Letter-Sequence")
    eventually("settled", function() return info().num_ack_pending == 0 end)
  end)

  it("orders nothing that has no key", function()
    local gate, begun = core.gate(), 0
    for i = 1, 5 do put("a", i) end
    assert(subscribe():consume({ key = "header:Other" }, function()
      begun = begun + 1
      gate:wait()
    end))
    eventually("all at once", function() return begun == 5 end)
    gate:open()
  end)

  for name, case in pairs {
    ["raises"] = { function() error "no customer" end, "no customer" },
    ["returns a table"] = { function(msg) return { msg.data.customer } end,
      "key: a string of at most 1024 bytes, a number or nil expected, got table" },
    ["returns a long string"] = { function() return ("x"):rep(1025) end, "got 1025 bytes" },
    ["waits"] = { function()
      app.sleep(0.01)
      return "a"
    end, "key: the function must not wait" },
  } do
    it("gives a message to no handler whose key function " .. name, function()
      local seen, note = record()
      put("bad", 1)
      put("a", 1)
      assert(subscribe():consume({ key = function(msg)
        if msg.data.customer == "bad" then return case[1](msg) end
        return msg.data.customer
      end, backoff = { 0.02 }, max_deliver = 2 }, note))
      eventually("given up", function() return #reports == 2 end)
      assert.truthy(reports[1]:find("comes again in 0.02 s", 1, true))
      assert.truthy(reports[2]:find("is given up after 2 deliveries", 1, true))
      assert.truthy(reports[2]:find(case[2], 1, true), reports[2])
      eventually("the good one", function() return #seen.a == 1 end)
      assert.same({}, seen.bad)
    end)
  end

  it("gets at other keys behind a thousand messages of one that is busy", function()
    local gate, seen, note = core.gate(), record()
    for i = 1, 500 do
      app.js.publish_async(("%s.hot"):format(stream), { customer = "hot", i = i })
    end
    put("cold", 1)
    local handle = assert(subscribe():consume({ key = "subject:2", max_messages = 20,
      pending = 600 }, function(msg)
        note(msg)
        if msg.data.customer == "hot" and msg.data.i == 1 then gate:wait() end
      end))
    eventually("the other key", function() return #seen.cold == 1 end)
    assert.same({ 1 }, seen.hot)
    assert.equal(499, handle:stats().blocked)
    assert.equal(1, handle:stats().keys)
    gate:open()
    eventually("all", function() return #seen.hot == 500 end)
    for i = 1, 500 do assert.equal(i, seen.hot[i]) end
  end)

  it("asks for no more than may wait", function()
    local gate, begun = core.gate(), 0
    for i = 1, 100 do put("hot", i) end
    local handle = assert(subscribe():consume({ key = "subject:2", max_messages = 10,
      concurrency = 2, pending = 20 }, function()
        begun = begun + 1
        gate:wait()
      end))
    eventually("as many as may", function() return handle:stats().blocked >= 20 end)
    app.sleep(0.1) -- in which more could come
    assert.is_true(handle:stats().queued <= 30, handle:stats().queued)
    assert.equal(1, begun)
    handle:stop()
    gate:open()
    eventually("the end", function() return handle:closed() end)
  end)

  it("keeps what waits for its key from being delivered once more", function()
    local gate, seen, note = core.gate(), record()
    for i = 1, 3 do put("a", i) end
    local handle = assert(subscribe({ ack_wait = 1.5 }):consume({ key = by_body },
      function(msg)
        if note(msg)[2] == nil then gate:wait() end
      end))
    app.sleep(3.2) -- twice its ack_wait
    gate:open()
    eventually("all", function() return #seen.a == 3 end)
    eventually("acknowledged", function() return info().ack_floor.stream_seq == 3 end)
    assert.same({ 1, 2, 3 }, seen.a)
    assert.equal(3, handle:stats().received)
  end)

  it("keeps the order of what the server delivers again, as the loop was busy", function()
    local seen, note = record()
    for i = 1, 5 do put("a", i) end
    assert(subscribe({ ack_wait = 1 }):consume({ key = by_body }, function(msg)
      local list = note(msg)
      if #list > 1 then return app.sleep(0.01) end
      local till = core.hrtime() + 1.8
      while core.hrtime() < till do end -- luacheck: ignore 542
    end))
    eventually("acknowledged", function() return info().ack_floor.stream_seq == 5 end)
    local last = 0
    for _, i in ipairs(seen.a) do
      assert.is_true(i == last or i == last + 1, table.concat(seen.a, " "))
      last = i
    end
    assert.equal(5, last)
  end)

  it("begins with what a reader that is gone has left", function()
    local seen, note = record()
    local psub = subscribe { ack_wait = 1.5 }
    for i = 1, 2 do
      put("a", i)
      put("b", i)
    end
    assert.equal(3, #assert(psub:fetch(3))) -- and nobody acknowledges them
    for i = 3, 5 do
      put("a", i)
      put("b", i)
    end
    local handle = assert(psub:consume({ key = by_body }, note))
    eventually("all", function() return #seen.a + #seen.b == 10 end)
    assert.same({ 1, 2, 3, 4, 5 }, seen.a)
    assert.same({ 1, 2, 3, 4, 5 }, seen.b)
    eventually("acknowledged", function() return info().ack_floor.stream_seq == 10 end)
    assert.equal(10, handle:stats().received)
  end)

  it("handles nothing before what is left has come, and can be stopped meanwhile", function()
    local psub = subscribe { ack_wait = 60 }
    put("a", 1)
    assert.equal(1, #assert(psub:fetch(1)))
    put("b", 1)
    local called
    local handle = assert(psub:consume({ key = by_body }, function() called = true end))
    eventually("the new one", function() return handle:stats().queued == 1 end)
    handle:stop()
    eventually("the end", function() return handle:closed() end)
    assert.is_nil(called)
  end)

  it("gives back what waits when it is stopped", function()
    local gate, begun = core.gate(), 0
    for i = 1, 5 do put("a", i) end
    local psub = subscribe()
    local handle = assert(psub:consume({ key = by_body }, function()
      begun = begun + 1
      gate:wait()
    end))
    eventually("one", function() return handle:stats().blocked == 4 end)
    handle:stop()
    gate:open()
    eventually("the end", function() return handle:closed() end)
    assert.equal(1, begun)
    assert.equal(4, handle:stats().returned)
    local seen, note = record()
    assert(psub:consume({ key = by_body }, note))
    eventually("the rest", function() return #seen.a == 4 end)
    assert.same({ 2, 3, 4, 5 }, seen.a)
  end)

  it("gives back what has failed, and what waits for it, when it drains", function()
    local seen, note = record()
    for i = 1, 3 do put("a", i) end
    put("b", 1)
    local psub = subscribe()
    local handle = assert(psub:consume({ key = by_body, backoff = { 60 } }, function(msg)
      note(msg)
      if msg.data.customer == "a" then error "not yet" end
    end))
    eventually("both keys", function() return #seen.a == 1 and #seen.b == 1 end)
    handle:drain()
    eventually("the end", function() return handle:closed() end)
    assert.same({ 1 }, seen.a)
    assert(psub:consume({ key = by_body }, note))
    eventually("again", function() return #seen.a == 4 end)
    assert.same({ 1, 1, 2, 3 }, seen.a)
  end)

  it("keeps the order when it pushes", function()
    local seen, note = record()
    local failed
    local sub = own.keep(assert(app.js.subscribe(stream .. ".>", { durable = "p",
      key = "subject:2" }, function(msg)
        note(msg)
        app.sleep(math.random() / 500)
        if msg.data.i == 5 and not failed then
          failed = true
          error "not yet"
        end
      end)))
    for i = 1, 20 do
      put("a", i)
      put("b", i)
    end
    eventually("all", function() return #seen.a + #seen.b == 41 end)
    for _, customer in ipairs { "a", "b" } do
      local last = 0
      for _, i in ipairs(seen[customer]) do
        assert.is_true(i == last + 1 or i == last and i == 5)
        last = i
      end
    end
    assert.equal(1, #reports)
    eventually("acknowledged", function() return sub:info().ack_floor.stream_seq == 40 end)
  end)

  describe("refuses", function()
    it("what is no key", function()
      for _, key in ipairs { "customer", "subject:0", "subject:x", "header:", "header:a b" } do
        local ok, err = pcall(subscribe().consume, subscribe(), { key = key }, print)
        assert.is_false(ok)
        assert.truthy(err:find "psub:consume: key: a function of the message expected", err)
        assert.is_false(pcall(app.js.subscribe, stream .. ".a", { key = key }, print))
        assert.is_false(pcall(app.listen, stream .. ".a", { key = key }, print))
      end
    end)

    it("a consumer whose deliveries the server counts", function()
      local handle, err = subscribe({ max_deliver = 3 }):consume({ key = by_body }, print)
      assert.is_nil(handle)
      assert.truthy(err.message:find("Give max_deliver to psub:consume", 1, true))
    end)

    it("a consumer that acknowledges all before a message", function()
      local handle, err = subscribe({ ack_policy = "all" }):consume({ key = by_body }, print)
      assert.is_nil(handle)
      assert.truthy(err.message:find("no 'key' with it", 1, true))
    end)

    it("bounds of what waits for a key where there is none", function()
      assert.has_error(function() subscribe():consume({ pending = 5 }, print) end)
    end)
  end)

  ---A service that says what it handles, with its version.
  local SOURCE = [[
    local version = %d
    app.js.pull_subscribe("%s.>", { durable = "d" }):consume({ key = %s, concurrency = %d,
      backoff = { 0.1 } }, function(msg)
        app.publish("%s.seen", { version = version, customer = msg.data.customer,
          i = msg.data.i, begins = true })
        app.sleep(version == 1 and 0.3 or 0.01) -- a reload comes before all are handled
        if msg.data.fail and version == 1 then error "not in this version" end
        app.publish("%s.seen", { customer = msg.data.customer, i = msg.data.i })
      end)
  ]]

  for _, case in ipairs {
    { "with the same key", [["subject:2"]], [["subject:2"]] },
    { "to a function", [["subject:2"]], "function(msg) return msg.data.customer end" },
    { "from a function", "function(msg) return msg.data.customer end", [["subject:2"]] },
    { "where it had none", "nil", [["subject:2"]] },
  } do
    it("keeps the order over a reload " .. case[1], function()
      local events, versions, begun, last = {}, {}, {}, {}
      local name = "seen_of_" .. stream
      local listener = app.listen(name .. ".seen", { queue = false }, function(msg)
        local event = msg.data
        events[#events + 1] = event
        if event.begins then
          assert(not begun[event.customer], "two at once")
          begun[event.customer], versions[event.version] = true, true
          assert(event.i == (last[event.customer] or 0) + 1 or event.i == last[event.customer])
        end
        begun[event.customer] = event.begins
        last[event.customer] = event.i
      end)
      own.keep(listener)
      assert(app.flush())
      for i = 1, 8 do
        put("a", i)
        put("b", i)
      end
      local first = case[2] == "nil" and 1 or 64
      local svc = own.start(SOURCE:format(1, stream, case[2], first, name, name))
      eventually("the first ones", function() return #events >= 4 end)
      assert(svc:reload(SOURCE:format(2, stream, case[3], 64, name, name)))
      eventually("all", function() return info().ack_floor.stream_seq == 16 end)
      assert.is_true(versions[1] and versions[2])
      eventually("told", function() return #events == 32 end)
      assert.equal(8, last.a)
      assert.equal(8, last.b)
    end)
  end

  it("hands what has failed on to the version that follows", function()
    local events = {}
    local name = "seen_of_" .. stream
    own.keep(app.listen(name .. ".seen", { queue = false }, function(msg)
      if msg.data.begins then
        events[#events + 1] = ("%d by %d"):format(msg.data.i, msg.data.version)
      end
    end))
    assert(app.flush())
    assert(app.js.publish(stream .. ".a", { customer = "a", i = 1, fail = true }))
    put("a", 2)
    local svc = own.start(SOURCE:format(1, stream, [["subject:2"]], 64, name, name))
    eventually("the first one", function() return #events >= 1 end)
    assert(svc:reload(SOURCE:format(2, stream, [["subject:2"]], 64, name, name)))
    eventually("all", function() return info().ack_floor.stream_seq == 2 end)
    eventually("told", function() return events[#events] == "2 by 2" end)
    assert.equal("1 by 1", events[1])
    assert.equal("1 by 2", events[#events - 1])
    svc:errors()
  end)
end)
