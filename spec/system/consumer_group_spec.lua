-- A consumer group of processes, one of which is killed, or freezes for longer than its leases
-- last. What a handler does is a message in a second stream, which has the order of all.
local eventually = require "spec.support.eventually"
local group = require "spec.support.group"
local own = require "spec.support.own"
local process = require "spec.support.process"
local testing = require "lunats.testing"

local TTL, KEYS, PARTITIONS = 2, 12, 4

local SOURCE = group.process(('{ partitions = %d, ttl = %g, key = "subject:3" }')
  :format(PARTITIONS, TTL))

describe("A consumer group of processes", function()
  local broker, nats, children, parts, sent

  before_each(function()
    broker = own.keep(testing.broker())
    nats = assert(app.connect { server = broker.url })
    assert(nats.js.add_stream { name = "WORK", storage = "memory",
      subjects = { "0.work.*", "1.work.*", "2.work.*", "3.work.*" } })
    assert(nats.js.add_stream { name = "DONE", subjects = { "done.*" }, storage = "memory" })
    children, parts, sent = {}, {}, 0
    nats.listen("parts.*", { queue = false }, function(msg)
      parts[msg.subject:match "[^.]+$"] = msg.data
    end)
    for _ = 1, 2 do
      local child = process.run(SOURCE, {}, { servers = { broker.url } })
      children[#children + 1], child.id = child, child:expect "instance (%w+)%."
    end
    for _, child in ipairs(children) do
      eventually("its share", function() return #(parts[child.id] or {}) == PARTITIONS / 2 end)
    end
  end)
  after_each(function()
    nats.close()
    process.close_all()
    own.close()
  end)

  local function put(count)
    for i = sent + 1, sent + count do
      for key = 1, KEYS do
        local subject = ("%d.work.%d"):format(key % PARTITIONS, key)
        assert(nats.js.publish_async(subject, tostring(i)))
      end
    end
    assert(nats.js.flush(20))
    sent = sent + count
  end

  local function done() return assert(nats.js.stream_info "DONE").state.messages end

  local function check()
    local fine, why = pcall(group.expect_order, nats, sent * KEYS)
    if fine then return end
    for i, child in ipairs(children) do print(i, child:output()) end
    error(why, 0)
  end

  it("goes on when one is killed and its leases are over, in order", function()
    put(100)
    eventually("some", function() return done() > 100 end)
    local first, second = children[1], children[2]
    first:signal "KILL"
    local killed = app.now()
    put(20)
    eventually("all partitions", function() return #parts[second.id] == PARTITIONS end)
    local taken = app.now() - killed
    eventually("all", function() return done() == sent * KEYS end, 30)
    check()
    assert.is_true(taken < 5 * TTL, ("taken over after %.2f s"):format(taken))
    assert.equal(0, second:stop())
  end)

  it("keeps the order when one freezes and comes back", function()
    put(100)
    eventually("some", function() return done() > 100 end)
    local first, second = children[1], children[2]
    first:signal "STOP"
    local frozen = app.now()
    put(50)
    eventually("all", function()
      return done() == sent * KEYS and app.now() - frozen > 1.5 * TTL
    end, 30)
    -- It asks for nothing more of what comes just now, though its requests are over.
    local putting = app.spawn(put, 50)
    first:signal "CONT"
    putting:await()
    eventually("its share again", function()
      return #parts[first.id] == PARTITIONS / 2 and #parts[second.id] == PARTITIONS / 2
    end)
    put(20)
    eventually("all", function() return done() == sent * KEYS end, 30)
    check()
    assert.truthy(first:output():find("is not read here any more", 1, true))
    assert.equal(0, first:stop())
    assert.equal(0, second:stop())
  end)

  it("hands on what a process that stops has not begun", function()
    put(100)
    eventually("some", function() return done() > 100 end)
    assert.equal(0, children[1]:stop())
    put(20)
    eventually("all", function() return done() == sent * KEYS end, 30)
    check()
    assert.equal(0, children[2]:stop())
  end)
end)
