-- app.js.consumer_group: the partitions of a stream, each read by one member at a time.
local eventually = require "spec.support.eventually"
local group = require "spec.support.group"
local own = require "spec.support.own"
local testing = require "lunats.testing"
local unique = require "spec.support.unique"

local by_key, handled, parts = group.by_key, group.handled, group.parts

describe("app.js.consumer_group", function()
  local broker, nats, stream

  setup(function()
    broker = testing.broker()
    nats = assert(app.connect { server = broker.url })
  end)
  teardown(function()
    nats.close()
    broker:stop()
  end)
  before_each(function()
    stream = unique "work"
    local subjects = {}
    for number = 0, 9 do subjects[#subjects + 1] = ("%d.%s.*"):format(number, stream) end
    assert(nats.js.add_stream { name = stream, subjects = subjects, storage = "memory" })
  end)
  after_each(function()
    own.close()
    nats.js.delete_stream(stream)
  end)

  local function source(options, handler)
    return group.service(stream, options or "{ partitions = 4, ttl = 10 }", handler)
  end

  local function start(options, handler, begin)
    return (begin or own.start)(source(options, handler), { server = broker.url })
  end

  ---Messages first, first + 1, ... of so many keys.
  local function put(first, last, partitions, keys)
    for i = first, last do
      for key = 1, keys or 4 do
        assert(nats.js.publish(("%d.%s.k%d"):format(key % (partitions or 4), stream, key),
          tostring(i)))
      end
    end
  end

  ---Waits until these read so many each, of all partitions.
  local function shares(...)
    local wanted = { ... }
    eventually("shares", function()
      local seen = {}
      for i = 1, #wanted, 2 do
        local list = parts(wanted[i]).list
        if #list ~= wanted[i + 1] then return false end
        for _, number in ipairs(list) do
          if seen[number] then return false end
          seen[number] = true
        end
      end
      return true
    end)
  end

  it("reads all partitions in one member, each in order", function()
    put(1, 10)
    local svc = start()
    handled(40, svc)
    shares(svc, 4)
    for _, list in pairs(by_key(svc)) do
      assert.same({ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 }, list)
    end
    local one = svc:calls("done")[1].data
    assert.equal(tonumber(one.subject:match "^%d"), one.number)
    assert.equal("integer", math.type(one.token))
  end)

  it("shares them with a second member, and takes them back when that stops", function()
    local a = start()
    shares(a, 4)
    local b = start(nil, nil, testing.start)
    shares(a, 2, b, 2)
    assert.equal(2, parts(a).members)
    put(1, 5)
    handled(20, a, b)
    b:stop()
    shares(a, 4)
    put(6, 10)
    handled(40, a, b)
  end)

  it("gives its partitions away by group:stop()", function()
    local a, b = start(), start()
    shares(a, 2, b, 2)
    assert(a:request("stop." .. a.instance_id))
    shares(a, 0, b, 4)
    put(1, 5)
    handled(20, b)
  end)

  it("finishes what is under way before another member reads on", function()
    put(1, 3, 1, 1)
    local a = start("{ partitions = 1, ttl = 10 }", [[
      app.publish("begun", msg.data)
      while not go_on do app.sleep(0.01) end
    ]])
    a:expect "begun"
    local b = start "{ partitions = 1, ttl = 10 }"
    assert(a:request("stop." .. a.instance_id))
    app.sleep(0.3)
    assert.same({}, b:calls "done")
    assert(a:request("go." .. a.instance_id))
    handled(3, a, b)
    assert.same({ 1 }, by_key(a)[("0.%s.k1"):format(stream)])
    assert.same({ 2, 3 }, by_key(b)[("0.%s.k1"):format(stream)])
  end)

  it("keeps the order behind a message that fails", function()
    put(1, 5, 1, 1)
    local svc = start("{ partitions = 1, ttl = 10, backoff = { 0.05 } }", [[
      if msg.data == 2 and msg.metadata.num_delivered < 3 then
        app.publish("failed", 1)
        return nil, "not yet"
      end
    ]])
    handled(5, svc)
    assert.equal(2, #svc:calls "failed")
    assert.equal(2, #svc:errors())
    assert.same({ 1, 2, 3, 4, 5 }, by_key(svc)[("0.%s.k1"):format(stream)])
  end)

  it("handles several keys of a partition at once with `key`", function()
    put(1, 5, 1, 4)
    local svc = start("{ partitions = 1, ttl = 10, key = 'subject:3' }", [[
      running = (running or 0) + 1
      most = math.max(most or 0, running)
      app.sleep(0.02)
      running = running - 1
      app.publish("most", most)
    ]])
    handled(20, svc)
    local most = 0
    for _, call in ipairs(svc:calls "most") do most = math.max(most, call.data) end
    assert.equal(4, most)
    for _, list in pairs(by_key(svc)) do assert.same({ 1, 2, 3, 4, 5 }, list) end
  end)

  it("goes on over a reload, in order", function()
    local svc = start(nil, "app.sleep(0.01)")
    shares(svc, 4)
    put(1, 20)
    eventually("some", function() return #svc:calls "done" > 8 end)
    assert(svc:reload(source(nil, "app.sleep(0.001)")))
    assert.equal(0, handled(80, svc))
    for _, list in pairs(by_key(svc)) do
      for i = 1, 20 do assert.equal(i, list[i]) end
    end
    shares(svc, 4)
  end)

  it("reads each partition once when the stream is deleted and made again", function()
    local svc = start()
    shares(svc, 4)
    put(1, 2)
    handled(8, svc)
    local config = assert(nats.js.stream_info(stream)).config
    assert(nats.js.delete_stream(stream))
    assert(nats.js.add_stream { name = stream, subjects = config.subjects,
      storage = "memory" })
    put(3, 5)
    handled(20, svc)
    shares(svc, 4)
    for number = 0, 3 do
      local found = assert(nats.js.consumer_info(stream, "billing-" .. number)).config
      assert.equal(("%d.%s.*"):format(number, stream), found.filter_subject)
    end
    for _, list in pairs(by_key(svc)) do assert.same({ 1, 2, 3, 4, 5 }, list) end
  end)

  it("is read by another member when the connection of one is lost", function()
    local options = "{ partitions = 4, ttl = 2 }" -- who is away keeps them for so long
    local a, b = start(options), start(options)
    shares(a, 2, b, 2)
    a:partition(3600)
    eventually("the loss", function() return #a:logs "connection lost" > 0 end)
    put(1, 5)
    eventually("all of it", function() return #b:calls "done" == 20 end)
    shares(b, 4)
    for _, list in pairs(by_key(b)) do assert.same({ 1, 2, 3, 4, 5 }, list) end
  end)

  describe("described in a bucket", function()
    local bucket

    before_each(function()
      bucket = assert(nats.js.create_key_value { bucket = "static-consumer-groups",
        storage = "memory" })
    end)
    after_each(function()
      own.close()
      nats.js.delete_key_value "static-consumer-groups"
    end)

    local function describe_group(config) assert(bucket:put(stream .. ".billing", config)) end

    it("reads as many partitions, of the filters only", function()
      describe_group { max_members = 3, filters = { stream .. ".k2" }, members = { "x" } }
      put(1, 4, 3)
      local svc = start "{ ttl = 10 }"
      handled(4, svc)
      assert.same({ 1, 2, 3, 4 }, by_key(svc)[("2.%s.k2"):format(stream)])
      shares(svc, 3)
    end)

    it("reads what is mapped to a member, and shares it with others of its name", function()
      describe_group { max_members = 4, member_mappings = {
        { member = "x", partitions = { 0, 2, 3 } }, { member = "y", partitions = { 1 } } } }
      local x = start "{ ttl = 10, member = 'x' }"
      local y = start "{ ttl = 10, member = 'y' }"
      shares(x, 3, y, 1)
      assert.same({ 1 }, parts(y).list)
      local second = start "{ ttl = 10, member = 'y' }"
      put(1, 3)
      handled(12, x, y, second)
      shares(x, 3)
      eventually("one of them", function()
        return #parts(y).list + #parts(second).list == 1
      end)
    end)

    it("follows changes of its members", function()
      describe_group { max_members = 4, members = { "x", "y" } }
      local x = start "{ ttl = 10, member = 'x' }"
      local y = start "{ ttl = 10, member = 'y' }"
      shares(x, 2, y, 2)
      assert.same({ 0, 1 }, parts(x).list)
      describe_group { max_members = 4, members = { "y" } }
      shares(x, 0, y, 4)
      bucket:delete(stream .. ".billing")
      shares(x, 0, y, 0)
      eventually("word of it", function()
        return #y:logs "nobody reads until it is described again: it was deleted" > 0
      end)
      describe_group { max_members = 4, members = { "x" } }
      shares(x, 4, y, 0)
    end)

    for config, reason in pairs {
      ['"x"'] = "it is not JSON", ["{}"] = "max_members must be a whole number",
      ['{"max_members":0}'] = "max_members must be a whole number",
      ['{"max_members":1,"members":["a"],"member_mappings":[{"member":"a","partitions":[0]}]}']
        = "both members and member_mappings",
      ['{"max_members":2,"member_mappings":[{"member":"a","partitions":[0]}]}']
        = "1 partitions are mapped to nobody",
      ['{"max_members":1,"member_mappings":[{"member":"a","partitions":[0,0]}]}']
        = "the partition 0 of 'a' is mapped twice",
      ['{"max_members":1,"filters":["a..b"]}'] = "filters: invalid subject",
    } do
      it("fails to start where it says " .. config, function()
        assert(bucket:put(stream .. ".billing", config))
        local ok, why = pcall(testing.start, source "{ ttl = 10 }", { server = broker.url })
        assert.is_false(ok)
        assert.truthy(tostring(why):find(reason, 1, true), tostring(why))
        assert.truthy(tostring(why):find("group billing of stream " .. stream, 1, true))
      end)
    end

    it("fails to start where there is no such group, or member", function()
      local _, why = pcall(testing.start, source "{ ttl = 10 }", { server = broker.url })
      assert.truthy(tostring(why):find("there is no key '" .. stream .. ".billing'", 1, true))
      describe_group { max_members = 4, members = { "x", "y" } }
      _, why = pcall(testing.start, source "{ ttl = 10, member = 'z' }",
        { server = broker.url })
      assert.truthy(tostring(why):find("no member 'z' that reads anything, only: x, y", 1,
        true))
    end)
  end)

  it("fails to start where there is no such stream", function()
    local _, why = pcall(testing.start, (source():gsub(stream, "NOWHERE")),
      { server = broker.url })
    assert.truthy(tostring(why):find("group billing of stream NOWHERE: .*not found"),
      tostring(why))
  end)

  it("refuses a consumer that reads other subjects", function()
    assert(nats.js.add_consumer { stream = stream, durable_name = "billing-0",
      filter_subject = "9." .. stream .. ".*" })
    local _, why = pcall(testing.start, source(), { server = broker.url })
    assert.truthy(tostring(why):find("the consumer 'billing-0' of stream '" .. stream
      .. "' reads '9.", 1, true), tostring(why))
  end)

  it("refuses a number of partitions that the stream does not make", function()
    local info = nats.js.add_stream { name = unique "made", subjects = { stream .. "-made.*" },
      storage = "memory", subject_transform = { src = stream .. "-made.*",
        dest = ("{{partition(8,1)}}.%s-made.{{wildcard(1)}}"):format(stream) } }
    if not info then return pending "subject_transform: nats-server 2.10 or later" end
    local name = info.config.name
    local other = source():gsub('"' .. stream .. '"', '"' .. name .. '"')
    local _, why = pcall(testing.start, other, { server = broker.url })
    nats.js.delete_stream(name)
    assert.truthy(tostring(why):find("makes 8 partitions, and the group has 4", 1, true))
  end)

  describe("without permission", function()
    local guarded

    ---A server with a user who may do all but this.
    local function guard(denied)
      guarded = own.keep(testing.broker { config = ([[
        authorization { users = [ { user: all, password: x }, { user: some, password: x,
          permissions: { publish: { deny: ["%s"] } } } ] }
      ]]):format(denied) })
      local all = assert(app.connect { server = guarded.url, user = "all", password = "x" })
      own.keep { stop = function() all.close() end }
      assert(all.js.add_stream { name = stream, storage = "memory",
        subjects = { "0." .. stream .. ".*", "1." .. stream .. ".*" } })
      return all
    end

    for denied, reason in pairs {
      ["$JS.API.CONSUMER.CREATE.>"] = "group billing of stream .*permit",
      ["$JS.API.STREAM.CREATE.KV_LUNATS_LEASES"] = "needs the stream KV_LUNATS_LEASES, which "
        .. "it can neither find nor make: .*permit",
    } do
      it("fails to start: " .. denied, function()
        guard(denied)
        local ok, why = pcall(testing.start, source "{ partitions = 2, ttl = 10 }",
          { server = guarded.url, user = "some", password = "x" })
        assert.is_false(ok)
        assert.truthy(tostring(why):find(reason), tostring(why))
      end)
    end

    for what, denied in pairs {
      ["make one consumer"] = "$JS.API.CONSUMER.CREATE.%s.billing-1",
      ["ask one consumer for messages"] = "$JS.API.CONSUMER.MSG.NEXT.%s.billing-1",
    } do
      it("to " .. what .. " leaves that to a member that may", function()
        local all = guard(denied:format(stream))
        local function member(user)
          return own.start(source "{ partitions = 2, ttl = 10 }", { server = guarded.url,
            user = user, password = "x" })
        end
        local some = member "some"
        eventually("a warning", function()
          return #some:logs "cannot read partition 1: .*[Pp]ermi" > 0
        end)
        local other = member "all"
        assert(all.js.publish("1." .. stream .. ".k", "1"))
        other:expect "done"
        some:errors() -- those of the connection
      end)
    end
  end)

  it("reads several subjects of each partition", function()
    local options = ("{ partitions = 4, ttl = 10, subject = { '{partition}.%s.k1', "
      .. "'{partition}.%s.k2' } }"):format(stream, stream)
    put(1, 3)
    local ok, svc = pcall(testing.start, source(options), { server = broker.url })
    if not ok and tostring(svc):find "filter_subjects" then
      return pending "filter_subjects: nats-server 2.10 or later"
    end
    own.keep(assert(ok and svc))
    handled(6, svc)
  end)

  it("tells what is wrong with its arguments", function()
    local function refuses(text, ...)
      local ok, err = pcall(app.js.consumer_group, ...)
      assert.is_false(ok)
      assert.truthy(tostring(err):find(text, 1, true), tostring(err))
    end
    refuses("a function expected", "S", "g", {})
    refuses("invalid name", "a.b", "g", {}, print)
    refuses("the name 'a.b' of a group", "S", "a.b", {}, print)
    refuses("partitions must be a whole number from 1 to 1024", "S", "g", { partitions = 0 },
      print)
    refuses("ttl must be a number of seconds from 2 to 3600", "S", "g", { ttl = 1 }, print)
    refuses("must have one token {partition}", "S", "g", { partitions = 1, subject = "a.>" },
      print)
    refuses("the same token of all subjects", "S", "g", { partitions = 1,
      subject = { "{partition}.a", "a.{partition}" } }, print)
    refuses("only with `partitions`", "S", "g", { subject = "{partition}.>" }, print)
    refuses("so no `partitions`", "S", "g", { partitions = 1, member = "x" }, print)
    refuses("'filter_subject' is not for you to say", "S", "g",
      { partitions = 1, config = { filter_subject = "a" } }, print)
    refuses("app.js.consumer_group: key: a function of the message expected", "S", "g",
      { partitions = 1, key = "token" }, print)
    local ok, err = pcall(nats.js.consumer_group, "S", "g", {}, print)
    assert.is_false(ok)
    assert.truthy(tostring(err):find("not of app.connect", 1, true))
  end)
end)

describe("a consume under a lease", function()
  local leases = require "lunats.js.lease"
  local stream

  before_each(function()
    stream = unique "leased"
    assert(app.js.add_stream { name = stream, subjects = { stream }, storage = "memory" })
    assert(leases.ensure "spec")
  end)
  after_each(function()
    own.close()
    app.js.delete_stream(stream)
  end)

  ---Reads the stream; the lease may be over meanwhile without a word to who reads.
  local function read(held)
    local psub = assert(app.js.pull_subscribe(stream, { stream = stream, durable = "d" }))
    psub.lease = held.lease
    local got = {}
    local handle = assert(psub:consume({ max_messages = 2, expires = 1 }, function(msg)
      if msg.raw == "over" then held.lease:release() end
      got[#got + 1] = msg.raw
    end))
    own.keep { stop = function() handle:stop() end }
    return got
  end

  local function take()
    return assert(leases.take(unique "key", { holder = "spec", ttl = 10 }, 0))
  end

  local function waiting()
    local info = app.js.consumer_info(stream, "d")
    return info and info.num_waiting
  end

  it("asks for messages as long as it holds, and not once more", function()
    local got = read(take())
    for _, text in ipairs { "a", "b", "c", "over" } do assert(app.js.publish(stream, text)) end
    eventually("all", function() return #got == 4 end)
    eventually("no request", function() return waiting() == 0 end)
    assert(app.js.publish(stream, "late"))
    local info = assert(app.js.consumer_info(stream, "d"))
    assert.same({ 1, 0 }, { info.num_pending, info.num_waiting })
    assert.equal(4, #got)
  end)
end)

describe("a consume that should be alone", function()
  local stream

  before_each(function()
    stream = unique "alone"
    assert(app.js.add_stream { name = stream, subjects = { stream .. ".*" },
      storage = "memory" })
  end)
  after_each(function()
    own.close()
    app.js.delete_stream(stream)
  end)

  it("waits for what another one has had, and given back, in order", function()
    local got = {}
    local psub = assert(app.js.pull_subscribe(stream .. ".*",
      { stream = stream, durable = "d", config = { ack_wait = 2 } }))
    psub.sole = true
    local handle = assert(psub:consume({ key = "subject" }, function(msg)
      got[#got + 1] = tonumber(msg.raw)
    end))
    own.keep { stop = function() handle:stop() end }
    local other = assert(app.js.pull_subscribe(nil, { stream = stream, durable = "d" }))
    local taken = app.spawn(function() return other:fetch(3, { timeout = 10 }) end)
    eventually("both requests", function()
      return assert(app.js.consumer_info(stream, "d")).num_waiting == 2
    end)
    for i = 1, 20 do assert(app.js.publish(stream .. ".key", tostring(i))) end
    local theirs = assert(taken:await())
    assert.equal(3, #theirs)
    eventually("all others", function() return handle:stats().received == 17 end)
    assert.is_true(#got < tonumber(theirs[1].raw))
    for _, msg in ipairs(theirs) do assert(msg:nak()) end
    eventually("all", function() return #got == 20 end)
    for i = 1, 20 do assert.equal(i, got[i]) end
  end)
end)
