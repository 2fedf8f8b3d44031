-- Elastic consumer groups: made and changed in a bucket, read by one process for each member.
local elastic = require "lunats.js.elastic"
local eventually = require "spec.support.eventually"
local groups = require "spec.support.group"
local json = require "lunats.json"
local own = require "spec.support.own"
local since = require "spec.support.since"
local testing = require "lunats.testing"
local unique = require "spec.support.unique"

local by_key, handled, parts = groups.by_key, groups.handled, groups.parts

describe("elastic consumer groups", function()
  local broker, nats, js, stream

  setup(function()
    broker = testing.broker()
    nats = assert(app.connect { server = broker.url })
    js = nats.js
  end)
  teardown(function()
    nats.close()
    broker:stop()
  end)
  before_each(function()
    stream = unique "work"
    assert(js.add_stream { name = stream, subjects = { stream .. ".*" }, storage = "memory" })
  end)
  after_each(function()
    own.close()
    js.delete_elastic_group(stream, "billing")
    js.delete_stream(stream)
  end)

  local function create(opts)
    opts.filters = opts.filters or { stream .. ".*" }
    opts.partitions = opts.partitions or 4
    return assert(js.create_elastic_group(stream, "billing", opts))
  end

  local function source(...) return groups.service(stream, ...) end

  ---@param ttl number|nil  short where a test waits for it to be over
  local function start(member, handler, begin, ttl)
    local options = ("{ elastic = true, member = %q, ttl = %g }"):format(member, ttl or 15)
    return (begin or own.start)(source(options, handler), { server = broker.url })
  end

  ---Messages first, first + 1, ... of eight keys.
  local function put(first, last)
    for i = first, last do
      for key = 1, 8 do
        assert(js.publish(("%s.k%d"):format(stream, key), tostring(i)))
      end
    end
  end

  local function reads(svc, ...)
    local wanted = { ... }
    eventually("shares", function()
      return table.concat(parts(svc).list, " ") == table.concat(wanted, " ")
    end)
  end

  since.it("2.11", "are read by a member, each key in order, under their subjects", function()
    create { members = { "east" } }
    put(1, 10)
    local svc = start "east"
    handled(80, svc)
    reads(svc, 0, 1, 2, 3)
    local count = 0
    for subject, list in pairs(by_key(svc)) do
      count = count + 1
      assert.truthy(subject:find("^" .. stream .. "%.k%d$"))
      assert.same({ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 }, list)
    end
    assert.equal(8, count)
    assert.equal(1, parts(svc).members)
    local one = svc:calls("done")[1].data
    assert.equal("integer", math.type(one.token))
    assert.truthy(one.number >= 0 and one.number <= 3)
  end)

  since.it("2.11", "are shared by members, which may wait until they are some", function()
    local group = create { members = { "east" } }
    put(1, 5)
    local east = start "east"
    local west = start("west", nil, testing.start)
    handled(40, east)
    eventually("word of it", function()
      return #west:logs "'west' is no member that reads anything" > 0
    end)
    assert(group:add_members "west")
    reads(east, 0, 1)
    reads(west, 2, 3)
    assert.same({ "east", "west" }, group:active())
    assert.equal(2, parts(east).members)
    put(6, 10)
    handled(80, east, west)
    west:stop()
    assert(group:remove_members { "west" })
    reads(east, 0, 1, 2, 3)
    put(11, 15)
    handled(120, east, west)
  end)

  since.it("2.11", "lose nothing, and keep the order, while members come and go", function()
    local group = create { members = { "east" } }
    local east, west = start("east", "app.sleep(0.002)"), start("west", "app.sleep(0.002)")
    local publisher = app.spawn(put, 1, 100)
    for _ = 1, 3 do
      reads(east, 0, 1, 2, 3)
      assert(group:add_members "west")
      reads(west, 2, 3)
      assert(group:set_mappings { east = { 2 }, west = { 0, 1, 3 } })
      reads(west, 0, 1, 3)
      assert(group:set_members { "east" })
    end
    publisher:await()
    handled(800, east, west)
    for _, svc in ipairs { east, west } do
      for _, list in pairs(by_key(svc)) do
        for i = 2, #list do assert.truthy(list[i] > list[i - 1], "order") end
      end
    end
    eventually("acknowledged", function() return assert(group:info()).pending == 0 end)
  end)

  since.it("2.11", "are left by a handler that runs before others read on", function()
    local group = create { members = { "east" }, partitions = 1 }
    put(1, 2)
    local east = start("east", [[
      if not begun then
        begun = true
        app.publish("begun", msg.subject)
        while not go_on do app.sleep(0.01) end
      end
    ]])
    local subject = east:expect("begun").raw
    local west = start "west"
    assert(group:set_members { "west" })
    app.sleep(1) -- in which the first one hears of it
    assert.same({}, parts(west).list)
    assert.same({ 0 }, parts(east).list)
    assert(east:request("go." .. east.instance_id))
    handled(16, east, west)
    assert.same({ 1 }, by_key(east)[subject])
    assert.same({ 2 }, by_key(west)[subject])
    assert.equal(1, #east:calls "done")
    local tokens = { east:calls("done")[1].data.token, west:calls("done")[1].data.token }
    assert.truthy(tokens[1] < tokens[2])
  end)

  since.it("2.11", "have one reader of two instances of a member", function()
    create { members = { "east" } }
    local one = start("east", nil, testing.start)
    reads(one, 0, 1, 2, 3)
    local two = start "east"
    eventually("word of it", function()
      return #two:logs "another process reads for 'east'" > 0
    end)
    put(1, 5)
    handled(40, one)
    assert.equal(0, #two:calls "done")
    local made = assert(js.consumer_info(stream .. "-billing", "east")).created
    one:stop()
    put(6, 10)
    handled(40, two)
    reads(two, 0, 1, 2, 3)
    for _, list in pairs(by_key(two)) do assert.same({ 6, 7, 8, 9, 10 }, list) end
    assert.equal(made, assert(js.consumer_info(stream .. "-billing", "east")).created)
  end)

  since.it("2.11", "are read by another instance when the connection of one is lost", function()
    create { members = { "east" } }
    local one = start("east", nil, nil, 2)
    reads(one, 0, 1, 2, 3)
    local two = start("east", nil, nil, 2)
    one:partition(3600)
    eventually("the loss", function() return #one:logs "connection lost" > 0 end)
    put(1, 5)
    handled(40, two)
    for _, list in pairs(by_key(two)) do assert.same({ 1, 2, 3, 4, 5 }, list) end
  end)

  since.it("2.11", "take partitions from a member that nobody reads for any more", function()
    local group = create { members = { "east", "west" } }
    local west = start("west", nil, testing.start)
    reads(west, 2, 3)
    west:stop()
    assert.truthy(js.consumer_info(stream .. "-billing", "west"))
    assert(group:remove_members "west")
    put(1, 5)
    local east = start "east"
    handled(40, east)
    reads(east, 0, 1, 2, 3)
    assert.is_true(#east:logs "nobody reads for 'west': its consumer" > 0)
    assert.equal("not_found", select(2, js.consumer_info(stream .. "-billing", "west")).code)
  end)

  since.it("2.11", "leave what other programs read to them", function()
    create { members = { "east" } }
    put(1, 2)
    assert(js.add_consumer { stream = stream .. "-billing", name = "other",
      filter_subjects = { "0.>", "1.>" }, inactive_threshold = 3600 })
    local east = start "east"
    eventually("attempts", function()
      local info = js.consumer_info(stream .. "-billing", "east")
      return info == nil and parts(east).members == 1
    end)
    app.sleep(0.6)
    assert.same({}, parts(east).list)
    assert(js.delete_consumer(stream .. "-billing", "other"))
    handled(16, east)
  end)

  since.it("2.11", "are read on when a consumer is deleted", function()
    local group = create { members = { "east" } }
    local svc = start "east"
    put(1, 3)
    handled(24, svc)
    eventually("acknowledged", function() return assert(group:info()).pending == 0 end)
    assert(js.delete_consumer(stream .. "-billing", "east"))
    put(4, 6)
    handled(48, svc)
    for _, list in pairs(by_key(svc)) do
      for i = 2, #list do assert.truthy(list[i] >= list[i - 1]) end
    end
  end)

  since.it("2.11", "stop when the group is deleted, and go on when it is made again", function()
    create { members = { "east" } }
    put(1, 2)
    local svc = start "east"
    handled(16, svc)
    assert(js.delete_elastic_group(stream, "billing"))
    eventually("word of it", function()
      return #svc:logs "nobody reads until it is described again: it was deleted" > 0
    end)
    reads(svc)
    create { members = { "east" }, partitions = 2 }
    put(3, 4)
    reads(svc, 0, 1)
    eventually("all, from the beginning", function() return #svc:calls "done" == 16 + 32 end)
  end)

  since.it("2.11", "go on over a reload, in order", function()
    create { members = { "east" } }
    local svc = start("east", "app.sleep(0.01)")
    reads(svc, 0, 1, 2, 3)
    put(1, 20)
    eventually("some", function() return #svc:calls "done" > 8 end)
    assert(svc:reload(source("{ elastic = true, member = 'east', ttl = 15 }",
      "app.sleep(0.001)")))
    handled(160, svc)
    for _, list in pairs(by_key(svc)) do
      for i = 2, #list do assert.truthy(list[i] > list[i - 1]) end
    end
    reads(svc, 0, 1, 2, 3)
  end)

  since.it("2.11", "are left by group:stop()", function()
    create { members = { "east" } }
    local one = start "east"
    reads(one, 0, 1, 2, 3)
    local two = start "east"
    assert(one:request("stop." .. one.instance_id))
    reads(two, 0, 1, 2, 3)
    put(1, 2)
    handled(16, two)
    assert.same({}, parts(one).list)
  end)

  since.it("2.11", "keep the order behind a message that fails", function()
    create { members = { "east" }, partitions = 1 }
    put(1, 3)
    local svc = own.start(source("{ elastic = true, member = 'east', ttl = 15, "
      .. "backoff = { 0.05 } }", [[
        if msg.data == 2 and msg.metadata.num_delivered < 3 then
          app.publish("failed", 1)
          return nil, "not yet"
        end
      ]]), { server = broker.url })
    handled(24, svc)
    assert.equal(16, #svc:calls "failed")
    assert.equal(16, #svc:errors())
    for _, list in pairs(by_key(svc)) do assert.same({ 1, 2, 3 }, list) end
  end)

  for key, most in pairs { ["'subject:2'"] = 8, ["'subject'"] = 8,
    ["function(msg) return msg.subject:match '[^.]+$' end"] = 8, ["nil"] = 1 } do
    since.it("2.11", ("handle as many at once as key = %s says"):format(key), function()
      create { members = { "east" }, partitions = 1 }
      put(1, 5)
      local svc = own.start(source(("{ elastic = true, member = 'east', ttl = 15, key = %s }")
        :format(key), [[
          running = (running or 0) + 1
          most = math.max(most or 0, running)
          app.sleep(0.02)
          running = running - 1
          app.publish("most", most)
        ]]), { server = broker.url })
      handled(40, svc)
      local seen = 0
      for _, call in ipairs(svc:calls "most") do seen = math.max(seen, call.data) end
      assert.equal(most, seen)
      for _, list in pairs(by_key(svc)) do assert.same({ 1, 2, 3, 4, 5 }, list) end
    end)
  end

  since.it("2.11", "give up under the subject that handlers see", function()
    create { members = { "east" }, partitions = 1 }
    local dead = own.keep { stop = function() js.delete_stream(stream .. "-dead") end }
    assert(dead and js.add_stream { name = stream .. "-dead", subjects = { "dead." .. stream },
      storage = "memory" })
    assert(js.publish(stream .. ".k1", "1"))
    local svc = own.start(source(("{ elastic = true, member = 'east', ttl = 15, "
      .. "max_deliver = 1, dead_letter = 'dead.%s' }"):format(stream),
      "do return nil, 'no' end"), { server = broker.url })
    eventually("a letter", function()
      return js.stream_info(stream .. "-dead").state.messages == 1
    end)
    local letter = assert(js.get_msg(stream .. "-dead", { seq = 1 }))
    assert.equal(stream .. ".k1", letter.headers["Dead-Letter-Subject"])
    assert.equal(stream .. "-billing", letter.headers["Dead-Letter-Stream"])
    assert.equal(1, #svc:errors())
  end)

  describe("in the bucket", function()
    local function entry()
      return assert(assert(js.key_value(elastic.BUCKET)):get(stream .. ".billing"))
    end

    since.it("2.11", "are what orbit would write", function()
      create { partitions = 2, members = { "m2", "m1", "m2" },
        filters = { { filter = stream .. ".*", wildcards = { 1 } } } }
      assert.same({ max_members = 2, members = { "m1", "m2" }, partitioning_filters = {
        { filter = stream .. ".*", partitioning_wildcards = { 1 } } } },
        json.decode(entry().value))
      local work = assert(js.stream_info(stream .. "-billing")).config
      assert.equal("workqueue", work.retention)
      assert.equal("new", work.discard)
      assert.equal("memory", work.storage)
      assert.is_true(work.allow_direct)
      assert.equal(1, #work.sources)
      assert.equal(stream, work.sources[1].name)
      assert.same({ { src = stream .. ".*",
        dest = ("{{Partition(2,1)}}.%s.{{Wildcard(1)}}"):format(stream) } },
        work.sources[1].subject_transforms)
    end)

    since.it("2.11", "have the consumers that orbit would make", function()
      create { members = { "east", "west" } }
      local svc = start "west"
      reads(svc, 2, 3)
      local config = assert(js.consumer_info(stream .. "-billing", "west")).config
      assert.same({ "2.>", "3.>" }, config.filter_subjects)
      assert.same({ "PCG" }, config.priority_groups)
      assert.equal("pinned_client", config.priority_policy)
      assert.equal("explicit", config.ack_policy)
      assert.equal(5, config.priority_timeout)
    end)

    since.it("2.11", "keep what is not known of when members change", function()
      local group = create { members = { "m1" } }
      local text = ('{"max_members":4,"partitioning_filters":[{"filter":"%s.*",'
        .. '"partitioning_wildcards":[]}],"max_buffered_msg":-1,"new":{"a":[],"b":null,'
        .. '"c":{}},"members":["m1"]}'):format(stream)
      assert(js.key_value(elastic.BUCKET)):put(stream .. ".billing", text)
      assert(group:add_members "m2")
      local value = entry().value
      for _, part in ipairs { '"partitioning_wildcards":[]', '"max_buffered_msg":-1',
        '"a":[]', '"b":null', '"c":{}', '"members":["m1","m2"]' } do
        assert.truthy(value:find(part, 1, true), part .. " in " .. value)
      end
    end)

    since.it("2.11", "are read in the form of before 2026", function()
      local group = create { members = { "m1" } }
      local text = ('{"max_members":4,"filter":"%s.*","partitioning_wildcards":[1],'
        .. '"members":["east"]}'):format(stream)
      assert(js.key_value(elastic.BUCKET)):put(stream .. ".billing", text)
      put(1, 2)
      handled(16, start "east")
      assert(group:add_members "m2")
      assert.truthy(entry().value:find('"filter":"' .. stream .. '.*"', 1, true))
    end)

    since.it("2.11", "may be changed by several at once", function()
      local group = create {}
      local fibers = {}
      for i = 1, 6 do
        fibers[i] = app.spawn(function() assert(group:add_members("m" .. i)) end)
      end
      for _, fiber in ipairs(fibers) do assert(select(1, fiber:await()) ~= false) end
      assert.same({ "m1", "m2", "m3", "m4", "m5", "m6" }, assert(group:info()).members)
    end)

    since.it("2.11", "tell who reads what", function()
      local group = create { members = { "b", "a" } }
      local info = assert(group:info())
      assert.same({ "a", "b" }, info.members)
      assert.same({ a = { 0, 1 }, b = { 2, 3 } }, info.shares)
      assert.same({ { filter = stream .. ".*", wildcards = { 1 } } }, info.filters)
      assert.equal(4, info.partitions)
      assert.is_nil(info.mappings)
      assert(group:set_mappings { a = { 3, 0 }, c = { 1, 2 } })
      info = assert(group:info())
      assert.is_nil(info.members)
      assert.same({ a = { 0, 3 }, c = { 1, 2 } }, info.mappings)
      local _, err = group:add_members "b"
      assert.equal("exists", err.code)
      assert.truthy(err.message:find("mapped to members", 1, true))
      _, err = group:set_mappings { a = { 0 } }
      assert.equal("invalid", err.code)
      assert.truthy(err.message:find("3 partitions are mapped to nobody", 1, true))
      assert(group:set_members {})
      assert.same({}, assert(group:info()).shares)
      put(1, 2)
      eventually("what waits", function() return assert(group:info()).pending == 16 end)
      assert.same({}, group:active())
    end)

    since.it("2.11", "are created once, listed, and deleted", function()
      assert.same({}, js.elastic_group_names(stream))
      create { members = { "east" } }
      local same = create { members = { "west" } }
      assert.same({ "east" }, assert(same:info()).members)
      assert.same({ "billing" }, js.elastic_group_names(stream))
      assert.equal("billing", assert(js.elastic_group(stream, "billing")).name)
      local _, err = js.create_elastic_group(stream, "billing", { partitions = 5,
        filters = { stream .. ".*" } })
      assert.equal("exists", err.code)
      assert(js.delete_elastic_group(stream, "billing"))
      assert.equal("not_found", select(2, js.stream_info(stream .. "-billing")).code)
      assert.same({}, js.elastic_group_names(stream))
      for _, fn in ipairs { js.elastic_group, js.delete_elastic_group } do
        _, err = fn(stream, "billing")
        assert.equal("not_found", err.code)
        assert.truthy(err.message:find("there is no elastic group 'billing'", 1, true))
      end
      for _, method in ipairs { "info", "add_members", "set_members", "active" } do
        _, err = same[method](same, { "x" })
        assert.equal("not_found", err.code)
      end
    end)

    since.it("2.11", "leave a stream alone that only has the name of theirs", function()
      assert(js.add_stream { name = stream .. "-billing", subjects = { stream .. "-b.*" },
        storage = "memory" })
      local _, err = js.create_elastic_group(stream, "billing", { partitions = 2,
        filters = { stream .. ".*" } })
      assert.equal("exists", err.code)
      assert.truthy(err.message:find("is there already: it is no work queue", 1, true))
      js.delete_elastic_group(stream, "billing")
      assert(js.delete_stream(stream .. "-billing"))
    end)

    since.it("2.12", "take all of a stream, by the whole subject", function()
      assert(js.create_elastic_group(stream, "billing", { partitions = 3,
        members = { "east" } }))
      assert.truthy(entry().value:find('"partitioning_filters":[]', 1, true))
      assert.same({ { src = ">", dest = "{{Partition(3)}}.>" } },
        assert(js.stream_info(stream .. "-billing")).config.sources[1].subject_transforms)
      put(1, 3)
      local svc = start "east"
      handled(24, svc)
      for _, list in pairs(by_key(svc)) do assert.same({ 1, 2, 3 }, list) end
    end)

    for value, reason in pairs {
      ['{"max_members":0}'] = "max_members must be a whole number",
      ['{"max_members":1,"partitioning_filters":[{"filter":"a.b"}]}']
        = "filters: 'a.b' must have a token * or end in >",
      ['{"max_members":1,"partitioning_filters":[{"filter":"a.*",'
        .. '"partitioning_wildcards":[2]}]}'] = "filters: 'a.*' has no * number 2",
      ['{"max_members":1,"partitioning_filters":[{"filter":"a.*",'
        .. '"partitioning_wildcards":[1,1]}]}'] = "filters: 'a.*' has no * number 1, or it is",
      ['{"max_members":1,"filter":"a..b"}'] = "filters: invalid subject 'a..b'",
      ['{"max_members":2,"member_mappings":[{"member":"a","partitions":[0]}]}']
        = "1 partitions are mapped to nobody",
      ['{"max_members":4}'] = "it makes other partitions of other subjects than the group has",
    } do
      since.it("2.11", "fail the start with " .. value, function()
        create {}
        assert(js.key_value(elastic.BUCKET)):put(stream .. ".billing", value)
        local _, why = pcall(start, "east")
        assert.truthy(tostring(why):find(reason, 1, true), tostring(why))
        assert.truthy(tostring(why):find("group billing of stream " .. stream, 1, true))
      end)
    end
  end)

  since.it("2.11", "fail the start where there is no such group", function()
    local _, why = pcall(start, "east")
    assert.truthy(tostring(why):find("app.js.create_elastic_group makes one", 1, true),
      tostring(why))
  end)

  if not since "2.11" then
    it("are refused by servers before 2.11", function()
      local _, err = js.create_elastic_group(stream, "billing", { partitions = 2 })
      assert.equal("unsupported", err.code)
      local text = "this server does not support elastic consumer groups: needs 2.11 or later"
      assert.equal(text, err.message)
      local _, why = pcall(start, "east")
      assert.truthy(tostring(why):find(text, 1, true), tostring(why))
    end)
  end
end)
