-- The API of pull consumers by plain requests: for what app.js does not know.
local eventually = require "spec.support.eventually"
local unique = require "spec.support.unique"

describe("a request to CONSUMER.MSG.NEXT", function()
  local stream, next_subject

  before_each(function()
    stream = unique "next"
    next_subject = ("$JS.API.CONSUMER.MSG.NEXT.%s.c"):format(stream)
    assert(app.js.add_stream { name = stream, subjects = { stream .. ".>" } })
    assert(app.js.add_consumer { stream = stream, durable_name = "c", ack_wait = 60 })
  end)
  after_each(function() app.js.delete_stream(stream) end)

  local function put(count)
    for i = 1, count do assert(app.js.publish(stream .. ".a", { i = i })) end
  end

  local function info() return assert(app.js.consumer_info(stream, "c")) end

  it("gets its message, which can be acknowledged", function()
    put(1)
    local msg = assert(app.request(next_subject, { batch = 1 }, { timeout = 15 }))
    assert.equal(1, msg.data.i)
    assert.equal(stream .. ".a", msg.subject)
    assert.equal(1, msg.metadata.stream_sequence)
    assert.is_true(assert(msg:ack_sync()))
    assert.equal(0, info().num_ack_pending)
    assert.equal(1, info().ack_floor.stream_seq)
  end)

  it("gets each of many, for those who asked", function()
    put(6)
    local got, waiting = {}, 3
    for i = 1, 3 do
      app.spawn(function()
        local list = assert(app.request_many(next_subject, { batch = 2 },
          { max = 2, timeout = 15 }))
        for _, msg in ipairs(list) do got[#got + 1] = msg.data.i end
        assert.equal(2, #list, i)
        waiting = waiting - 1
      end)
    end
    eventually("all", function() return waiting == 0 end)
    table.sort(got)
    assert.same({ 1, 2, 3, 4, 5, 6 }, got)
  end)

  it("may name a listener, which acknowledges", function()
    local inbox, got = unique "by.hand", {}
    local listener = app.listen(inbox, { queue = false }, function(msg)
      got[#got + 1] = msg.data and msg.data.i or msg:header "Status"
      if msg.metadata then assert(msg:ack_sync()) end
    end)
    finally(function() listener:stop() end)
    assert(app.flush())
    put(2)
    app.publish(next_subject, { batch = 2 }, { reply_to = inbox })
    eventually("both", function() return info().ack_floor.stream_seq == 2 end)
    assert.same({ 1, 2 }, got)
  end)

  it("shows the server's status where there is none", function()
    local msg = assert(app.request(next_subject, { batch = 1, no_wait = true },
      { timeout = 15 }))
    assert.equal("404", msg.headers.Status)
    assert.equal("", msg.raw)
  end)

  it("times out as others do, and gives back what comes too late", function()
    local msg, err = app.request(next_subject, { batch = 1 }, { timeout = 0.05 })
    assert.is_nil(msg)
    assert.equal("timeout", err.code)
    eventually("nobody who waits", function()
      put(1)
      local one = assert(app.js.pull_subscribe(nil, { stream = stream, durable = "c" })
        :fetch(1, { timeout = 1 }))[1]
      return one and one:ack_sync()
    end)
  end)

  it("gives back what is more than it takes", function()
    put(3)
    local msg = assert(app.request(next_subject, { batch = 3 }, { timeout = 15 }))
    assert.is_true(assert(msg:ack_sync()))
    local psub = app.js.pull_subscribe(nil, { stream = stream, durable = "c" })
    finally(function() psub:stop() end)
    local seen = {}
    eventually("the others", function()
      for _, one in ipairs(assert(psub:fetch(2, { timeout = 2 }))) do
        seen[one.data.i] = true
        assert(one:ack_sync())
      end
      return seen[2] and seen[3]
    end)
  end)
end)
