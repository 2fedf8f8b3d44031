-- An elastic consumer group of processes: one is killed or freezes, members come and go. What a
-- handler does is a message in another stream, which has the order of all.
local eventually = require "spec.support.eventually"
local groups = require "spec.support.group"
local own = require "spec.support.own"
local process = require "spec.support.process"
local since = require "spec.support.since"
local testing = require "lunats.testing"

local TTL, KEYS, PARTITIONS = 2, 12, 4

describe("An elastic consumer group of processes", function()
  local broker, nats, group, parts, sent, again

  before_each(function()
    broker = own.keep(testing.broker())
    nats = assert(app.connect { server = broker.url })
    if not since "2.11" then return end
    assert(nats.js.add_stream { name = "WORK", storage = "memory", subjects = { "work.*" } })
    assert(nats.js.add_stream { name = "DONE", subjects = { "done.*" }, storage = "memory" })
    group = assert(nats.js.create_elastic_group("WORK", "ledger", { partitions = PARTITIONS,
      filters = { "work.*" }, members = { "a", "b" } }))
    parts, sent, again = {}, 0, 0
    nats.listen("parts.*", { queue = false }, function(msg)
      parts[msg.subject:match "[^.]+$"] = msg.data
    end)
    nats.listen("again", { queue = false }, function() again = again + 1 end)
  end)
  after_each(function()
    nats.close()
    process.close_all()
    own.close()
  end)

  local function run(member)
    local source = groups.process(
      ('{ elastic = true, member = %q, ttl = %g, key = "subject:2" }'):format(member, TTL))
    local child = process.run(source, {}, { servers = { broker.url } })
    child.id = child:expect "instance (%w+)%."
    return child
  end

  local function reads(child, count)
    eventually("its share", function() return #(parts[child.id] or {}) == count end, 30)
  end

  local function put(count)
    for i = sent + 1, sent + count do
      for key = 1, KEYS do
        assert(nats.js.publish_async("work." .. key, tostring(i)))
      end
    end
    assert(nats.js.flush(20))
    sent = sent + count
  end

  local function done() return assert(nats.js.stream_info "DONE").state.messages end

  ---All of it, and each key in order.
  local function check()
    eventually(function()
      return ("all: %d of %d, %d wait"):format(done(), sent * KEYS,
        assert(group:info()).pending)
    end, function() return done() == sent * KEYS end, 60)
    groups.expect_order(nats, sent * KEYS)
    eventually("acknowledged", function() return assert(group:info()).pending == 0 end)
  end

  local function some(count)
    eventually("some", function() return done() > count end, 40)
  end

  since.it("2.11", "goes on in another instance of a member when one is killed", function()
    local first, other = run "a", run "b"
    reads(first, 2)
    local second = run "a"
    put(100)
    some(100)
    first:signal "KILL"
    put(20)
    check()
    reads(second, 2)
    assert.equal(0, second:stop())
    assert.equal(0, other:stop())
  end)

  since.it("2.11", "goes on in the other members when one is killed and removed", function()
    local first, other = run "a", run "b"
    reads(first, 2)
    reads(other, 2)
    put(100)
    some(100)
    first:signal "KILL"
    assert(group:remove_members "a")
    put(20)
    reads(other, 4)
    check()
    assert.equal(0, other:stop())
  end)

  since.it("2.11", "keeps the order when one freezes, is removed and comes back", function()
    local first, other = run "a", run "b"
    reads(first, 2)
    reads(other, 2)
    put(100)
    some(100)
    first:signal "STOP"
    local frozen = app.now()
    assert(group:remove_members "a")
    put(50)
    eventually("all", function()
      return done() == sent * KEYS and app.now() - frozen > 1.5 * TTL
    end, 40)
    first:signal "CONT"
    put(20)
    assert(group:add_members "a")
    reads(first, 2)
    put(20)
    check()
    assert.equal(0, first:stop())
    assert.equal(0, other:stop())
  end)

  since.it("2.11", "keeps the order while members come and go", function()
    local first, other = run "a", run "b"
    reads(first, 2)
    reads(other, 2)
    local publisher = app.spawn(put, 200)
    for _ = 1, 4 do
      assert(group:remove_members "a")
      reads(other, 4)
      assert(group:add_members "a")
      reads(first, 2)
    end
    publisher:await()
    check()
    print(("%d of %d were handled again"):format(again, sent * KEYS))
    assert.equal(0, first:stop())
    assert.equal(0, other:stop())
  end)

  since.it("2.11", "goes on when its server is killed", function()
    local files = own.keep(testing.broker())
    nats.close()
    nats = assert(app.connect { server = files.url })
    nats.listen("parts.*", { queue = false }, function(msg)
      parts[msg.subject:match "[^.]+$"] = msg.data
    end)
    broker = files
    assert(nats.js.add_stream { name = "WORK", subjects = { "work.*" } })
    assert(nats.js.add_stream { name = "DONE", subjects = { "done.*" } })
    group = assert(nats.js.create_elastic_group("WORK", "ledger", { partitions = PARTITIONS,
      filters = { "work.*" }, members = { "a", "b" } }))
    local first, other = run "a", run "b"
    reads(first, 2)
    reads(other, 2)
    put(100)
    some(100)
    files:kill()
    files:restart()
    eventually("the connection", function() return (nats.js.stream_info "DONE") end)
    put(20)
    check()
    assert.equal(0, first:stop())
    assert.equal(0, other:stop())
  end)
end)
