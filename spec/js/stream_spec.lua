-- Streams and consumers: configurations in seconds, errors of the server, fields it ignores.
local js_config = require "lunats.js.config"
local json = require "lunats.json"
local unique = require "spec.support.unique"

describe("app.js streams", function()
  local made = {}

  local function name_of(name)
    local full = unique(name)
    made[#made + 1] = full
    return full
  end

  after_each(function()
    for _, name in ipairs(made) do app.js.delete_stream(name) end
    made = {}
  end)

  it("creates a stream, tells about it, deletes it", function()
    local name = name_of "life"
    local info = assert(app.js.add_stream { name = name, subjects = { name .. ".>" } })
    assert.equal(name, info.config.name)
    assert.same({ name .. ".>" }, info.config.subjects)
    assert.equal(0, info.state.messages)
    info = assert(app.js.stream_info(name))
    assert.equal("string", type(info.created))
    assert.is_true(assert(app.js.delete_stream(name)))
    local gone, err = app.js.stream_info(name)
    assert.is_nil(gone)
    assert.equal("not_found", err.code)
    assert.equal(10059, err.err_code)
    assert.equal(404, err.status)
    assert.equal("stream not found", err.description)
  end)

  it("accepts the same configuration again and refuses another one", function()
    local name = name_of "again"
    local config = { name = name, subjects = { name }, max_age = 3600, max_msgs = 10 }
    assert(app.js.add_stream(config))
    assert(app.js.add_stream(config))
    config.max_msgs = 11
    local info, err = app.js.add_stream(config)
    assert.is_nil(info)
    assert.equal("jetstream", err.code)
    assert.equal(10058, err.err_code)
    assert.equal(10, app.js.stream_info(name).config.max_msgs)
  end)

  it("takes and gives durations in seconds", function()
    local name = name_of "times"
    local info = assert(app.js.add_stream {
      name = name, subjects = { name }, max_age = 0.1 + 0.2, duplicate_window = 0.25,
    })
    assert.equal(0.3, info.config.max_age)
    assert.equal(0.25, info.config.duplicate_window)
    assert(app.js.add_consumer { stream = name, durable_name = "c", ack_wait = 90,
      backoff = { 0.5, 2 }, max_deliver = 4, inactive_threshold = 1.5 })
    local consumer = assert(app.js.consumer_info(name, "c"))
    assert.same({ 0.5, 2 }, { table.unpack(consumer.config.backoff) })
    assert.equal("integer", math.type(consumer.config.backoff[2]))
    assert.equal(1.5, consumer.config.inactive_threshold)
    assert.equal("explicit", consumer.config.ack_policy)
  end)

  it("accepts whole numbers that are floats in Lua", function()
    local name = name_of "float"
    local info = assert(app.js.add_stream { name = name, max_msgs = 1e6, max_bytes = 2^30 })
    assert.equal(1000000, info.config.max_msgs)
    assert.equal("integer", math.type(info.config.max_bytes))
  end)

  it("accepts empty lists", function()
    local name = name_of "empty"
    local info = assert(app.js.add_stream { name = name, subjects = {}, sources = {} })
    assert.same({ name }, info.config.subjects)
    assert(app.js.add_consumer { stream = name, durable_name = "c", backoff = {},
      filter_subjects = {} })
  end)

  it("takes a start time as a number or as text", function()
    local name = name_of "start"
    assert(app.js.add_stream { name = name, subjects = { name } })
    local info = assert(app.js.add_consumer { stream = name, durable_name = "n",
      deliver_policy = "by_start_time", opt_start_time = 1700000000.25 })
    assert.equal("2023-11-14T22:13:20.25Z", info.config.opt_start_time)
    info = assert(app.js.add_consumer { stream = name, durable_name = "t",
      deliver_policy = "by_start_time", opt_start_time = "2023-11-14T22:13:20.250Z" })
    assert.equal("2023-11-14T22:13:20.25Z", info.config.opt_start_time)
  end)

  it("makes consumers with filters, with and without wildcards", function()
    local name = name_of "filters"
    assert(app.js.add_stream { name = name, subjects = { name .. ".>" } })
    for i, filter in ipairs { name .. ".a", name .. ".*", name .. ".>" } do
      local info = assert(app.js.add_consumer { stream = name, durable_name = "c" .. i,
        filter_subject = filter })
      assert.equal(filter, info.config.filter_subject)
    end
    assert.is_true(assert(app.js.delete_consumer(name, "c1")))
    local _, err = app.js.delete_consumer(name, "c1")
    assert.equal("not_found", err.code)
  end)

  it("finds the stream of a subject", function()
    local name = name_of "find"
    assert(app.js.add_stream { name = name, subjects = { name .. ".>" } })
    assert.equal(name, app.js.find_stream(name .. ".x"))
    local found, err = app.js.find_stream("nobody." .. name)
    assert.is_nil(found)
    assert.equal("no_stream", err.code)
  end)

  for _, bad in ipairs { "", "a b", "a.b", "a*", ">", "a/b", "a\\b", "a\nb", ("x"):rep(256) } do
    it(("raises for the name %q"):format(bad:sub(1, 10)), function()
      assert.has_error(function() app.js.add_stream { name = bad } end)
      assert.has_error(function() app.js.stream_info(bad) end)
      assert.has_error(function() app.js.delete_consumer("S", bad) end)
    end)
  end

  it("raises for durations that are no numbers, naming the field", function()
    local ok, err = pcall(app.js.add_stream, { name = "x", max_age = "1h" })
    assert.is_false(ok)
    assert.truthy(tostring(err):find("max_age", 1, true))
    ok, err = pcall(app.js.add_consumer, { stream = "x", name = "c", backoff = { "1" } })
    assert.is_false(ok)
    assert.truthy(tostring(err):find("backoff[1]", 1, true))
  end)
end)

describe("lunats.js.config", function()
  for _, case in ipairs {
    { 0, 0 }, { 1, 1000000000 }, { 0.1 + 0.2, 300000000 }, { 1.5, 1500000000 },
    { 1e-9, 1 }, { 79200, 79200000000000 },
  } do
    it(("turns %s seconds into %d ns"):format(case[1], case[2]), function()
      local ns = js_config.nanoseconds(case[1], "x")
      assert.equal("integer", math.type(ns))
      assert.equal(case[2], ns)
    end)
  end

  it("refuses what is no duration", function()
    for _, bad in ipairs { -1, 0 / 0, math.huge, "1s", true, 1e10 } do
      assert.has_error(function() js_config.nanoseconds(bad, "x") end)
    end
  end)

  it("converts at every depth and leaves the user's own words alone", function()
    local wire = js_config.to_wire {
      consumer_limits = { inactive_threshold = 2 },
      sources = { { name = "a", opt_start_time = 0 } },
      metadata = { max_age = "mine" },
      placement = { tags = {} },
      unknown = { list = { 1, 2 } },
    }
    assert.equal(2000000000, wire.consumer_limits.inactive_threshold)
    assert.equal("1970-01-01T00:00:00Z", wire.sources[1].opt_start_time)
    assert.equal("mine", wire.metadata.max_age)
    assert.equal("[1,2]", json.encode(wire.unknown.list))
    assert.equal("{}", json.encode(wire.placement))
    local back = js_config.from_wire { config = wire, state = { subjects = { max_age = 3 } },
      streams = json.null }
    assert.equal(2, back.config.consumer_limits.inactive_threshold)
    assert.equal(3, back.state.subjects.max_age)
    assert.is_nil(back.streams)
  end)

  for _, case in ipairs {
    { "a value that is missing", { a = 1 }, {}, "a" },
    { "another value", { compression = "s2" }, { compression = "none" }, "compression" },
    { "a list that is missing", { filter_subjects = { "a" } }, {}, "filter_subjects" },
    { "an inner value", { republish = { src = "a", x = 1 } }, { republish = { src = "a" } },
      "republish.x" },
    { "nothing about defaults", { a = 0, b = false, c = "", d = "none", e = {} }, {} },
    { "nothing about limits that mean none", { max_msgs = -5 }, { max_msgs = -1 } },
    { "nothing about more than was asked", { a = { x = 1 } }, { a = { x = 1, y = 2 }, b = 3 } },
    { "nothing about another form of a time", { opt_start_time = "2020-01-01T00:00:00.0Z" },
      { opt_start_time = "2020-01-01T00:00:00Z" } },
  } do
    it("finds " .. case[1], function()
      assert.equal(case[4], (js_config.ignored(case[2], case[3])))
    end)
  end
end)

describe("lunats.js", function()
  it("declares what it exports, and nothing else", function()
    local declared, exported = {}, {}
    for line in io.lines "scripts/js.d.lua" do
      declared[#declared + 1] = line:match "^function js%.([%w_]+)"
    end
    for name, value in pairs(require "lunats.js") do
      if type(value) == "function" then exported[#exported + 1] = name end
    end
    table.sort(declared)
    table.sort(exported)
    assert.same(declared, exported)
  end)
end)
