-- What a consume makes of every status of the server: a listener of the spec plays the server,
-- and has the messages from a real stream.
local core = require "lunats.core"
local eventually = require "spec.support.eventually"
local server_says = require "spec.support.server_says"
local testing = require "lunats.testing"
local unique = require "spec.support.unique"

describe("a consume", function()
  local prefix, stream, requests, inbox, box, reader, listener, lost, seen, acks, ack_listener
  local at_work -- how often it has said so of a message

  ---Says something on the inbox of the last request.
  local function say(status, description, pending)
    server_says(testing.server_url(), inbox, status, description,
      { ["Nats-Pending-Messages"] = pending, ["Nats-Pending-Bytes"] = pending and 0 })
  end

  ---The next message of the stream, to the inbox of the last request.
  local function deliver(seq, text)
    assert(app.js.publish(stream, { seq = seq, text = text }))
    assert(app.publish("$JS.API.CONSUMER.MSG.NEXT." .. stream .. ".C", "1",
      { reply_to = inbox }))
  end

  before_each(function()
    prefix, stream, requests, lost, seen, acks = unique "fake", unique "S", {}, {}, {}, {}
    at_work = { 0, 0, 0, 0 }
    assert(app.js.add_stream { name = stream, storage = "memory" })
    assert(app.js.add_consumer { stream = stream, durable_name = "C", ack_policy = "explicit",
      max_ack_pending = -1 })
    local asked = ("%s.CONSUMER.MSG.NEXT.%s.C"):format(prefix, stream)
    listener = app.listen(asked, { queue = false }, function(msg)
      requests[#requests + 1] = msg.data
      inbox = msg.reply_to
    end)
    ack_listener = app.listen(("$JS.ACK.%s.C.>"):format(stream), { queue = false,
      data_type = "string" }, function(msg)
        local seq = tonumber(msg.subject:match "(%d+)%.%d+%.%d+$")
        if msg.data == "+WPI" then at_work[seq] = at_work[seq] + 1 end
        acks[#acks + 1] = msg.data
      end)
    assert(app.flush())
  end)
  after_each(function()
    box:stop(false)
    eventually("the end", function() return box:over() end)
    reader:close()
    listener:stop()
    ack_listener:stop()
    app.js.delete_stream(stream)
  end)

  local function start(opts, handler)
    reader = core.js_reader(stream, "C", true)
    local all = { max_messages = 10, concurrency = 1, expires = 30, heartbeat = 5,
      ack_wait = 30, auto_ack = true, reader = reader }
    for name, value in pairs(opts or {}) do all[name] = value end
    box = core.js_consume(stream, "C", prefix, all, handler or function(msg)
      seen[#seen + 1] = msg.data.seq
    end, function() end, function(err, silent)
      lost[#lost + 1] = { err = err, silent = silent }
    end)
    eventually("the first request", function() return #requests >= 1 end)
  end

  local function more_requests(count) -- than one
    eventually("another request", function() return #requests >= count end)
    assert(app.flush()) -- whatever else was asked has come back now
    assert.equal(count, #requests)
  end

  it("asks for what it may have, and for more when half of it is done", function()
    start()
    assert.same({ batch = 10, expires = 30000000000, idle_heartbeat = 5000000000 }, requests[1])
    for seq = 1, 5 do deliver(seq) end
    eventually("five", function() return #seen == 5 end)
    assert(app.flush())
    assert.equal(1, #requests)
    deliver(6)
    more_requests(2)
    assert.equal(6, requests[2].batch)
    eventually("acknowledged", function() return #acks == 6 end)
    for _, ack in ipairs(acks) do assert.equal("+ACK", ack) end
  end)

  it("asks in the size that the consumer allows", function()
    start { max_batch = 3 }
    more_requests(2)
    assert.equal(3, requests[1].batch)
    assert.equal(3, requests[2].batch)
  end)

  it("asks for 64 MiB, however many messages it may have", function()
    start { max_messages = 5000 }
    assert.equal(1024, requests[1].batch) -- before their size is known
    for seq = 1, 3 do deliver(seq, ("x"):rep(1000000)) end
    eventually("three", function() return box:stats().acked == 3 end)
    say(408, "Request Timeout", 1021)
    more_requests(2)
    assert.equal(67, requests[2].batch)
  end)

  it("asks for one message for each handler, however large they are", function()
    start { max_messages = 5000, concurrency = 100 }
    for seq = 1, 3 do deliver(seq, ("x"):rep(1000000)) end
    eventually("three", function() return box:stats().acked == 3 end)
    say(408, "Request Timeout", 1021)
    more_requests(2)
    assert.equal(100, requests[2].batch)
  end)

  it("does not ask while everything waits for handlers", function()
    local gate, open = core.gate(), false
    start({ max_messages = 2 }, function() if not open then gate:wait() end end)
    deliver(1)
    deliver(2)
    eventually("both here", function() return box:stats().received == 2 end)
    assert(app.flush())
    assert.equal(1, #requests)
    open = true
    gate:open()
    eventually("another request", function() return #requests == 2 end)
  end)

  for _, case in ipairs {
    { 408, "Request Timeout", 10, 10, 0 },
    { 408, "Request Timeout", 8, 8, 0 }, -- two are still to come
    { 408, "Interest Expired", 10, 10, 0 },
    { 409, "Message Size Exceeds MaxBytes", 10, 10, 0 },
    { 409, "Batch Completed", 10, 10, 0 },
    { 408, "Request Timeout", nil, 10, 0.2 },
    { 404, "No Messages", nil, 10, 0.2 },
    { 408, "Requests Pending", nil, 10, 0.2 },
    { 409, "Leadership Change", nil, 10, 0.2 },
    { 409, "Server Shutdown", 10, 10, 0.2 },
    { 409, "Exceeded MaxWaiting", nil, 10, 0.9 },
    { 423, "Nats-Wrong-Pin-Id", nil, 10, 0.2 },
    { 503, nil, nil, 10, 0.2 },
  } do
    it(("asks again after %d %s%s"):format(case[1], case[2] or "", case[3] and
      (", %d pending"):format(case[3]) or ""), function()
      start()
      local began = core.clock()
      say(case[1], case[2], case[3])
      more_requests(2)
      local took = core.clock() - began
      assert.equal(case[4], requests[2].batch)
      assert.is_true(took >= case[5], took) -- no upper bound: the machine may be busy
      assert.same({}, lost)
    end)
  end

  it("does not ask more often because of a status about a part", function()
    start()
    say(408, "Request Timeout", 3)
    assert(app.flush()) -- it has arrived
    assert(app.flush()) -- and so has what it might have caused
    assert.equal(1, #requests)
  end)

  for _, case in ipairs {
    { 409, "Consumer Deleted", "consumer_lost" },
    { 409, "Consumer is push based", "consumer_lost" },
    { 400, "Bad Request - heartbeat value too large", "jetstream" },
    { 409, "Exceeded MaxRequestBatch of 2", "jetstream" },
  } do
    it("is lost after " .. case[2], function()
      start()
      say(case[1], case[2])
      eventually("told", function() return lost[1] end)
      assert.equal(case[3], lost[1].err.code)
      assert.equal(case[2], lost[1].err.message)
      assert.equal(case[3] == "jetstream", lost[1].silent) -- limits may be others by now
      box:resume()
      more_requests(2)
    end)
  end

  it("is lost after the third 503", function()
    start()
    for count = 2, 3 do
      say(503)
      more_requests(count)
    end
    say(503)
    eventually("told", function() return lost[1] end)
    assert.is_true(lost[1].silent)
  end)

  it("is lost without heartbeats, but not with them", function()
    start { heartbeat = 2, expires = 30 } -- two of them may pass
    server_says(testing.server_url(), inbox, 100, "Idle Heartbeat", {}, nil,
      { times = 9, pause = 0.55 })
    assert.same({}, lost)
    eventually("told", function() return lost[1] end)
    assert.is_true(lost[1].silent)
    app.sleep(1.3) -- in which it is not told again
    assert.equal(1, #lost)
    local old = inbox
    box:resume()
    eventually("another request", function() return #requests == 2 end)
    assert.not_equal(old, inbox)
  end)

  it("ignores what is no message of a stream", function()
    start()
    app.publish(inbox, "hello")
    deliver(1)
    eventually("seen", function() return #seen == 1 end)
    assert.same({ 1 }, seen)
  end)

  it("handles more than it has asked for", function()
    start { max_messages = 2 }
    for seq = 1, 50 do deliver(seq) end
    eventually("all", function() return #seen == 50 and #acks == 50 end)
    for seq = 1, 50 do assert.equal(seq, seen[seq]) end
  end)

  it("says that it is at work, for all messages that are here", function()
    local open, began = false, core.clock()
    start({ ack_wait = 1, concurrency = 2 }, function()
      eventually("two signs of each", function() return open end)
    end)
    for seq = 1, 4 do deliver(seq) end
    eventually("two signs of each", function()
      return math.min(table.unpack(at_work)) >= 2
    end)
    -- Every half a second, which is no more than it needs.
    assert.is_true(#acks <= 4 * ((core.clock() - began) / 0.5 + 1), #acks)
    open = true
    eventually("all acknowledged", function()
      local count = 0
      for _, ack in ipairs(acks) do count = count + (ack == "+ACK" and 1 or 0) end
      return count == 4
    end)
  end)

  it("gives back what arrives after a stop", function()
    local gate = core.gate()
    start({}, function() gate:wait() end)
    deliver(1)
    deliver(2)
    eventually("both here", function() return box:stats().queued == 1 end)
    box:stop(false)
    eventually("the second is given back", function() return acks[1] end)
    assert.same({ [[-NAK {"delay":100000000}]] }, acks)
    gate:open()
    eventually("the first is acknowledged", function() return #acks == 2 end)
    assert.equal("+ACK", acks[2])
  end)
end)
